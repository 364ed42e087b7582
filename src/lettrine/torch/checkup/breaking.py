"""Batches of finite values that break a training: their loss, or only its gradient, is not finite.

The root of 0 is 0, and its slope is infinite: one pair of equal examples makes every weight NaN, while the loss looked well.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any, Final

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from lettrine.health.findings import Finding
from lettrine.torch.checkup.broken import broken_by
from lettrine.torch.checkup.experiment import finding
from lettrine.torch.checkup.lines import user_line
from lettrine.torch.checkup.task import Task
from lettrine.torch.checkup.values import leaves
from lettrine.torch.graph.reading import Node, operation

SHARE: Final = 0.05  # of the time left: how many batches are looked at
LOSSES: Final = 3  # steps whose losses are compared: the first ones, and those before the loss broke
ROSE: Final = 2.0  # times the first losses: at too high a rate a loss grows by more before it is not finite


def broken_batch(task: Task) -> Finding | None:
    """The first of some batches of finite values whose loss or gradient is not finite. It is left out of what follows."""
    for number in range(task.steps_in(SHARE, len(task.batches))):
        if not all(bool(each.isfinite().all()) for _, each in leaves(task.batches[number]) if each.is_floating_point()):
            continue
        with task.boxed():
            task.model.train()
            found = _broken(task, number)
        if found is not None:
            task.batches[:] = [batch for place, batch in enumerate(task.batches) if place != number]
            return found
    return None


def broken_on_the_way(task: Task, losses: list[float]) -> Finding | None:
    """What made the loss not finite in a training that went well up to there; None if it rose before, as at too high a rate.

    losses: of the steps of this training, which is taken again up to the step before.
    """
    end = next((place for place, each in enumerate(losses) if not isfinite(each)), 0)
    first, before = losses[:LOSSES], losses[max(0, end - LOSSES) : end]
    if end < LOSSES or max(before) > max(first) + (ROSE - 1) * abs(max(first)):
        return None
    with task.boxed():
        task.model.train()
        if any(not isfinite(task.step(number)) for number in range(end)):
            return None
        return _broken(task, end, f"After {end} steps, in which the loss did not rise")


def _broken(task: Task, number: int, when: str = "") -> Finding | None:
    """Why the loss of a batch, or its gradient, is not finite; None if both are finite."""
    lines = _Lines()
    with lines:
        loss = task.loss(task.batch(number))
    if not isfinite(float(loss.detach())):
        if any(not bool(each.isfinite().all()) for each in task.model.parameters()):
            return None
        return broken_by(task, number, when)
    if not loss.requires_grad:
        return None
    name = _first_break(loss)
    if name is None:
        return None
    line = lines.of.get(name, "")
    said = f"{operation(name)} ({line})" if line else operation(name)
    begins = when or f"Batch {number}, counted from 0, holds finite values and has a finite loss"
    return finding(
        "non-finite",
        "critical",
        (),
        f"{begins}: the gradient of the loss is not finite. It begins at {said}.",
        "One such step ruins all weights.",
        "The slope of a root or a logarithm is infinite at 0, and a mask after it does not help: infinity times 0 is no number. "
        "Add a small number before it, as in (x + 1e-8).sqrt(), or put torch.where before it.",
        value=number,
    )


def _first_break(loss: Tensor) -> Node | None:
    """The first operation of the backward pass that is given finite gradients and gives others."""
    found: list[Node] = []
    waiting, seen, handles = [loss.grad_fn], set(), []
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        handles.append(node.register_hook(_noting(node, found)))
        waiting += [each for each, _ in node.next_functions]
    wanted = [node.variable for node in seen if hasattr(node, "variable")]
    try:
        torch.autograd.grad(loss, wanted, allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None


def _noting(node: Node, found: list[Node]) -> Callable[..., None]:
    def hook(gives: tuple[Any, ...], given: tuple[Any, ...]) -> None:
        if not found and _finite(given) and not _finite(gives):
            found.append(node)

    return hook


def _finite(gradients: tuple[Any, ...]) -> bool:
    return all(
        bool((each.coalesce().values() if each.is_sparse else each).isfinite().all())
        for each in gradients
        if isinstance(each, Tensor)
    )


class _Lines(TorchFunctionMode):
    """Notes the user's line of each operation of the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.of: dict[Node, str] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor) and made.grad_fn is not None and made.grad_fn not in self.of:
            self.of[made.grad_fn] = user_line()
        return made
