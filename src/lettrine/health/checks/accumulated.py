"""Losses of accumulated gradients in true units: those of one loss, whatever was handed over."""

from __future__ import annotations

from dataclasses import replace
from math import nan
from typing import Final

from lettrine.health.checks.reference import ONE_OF_THEM, ONE_UNIT, handed_ratios, loss_seen, units_of
from lettrine.health.trace import Curve, Floats, Trace

SAME: Final = 1e-3  # spread of the ratio of a loss and itself in another unit: half precision rounds to a thousandth


def per_loss(trace: Trace) -> float:
    """By what the recorded losses are multiplied to be those of one loss: the number of parts of a step where each is only its
    share (`loss / parts`), 1 by it where they are the sum of the parts' means, and else 1.
    """
    seen = loss_seen(trace)
    parts = seen.figure("parts") if seen is not None else 1.0
    if seen is None or not parts > 1 or seen.words["nature"] == "adversarial":
        return 1.0
    shares = seen.figure("shares") == 1
    if not shares and not abs(seen.figure("weight") - 1) <= ONE_UNIT:
        return 1.0
    weight = seen.figure("weight")
    twice = shares and abs(weight * parts**2 - 1) <= ONE_UNIT  # divided by their number once more
    factor = (parts**2 if twice else parts if shares else 1.0) / units_of(trace, seen)
    # where not all parts were looked at, or the loss of one was handed over for all, it varies around their mean
    apart = ONE_UNIT if parts == seen.figure("passes") and _exact(handed_ratios(trace, seen)) else ONE_OF_THEM - 1
    return next((each for each in (parts, 1 / parts) if 1 / (1 + apart) < factor / each < 1 + apart), 1.0)


def _exact(ratios: Floats) -> bool:
    """Whether the handed loss is the trained one, in whatever unit."""
    return not len(ratios) or float(ratios.max() - ratios.min()) <= SAME * abs(float(ratios.max()))


def in_true_units(trace: Trace) -> Trace:
    """The trace with losses multiplied by `per_loss`."""
    factor = per_loss(trace)
    if factor == 1:
        return trace
    return replace(
        trace,
        step_stats={**trace.step_stats, "loss": trace.step_stats["loss"] * factor},
        loss=_times(trace.loss, factor),
        recent=_times(trace.recent, factor),
        facts=replace(trace.facts, gain=nan, gain_error=nan),  # differences from losses in other units
    )


def _times(curve: Curve, factor: float) -> Curve:
    return Curve(curve.step, curve.mean * factor, curve.high * factor, curve.peak)
