"""Evidence "comparison": the targets of predictions at the steps looked at, and the operations that made the predictions.

One for each last weight and kind of loss. where: the module that holds that weight.

words: "expects": what the loss expects, as in `comparisons.LOSSES`; "function": its name; "operations": the operations between
    weights and prediction, from the prediction backwards; "place": the weight; "shape" of the targets; "bent": the module whose
    only work is the last of those operations, if there is one.
figures, over all looks together: "looks", "rows" (examples), "alone" (1 if the loss is only this comparison at every look),
    "left_out": share of looks in which a mask takes all differences away; "mask_places", "places": numbers in the last mask, and
    in the last targets.
    Targets that are numbers: "low", "high", "mean", "std"; "reach_low", "reach_high": range of the prediction; "outside":
    share of targets outside that range; "lost": share of their variance that lies outside. Targets that are rows of
    probabilities: "rows_one": share of rows with sum 1; "rows_many": share of rows of only 0 and 1 with two or more 1;
    "rows_none": share of rows that are all 0; "rows_mixed": share of rows with two or more numbers that are not 0, and
    one that is not whole; "row_sum", "row_spread": mean and standard deviation of their sums. Numbers: "error": mean
    squared difference of predictions and targets at the last look; "square": mean square of the targets then; "answer":
    that of the predictions; "offset": square of their mean difference; "heavy": share of the squares, about the median, that
    the few farthest numbers hold;
    "most_std": standard deviation of the others; "most_left": mean squared error at those, at the last look, by its square;
    "gain": mean squared error of answering each example with the mean of the answers, minus that of the answers themselves,
    in units of the targets' variance, over the looks after warm-up; "gain_error": its standard error.
    Targets that are classes: "classes" (of the prediction), "classes_seen"; "seen 0", "seen 1", …: those; "pure": share of looks
    with a single class; "largest": mean share of a batch's commonest class; "scatter": how much more the classes of batches
    differ than those of shuffled batches (1 is usual); "ignored": share of targets that are left out, and "ignored_number": what
    these are; "all_ignored": share of looks where all are left out; "single": share of looks with one target per example. The
    prediction: "sum_off": looks whose rows do not sum to 1 along the classes although there was a softmax; "ones": looks with all
    values 1; "axis": axis of the softmax, missing for one written by hand that sums to 1 along none; "zeros": share of zeros;
    "never": share of its units that were 0 in all examples; "above": looks with a value above 0; "between": looks with all values
    between 0 and 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import isfinite, nan
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lettrine.health.evidence import Evidence
from lettrine.health.limits import LATE_FROM
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.data.sums_to_one import axis_of_ones, shared_out
from lettrine.torch.graph.losses.comparisons import Comparison, comparisons
from lettrine.torch.graph.memory import memory

_BENDING: Final = (nn.Softmax, nn.Softmax2d, nn.LogSoftmax, nn.Sigmoid, nn.Hardsigmoid, nn.Tanh, nn.ReLU)
CLASSES: Final = ("classes", "logarithms", "shares of classes")
MOST: Final = 2**16  # numbers read of one tensor, from all of its rows
NAMED: Final = 100  # classes that are listed
POOLED: Final = 4_096  # numbers
FEW: Final = 0.05  # of the numbers are the few largest
_ROW: Final = 1e-3  # allowed error of the sum of a row of probabilities: float16 has this error

Array = NDArray[Any]


@dataclass
class _Sums:
    """The sums of one comparison so far."""

    last: Comparison
    first_step: int
    steps: int = 0
    looks: int = 0
    bent: str = ""
    counts: dict[str, float] = field(default_factory=dict)
    numbers: list[tuple[int, float, float, float, float]] = field(default_factory=list)  # count, mean, variance, outside, lost
    low: float = nan
    high: float = nan
    classes: list[dict[int, int]] = field(default_factory=list)
    last_error: dict[str, float] = field(default_factory=dict)
    pooled: list[Array] = field(default_factory=list)  # numbers, at most POOLED
    gains: list[tuple[int, int, float, float]] = field(default_factory=list)  # step, rows, gain, variance of that of a row
    active: Array | None = None
    axis: int | None = None  # along which a softmax written by hand sums to 1

    def add(self, name: str, value: float) -> None:
        self.counts[name] = self.counts.get(name, 0.0) + value


@reader
class ComparedTargets:
    """Collects what predictions are compared with."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], _Sums] = {}

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look; `finish` makes the evidence."""
        for each in look.once(comparisons):
            key = each.head.place, each.expects
            sums = self._seen.setdefault(key, _Sums(each, look.step))
            if each.target.requires_grad:
                continue
            sums.last, sums.steps, sums.bent = each, look.step, _bent_in(each.prediction, look)
            sums.looks += 1
            rows = next((len(given) for root in look.roots for given in root.inputs if given.ndim), 0)
            sums.add("single", rows == _examples(each))
            _take_prediction(sums, each)
            _take_target(sums, each)
        return ()

    def finish(self) -> Iterable[Evidence]:
        """The evidence of all looks."""
        for sums in self._seen.values():
            yield _evidence(sums)


def _bent_in(prediction: Tensor, look: Look) -> str:
    """The softmax, sigmoid or other activation that is a module of its own and gave this prediction; "" if there is none."""
    made = [call for call in look.modules if isinstance(call.module, _BENDING) and isinstance(call.output, Tensor)]
    own = memory(prediction)
    return next((call.name for call in reversed(made) if memory(call.output) == own), "")


def _examples(each: Comparison) -> int:
    """Number of predictions, if each belongs to one example: a class, a number or a row of probabilities; otherwise 0."""
    table = each.prediction.ndim <= 2 and each.target.ndim <= 2
    return len(each.target) if table and each.target.ndim else 0


def _take_prediction(sums: _Sums, each: Comparison) -> None:
    head = each.head
    sums.add("alone", each.alone)
    sums.add("given", each.given)
    sums.add("left_out", each.mask is not None and not bool(each.mask.any()))
    table = _table(each.prediction, _class_axis(each))
    known = np.isfinite(table)
    finite = table if known.all() else table[known.all(axis=1)]
    if not len(finite):
        return
    low, high = finite.min(), finite.max()
    sums.add("above", bool(high > 0))
    sums.add("between", bool(low >= 0 and high <= 1))
    if head.last == "Relu":
        sums.add("zeros", float((finite == 0).mean()))
        active = (finite != 0).any(axis=0)
        sums.active = active if sums.active is None or len(sums.active) != len(active) else sums.active | active
    chain = [name for name in head.operations if name not in ("Clamp", "Log")]
    if "Share" in chain:
        sums.add("ones", bool(np.isclose(np.exp(finite) if head.last == "Log" else finite, 1, atol=1e-6).all()))
    elif chain[:1] in (["Softmax"], ["LogSoftmax"]) and not head.dropped:
        shares = np.exp(finite) if head.last in ("LogSoftmax", "Log") else finite
        sums.add("ones", bool(np.isclose(shares, 1, atol=1e-6).all()))
        sums.add("sum_off", not (_rows_sum_to_one(each, shares) or shared_out(each)))
        if head.axis is None:
            sums.axis = axis_of_ones(each.prediction)


def _rows_sum_to_one(each: Comparison, shares: Array) -> bool:
    """Whether the probabilities of each row sum to 1: along the classes or, if targets are rows too, along the last axis."""
    if np.isclose(shares.sum(axis=1), 1, atol=1e-2).mean() > 0.99:
        return True
    if each.expects in CLASSES or each.prediction.ndim <= 1:
        return False
    other = _table(each.prediction, 1)
    other = np.exp(other) if each.head.last in ("LogSoftmax", "Log") else other
    return bool(np.isclose(other.sum(axis=1), 1, atol=1e-2).mean() > 0.99)


def _take_target(sums: _Sums, each: Comparison) -> None:
    target = each.target
    if each.expects in CLASSES and not target.is_floating_point():
        _take_classes(sums, each)
        return
    numbers = _sample(each.counted)
    numbers = numbers[np.isfinite(numbers)]
    sums.add("rows", len(target) if target.ndim else 1)
    if not len(numbers):
        return
    low, high = each.head.low, each.head.high
    beyond = np.maximum(0.0, np.maximum(low - numbers, numbers - high))
    span = high - low if isfinite(high - low) else float(numbers.std())
    outside = float((beyond > 0.02 * span).mean())
    sums.numbers.append((len(numbers), float(numbers.mean()), float(numbers.var()), outside, float((beyond**2).mean())))
    sums.low = float(np.nanmin([sums.low, numbers.min()]))
    sums.high = float(np.nanmax([sums.high, numbers.max()]))
    if target.numel() == each.prediction.numel():
        answers, asked = _sample(each.prediction), _sample(target)
        error, square, answer = (float((values**2).mean()) for values in (answers - asked, asked, answers))
        offset = float((answers - asked).mean() ** 2)
        sums.last_error = {"error": error, "square": square, "answer": answer, "offset": offset}
        if each.expects in ("squared", "absolute") and sum(map(len, sums.pooled)) < POOLED:
            sums.pooled.append(asked[:POOLED])
        if each.expects in ("squared", "absolute") and target.ndim and len(asked) == target.numel():
            sums.gains.append((sums.steps, len(target), *_gain(answers.reshape(len(target), -1), asked.reshape(len(target), -1))))
        sums.last_error |= _of_most(np.concatenate(sums.pooled) if sums.pooled else asked, answers, asked)
    if target.shape == each.prediction.shape and target.ndim > 1:
        rows = _table(target, _class_axis(each))
        if rows.shape[1] > 1:
            total, binary = rows.sum(axis=1), np.isin(rows, (0.0, 1.0)).all(axis=1)
            sums.add("rows_one", float((np.abs(total - 1) <= _ROW * rows.shape[1] ** 0.5).mean()))
            sums.add("rows_many", float((binary & (total >= 2)).mean()))
            sums.add("rows_none", float((rows == 0).all(axis=1).mean()))
            sums.add("rows_mixed", float((((rows != 0).sum(axis=1) >= 2) & (rows % 1 != 0).any(axis=1)).mean()))
            sums.add("row_sum", float(total.mean()))
            sums.add("row_spread", float(total.std()))
            if (binary & (total == 1)).all():
                sums.classes.append(_counts(rows.argmax(axis=1)))
    elif each.expects in ("logits", "probabilities") and np.isin(numbers, (0.0, 1.0)).all():
        sums.classes.append(_counts(numbers))


def _gain(answers: Array, asked: Array) -> tuple[float, float]:
    """What looking at the input gains, in squares: the mean over the rows, (R, C), and its variance from row to row."""
    rows = ((asked - answers.mean(axis=0)) ** 2 - (asked - answers) ** 2).mean(axis=1)
    return float(rows.mean()), float(rows.var())


def _gained(sums: _Sums, whole: float) -> dict[str, float]:
    """The same over the looks after warm-up, in units of the targets' variance."""
    late = [each for each in sums.gains if each[0] >= LATE_FROM * sums.steps]
    count = sum(rows for _, rows, _, _ in late)
    if not count or not whole > 0:
        return {}
    gain = sum(rows * mean for _, rows, mean, _ in late) / count
    error = (sum(rows * variance for _, rows, _, variance in late) / count**2) ** 0.5
    return {"gain": gain / whole, "gain_error": error / whole}


