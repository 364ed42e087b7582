"""Evidence "leak": a part of the input that is the target itself.

    where: empty. figures: place (the column of a table, the position of a sequence; -1 for the whole sequence), places (how many
        such there are), examples (compared).
    words["what"]: "column", "position" or "sequence".

Only what is the target to the digit counts: a column that is the target or tells by two values whether it is a class, a position
that holds the class's number. What merely goes with the target is what there is to learn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.terms import Term

_LEAST: Final = 96  # examples that must agree, without an exception
_RARE: Final = 8  # of them on either side: a class seen less often proves nothing
_MOST: Final = 64  # classes each column is compared with
_WIDE: Final = 2_048  # columns looked at, the first ones


@reader
class LeakReader:
    """Compares inputs with targets. A place that once disagrees is out."""

    def __init__(self) -> None:
        self._what = ""
        self._agree: Tensor | None = None  # (F,) or (F, K): whether a column or position has agreed so far
        self._rows = 0
        self._seen: Tensor | None = None  # (K,) or (): how often each class, or different values, were met
        self._steps = (0, 0)

    def look(self, look: Look) -> Iterable[Evidence]:
        """One backward pass."""
        if self._agree is not None and not bool(self._agree.any()):
            return ()  # what once disagreed stays out
        terms = [each for each in look.terms if each.target is not None]
        if len(terms) == 1 and len(look.roots) == 1 and len(look.roots[0].inputs) == 1:
            found = _compared(look.roots[0].inputs[0], terms[0])
            if found is not None:
                self._take(*found)
                self._steps = (self._steps[0], look.step)
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What has agreed in all looks."""
        if self._agree is None or self._seen is None or self._rows < _LEAST:
            return
        agree = self._agree
        if agree.ndim > 1:  # by class: only classes met often, and missed often, prove something
            often = (self._seen >= _RARE) & (self._rows - self._seen >= _RARE)
            agree = (agree & often).any(1)
        elif (self._seen.ndim and int((self._seen > 0).sum()) < 2) or (not self._seen.ndim and not bool(self._seen)):
            return
        places = torch.nonzero(agree).reshape(-1).tolist()
        if places and (self._what != "sequence" or len(places) == len(agree)):
            place = -1 if self._what == "sequence" else places[0]
            figures = {"place": float(place), "places": float(len(places)), "examples": float(self._rows)}
            yield Evidence("leak", (), self._steps, figures, {"what": self._what})

    def _take(self, what: str, agree: Tensor, seen: Tensor, rows: int) -> None:
        if self._agree is not None and (what != self._what or agree.shape != self._agree.shape):
            self._agree = torch.zeros_like(self._agree)
            return
        self._what, self._rows = what, self._rows + rows
        self._agree = agree if self._agree is None else self._agree & agree
        self._seen = seen if self._seen is None else self._seen + seen


_Found: TypeAlias = tuple[str, Tensor, Tensor, int]
"""What is compared, which places agree, what was met, and how many examples."""


def _compared(given: Tensor, term: Term) -> _Found | None:
    target = term.target
    if target is None or given.ndim != 2:
        return None
    if target.is_floating_point():
        return _values(given, target)
    classes = term.given.shape[term.options["axis"]] if term.kind == "cross-entropy" and term.given is not None else 0
    if not classes:
        return None
    return _columns(given, target, classes) if given.is_floating_point() else _tokens(given, target, classes)


def _values(given: Tensor, target: Tensor) -> _Found | None:
    """Columns that are the value to be met."""
    values = target.reshape(len(target), -1) if target.ndim else target
    if given.shape[1] < 2 or values.shape != (len(given), 1):
        return None
    different = torch.tensor(int(values.min() != values.max()))
    return "column", (given[:, :_WIDE] == values).all(0).cpu(), different, len(given)


def _tokens(given: Tensor, target: Tensor, classes: int) -> _Found | None:
    """Positions that hold the class, or a sequence that is its own target."""
    met = torch.bincount(target.reshape(-1).clamp(0, classes - 1), minlength=classes).cpu()
    if target.numel() == given.numel():
        return "sequence", (given.reshape(-1) == target.reshape(-1)).all()[None].cpu(), met, target.numel()
    if target.shape == given.shape[:1]:
        return "position", (given == target[:, None]).all(0).cpu(), met, len(target)
    return None


def _columns(given: Tensor, target: Tensor, classes: int) -> _Found | None:
    """(F, K) columns that tell by two values whether it is a class."""
    if target.shape != given.shape[:1] or classes > _MOST:
        return None
    table = given[:, :_WIDE]
    low, high = table.amin(0), table.amax(0)
    two = ((table == low) | (table == high)).all(0) & (low < high)
    chosen = target[:, None] == torch.arange(classes, device=target.device)  # (B, K)
    agree = torch.zeros(table.shape[1], classes, dtype=torch.bool, device=table.device)
    some = torch.nonzero(two).reshape(-1)
    is_high = (table == high)[:, some]
    for k in range(classes):
        agree[some, k] = (is_high == chosen[:, [k]]).all(0)
    # A batch without the class, or of it alone, has columns of one value: they neither agree nor disagree.
    same = (low == high)[:, None] & (~chosen.any(0) | chosen.all(0))[None]
    met = torch.bincount(target.clamp(0, classes - 1), minlength=classes).cpu()
    return "column", (agree | same).cpu(), met, len(target)
