"""Targets that the last activation cannot give, or under which a loss has no lower bound."""

from __future__ import annotations

from math import inf
from typing import Any, Final

import torch
from torch import Tensor, nn

from lettrine.health.findings import Finding
from lettrine.torch.capture.catalogue import named_modules
from lettrine.torch.checkup.experiment import finding
from lettrine.torch.checkup.task import Task
from lettrine.torch.devices import double
from lettrine.torch.graph.losses.terms import terms_of
from lettrine.torch.graph.reading import operation
from lettrine.torch.private import saved

OUTSIDE: Final = 0.05  # beyond a range, and share of the targets that is


def out_of_reach(task: Task, output: Tensor | None) -> list[Finding]:
    """Targets that the last activation cannot give."""
    target = None if task.whole else task.batch()[-1]
    if output is None or output.grad_fn is None or not isinstance(target, Tensor) or not target.is_floating_point():
        return []
    if target.numel() != output.numel():
        return []
    ranges = {"Relu": (0.0, inf), "Sigmoid": (0.0, 1.0), "Tanh": (-1.0, 1.0), "Softmax": (0.0, 1.0), "Softplus": (0.0, inf)}
    node: Any = output.grad_fn
    while (
        operation(node) in ("View", "Squeeze", "Unsqueeze", "Reshape", "UnsafeView", "Select", "Flatten") and node.next_functions
    ):
        node = node.next_functions[0][0]
        if node is None:
            return []
    low, high = ranges.get(operation(node), (-inf, inf))
    outside = float(((target < low - OUTSIDE) | (target > high + OUTSIDE)).float().mean())
    if not outside > OUTSIDE:
        return []
    least, most = float(target.min()), float(target.max())
    return [
        finding(
            "target-range",
            "critical",
            _last_module(task),
            f"The last operation, {operation(node)}, gives {low:g} to {high:g}; {100 * outside:.0f} % of the targets lie outside "
            f"(they go from {least:.3g} to {most:.3g}).",
            "No training can reach such answers.",
            f"End in a linear layer without {operation(node)}, or scale the targets into its range.",
            value=outside,
            limit=OUTSIDE,
        )
    ]


def no_floor(task: Task, loss: Tensor, output: Tensor | None) -> Finding | None:
    """Targets outside 0 to 1 under a binary cross-entropy, of torch or written by hand: its loss then has no lower bound."""
    target = None if task.whole else _asked(task, loss, output)
    if target is None:
        return None
    least, most = float(target.min()), float(target.max())
    outside = float(double((target < 0) | (target > 1)).mean())
    if not outside > OUTSIDE:
        return None
    return finding(
        "target-range",
        "critical",
        _last_module(task),
        f"The loss is a binary cross-entropy, whose targets lie between 0 and 1; {100 * outside:.0f} % of these are beyond "
        f"(they go from {least:.3g} to {most:.3g}).",
        "Such a loss has no lower bound: it falls as the answers become surer and more wrong.",
        "Scale the targets to 0 to 1; for grades or counts use another loss, for classes cross_entropy.",
        value=outside,
        limit=OUTSIDE,
        source="torch.nn.BCEWithLogitsLoss: targets between 0 and 1",
    )


def _asked(task: Task, loss: Tensor, output: Tensor | None) -> Tensor | None:
    """The targets of a binary cross-entropy. They need not be those of the batch: of a box, one number tells where it is."""
    node: Any = loss.grad_fn
    while node is not None and not operation(node).startswith("BinaryCrossEntropy"):
        node = node.next_functions[0][0] if node.next_functions else None
    target = saved(node, "target") if node is not None else task.batch()[-1]
    if not isinstance(target, Tensor) or (node is None and not _written_by_hand(task, output, target)):
        return None
    return target


def _written_by_hand(task: Task, output: Tensor | None, target: Tensor) -> bool:
    """Whether the loss of these answers, without the network below them, is a sum of y log(p) and (1 - y) log(1 - p)."""
    if output is None or not output.is_floating_point():
        return False
    with torch.enable_grad():
        try:
            loss = task.loss_fn(output.detach().requires_grad_(), target)
        except Exception:  # noqa: BLE001  the user's function: then nothing is known
            return False
    graph = isinstance(loss, Tensor) and loss.grad_fn is not None
    return graph and any(each.kind == "binary cross-entropy" for each in terms_of(loss, (), []))


def _last_module(task: Task) -> tuple[str, ...]:
    names = [name for name, each in named_modules(task.model) if not list(each.children()) and not isinstance(each, nn.Dropout)]
    return (names[-1],) if names else ()
