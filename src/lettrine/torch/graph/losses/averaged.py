"""Evidence "averaged first": the mean over the batch was taken before the loss, of answers and targets or of their differences.

where: the module that made the answers. words: "what" was averaged. figures: "looks" that showed it; "rows" in the mean; "left":
mean squared error of the single answers / variance of the targets, at the last look; NaN for classes.

Only what is the whole loss counts. A bag of instances with one target, or two networks' answers, are averaged on purpose: here
the targets are data with one row for each answer, and the step itself takes their mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import nan
from typing import Final

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.devices import double
from lettrine.torch.graph.losses.comparisons import LOSSES, alone, readable
from lettrine.torch.graph.losses.heads import head_of

_MEANS: Final = ("mean", "sum")
_DIFFERENCES: Final = ("sub", "__sub__", "rsub", "__rsub__")
_BENT: Final = frozenset("pow square __pow__ abs absolute __abs__".split())  # noqa: SIM905
_LEAST: Final = 8  # rows

Makers = Mapping[int, FunctionCall]


@dataclass(frozen=True)
class _Averaged:
    answers: Tensor  # (B, ...)
    targets: Tensor
    what: str


@reader
class Averaged:
    """Finds losses of means."""

    def __init__(self) -> None:
        self._looks: list[int] = []
        self._last: Evidence | None = None

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        makers = {id(call.result): call for call in look.calls if isinstance(call.result, Tensor)}
        for call in look.outside:
            found = _of_one(call, makers) or _of_two(call, makers)
            if found is None or not alone(look.loss, call):
                continue
            head = head_of(found.answers, look.parameters)
            if not head.place:
                continue
            self._looks.append(look.step)
            figures = {"rows": float(len(found.answers)), "left": _left(found)}
            self._last = Evidence("averaged first", (head.module,), (0, look.step), figures, {"what": found.what})
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What all looks showed."""
        if self._last is not None:
            steps, last = (self._looks[0], self._looks[-1]), self._last
            yield Evidence(last.kind, last.where, steps, {**last.figures, "looks": float(len(set(self._looks)))}, last.words)


def _of_one(call: FunctionCall, makers: Makers) -> _Averaged | None:
    """A square or a size of the mean of differences."""
    if call.name not in _BENT:
        return None
    mean = _mean_of(call.given(0, "input"), makers)
    made = None if mean is None else makers.get(id(mean))
    if made is None or made.name not in _DIFFERENCES:
        return None
    first, second = made.given(0, "input"), made.given(1, "other")
    return _paired(first, second, "differences") if isinstance(second, Tensor) and first.shape == second.shape else None


def _of_two(call: FunctionCall, makers: Makers) -> _Averaged | None:
    """A loss, or a difference of which the square is taken, of two means."""
    if call.name not in LOSSES and call.name not in _DIFFERENCES:
        return None
    first, second = (_mean_of(call.given(place, name), makers) for place, name in ((0, "input"), (1, "target")))
    if first is None or second is None or len(first) != len(second):
        return None
    return _paired(first, second, "answers")


def _mean_of(value: object, makers: Makers) -> Tensor | None:
    """What a mean over the first axis, or over all, was taken of."""
    made = makers.get(id(value))
    if not isinstance(value, Tensor) or made is None or made.name not in _MEANS:
        return None
    whole, axis = made.given(0, "input"), made.given(1, "dim")
    over = axis in (0, (0,), [0]) or (axis is None and value.ndim == 0)
    fits = isinstance(whole, Tensor) and whole.ndim > 0 and len(whole) >= _LEAST and readable(whole)
    return whole if fits and over and value.shape in ((), whole.shape[1:]) else None


def _paired(first: Tensor, second: Tensor, what: str) -> _Averaged | None:
    """The answers and the targets: one of them alone is made by weights."""
    if first.requires_grad is second.requires_grad:
        return None
    answers, targets = (first, second) if first.requires_grad else (second, first)
    return _Averaged(answers, targets, what) if readable(answers) and readable(targets) else None


def _left(found: _Averaged) -> float:
    """What the single answers leave of the targets' variance; NaN if their shapes differ or nothing varies."""
    answers, targets = double(found.answers.detach()), double(found.targets.detach())
    if answers.shape != targets.shape or not float(targets.var()) > 0:
        return nan
    return float((answers - targets).square().mean() / targets.var())
