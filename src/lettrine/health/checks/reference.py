"""What a loss is held against: what answering without looking at the input would give."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, log, nan
from typing import Final

from lettrine.health.checks.reading import late, median, output_module
from lettrine.health.trace import Trace


@dataclass(frozen=True)
class Reference:
    """value: the loss of one and the same answer to every input, NaN if the loss has none or it is not known.
    words: how that is answered, for a sentence. even: loss of guessing evenly among the classes, NaN without classes.
    """

    value: float = nan
    words: str = "guessing"
    even: float = nan

    @property
    def known(self) -> bool:
        """Whether there is something to hold the loss against."""
        return isfinite(self.value) and self.value > 0


UNKNOWN: Final = Reference()


def guess_of(trace: Trace) -> float:
    """Loss of guessing without looking at the input: by the frequencies of the classes, else evenly; NaN if unknown."""
    even = log(trace.facts.classes) if trace.facts.classes > 1 else nan
    return trace.facts.chance if isfinite(trace.facts.chance) else even


def guess_of_values(trace: Trace, end: float) -> float:
    """Squared error of answering the mean whatever the input, NaN if unknown: that of the network at the end, and the variance of
    its answers, which is what they explain of the targets if they are right on average.
    """
    last = output_module(trace)
    squares = bool(trace.facts.loss_chain) and trace.facts.loss_chain[0].startswith("MseLoss")
    if not squares or trace.facts.notes.get("reduction") != "mean" or last is None or last.name not in trace.outputs:
        return nan
    return end + median(trace.output(last.name, "std"), late(trace)) ** 2


def reference_of(trace: Trace, end: float = nan) -> Reference:
    """What the loss is held against. end: the loss at the end, which tells the variance of targets where nothing else does."""
    guess = guess_of(trace)
    if isfinite(guess):
        return Reference(guess, "guessing", log(trace.facts.classes) if trace.facts.classes > 1 else nan)
    return Reference(guess_of_values(trace, end), "answering the mean whatever the input")
