"""Evidence "held-out answers": what the model answered to held-out data, beside what was asked of it.

Of the last evaluation listened to, see `evaluations`. figures: "evaluation": its place among all, from 0; "rows"; "mean" and
"std" of the inputs; "told" and "compared": how well inputs predict their targets, see `graph.data.telling`; "copied": share of
the targets that are what one column of the inputs holds, "column": which, -1 for the input at their own place.
    Classes: "right": share of answers that are the class asked for; "mapped": the same if each class of answers is taken for the
    class that it mostly goes with, found on every second row and counted on the others; "most": share of the commonest class;
    "from", "to": the commonest class of answers that goes with another class asked for, and that class; "asked 0",
    "asked 1", …: share of each class.
    Masks, and several labels for each example: no more than that.
    Numbers: "left": mean squared error / variance of the targets; "fitted": what a straight line from answers to targets leaves
    of it; "slope", "offset" of that line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.graph.data.targets import NAMED
from lettrine.torch.graph.data.telling import Copies, Likeness, flat, told
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.private import without_modes

_PASS: Final = 512  # rows kept of one pass
_IGNORED: Final = -100  # torch's ignore_index, if no other is given
_ALL: Final = 1_024  # rows kept of one evaluation
_CLASSES: Final = ("cross_entropy", "nll_loss")
_YES_OR_NO: Final = {"binary_cross_entropy": 0.5, "binary_cross_entropy_with_logits": 0.0}  # and what lies between no and yes
_NUMBERS: Final = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")

Array = NDArray[Any]


class Answers:
    """Gathers inputs, answers and targets of one evaluation. note: called with the evidence."""

    def __init__(self, note: Callable[[Evidence], None]) -> None:
        self._note = note
        self._kept: list[tuple[Array, Array, Array]] = []  # inputs (B, I), answers (B, K) and targets (B, K) of a pass
        self._kind, self._copies = "", Copies()
        self._told: Likeness | None = None

    def take(self, given: Tensor | None, call: FunctionCall) -> None:
        """A pass on these inputs was followed by this loss."""
        answered, asked = call.given(0, "input"), call.given(1, "target")
        room = sum(len(each) for each, _, _ in self._kept) < _ALL
        if room and isinstance(answered, Tensor) and isinstance(asked, Tensor):
            with torch.no_grad(), without_modes():
                self._take(given, call, answered, asked)

    def _take(self, given: Tensor | None, call: FunctionCall, answered: Tensor, asked: Tensor) -> None:
        name = call.name
        pair = _pair(name, answered, asked) if readable(answered) and readable(asked) else None
        if pair is None:
            return
        if given is not None and readable(given) and asked.numel() == len(pair[1]):
            self._copies.take(given, asked)
        if name in _CLASSES:  # padding is no class, and nobody answers for it
            counted = pair[1][:, 0] != int(call.kwargs.get("ignore_index", _IGNORED))
            given = given[counted] if given is not None and readable(given) and len(given) == len(counted) else None
            pair = pair[0][counted], pair[1][counted]
        if not len(pair[0]):
            return
        self._kind = "numbers" if name in _NUMBERS else "classes" if pair[0].numel() == len(pair[0]) else "masks"
        rows = min(len(pair[0]), _PASS)
        usable = given is not None and given.is_floating_point() and given.ndim > 1 and readable(given)
        paired = given if usable and given is not None and len(given) == len(pair[0]) else torch.zeros(rows, 0)
        inputs = flat(paired, rows)
        self._kept.append((inputs, flat(pair[0], rows), flat(pair[1], rows)))

    def end(self, place: int) -> None:
        """The evaluation is over: note what was seen, and forget it. place: among all evaluations, from 0."""
        kept, self._kept = self._kept, []
        copies, self._copies = self._copies, Copies()
        if not kept or len({tuple(part.shape[1] for part in each) for each in kept}) > 1:
            return
        inputs, answers, targets = (np.concatenate(part) for part in zip(*kept, strict=True))
        figures: dict[str, float] = {"evaluation": place, "rows": len(inputs)}
        if self._kind != "masks":
            figures |= (_of_classes if self._kind == "classes" else _of_numbers)(answers, targets)
        figures |= {"copied": copies.share, "column": copies.column}
        if inputs.shape[1]:
            figures |= {"mean": inputs.mean(), "std": inputs.std()}
            if self._told is None:
                self._told = told([inputs], [targets], classes=self._kind == "classes")
            figures |= {"told": self._told.far, "compared": self._told.rows}
        words = {"targets": self._kind}
        self._note(Evidence("held-out answers", (), (0, 0), {name: float(each) for name, each in figures.items()}, words))

    def forget(self) -> None:
        """Drop what was gathered."""
        self._kept, self._copies = [], Copies()


def _pair(name: str, answered: Tensor, asked: Tensor) -> tuple[Tensor, Tensor] | None:
    """Answers and targets, a row for each example or place; None if they are not one class or some numbers for each."""
    if name in _CLASSES:
        if answered.ndim < 2 or answered.shape[:1] + answered.shape[2:] != asked.shape or asked.is_floating_point():
            return None
        said, wanted = answered.argmax(1).reshape(-1, 1), asked.reshape(-1, 1)
        # of the places of sequences and pictures some from everywhere: those at the beginning may be alike
        every = 1 if asked.ndim == 1 else -(-len(wanted) // _PASS)
        return said[::every], wanted[::every]
    if answered.shape != asked.shape or not asked.ndim:
        return None
    if name in _NUMBERS:
        return answered, asked
    if asked.numel() > len(asked):
        return answered, asked  # masks, or several labels for each
    yes_or_no = bool(((asked == 0) | (asked == 1)).all())
    return ((answered > _YES_OR_NO[name]).reshape(-1, 1), asked.reshape(-1, 1)) if yes_or_no else None


def _of_classes(answers: Array, targets: Array) -> dict[str, float]:
    said, asked = answers[:, 0].astype(np.int64), targets[:, 0].astype(np.int64)
    if min(said.min(), asked.min()) < 0:
        return {}
    table = np.zeros((said.max() + 1, asked.max() + 1))
    np.add.at(table, (said[::2], asked[::2]), 1)
    mapped = np.where(table.any(axis=1), table.argmax(axis=1), -1)[said[1::2]]
    figures = {"right": float((said == asked).mean()), "mapped": float((mapped == asked[1::2]).mean())}
    shares = np.bincount(asked) / len(asked)
    figures["most"] = float(shares.max())
    if len(shares) <= NAMED:
        figures |= {f"asked {each}": float(shares[each]) for each in np.flatnonzero(shares)}
    other = table.copy()
    np.fill_diagonal(other, 0)
    figures["from"], figures["to"] = map(float, np.unravel_index(other.argmax(), other.shape))
    return figures


def _of_numbers(answers: Array, targets: Array) -> dict[str, float]:
    said, asked = answers.reshape(-1), targets.reshape(-1)
    variance = asked.var()
    if not (variance > 0 and said.var() > 0 and np.isfinite(said).all()):
        return {}
    slope = float(((said - said.mean()) * (asked - asked.mean())).mean() / said.var())
    offset = float(asked.mean() - slope * said.mean())
    fitted = float(((slope * said + offset - asked) ** 2).mean() / variance)
    return {"left": float(((said - asked) ** 2).mean() / variance), "fitted": fitted, "slope": slope, "offset": offset}