def _of_most(pooled: Array, answers: Array, asked: Array) -> dict[str, float]:
    """How much of the targets' squares the few largest hold, how the others scatter, and how far the answers miss those."""
    distance = np.abs(pooled - np.median(pooled))
    most = np.quantile(distance, 1 - FEW)
    inside = distance <= most
    whole, spread = float((distance**2).sum()), float(pooled[inside].var())
    near = np.abs(asked - np.median(pooled)) <= most
    if not (whole > 0 and spread > 0 and near.any()):
        return {}
    missed = float(((answers - asked)[near] ** 2).mean())
    return {"heavy": float((distance[~inside] ** 2).sum()) / whole, "most_std": spread**0.5, "most_left": missed / spread}


def _take_classes(sums: _Sums, each: Comparison) -> None:
    labels = _sample(each.target).astype(np.int64)
    left_out = int(each.call.kwargs.get("ignore_index", -100))
    ignored = labels == left_out
    sums.add("rows", len(each.target) if each.target.ndim else 1)
    sums.add("ignored", float(ignored.mean()))
    sums.add("ignored_number", left_out)
    sums.add("all_ignored", bool(ignored.all()))
    if not ignored.all():
        sums.classes.append(_counts(labels[~ignored]))


def _counts(labels: Array) -> dict[int, int]:
    return dict(Counter(labels.astype(np.int64).tolist()))


