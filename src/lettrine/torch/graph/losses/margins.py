"""Losses with a margin: the answer for the right class is made worse before the loss is taken, so that it must be right by more.

So the logits know the targets, and even chances do not give ln K: the loss starts far above it and may end above it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.reading import Node, operation
from lettrine.torch.private import saved

_BACK: Final = 24  # operations looked at, from the logits backwards
_TELLING: Final = frozenset(("Where", "Mul", "IndexPut", "Scatter", "ScatterAdd"))
_CHANGING: Final = ("sub", "sub_", "__sub__", "add", "add_", "__add__")


def margined(logits: Tensor | None, target: Tensor | None, calls: Iterable[FunctionCall]) -> bool:
    """Whether the logits (N, K) were changed at the place of each target, (N,), and elsewhere otherwise."""
    if logits is None or target is None or logits.ndim != 2 or target.shape != logits.shape[:1] or target.is_floating_point():
        return False
    if not readable(target):
        return False
    right = cache(lambda: functional.one_hot(target.long(), logits.shape[1]).bool())  # hardly ever asked for
    added = [call for call in calls if call.name in _CHANGING and isinstance(call.result, Tensor)]
    changes = {call.result.grad_fn: call for call in added if call.result.grad_fn is not None}
    waiting, seen = [logits.grad_fn], set[Node]()
    while waiting and len(seen) < _BACK:
        node = waiting.pop(0)
        if node is None or node in seen:
            continue
        seen.add(node)
        given = changes[node].args if node in changes else ()
        telling = bool(given) or operation(node) in _TELLING
        if telling and not bool(((target >= 0) & (target < logits.shape[1])).all()):
            return False
        if telling and (_told(node, right, target) or any(_only(each, right) for each in given)):
            return True
        waiting += [following for following, _ in node.next_functions]
    return False


def _told(node: Node, right: Callable[[], Tensor], target: Tensor) -> bool:
    """Whether the operation does one thing at the targets and another elsewhere."""
    name = operation(node)
    if name == "Where":
        return _only(saved(node, "condition"), right)
    if name == "Mul":
        return _only(saved(node, "self"), right) or _only(saved(node, "other"), right)
    if name == "IndexPut":
        indices = saved(node, "indices")
        last = indices[-1] if indices else None
        return isinstance(last, Tensor) and torch.equal(last.reshape(-1).long(), target.long())
    index = saved(node, "index") if name in ("Scatter", "ScatterAdd") else None
    return isinstance(index, Tensor) and torch.equal(index.reshape(-1).long(), target.long())


def _only(values: Any, right: Callable[[], Tensor]) -> bool:
    """Whether a tensor of data has one value at all targets and another one everywhere else."""
    if not isinstance(values, Tensor) or values.requires_grad or values.shape != right().shape or not readable(values):
        return False
    inside, outside = values[right()], values[~right()]
    alike = bool((inside == inside[0]).all()) and outside.numel() > 0 and bool((outside == outside[0]).all())
    return alike and bool(inside[0] != outside[0])
