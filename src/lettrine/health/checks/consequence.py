"""Whether learning suffered: the second half of every warning.

A symptom (saturated outputs, large steps, unscaled inputs) is a fault only if learning suffers from it. `examine` weighs the
findings of checks that are registered as symptoms; other checks ask here:

    harm = consequence(trace)
    severity = "warning" if harm.bad else "info"
    message = f"{what_was_seen}, and {harm.words}."
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite, log, nan
from typing import Final

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.reading import finite_curve, number, standard_error, tamed
from lettrine.health.checks.reference import UNKNOWN, Reference, classes_of, even_of, guess_of, ordinary, reference_of
from lettrine.health.findings import Finding
from lettrine.health.trace import Floats, Trace

_FEW: Final = 10  # with fewer losses, even a fall to almost 0 cannot be seen
_TOO_FEW: Final = "too few losses were seen to say what became of it"
_NEED_NOT_FALL: Final = "a loss of this kind need not fall while a network learns, so it does not say what became of it"
_ONLY_LATE: Final = "the first losses were not seen, so the later ones do not say what became of it"
BAD: Final = ("not finite", "rises", "flat", "guessing", "held out")


@dataclass(frozen=True)
class Consequence:
    """How a training went.

    kind: "not finite"; "rises" (ends far above its lowest level, or above its start); "flat" (does not fall); "guessing" (fell
        to the loss of the best constant answer, and no further); "held out" (learned, but the result fails on held-out data);
        "learns" (falls below its reference); "falls" (falls, and no reference is known); "unknown" (the losses do not tell: too
        few, only late ones, or of a kind that need not fall).
    steps: first and last step judged. start, best, end: levels of the loss at the start, at its lowest and over the last tenth.
    reference: the value compared with. words: all this as a half sentence, such as "the loss does not fall (2.30 at first, 2.31
        at step 399)".
    """

    kind: str
    steps: tuple[int, int] = (0, 0)
    start: float = nan
    best: float = nan
    end: float = nan
    reference: Reference = UNKNOWN
    words: str = _TOO_FEW

    @property
    def bad(self) -> bool:
        """Whether harm was measured."""
        return self.kind in BAD

    @property
    def well(self) -> bool:
        """Whether the loss fell so far, below its reference or otherwise below its start, that not much can have hindered
        learning.
        """
        if self.kind == "learns":
            return self.left <= limits.LEARNED_WELL
        return self.kind == "falls" and not self.reference.known and self.end <= limits.LEARNED_WELL * self.start

    @property
    def left(self) -> float:
        """What is still to be learned at the end, as a share of all that can be learned; NaN without a reference."""
        return self.reference.left(self.end)


def consequence(trace: Trace, *, least: int = limits.CONSEQUENCE_STEPS) -> Consequence:
    """How learning went in this run. least: below this number of steps the kind is "unknown", unless values became non-finite."""
    first = trace.first_nonfinite
    steps, losses = finite_curve(trace, trace.loss)
    if first is not None and (first.phase != "forward" or _never_finite_again(trace, first.step)):
        words = f"values stopped being finite at step {first.step:,}"
        return Consequence("not finite", (first.step, first.step), words=words)
    taken = int(steps[-1] - steps[0]) + 1 if len(steps) else 0
    if taken < min(least, _FEW) or len(losses) < _FEW:
        return Consequence("unknown")
    if not ordinary(trace):
        return Consequence("unknown", words=_NEED_NOT_FALL)
    course = _course(trace, steps, losses)
    kind = _kind(trace, course, losses)
    without = tamed(losses)  # one loss far above all others hides the rise of these in the noise that it makes
    if kind in ("falls", "guessing") and _kind(trace, risen := _course(trace, steps, without), without) == "rises":
        course, kind = risen, "rises"
    course = Consequence(kind, course.steps, course.start, course.best, course.end, course.reference, _words(kind, trace, course))
    return course if taken >= least or course.well else Consequence("unknown")


def _never_finite_again(trace: Trace, step: int) -> bool:
    """Whether no loss from this step on was finite. An output alone may hold an infinity on purpose, such as a mask."""
    after = trace.loss.mean[trace.loss.step >= step]
    return len(after) > 0 and not np.isfinite(after).any()


def weigh(finding: Finding, trace: Trace, *, symptom: str = "remark") -> Finding | None:
    """The severity of a symptom, decided by how learning went.

    The finding stays as it is if harm was measured or the loss is still high. It becomes a remark if nothing can be said about
    the loss. If learning went well it becomes a remark or is dropped. symptom: as `check` takes it.
    """
    course = consequence(trace)
    if finding.steps == (0, 0) and wasted(trace) and not (course.well and _soon(trace)):
        return finding
    if finding.steps == (0, 0) and not fresh(trace):
        return None  # a network that was trained before does not have a fresh initialisation
    if course.well:
        return None if symptom == "silent" else _remark(finding, course)
    if course.bad or (course.kind == "unknown" and not len(trace.loss.step)):
        return finding  # without a loss nothing else can decide
    mild = symptom == "harm" and finding.severity != "critical"
    if not ordinary(trace) or course.kind == "unknown" or mild:
        return _remark(finding, course)
    return finding


def wasted(trace: Trace) -> bool:
    """Whether the loss began so far above that of a uniform answer that the first steps only undid the initialisation."""
    first, even, classes = first_loss(trace), even_of(trace), classes_of(trace)
    return ordinary(trace) and isfinite(even) and first > even + limits.INITIAL_LOSS_EXCESS * even / log(classes)


def _soon(trace: Trace) -> bool:
    """Whether undoing the initialisation took only a small part of the run."""
    steps, _ = finite_curve(trace, trace.loss)
    return bool(steps_until(trace, even_of(trace)) <= limits.WASTED_SHARE * (steps[-1] - steps[0] + 1))


def steps_until(trace: Trace, level: float) -> float:
    """Steps until the mean of five losses reaches a level; infinite if it never did."""
    steps, losses = finite_curve(trace, trace.loss)
    smooth = np.convolve(losses, np.full(5, 0.2), mode="valid") if len(losses) >= 5 else losses
    below = np.flatnonzero(smooth <= level)
    return float(steps[below[0]] - steps[0] + 1) if len(below) else float("inf")


def fresh(trace: Trace) -> bool:
    """Whether the network had learned nothing yet when the watch began, as far as the records tell."""
    first, guess = first_loss(trace), guess_of(trace)
    return not trace.seen("resumed") and not first < limits.TRAINED_BEFORE * guess


def first_loss(trace: Trace) -> float:
    """The loss of step 0 itself, NaN if it was not recorded. In a long run the first point of the curve is a mean over many
    steps.
    """
    sampled = trace.step_stats["loss"]
    if len(trace.steps) and trace.steps[0] == 0 and isfinite(sampled[0]):
        return float(sampled[0])
    return float(trace.loss.mean[0]) if len(trace.loss.step) and trace.loss.step[0] == 0 else nan


def _remark(finding: Finding, course: Consequence) -> Finding:
    told = f"{finding.message.removesuffix('.')}; {course.words}." if course.kind != "unknown" else finding.message
    advice = f"Nothing has to change while it learns so well. Otherwise: {finding.remedy}" if course.well else finding.remedy
    return replace(finding, severity="info", message=told, remedy=advice)


def _course(trace: Trace, steps: Floats, losses: Floats) -> Consequence:
    end = float(np.mean(losses[-max(10, len(losses) // 10) :]))
    blocks = [float(np.mean(part)) for part in np.array_split(losses, min(20, max(1, len(losses) // 5)))]
    start = float(np.mean(losses[: min(5, len(losses))])) if steps[0] == 0 else nan
    return Consequence("unknown", (int(steps[0]), int(steps[-1])), start, min(blocks), end, reference_of(trace, end))


def _kind(trace: Trace, course: Consequence, losses: Floats) -> str:
    start, best, end, reference = course.start, course.best, course.end, course.reference.value
    tail = losses[-max(10, len(losses) // 10) :]
    noise = (standard_error(tail) if len(tail) > 2 else 0.0) or 0.0
    known = course.reference.known
    from_where = np.nanmin([start, reference]) if isfinite(start) or known else nan
    learned = from_where - best if isfinite(from_where) else nan
    if learned > limits.LEARNED_SHARE * abs(from_where):
        if end > best + max(limits.DIVERGED_SHARE * learned, limits.NOISE * noise * 3):
            return "rises"
    elif isfinite(start) and end > start + max(limits.DIVERGED_SHARE * abs(start), limits.NOISE * noise * 3):
        return "rises"
    if known and course.left >= limits.CHANCE_SHARE:
        third = max(10, len(losses) // 3)
        falling = float(np.mean(losses[-2 * third : -third]) - np.mean(losses[-third:])) if len(losses) >= 2 * third else 0.0
        return "falls" if falling > max(limits.FLAT_SHARE * abs(end), 3 * noise) else "guessing"
    if not known and isfinite(start) and start - end < max(limits.FLAT_SHARE * abs(start), 3 * noise):
        return "flat"
    if known and _held_out_says_no(trace, reference, end):
        return "held out"
    return "learns" if known else "falls" if isfinite(start) else "unknown"


def _held_out_says_no(trace: Trace, reference: float, end: float) -> bool:
    dev = trace.dev.mean[np.isfinite(trace.dev.mean)]
    enough = len(dev) >= limits.OVERFITTING_POINTS
    return enough and float(dev.min()) > limits.HELD_OUT_CHANCE * reference and end < limits.HELD_OUT_LEARNED * reference


def _words(kind: str, trace: Trace, course: Consequence) -> str:
    at = f"{number(course.end, 3)} at step {course.steps[1]:,}"
    told_by = number(course.reference.value, 3)
    told = {
        "rises": f"the loss, which had come to {number(course.best, 3)}, ended at {number(course.end, 3)}",
        "flat": f"the loss does not fall ({number(course.start, 3)} at first, {at})",
        "guessing": f"the loss, {at}, is no better than {course.reference.words} ({told_by})",
        "learns": f"the loss fell nevertheless, to {at} ({told_by}: {course.reference.words})",
        "falls": f"the loss falls ({number(course.start, 3)} at first, {at})",
        "unknown": _ONLY_LATE,
    }
    if kind == "held out":
        best = float(np.nanmin(trace.dev.mean))
        return f"the loss on held-out data, {number(best, 3)} at best, never beat {course.reference.words} ({told_by})"
    return told[kind]
