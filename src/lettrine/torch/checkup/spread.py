"""Finds where in a model a change starts to reach parts that it should not reach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from lettrine.torch.capture.catalogue import kind_of, named_modules
from lettrine.torch.checkup.values import leaves
from lettrine.torch.devices import double

Kept = Callable[[Tensor], Tensor | None]
"""The part of a tensor that must not change; None if the shape does not tell which part that is."""

MOST_VALUES: Final = 2**26  # values of outputs kept for the comparison


@dataclass(frozen=True)
class Called:
    """One call of a module: its inputs and outputs."""

    name: str
    module: nn.Module
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class Place:
    """Where a change begins to spread. inside: within the module; otherwise between the modules before it and it."""

    name: str
    kind: str
    inside: bool
    module: nn.Module | None = None


def record_calls(model: nn.Module, run: Callable[[], Any]) -> tuple[Any, list[Called]]:
    """Run something and keep every module's inputs and outputs, inner modules before those that hold them."""
    calls: list[Called] = []
    room = [MOST_VALUES]

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            inside = tuple(tensor for _, tensor in leaves((args, kwargs)))
            out = tuple(tensor for _, tensor in leaves(output))
            room[0] -= sum(tensor.numel() for tensor in (*inside, *out))
            if room[0] > 0:
                calls.append(Called(name, module, _still(inside), _still(out)))

        return hook

    handles = [each.register_forward_hook(note(name), with_kwargs=True) for name, each in named_modules(model)]
    try:
        return run(), calls
    finally:
        for handle in handles:
            handle.remove()


def begins(before: Sequence[Called], after: Sequence[Called], kept: Kept, tolerance: float) -> Place | None:
    """The innermost module whose kept part was equal on input and different on output; None if the runs are not comparable."""
    if [each.name for each in before] != [each.name for each in after]:
        return None
    late: Place | None = None
    for first, second in zip(before, after, strict=True):
        arrived = gap(first.inputs, second.inputs, kept)
        left = gap(first.outputs, second.outputs, kept)
        if left > tolerance and arrived <= tolerance:
            return Place(first.name, kind_of(first.module), inside=True, module=first.module)
        if arrived > tolerance and late is None:
            late = Place(first.name, kind_of(first.module), inside=False, module=first.module)
    return late


def gap(first: Sequence[Tensor], second: Sequence[Tensor], kept: Kept) -> float:
    """Largest change of the kept parts, relative to the size of the whole tensors."""
    found = 0.0
    for a, b in zip(first, second, strict=False):
        one, other = kept(a), kept(b)
        if one is not None and other is not None and one.shape == other.shape:
            found = max(found, change(one, other))
    return found


def change(first: Tensor, second: Tensor) -> float:
    """Largest difference over the largest value; values that are not finite on one side only count as 1."""
    if not first.numel():
        return 0.0
    if not first.is_floating_point():
        return float((first != second).any())
    one, other = double(first.detach()), double(second.detach())
    finite = one.isfinite() & other.isfinite()
    if bool((one.isfinite() != other.isfinite()).any()):
        return 1.0
    if not bool(finite.any()):
        return 0.0
    size = float(one[finite].abs().max())
    return float((one - other)[finite].abs().max()) / (size if size > 0 else 1.0)


def _still(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    with torch.no_grad():
        return tuple(tensor.detach().clone() for tensor in tensors)
