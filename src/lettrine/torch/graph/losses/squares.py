"""Errors in the graph of a loss: squared differences from data, by a function of torch or by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from torch import Tensor

from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look
from lettrine.torch.graph.losses.written import inputs_of
from lettrine.torch.graph.reading import Node, operation
from lettrine.torch.private import saved

_DISTANCES: Final = ("mse_loss", "smooth_l1_loss", "huber_loss", "l1_loss")
_MOST: Final = 200  # operations of a loss


def error_at(look: Look, noted: Mapping[Node, FunctionCall], node: Node) -> float | None:
    """The mean square of an error: of a loss function of torch, or of differences from data; None if the operation is neither."""
    call = noted.get(node)
    if call is not None and call.name in _DISTANCES:
        given, target = call.given(0, "input"), call.given(1, "target")
    elif squared(node) and any(operation(each) in ("Mean", "Sum") and node in inputs_of(each) for each in look.nodes[:_MOST]):
        given, target = saved(node, "self"), None  # the differences
    else:
        return None
    if not isinstance(given, Tensor) or (isinstance(target, Tensor) and target.requires_grad):
        return None
    apart = given.detach() - (target.detach() if isinstance(target, Tensor) else 0.0)
    return float(apart.float().square().mean())


def squared(node: Node) -> bool:
    """A difference from data, squared."""
    if operation(node) != "Pow" or saved(node, "exponent") != 2:
        return False
    inner = inputs_of(node)
    while inner and operation(inner[0]) == "Div":
        inner = inputs_of(inner[0])
    return bool(inner) and operation(inner[0]) in ("Sub", "Rsub") and len(inputs_of(inner[0])) == 1