def _evidence(sums: _Sums) -> Evidence:
    each, looks = sums.last, sums.looks
    head = each.head
    figures = {name: value if name == "rows" else value / looks for name, value in sums.counts.items()}
    figures["looks"] = looks
    figures["mask_places"] = 0 if each.mask is None else each.mask.numel()
    figures["places"] = each.target.numel()
    axis = _class_axis(each)
    figures["classes"] = each.prediction.shape[axis] if each.prediction.ndim else 1
    if (along := sums.axis if head.axis is None else head.axis) is not None:
        figures["axis"] = along
    if sums.active is not None:
        figures["never"] = float(1 - sums.active.mean())
    if sums.numbers:
        count, mean, variance, outside, lost = np.array(sums.numbers).T
        share = count / count.sum()
        centre = float(share @ mean)
        whole = float(share @ (variance + (mean - centre) ** 2))
        figures |= {"low": sums.low, "high": sums.high, "mean": centre, "std": whole**0.5}
        figures |= {"reach_low": head.low, "reach_high": head.high, "outside": float(share @ outside)}
        figures["lost"] = float(share @ lost) / whole if whole > 0 else nan
        figures |= _gained(sums, whole)
    figures |= sums.last_error
    if sums.classes:
        figures |= _spread(sums.classes)
    words = {
        "expects": each.expects,
        "function": each.call.name,
        "operations": " ".join(head.operations),
        "place": head.place,
        "shape": str(tuple(each.target.shape)),
        "bent": sums.bent,
    }
    return Evidence("comparison", (head.module, each.expects), (sums.first_step, sums.steps), figures, words)


