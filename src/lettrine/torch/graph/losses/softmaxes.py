"""Evidence "softmax": a softmax inside the network over an axis of length 1, or over the examples of a batch.

where: the module that made its input, otherwise the module it is called in. figures: "looks" that showed it, "all" looks with
this softmax, "axis", "axes", "size" along the axis. words: "what" ("unit" or "batch").

A single unit is recognised by the weights that made the scores: they have one row. The first axis is the batch if there is one
target for each of its entries, and no other axis of the inputs has that length.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.layers.attention import one_each
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.losses.heads import head_of
from lettrine.torch.private import saved

_NAMES: Final = ("softmax", "log_softmax")
_MOST: Final = 64  # calls examined in one look


@dataclass
class _Met:
    first: int
    last: int
    looks: int = 0
    all: int = 0
    axis: int = 0
    axes: int = 0
    size: int = 0


@reader
class Softmaxes:
    """Follows the softmaxes of the network."""

    def __init__(self) -> None:
        self._met: dict[tuple[str, str], _Met] = {}

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        calls = [call for call in look.calls if call.name in _NAMES and call.where][:_MOST]
        if not calls:
            return ()
        names, shapes = look.parameters, {name: parameter.shape for name, parameter in look.named.items()}
        batch = batch_of(look)
        for call in calls:
            given, result = call.given(0, "input"), call.result
            if not (isinstance(given, Tensor) and isinstance(result, Tensor) and readable(result)) or result.grad_fn is None:
                continue
            axis = saved(result.grad_fn, "dim")
            if axis is None or result.ndim < 2:
                continue
            axis = int(axis if axis < result.ndim else axis - 2**64 + result.ndim)
            head = head_of(given, names)
            single = result.shape[axis] == 1 and shapes.get(head.place, (0,))[0] == 1 and given.shape[-1] == 1
            over = axis == 0 and result.shape[0] == batch and result.numel() > batch
            for what, so in (("unit", single), ("batch", over)):
                self._note(
                    look.step, (head.module if what == "unit" and head.module else call.where, what), (axis, result), so=so
                )
        return ()

    def finish(self) -> Iterable[Evidence]:
        """Softmaxes that had the fault at every look."""
        for (where, what), met in self._met.items():
            if met.looks == met.all:
                figures = {"looks": met.looks, "axis": met.axis, "axes": met.axes, "size": met.size}
                told = {name: float(value) for name, value in figures.items()}
                yield Evidence("softmax", (where,), (met.first, met.last), told, {"what": what})

    def _note(self, step: int, key: tuple[str, str], seen: tuple[int, Tensor], *, so: bool) -> None:
        if key not in self._met and not so:
            return
        met = self._met.setdefault(key, _Met(step, step))
        met.last, met.all, met.looks = step, met.all + 1, met.looks + so
        met.axis, met.axes, met.size = seen[0], seen[1].ndim, seen[1].shape[seen[0]]


def batch_of(look: Look) -> int:
    """Number of examples, if each has one target and no other axis of the inputs is as long; otherwise -1."""
    given = [each.shape for root in look.roots for each in root.inputs if each.ndim]
    lengths = {shape[1] for shape in given if len(shape) > 1}
    counts = {len(target) for call in look.outside if (target := one_each(call, lengths)) is not None}
    first = {shape[0] for shape in given}
    if len(first) != 1 or not first <= counts:
        return -1
    batch: Any = first.pop()
    return batch if batch > 1 and not any(batch in shape[1:] for shape in given) else -1
