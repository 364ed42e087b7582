"""Columns of a table that determine the target alone, however it was computed from them.

Classes that are separate by nature leave a gap between their values; a column that the target was computed from leaves no gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from lettrine.torch.devices import double
from lettrine.torch.graph.losses.terms import Term

LEAST: Final = 96  # examples that must agree, without exception
RARE: Final = 8  # least examples on either side: a rarer class proves nothing
MOST: Final = 64  # classes each column is compared with
WIDE: Final = 2_048  # columns looked at, the first ones only
_GAP: Final = 0.05  # of a column's range: classes with a larger gap are separate by nature
_USUAL: Final = 0.05  # share of a column's values
COLUMNS: Final = 4  # columns a table must have: if there are fewer, one of them may be the task
_CODES: Final = 3  # least classes: of two, a column with two values may be what is asked for
_ENOUGH: Final = 16  # rows of a look, after which columns that do not tell the target are dropped
_LINE: Final = 1e-6  # share of the variance that a straight line may leave: rounding of float32


@dataclass
class _Extremes:
    """For each column, over all looks: the least and the greatest value by class, (F, K), and how often each class occurred.

    first: the table of the first look.
    """

    low: Tensor
    high: Tensor
    met: Tensor
    first: Tensor


class DeterminingColumns:
    """Columns that tell the class by its number, by thresholds or by a mark, or the number by a straight line, in all looks."""

    def __init__(self) -> None:
        self._told = 0
        self._extremes: _Extremes | None = None
        self._sums: Tensor | None = None  # (5, F): sums of x, x * x, x * y, y, y * y, relative to the first example
        self._origin: tuple[Tensor, Tensor] | None = None
        self._left: list[int] | None = None  # columns that have told the target so far; None before the first look
        self._width = 0

    def take(self, given: Tensor, term: Term) -> None:
        """One look at an input, of which the last step is read if it is a sequence of numbers."""
        target = term.target
        if target is None or not given.is_floating_point() or target.shape[:1] != given.shape[:1] or self._left == []:
            return
        # of a window only the last step: the task may be to remember an earlier one
        last = given[:, -1] if given.ndim == 3 else given
        table = last.reshape(len(given), -1)[:, :WIDE]
        if self._left is not None and table.shape[1] != self._width:
            self._left = []  # the table has another shape
            return
        self._width = table.shape[1]
        table = (table if self._left is None else table[:, self._left]).cpu().double()
        self._take_extremes(table, term)
        self._take_sums(table, target.detach())
        self._drop(len(table))

    def found(self) -> tuple[str, list[int], int] | None:
        """What they tell it by, which columns, and of how many examples; None for no such column."""
        if self._told < LEAST:
            return None
        places, what = [], ""
        if self._extremes is not None:
            what, places = "code", _codes(self._extremes)
            if not places:
                what, places = "threshold", _thresholds(self._extremes, often=True)
            if not places:
                what, places = "mark", _marks(self._extremes, self._left or [])
        elif self._sums is not None:
            what, places = "line", _lines(self._sums, self._told)
        return (what, [(self._left or [])[place] for place in places], self._told) if places else None

    def _drop(self, rows: int) -> None:
        """Drop the columns that do not tell the target: hardly any remains after the first look."""
        if rows < _ENOUGH:
            return
        if self._extremes is not None:
            kept = _thresholds(self._extremes)
            self._extremes.low, self._extremes.high = self._extremes.low[kept], self._extremes.high[kept]
        elif self._sums is not None and self._origin is not None:
            kept = _lines(self._sums, self._told)
            self._sums, self._origin = self._sums[:, kept], (self._origin[0][kept], self._origin[1])
        else:
            kept = []
        self._left = kept if self._left is None else [self._left[place] for place in kept]
        if self._extremes is not None and not kept:
            self._extremes.first = self._extremes.first[:0]

    def _take_extremes(self, table: Tensor, term: Term) -> None:
        labels = _labels(term)
        if labels is None or len(labels) != len(table) or self._width < COLUMNS:
            return
        known = torch.unique(labels).tolist()
        if self._extremes is None:
            shape = (table.shape[1], MOST)
            infinite = torch.full(shape, torch.inf, dtype=torch.float64)
            self._extremes = _Extremes(infinite, -infinite, torch.zeros(MOST), table[:LEAST].clone())
        seen = self._extremes
        if seen.low.shape[0] != table.shape[1] or known[0] < 0 or known[-1] >= MOST:
            seen.met.zero_()
            return
        self._told += len(labels)
        places = labels.expand(table.shape[1], -1)  # (F, B)
        seen.low.scatter_reduce_(1, places, table.T, "amin")
        seen.high.scatter_reduce_(1, places, table.T, "amax")
        seen.met += torch.bincount(labels, minlength=MOST)

    def _take_sums(self, table: Tensor, target: Tensor) -> None:
        values = target.reshape(len(target), -1).cpu().double()
        if not target.is_floating_point() or self._extremes is not None or values.shape[1] != 1 or self._width < COLUMNS:
            return
        if self._origin is None or self._origin[0].shape != table.shape[1:]:
            self._origin, self._sums, self._told = (table[0], values[0]), None, 0
        x, y = table - self._origin[0], (values - self._origin[1]).expand_as(table)
        sums = torch.stack([each.sum(0) for each in (x, x * x, x * y, y, y * y)])
        self._sums = sums if self._sums is None else self._sums + sums
        self._told += len(table)


def _labels(term: Term) -> Tensor | None:
    """(B,) class numbers, one for each example; None for other targets."""
    target = term.target
    if target is None or term.kind not in ("cross-entropy", "binary cross-entropy"):
        return None
    if target.is_floating_point():
        flat = target.detach().reshape(len(target), -1)
        if flat.shape[1] == 1 and bool(((flat == 0) | (flat == 1)).all()):
            return flat[:, 0].long().cpu()
        return None
    return target.detach().long().cpu() if target.ndim == 1 else None  # yes and no may come as bool


def _thresholds(seen: _Extremes, *, often: bool = False) -> list[int]:
    """Columns whose values of each class lie next to those of the next class, without overlap.

    often: require also that there is no gap and that no class is rare.
    """
    met = torch.nonzero(seen.met > 0).reshape(-1)
    if not len(met) or not len(seen.low):
        return []
    if often and (len(met) < 2 or bool((seen.met[met] < RARE).any())):
        return []  # a rare class proves nothing
    low, high = seen.low[:, met], seen.high[:, met]
    order = low.argsort(1)
    low, high = low.gather(1, order), high.gather(1, order)
    gaps = low[:, 1:] - high[:, :-1]  # (F, K - 1)
    extent = (high[:, -1] - low[:, 0])[:, None]
    beside = (gaps > 0) & ((gaps <= _GAP * extent) | (not often))
    return [int(place) for place in torch.nonzero((beside & (extent > 0)).all(1)).reshape(-1)]


def _codes(seen: _Extremes) -> list[int]:
    """Columns that hold one value for each class, another for each: the label itself, however it is numbered or scaled."""
    met = torch.nonzero(seen.met > 0).reshape(-1)
    if len(met) < _CODES or bool((seen.met[met] < RARE).any()):
        return []
    low, high = seen.low[:, met], seen.high[:, met]
    apart = (low.sort(1).values.diff(dim=1) > 0).all(1)
    return [int(place) for place in torch.nonzero((low == high).all(1) & apart).reshape(-1)]


def _marks(seen: _Extremes, left: list[int]) -> list[int]:
    """Columns that hold one value in all examples of one of two classes, and other values in the other class.

    Such a column was written for that class alone. A value that is common in other columns too, such as a dark pixel, does not
    count.
    """
    met = torch.nonzero(seen.met >= RARE).reshape(-1)
    if len(met) != 2 or int((seen.met > 0).sum()) != 2:
        return []
    found = []
    for place in torch.nonzero((seen.low[:, met] == seen.high[:, met]).sum(1) == 1).reshape(-1).tolist():
        k = int(met[(seen.low[place, met] == seen.high[place, met]).nonzero()[0]])
        usual = double(seen.first == seen.low[place, k]).mean(0) > _USUAL
        usual[left[place]] = False
        if not bool(usual.any()):
            found.append(place)
    return found


def _lines(sums: Tensor, rows: int) -> list[int]:
    """Columns of which the target is a linear function."""
    x, xx, xy, y, yy = sums / rows
    spread, other, both = xx - x * x, yy - y * y, xy - x * y
    left = 1 - both.square() / (spread * other)  # NaN for a constant column or target
    return [int(place) for place in torch.nonzero(left.abs() < _LINE).reshape(-1)]
