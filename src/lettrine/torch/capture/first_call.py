"""The first call of a module shows what the module is, which module feeds it, and which axis holds its units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from lettrine.health.trace import ModuleInfo
from lettrine.torch.capture.catalogue import CHANNELS_FIRST, activation_of, has_bias, kind_of, role_of
from lettrine.torch.capture.elementwise import activation_by_values
from lettrine.torch.capture.outputs import OutputCapture, grad_node, unit_axis
from lettrine.torch.graph.reading import (
    FunctionalActivation,
    Node,
    behind_logits,
    follow,
    operation,
    same_values,
    saved_result,
    source,
)


def meet(
    capture: OutputCapture,
    module: nn.Module,
    args: tuple[Any, ...],
    tensor: Tensor,
    nodes: Mapping[Node, str],
    captures: dict[str, OutputCapture],
    *,
    passed: bool,
) -> None:
    """Examine a module that was called with `args` and returned `tensor`, and add its capture to the captures so far.

    nodes: which module made which tensor, in this step. passed: whether the tensor is another module's output, passed on.
    """
    node, role = grad_node(tensor), role_of(module)
    given = args[0] if args and isinstance(args[0], Tensor) else None
    start = None if given is None else grad_node(given)
    if start is not None and start is node:  # it works in place: its input now has the node of its output
        start = next((following for following, _ in node.next_functions if following is not None), None)
    fed_by, functional, behind = source(start, nodes)
    if role == "other" and (passed or same_values(node, nodes)):
        capture.silent = True
    if functional is not None and given is not None and start is grad_node(given):
        fed_by = _meet_feed(capture, module, given, functional, behind, captures)
    alike = activation_by_values(module, given, tensor) if role == "other" and not capture.silent else ""
    role = "activation" if alike else role
    capture.axis = unit_axis(module, tensor, captures.get(fed_by))
    capture.info = ModuleInfo(
        capture.name,
        kind_of(module),
        role,
        activation_of(module) or alike,
        tensor.shape[capture.axis] if tensor.ndim > 1 else 1,
        fed_by,
        len(captures),
        has_bias(module),
    )
    if module is capture.root.module:
        capture.root.output = behind_logits(node, nodes) or (capture.name if not capture.silent else "")
    if not capture.silent:
        captures[capture.name] = capture


def _meet_feed(
    capture: OutputCapture,
    module: nn.Module,
    given: Tensor,
    functional: FunctionalActivation,
    behind: str,
    captures: dict[str, OutputCapture],
) -> str:
    """An activation that is called as a function feeds this module: it gets its own capture. Returns its name."""
    feed = OutputCapture(f"{capture.name}.input", None, capture.root)
    node = follow(grad_node(given), functional.path)
    feed.axis = 1 if isinstance(module, CHANNELS_FIRST) and given.ndim > 2 else unit_axis(None, given, captures.get(behind))
    tensor = given if not functional.path else saved_result(node)
    units = 0 if tensor is None else tensor.shape[feed.axis] if tensor.ndim > 1 else 1
    feed.info = ModuleInfo(feed.name, operation(node), "activation", functional.key, units, behind, len(captures))
    captures[feed.name] = feed
    capture.feed = (functional.path, feed)
    return feed.name