def _spread(batches: list[dict[int, int]]) -> dict[str, float]:
    """How evenly the classes are spread over batches: Pearson's chi-squared of the table of batches and classes / degrees of
    freedom.
    """
    known = sorted({label for batch in batches for label in batch})
    table = np.array([[batch.get(label, 0) for label in known] for batch in batches], dtype=np.float64)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    free = (len(batches) - 1) * (len(known) - 1)
    scatter = float(((table - expected) ** 2 / expected).sum() / free) if free else nan
    seen = {f"seen {label}": 1.0 for label in known} if len(known) <= NAMED else {}
    return seen | {
        "classes_seen": len(known),
        "pure": float(((table > 0).sum(axis=1) == 1).mean()),
        "largest": float((table.max(axis=1) / table.sum(axis=1)).mean()),
        "scatter": scatter,
        "labels": float(table.sum()),
    }


def _class_axis(each: Comparison) -> int:
    """The class axis of the prediction: the second for torch's losses over classes, otherwise the last."""
    return 1 if each.expects in CLASSES and each.prediction.ndim > 1 else -1


def _table(tensor: Tensor, axis: int) -> Array:
    """Rows along an axis, (R, K), at most MOST numbers, taken from all rows."""
    moved = tensor.detach()
    if moved.ndim != 2 or axis not in (1, -1):
        moved = moved.movedim(axis, -1).flatten(0, -2) if moved.ndim > 1 else moved.reshape(1, -1)
    most = max(1, MOST // moved.shape[1])
    return np.asarray(moved[:: -(-len(moved) // most)].cpu().to(torch.float64).numpy())


def _sample(tensor: Tensor) -> Array:
    """Numbers of a tensor, at most MOST, evenly spaced."""
    flat = tensor.detach().reshape(-1)
    return np.asarray(flat[:: -(-len(flat) // MOST)].cpu().to(torch.float64).numpy())
