"""The reference for a loss: the loss of an answer that ignores the input."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, log, nan
from typing import Final

import numpy as np

from lettrine.health.checks.reading import late, median, output_module
from lettrine.health.checks.registry import Skip
from lettrine.health.evidence import Evidence
from lettrine.health.limits_wiring import LOST_STEPS
from lettrine.health.trace import Floats, Trace


@dataclass(frozen=True)
class Reference:
    """value: the loss of the best constant answer, NaN if there is none or it is not known. words: that answer, for a
    sentence. even: loss of guessing all classes with equal probability, NaN without classes. floor: the loss of answers that are
    the targets themselves, above 0 where these are shares: no network comes below it.
    """

    value: float = nan
    words: str = "guessing"
    even: float = nan
    floor: float = 0.0

    @property
    def known(self) -> bool:
        """Whether there is a reference."""
        return isfinite(self.value) and self.value > 0

    def left(self, loss: float) -> float:
        """What is still to be learned at a loss, of all that can be: 1 at the reference and 0 at the floor; NaN if unknown."""
        span = self.value - self.floor
        return 1.0 if span <= 0 else (loss - self.floor) / span


UNKNOWN: Final = Reference()
NEED_NOT_FALL: Final = "a loss against another network, for rewards or of an unknown kind need not fall"
CONSTANT: Final = "the best single answer to every input"
ONE_OF_THEM: Final = 1.4  # between a loss and the mean of others of its kind; a sum or a mean of two differs by 2
ONE_UNIT: Final = 0.02  # spread of the ratio of two losses that differ in their unit only


def guess_of(trace: Trace) -> float:
    """Loss of guessing without the input, in the units of the reported loss; NaN if unknown, or if guessing means nothing for
    this kind of loss.

    For classes by their frequencies, or else equal probabilities; for values the loss of the best constant answer. It is
    computed from the targets if the loss was examined, otherwise from the known number of classes of the run.
    """
    seen = loss_seen(trace)
    if seen is None:
        guess = trace.facts.chance if isfinite(trace.facts.chance) else _even_of(trace.facts.classes)
    elif seen.words["nature"]:
        guess = nan
    elif seen.words.get("targets") == "classes" and isfinite(trace.facts.chance):
        share = min(trace.facts.chance / _even_of(trace.facts.classes), 1.0)
        guess = share * seen.figure("even") * units_of(trace, seen)
    else:
        guess = seen.figure("reference") * units_of(trace, seen)
    return guess if guess > 0 else nan  # if all targets are the same, guessing costs nothing


def training_weight(trace: Trace) -> float:
    """How many times the training loss that is handed over is the mean over examples and outputs; NaN if unknown."""
    seen = loss_seen(trace)
    return seen.figure("weight") * units_of(trace, seen) if seen is not None else nan


def even_of(trace: Trace) -> float:
    """Loss of guessing all classes with equal probability, in the units of the reported loss; NaN without classes or if
    unknown.
    """
    seen = loss_seen(trace)
    if seen is None:
        return _even_of(trace.facts.classes)
    if seen.words["nature"] or seen.figure("classes") < 2:
        return nan
    return seen.figure("even") * units_of(trace, seen)


def floor_of(trace: Trace) -> float:
    """Loss of answers that are the targets, in the units of the reported loss; 0 if unknown."""
    seen = loss_seen(trace)
    floor = nan if seen is None else seen.figure("floor") * units_of(trace, seen)
    return floor if isfinite(floor) else 0.0


def classes_of(trace: Trace) -> int:
    """How many classes the loss chooses between, 0 for none or if unknown."""
    seen = loss_seen(trace)
    return trace.facts.classes if seen is None else int(seen.figure("classes"))


def loss_seen(trace: Trace) -> Evidence | None:
    """What is known of the loss from its graph; None if it was never examined."""
    return next(iter(trace.seen("loss")), None)


def looked_at(trace: Trace) -> Evidence:
    """The same. Raises Skip if it was never examined."""
    seen = loss_seen(trace)
    if seen is None:
        raise Skip("not applicable", "no backward pass was looked at")
    return seen


def ordinary(trace: Trace) -> bool:
    """Whether the loss falls as the network learns: not a loss against another network, or for rewards, or that is maximised, or
    with a term that trains nothing. Nor one below 0 of modules that were never called: it may be a difference, as of the energies
    of data and of what a Boltzmann machine makes up.
    """
    seen, bare = loss_seen(trace), bare_term(trace)
    untrained = bare is not None and bare.figure("lone") >= LOST_STEPS  # a part of the loss that no step moves
    if trace.seen("maximised") or _maximised_by_hand(trace):
        return False
    if seen is None:
        unseen = not trace.modules and bool((trace.loss.mean < 0).any())
        return not untrained and not unseen
    return seen.words["nature"] in ("", "margin") and not untrained


def _maximised_by_hand(trace: Trace) -> bool:
    """Whether steps that no optimiser makes go up the gradient of what grows as an error shrinks."""
    seen = loss_seen(trace)
    up = any(each.figure("uphill") == each.figure("looks") for each in trace.seen("steps by hand"))
    return up and seen is not None and seen.figure("upwards") == 1


def bare_term(trace: Trace) -> Evidence | None:
    """The term of the loss that had no graph at any look."""
    return next((each for each in trace.seen("bare term") if each.figure("looks") == each.figure("all") >= LOST_STEPS), None)


def units_of(trace: Trace, seen: Evidence) -> float:
    """The reported loss divided by the one trained on (accumulation, a loss scale); NaN if that varies.

    Where a step has several backward passes the loss of one of them may be reported, or that of all while only some were looked
    at: it varies around theirs.
    """
    ratios = handed_ratios(trace, seen)
    if not len(ratios):
        return 1.0
    middle = float(np.median(ratios))
    off = np.abs(ratios / middle - 1) if middle else np.full(1, np.inf)
    if float(np.median(off)) < ONE_UNIT:
        return middle
    parts = max(seen.figure("passes"), seen.figure("parts"))
    if not parts > 1:
        return nan
    return next((each for each in (1.0, parts) if 1 / ONE_OF_THEM < middle / each < ONE_OF_THEM), nan)


def trained_values(seen: Evidence) -> list[float]:
    """The losses on which backward() was called, at the steps looked at, in order; those that are finite."""
    known = sorted((int(name.split()[1]), value) for name, value in seen.figures.items() if name.startswith("value "))
    return [value for _, value in known if isfinite(value)]


def handed_ratios(trace: Trace, seen: Evidence) -> Floats:
    """Reported loss divided by the loss trained on, at the steps where both are known."""
    trained = np.array([seen.figure(f"value {step}") for step in trace.steps.tolist()])
    handed = trace.step_stats["loss"]
    kept = np.isfinite(trained) & np.isfinite(handed) & (trained != 0)
    ratios: Floats = handed[kept] / trained[kept]
    return ratios


def guess_of_values(trace: Trace, end: float) -> float:
    """Squared error of always answering the mean, NaN if unknown.

    It is the network's own error at the end plus the variance of its answers. If the answers are right on average, that
    variance is what they explain of the targets.
    """
    last = output_module(trace)
    squares = bool(trace.facts.loss_chain) and trace.facts.loss_chain[0].startswith("MseLoss") and loss_seen(trace) is None
    if not squares or trace.facts.notes.get("reduction") != "mean" or last is None or last.name not in trace.outputs:
        return nan
    return end + median(trace.output(last.name, "std"), late(trace)) ** 2


def reference_of(trace: Trace, end: float = nan) -> Reference:
    """The reference for the loss. end: the loss at the end, from which the variance of the targets follows if it is not known
    otherwise.
    """
    guess, even = guess_of(trace), even_of(trace)
    if isfinite(guess):
        return Reference(guess, "guessing" if isfinite(even) else CONSTANT, even, floor_of(trace))
    return Reference(guess_of_values(trace, end), CONSTANT)


def _even_of(classes: int) -> float:
    return log(classes) if classes > 1 else nan
