"""Evidence "leak": a part of the input is the target itself, or determines it alone.

    where: empty. figures: input (index of the model's input), place (the column of a table, the position of a sequence; -1 for
        the whole sequence), places (how many such places there are), examples (compared).
    words["what"]: "column", "position", "sequence", "mark" (the column holds one value for every example of a class, and other
        values for the other class), "threshold" (thresholds between adjacent values separate the classes) or "line" (the target
        is a straight line of the column).

Only a part that determines the target without exception counts. A part that merely correlates with the target is what a model
should learn. Classes that are separate by nature leave a gap between their values; a column that the target was computed from
leaves no gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

import torch
from torch import Tensor, nn

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.comparisons import readable
from lettrine.torch.graph.terms import Term

_LEAST: Final = 96  # examples that must agree, without exception
_RARE: Final = 8  # least examples on either side: a rarer class proves nothing
_MOST: Final = 64  # classes each column is compared with
_WIDE: Final = 2_048  # columns looked at, the first ones only
_GAP: Final = 0.05  # of a column's range: classes with a larger gap are separate by nature
_USUAL: Final = 0.05  # share of a column's values
_COLUMNS: Final = 4  # columns a table must have: if there are fewer, one of them may be the task
_ENOUGH: Final = 16  # rows of a look, after which columns that do not tell the target are dropped
_LINE: Final = 1e-6  # share of the variance that a straight line may leave: rounding of float32


@reader
class LeakReader:
    """Compares inputs with targets. A place that disagrees once is dropped."""

    def __init__(self) -> None:
        self._inputs: dict[int, _Compared] = {}

    def look(self, look: Look) -> Iterable[Evidence]:
        """One backward pass."""
        terms = [each for each in look.terms if each.target is not None]
        if len(terms) == 1 and len(look.roots) == 1:
            inputs = look.roots[0].inputs
            for place, given in enumerate(inputs):
                if readable(given) and given.ndim > 1 and (len(inputs) == 1 or not _handed_over(given, terms[0], look)):
                    self._inputs.setdefault(place, _Compared()).take(given.detach(), terms[0], look.step)
        return ()

    def finish(self) -> Iterator[Evidence]:
        """The places that agreed in all looks."""
        for place, compared in self._inputs.items():
            if (found := compared.held() or compared.tells()) is not None:
                what, places, rows = found
                figures = {
                    "input": place,
                    "place": -1 if what == "sequence" else places[0],
                    "places": len(places),
                    "examples": rows,
                }
                told = {name: float(value) for name, value in figures.items()}
                yield Evidence("leak", (), compared.steps, told, {"what": what})
                return


def _handed_over(given: Tensor, term: Term, look: Look) -> bool:
    """Whether one of several inputs is the targets themselves and no embedding reads it unchanged.

    Such a model is given the earlier answers (teacher forcing) and uses each only after its own place.
    """
    target = term.target
    if target is None or given.is_floating_point() or given.numel() != target.numel():
        return False
    if not bool((given.reshape(-1) == target.reshape(-1)).all()):
        return False
    read = [call.args[0] for call in look.modules if isinstance(call.module, nn.Embedding) and call.args]
    return not any(isinstance(each, Tensor) and each.is_set_to(given) for each in read)


class _Indicators:
    """Columns that hold one value in one class and another in all other classes, over all looks.

    Values of different looks are compared with each other: if the data are sorted, a batch may have one class only.
    """

    def __init__(self, columns: int, classes: int, like: Tensor) -> None:
        self._low = torch.full((classes, columns), torch.inf, dtype=like.dtype, device=like.device)
        self._high = -self._low

    def take(self, table: Tensor, target: Tensor) -> Tensor:
        """Take in a look. Returns (F, K): whether a column can still be the indicator of a class."""
        rows = target[:, None].expand_as(table)
        self._low.scatter_reduce_(0, rows, table, "amin")
        self._high.scatter_reduce_(0, rows, table, "amax")
        low, high = self._low, self._high  # (K, F); of a class that was not seen, low > high
        others_low, others_high = _of_others(low), -_of_others(-high)
        apart = (low != others_low) | (low > high) | (others_low > others_high)
        return ((low >= high) & (others_low >= others_high) & apart).T.cpu()


def _of_others(low: Tensor) -> Tensor:
    """For each class the least value of all other classes, (K, F)."""
    least = low.topk(2, dim=0, largest=False)
    own = torch.arange(len(low), device=low.device)[:, None] == least.indices[0]
    return torch.where(own, least.values[1], least.values[0])


@dataclass
class _Extremes:
    """For each column, over all looks: the least and the greatest value by class, (F, K), and how often each class occurred.

    first: the table of the first look.
    """

    low: Tensor
    high: Tensor
    met: Tensor
    first: Tensor


class _Compared:
    """One input compared with the targets, look after look."""

    def __init__(self) -> None:
        self.steps = (0, 0)
        self._what = ""
        self._agree: Tensor | None = None  # (F,) or (F, K): whether a column or position has agreed so far
        self._rows = self._told = 0
        self._seen: Tensor | None = None  # (K,) or (): how often each class, or different values, occurred
        self._indicators: _Indicators | None = None
        self._extremes: _Extremes | None = None
        self._sums: Tensor | None = None  # (5, F): sums of x, x * x, x * y, y, y * y, relative to the first example
        self._origin: tuple[Tensor, Tensor] | None = None
        self._left: list[int] | None = None  # columns that have told the target so far; None before the first look
        self._width = 0

    def take(self, given: Tensor, term: Term, step: int) -> None:
        """One look."""
        self.steps = (self.steps[0], step)
        open_ = self._agree is None or bool(self._agree.any())  # a place that disagreed once stays out
        if open_ and given.ndim == 2 and (found := self._classes(given, term) or _compared(given, term)) is not None:
            self._take(*found)
        if (
            given.is_floating_point()
            and term.target is not None
            and term.target.shape[:1] == given.shape[:1]
            and self._left != []
        ):
            # of a window only the last step: the task may be to remember an earlier one
            last = given[:, -1] if given.ndim == 3 else given
            table = last.reshape(len(given), -1)[:, :_WIDE]
            if self._left is not None and table.shape[1] != self._width:
                self._left = []  # the table has another shape
                return
            self._width = table.shape[1]
            table = (table if self._left is None else table[:, self._left]).double().cpu()
            self._take_extremes(table, term)
            self._take_sums(table, term.target.detach())
            self._drop(len(table))

    def _classes(self, given: Tensor, term: Term) -> _Found | None:
        """Columns that may be indicators of a class; None for other inputs and targets."""
        target = term.target
        classes = _classes_of(term)
        if target is None or target.is_floating_point() or not given.is_floating_point() or not 1 < classes <= _MOST:
            return None
        table, kept = given[:, :_WIDE], (target >= 0) & (target < classes)
        if target.shape != given.shape[:1] or not bool(kept.all()):
            return None
        if self._agree is None:
            self._indicators = _Indicators(table.shape[1], classes, table)
        if self._indicators is None or (self._agree is not None and self._agree.shape != (table.shape[1], classes)):
            return None
        agree = self._indicators.take(table, target)
        return "column", agree, torch.bincount(target, minlength=classes).cpu(), len(target)

    def held(self) -> tuple[str, list[int], int] | None:
        """Places that equal the target exactly."""
        if self._agree is None or self._seen is None or self._rows < _LEAST:
            return None
        agree = self._agree
        if agree.ndim > 1:  # by class: a class proves something only if it is often there and often absent
            often = (self._seen >= _RARE) & (self._rows - self._seen >= _RARE)
            agree = (agree & often).any(1)
        elif (self._seen.ndim and int((self._seen > 0).sum()) < 2) or (not self._seen.ndim and not bool(self._seen)):
            return None
        places = torch.nonzero(agree).reshape(-1).tolist()
        return (self._what, places, self._rows) if places and (self._what != "sequence" or len(places) == len(agree)) else None

    def tells(self) -> tuple[str, list[int], int] | None:
        """Columns that tell the class by thresholds, or the number by a straight line."""
        if self._told < _LEAST:
            return None
        places, what = [], ""
        if self._extremes is not None:
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

    def _take(self, what: str, agree: Tensor, seen: Tensor, rows: int) -> None:
        if self._agree is not None and (what != self._what or agree.shape != self._agree.shape):
            self._agree = torch.zeros_like(self._agree)
            return
        self._what, self._rows = what, self._rows + rows
        self._agree = agree if self._agree is None else self._agree & agree
        self._seen = seen if self._seen is None else self._seen + seen

    def _take_extremes(self, table: Tensor, term: Term) -> None:
        labels = _labels(term)
        if labels is None or len(labels) != len(table) or self._width < _COLUMNS:
            return
        known = torch.unique(labels).tolist()
        if self._extremes is None:
            shape = (table.shape[1], _MOST)
            infinite = torch.full(shape, torch.inf, dtype=torch.float64)
            self._extremes = _Extremes(infinite, -infinite, torch.zeros(_MOST), table[:_LEAST].clone())
        seen = self._extremes
        if seen.low.shape[0] != table.shape[1] or known[0] < 0 or known[-1] >= _MOST:
            seen.met.zero_()
            return
        self._told += len(labels)
        for k in known:
            rows = table[labels == k]
            seen.low[:, k] = torch.minimum(seen.low[:, k], rows.amin(0))
            seen.high[:, k] = torch.maximum(seen.high[:, k], rows.amax(0))
            seen.met[k] += len(rows)

    def _take_sums(self, table: Tensor, target: Tensor) -> None:
        values = target.reshape(len(target), -1).double().cpu()
        if not target.is_floating_point() or self._extremes is not None or values.shape[1] != 1 or self._width < _COLUMNS:
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
    return target.detach().cpu() if target.ndim == 1 else None


def _thresholds(seen: _Extremes, *, often: bool = False) -> list[int]:
    """Columns whose values of each class lie next to those of the next class, without overlap.

    often: require also that there is no gap and that no class is rare.
    """
    met = torch.nonzero(seen.met > 0).reshape(-1)
    if not len(met) or not len(seen.low):
        return []
    if often and (len(met) < 2 or bool((seen.met[met] < _RARE).any())):
        return []  # a rare class proves nothing
    low, high = seen.low[:, met], seen.high[:, met]
    order = low.argsort(1)
    low, high = low.gather(1, order), high.gather(1, order)
    gaps = low[:, 1:] - high[:, :-1]  # (F, K - 1)
    extent = (high[:, -1] - low[:, 0])[:, None]
    beside = (gaps > 0) & ((gaps <= _GAP * extent) | (not often))
    return [int(place) for place in torch.nonzero((beside & (extent > 0)).all(1)).reshape(-1)]


def _marks(seen: _Extremes, left: list[int]) -> list[int]:
    """Columns that hold one value in all examples of one of two classes, and other values in the other class.

    Such a column was written for that class alone. A value that is common in other columns too, such as a dark pixel, does not
    count.
    """
    met = torch.nonzero(seen.met >= _RARE).reshape(-1)
    if len(met) != 2 or int((seen.met > 0).sum()) != 2:
        return []
    found = []
    for place in torch.nonzero((seen.low[:, met] == seen.high[:, met]).sum(1) == 1).reshape(-1).tolist():
        k = int(met[(seen.low[place, met] == seen.high[place, met]).nonzero()[0]])
        usual = (seen.first == seen.low[place, k]).double().mean(0) > _USUAL
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


_Found: TypeAlias = tuple[str, Tensor, Tensor, int]
"""What is compared, which places agree, what occurred, and how many examples."""


def _compared(given: Tensor, term: Term) -> _Found | None:
    target = term.target
    if target is None or given.ndim != 2:
        return None
    if target.is_floating_point():
        return _values(given, target)
    classes = _classes_of(term)
    if not classes:
        return None
    return None if given.is_floating_point() else _tokens(given, target, classes)


def _classes_of(term: Term) -> int:
    """The number of classes a cross-entropy has; 0 for other losses."""
    return term.given.shape[term.options["axis"]] if term.kind == "cross-entropy" and term.given is not None else 0


def _values(given: Tensor, target: Tensor) -> _Found | None:
    """Columns that equal the target value."""
    values = target.reshape(len(target), -1) if target.ndim else target
    if given.shape[1] < 2 or values.shape != (len(given), 1):
        return None
    different = torch.tensor(int(values.min() != values.max()))
    return "column", (given[:, :_WIDE] == values).all(0).cpu(), different, len(given)


def _tokens(given: Tensor, target: Tensor, classes: int) -> _Found | None:
    """Positions that hold the class, or a sequence that equals its own target."""
    met = torch.bincount(target.reshape(-1).clamp(0, classes - 1), minlength=classes).cpu()
    if target.numel() == given.numel():
        return "sequence", (given.reshape(-1) == target.reshape(-1)).all()[None].cpu(), met, target.numel()
    if target.shape == given.shape[:1]:
        return "position", (given == target[:, None]).all(0).cpu(), met, len(target)
    return None
