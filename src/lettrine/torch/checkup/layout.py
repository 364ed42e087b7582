"""Which axis of inputs and outputs holds the examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor

from lettrine.torch.checkup.call import Call
from lettrine.torch.checkup.values import leaves, mapped

FEW: Final = (5, 3, 7, 4, 6, 2)  # number of examples an experiment uses: the first one that is not another length in the batch


def examples_along(call: Call, axis: int) -> int:
    """How many examples the inputs hold if the examples lie along this axis; 0 if the inputs contradict that.

    All tensors must agree on the length. Single numbers, and square masks shared by all examples, are ignored. Integers of
    another length are indices, such as nodes of a graph or rows of a table: they are not examples.
    """
    tensors = [tensor for _, tensor in leaves(call.given) if tensor.ndim]
    total = next((int(tensor.shape[axis]) for tensor in tensors if tensor.ndim > axis), 0)
    for tensor in tensors:
        has_it = tensor.ndim > axis and tensor.shape[axis] == total
        shared = tensor.ndim >= 2 and tensor.shape[-1] == tensor.shape[-2]
        whole = not tensor.is_floating_point() and tensor.dtype is not torch.bool
        if not has_it and (whole or not shared):
            return 0
    return total


def few_of(call: Call, axis: int, output: Any = None) -> int:
    """How many examples to use: a number that is not another length of inputs or outputs."""
    total = examples_along(call, axis)
    lengths = {size for _, tensor in leaves(call.given) for place, size in enumerate(tensor.shape) if place != axis}
    lengths |= {size for _, tensor in leaves(output) for size in tensor.shape if size != total}
    return next((few for few in FEW if few <= total and few not in lengths), 0)


def narrowed(call: Call, axis: int, few: int) -> Call:
    """The same call with the first few examples only."""
    total = examples_along(call, axis)

    def cut(_: str, tensor: Tensor) -> Tensor:
        return tensor.narrow(axis, 0, few).clone() if tensor.ndim > axis and tensor.shape[axis] == total else tensor

    return call.with_given({key: mapped(each, cut) for key, each in call.given.items()})


def with_row(call: Call, axis: int, few: int, row: int, source: int) -> Call:
    """The same call with one example replaced by the one at `source`."""

    def put(_: str, tensor: Tensor) -> Tensor:
        if tensor.ndim <= axis or tensor.shape[axis] != few:
            return tensor
        changed = tensor.detach().clone()
        changed.select(axis, row).copy_(tensor.detach().select(axis, source))
        return changed

    return call.with_given({key: mapped(each, put) for key, each in call.given.items()})


def by_example(tensor: Tensor, few: int) -> list[Tensor]:
    """The ways to read a tensor as one row per example, (few, …) each; empty if there is none.

    Examples first, examples second, or both flattened into one axis in either order. A square of examples by examples, such as a
    similarity matrix, compares examples on purpose and is left out.
    """
    if tensor.ndim >= 2 and tensor.shape[0] == few and tensor.shape[1] == few:
        return []
    if tensor.ndim >= 1 and tensor.shape[0] == few:
        return [tensor.reshape(few, -1)]
    if tensor.ndim >= 2 and tensor.shape[1] == few:
        return [tensor.transpose(0, 1).reshape(few, -1)]
    if tensor.ndim >= 1 and tensor.shape[0] > few and tensor.shape[0] % few == 0:
        return [tensor.reshape(few, -1), tensor.reshape(tensor.shape[0] // few, few, -1).transpose(0, 1).reshape(few, -1)]
    return []


def others(few: int, row: int) -> Callable[[Tensor], Tensor | None]:
    """A function that returns the part of a tensor that belongs to the other examples; None if that part is ambiguous."""

    def kept(tensor: Tensor) -> Tensor | None:
        ways = by_example(tensor, few)
        return _without(ways[0], row) if len(ways) == 1 else None

    return kept


def _without(rows: Tensor, row: int) -> Tensor:
    return rows[[place for place in range(len(rows)) if place != row]]


def answers(output: Any, few: int) -> list[tuple[str, Tensor]]:
    """The floating-point outputs that have one row per example."""
    return [(path, each) for path, each in leaves(output) if each.is_floating_point() and by_example(each, few)]
