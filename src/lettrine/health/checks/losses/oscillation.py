"""The check for losses that swing with a period."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.reading import finite_curve, late, learning_rate, number, rounded, share
from lettrine.health.checks.reference import NEED_NOT_FALL, ordinary
from lettrine.health.checks.registry import Skip, check
from lettrine.health.findings import Finding
from lettrine.health.trace import Floats, Trace


@check("oscillation", needs=("loss",), symptom="remark")
def oscillation(trace: Trace) -> Iterator[Finding]:
    """The loss swings up and down with a period, instead of settling.

    Measured: The correlation of the loss with itself some steps later, after a fitted parabola was subtracted.
    Formula: echo(lag) = mean(swing(t) * swing(t + lag)) / mean(swing**2): negative after half a period, and high again after a
    whole period. A remark if over the steps looked at the loss falls by more than {OSCILLATION_FALL:g} times the swing, or
        if the swing is less than {OSCILLATION_HARM:.0%} of the loss: some parts of a text, read in its order, are harder.
    """
    if not ordinary(trace):
        raise Skip("not applicable", NEED_NOT_FALL)
    swing = _found(trace)
    if swing is None:
        return
    steps, mean, size, period = swing
    rate, momentum = learning_rate(trace), trace.facts.momentum
    slower = f", from {number(rate)} to {number(rounded(rate / 3))}" if rate > 0 else ""
    yield Finding(
        id="oscillation",
        severity="info" if size < limits.OSCILLATION_HARM * abs(mean) or _falls_on(trace, steps, size) else "warning",
        where=(),
        steps=(int(steps[0]), int(steps[-1])),
        value=size / abs(mean),
        limit=limits.OSCILLATION_SHARE,
        message=f"The loss swings by {share(size / abs(mean))} around {number(mean, 3)}, up and down every {period} steps.",
        why="Either each part of the data undoes what the part before taught, or steps overshoot the minimum.",
        remedy=f"If the examples come in an order that repeats every {period} steps, shuffle them; if not, lower the learning "
        f"rate about 3 times{slower}" + (f", or the momentum from {number(momentum)} to 0.9." if momentum > 0.9 else "."),
        reference="LeCun et al. 1998, Efficient BackProp, section 4.6",
    )


def _falls_on(trace: Trace, steps: Floats, size: float) -> bool:
    """Whether the loss falls so far in these steps that the swing is small beside it."""
    every, losses = finite_curve(trace, trace.recent)
    seen = losses[(every >= steps[0]) & (every <= steps[-1])]
    part = max(1, len(seen) // 5)
    return float(np.mean(seen[:part]) - np.mean(seen[-part:])) > limits.OSCILLATION_FALL * size


def swings(trace: Trace) -> int:
    """The period in steps with which the loss swings; 0 if it does not, or if something harmless explains it."""
    try:
        swing = _found(trace)
    except Skip:
        return 0
    return swing[3] if swing is not None else 0


def _found(trace: Trace) -> tuple[Floats, float, float, int] | None:
    """Steps looked at, mean, size of the swing and its period; None if there is none. Raises Skip as the check does."""
    steps, losses = _from(trace, limits.OSCILLATION_FROM)
    if len(losses) < limits.OSCILLATION_POINTS:
        raise Skip("not run", f"{len(losses)} of the {limits.OSCILLATION_POINTS} losses needed after warm-up")
    mean, size, period = _swing(losses, limits.OSCILLATION_FULL)
    if not period:
        steps, losses = _from(trace, limits.OSCILLATION_LATE)
        if len(losses) < limits.OSCILLATION_POINTS:
            return None
        mean, size, period = _swing(losses, limits.OSCILLATION_FULL_LATE)
        if not period:
            return None
    if abs(period - trace.facts.result.get("shuffled_pass", 0.0)) <= limits.OSCILLATION_PASS * period:
        raise Skip("not applicable", "shuffled data are forgotten between two passes, more towards the end of each")
    rates = trace.step_stats["learning_rate"][late(trace)]
    if np.unique(np.sign(np.diff(rates[np.isfinite(rates)]))).size > 1 and np.nanmax(rates) > 2 * np.nanmin(rates):
        raise Skip("not applicable", "the learning rate itself goes up and down")
    return steps, mean, size, period


def _from(trace: Trace, share_of_run: float) -> tuple[Floats, Floats]:
    """Steps and losses kept one by one, from this share of them on."""
    steps, losses = finite_curve(trace, trace.recent)
    if not len(steps):
        return steps, losses
    kept = steps >= steps[0] + share_of_run * (steps[-1] - steps[0])
    return steps[kept], losses[kept]


def _swing(losses: Floats, full: float) -> tuple[float, float, int]:
    """Mean, size of the swing around a parabola, and its period: 0 if no period has a correlation of `full`."""
    axis = np.arange(len(losses))
    swing = losses - np.polyval(np.polyfit(axis, losses, 2), axis)
    mean, size = float(np.mean(losses)), float(np.std(swing))
    if size <= limits.OSCILLATION_SHARE * abs(mean):
        return mean, size, 0
    swing = swing / size
    echo = np.array([np.mean(swing[:-lag] * swing[lag:]) for lag in range(1, len(swing) // 3)])
    beyond = int(np.argmax(echo <= limits.OSCILLATION_HALF)) or len(echo)  # a period is longer than half of it
    tops = [place for place in range(beyond + 1, len(echo) - 1) if echo[place - 1] < echo[place] >= echo[place + 1]]
    highest = max((float(echo[place]) for place in tops), default=0.0)
    if highest < full or echo[0] < limits.OSCILLATION_SMOOTH:
        return mean, size, 0
    return mean, size, 1 + next(place for place in tops if echo[place] > highest - 0.2)  # later peaks are multiples of the period
