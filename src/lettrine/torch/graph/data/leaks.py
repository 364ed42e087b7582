"""Evidence "leak": a part of the input is the target itself, or determines it alone.

    where: empty. figures: input (index of the model's input), place (the column of a table, the position of a sequence; -1 for
        the whole sequence), places (how many such places there are), wide (how many there are in all), examples (compared), axes
        (of the input; of three the last step was read, or each place if each has a target).
    words["what"]: "column", "position", "sequence", "mark" (the column holds one value for every example of a class, and other
        values for the other class), "code" (the column holds one value for each class), "threshold" (thresholds between adjacent
        values separate the classes) or "line" (the target is a straight line of the column).

Only a part that determines the target without exception counts. A part that merely correlates with the target is what a model
should learn. Classes that are separate by nature leave a gap between their values; a column that the target was computed from
leaves no gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeAlias

import torch
from torch import Tensor, nn

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.data.determining import COLUMNS, LEAST, MOST, RARE, WIDE, DeterminingColumns
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.losses.terms import Term


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
                    asked, term = _one_row_each(given.detach(), terms[0], look)
                    self._inputs.setdefault(place, _Compared()).take(asked, term, look.step, given.ndim)
        return ()

    def finish(self) -> Iterator[Evidence]:
        """The places that agreed in all looks."""
        for place, compared in self._inputs.items():
            if (found := compared.found()) is not None:
                what, places, rows = found
                figures = {
                    "input": place,
                    "place": -1 if what == "sequence" else places[0],
                    "places": len(places),
                    "wide": compared.wide,
                    "examples": rows,
                    "axes": compared.axes,
                }
                told = {name: float(value) for name, value in figures.items()}
                yield Evidence("leak", (), compared.steps, told, {"what": what})
                return


def _one_row_each(given: Tensor, term: Term, look: Look) -> tuple[Tensor, Term]:
    """The input with one row for each target: a target for each node of many graphs, (B, N), or for some nodes of one graph."""
    target = term.target
    if target is None or target.ndim == 0 or not given.is_floating_point() or given.shape[-1] < COLUMNS:
        return given, term
    if given.ndim == 3 and target.numel() == given.shape[0] * given.shape[1] and not _narrower(look, target.numel()):
        return given.flatten(0, 1), replace(term, target=target.reshape(-1))
    if given.ndim == 2 and target.numel() == len(target) < len(given):
        picked = next((call for call in look.outside if call.result is term.given and call.name == "__getitem__"), None)
        rows = picked.given(1, "index") if picked is not None else None
        source = picked.given(0, "input") if picked is not None else None
        if isinstance(rows, Tensor) and rows.ndim == 1 and isinstance(source, Tensor) and len(source) == len(given):
            return given[rows], term
    return given, term


def _narrower(look: Look, count: int) -> bool:
    """Whether a layer holds fewer numbers than there are targets, as in an autoencoder; or that is not known."""
    outputs = [call.output for call in look.modules if isinstance(call.output, Tensor)]
    return not outputs or any(each.numel() < count for each in outputs)


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


class _Compared:
    """One input compared with the targets, look after look."""

    def __init__(self) -> None:
        self.steps, self.axes = (0, 0), 0
        self._what = ""
        self._agree: Tensor | None = None  # (F,) or (F, K): whether a column or position has agreed so far
        self._rows = 0
        self._seen: Tensor | None = None  # (K,) or (): how often each class, or different values, occurred
        self._indicators: _Indicators | None = None
        self._columns = DeterminingColumns()

    def take(self, given: Tensor, term: Term, step: int, axes: int) -> None:
        """One look. axes: of the input, of which given may be the rows that are asked for."""
        self.steps, self.axes = (self.steps[0], step), axes
        open_ = self._agree is None or bool(self._agree.any())  # a place that disagreed once stays out
        if open_ and given.ndim == 2 and (found := self._classes(given, term) or _compared(given, term)) is not None:
            self._take(*found)
        if axes == given.ndim:  # of each place only what is the very target counts: a threshold there may be the task
            self._columns.take(given, term)

    def _classes(self, given: Tensor, term: Term) -> _Found | None:
        """Columns that may be indicators of a class; None for other inputs and targets."""
        target = term.target
        classes = _classes_of(term)
        if target is None or target.is_floating_point() or not given.is_floating_point() or not 1 < classes <= MOST:
            return None
        table, kept = given[:, :WIDE], (target >= 0) & (target < classes)
        if target.shape != given.shape[:1] or not bool(kept.all()):
            return None
        if self._agree is None:
            self._indicators = _Indicators(table.shape[1], classes, table)
        if self._indicators is None or (self._agree is not None and self._agree.shape != (table.shape[1], classes)):
            return None
        agree = self._indicators.take(table, target)
        return "column", agree, torch.bincount(target, minlength=classes).cpu(), len(target)

    @property
    def wide(self) -> int:
        """How many columns or positions were compared."""
        return 0 if self._agree is None else len(self._agree)

    def found(self) -> tuple[str, list[int], int] | None:
        """What equals or tells the target, where, and in how many examples; None for nothing."""
        return self._held() or self._columns.found()

    def _held(self) -> tuple[str, list[int], int] | None:
        """Places that equal the target exactly."""
        if self._agree is None or self._seen is None or self._rows < LEAST:
            return None
        agree = self._agree
        if agree.ndim > 1:  # by class: a class proves something only if it is often there and often absent
            often = (self._seen >= RARE) & (self._rows - self._seen >= RARE)
            agree = (agree & often).any(1)
        elif (self._seen.ndim and int((self._seen > 0).sum()) < 2) or (not self._seen.ndim and not bool(self._seen)):
            return None
        places = torch.nonzero(agree).reshape(-1).tolist()
        return (self._what, places, self._rows) if places and (self._what != "sequence" or len(places) == len(agree)) else None

    def _take(self, what: str, agree: Tensor, seen: Tensor, rows: int) -> None:
        if self._agree is not None and (what != self._what or agree.shape != self._agree.shape):
            self._agree = torch.zeros_like(self._agree)
            return
        self._what, self._rows = what, self._rows + rows
        self._agree = agree if self._agree is None else self._agree & agree
        self._seen = seen if self._seen is None else self._seen + seen


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
    return "column", (given[:, :WIDE] == values).all(0).cpu(), different, len(given)


def _tokens(given: Tensor, target: Tensor, classes: int) -> _Found | None:
    """Positions that hold the class, or a sequence that equals its own target."""
    met = torch.bincount(target.reshape(-1).clamp(0, classes - 1), minlength=classes).cpu()
    if target.numel() == given.numel():
        return "sequence", (given.reshape(-1) == target.reshape(-1)).all()[None].cpu(), met, target.numel()
    if target.shape == given.shape[:1]:
        return "position", (given == target[:, None]).all(0).cpu(), met, len(target)
    return None
