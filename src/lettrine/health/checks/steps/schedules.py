"""Checks of how the learning rate changes over the run: schedule and warm-up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.layers.gradients import uneven
from lettrine.health.checks.reading import (
    finite_curve,
    learning_rate,
    number,
    share,
    standard_error,
    usable,
)
from lettrine.health.checks.registry import Skip, check
from lettrine.health.checks.wiring.connections import seen_once
from lettrine.health.checks.words.capacity import at_rest
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.limits import PLATEAU_STEPS
from lettrine.health.trace import Floats, Trace

_ROUNDING: Final = 1e-6  # of a rate: 0.1 times 0.1 is a little more than 0.01


@check("schedule-to-zero", needs=("loss",))
def schedule_to_zero(trace: Trace) -> Iterator[Finding]:
    """A schedule that lowers the learning rate to almost 0 while the loss still falls.

    Measured: The learning rate at the sampled steps, and how the loss fell before and after the rate became small. And what a
        ReduceLROnPlateau was told.
    Formula: idle = (steps with a rate below {SCHEDULE_LOW:.0%} of the peak, at the end) / (all steps). Or: {PLATEAU_DROPS} drops
        or more, since no number it was told was ever better than the first one, while the loss on held-out data came down to
        {PLATEAU_BETTER:.0%} of its first value or less. Or: {SCHEDULE_WASTED:.0%} of the run ({SCHEDULE_MOST:.0%} if it came
        by and by) at a rate below {SCHEDULE_NOTHING:g} of the peak, with which no weight changes. Or: a tenth of the peak
        within the first {SCHEDULE_EARLY:.0%} of the run, after which the loss falls slowly to the end and
        {SCHEDULE_LITTLE:.0%} of that of guessing is left.
    """
    for seen in trace.seen("plateau"):
        yield from _upside_down(trace, seen)
        return
    mask = usable(trace)
    rates, steps = trace.step_stats["learning_rate"][mask], trace.steps[mask]
    known = np.isfinite(rates)
    rates, steps = rates[known], steps[known]
    if not len(steps) or steps[-1] - steps[0] < limits.SCHEDULE_STEPS:
        raise Skip("not run", f"the learning rate was seen over fewer than {limits.SCHEDULE_STEPS} steps")
    peak, course = float(rates.max()), consequence(trace)
    below = float(rates.min()) < -limits.SCHEDULE_LOW * peak  # "wrong-direction" tells of such a rate
    if peak <= 0 or below or course.left <= limits.SCHEDULE_FINE:
        return
    yield from _too_soon(trace, steps, rates) or _nothing_left(trace, steps, rates)


def _too_soon(trace: Trace, steps: NDArray[np.int64], rates: Floats) -> list[Finding]:
    """A rate that became small while there was much to learn."""
    peak, last, course = float(rates.max()), int(trace.loss.step[-1]), consequence(trace)
    little = course.left >= limits.SCHEDULE_LITTLE
    for low, edge in _edges(peak):
        high = np.flatnonzero(rates >= edge)
        if high[-1] == len(steps) - 1:
            continue
        when = int(steps[high[-1] + 1])
        # The rate is known at sampled steps, which lie far apart in the end: it came down between two of them.
        idle = (last - (when + int(steps[high[-1]])) / 2) / max(last - int(steps[0]), 1)
        soon = when <= limits.SCHEDULE_EARLY * last and little
        early = course.kind in ("guessing", "flat") or soon
        gone = low == limits.SCHEDULE_LOW and (early or _still_falling(trace, when, limits.SCHEDULE_FALL))
        # A tenth is much of a rate. It is too little only where next to nothing had been learned before, and nothing was since,
        # or where it came at once and there was much to learn to the end.
        slowly = soon and _falls_to_the_end(trace, when)
        idly = little and edge < low * peak and _still_falling(trace, when, 0.0)
        if idle > limits.SCHEDULE_SHARE and (gone or slowly or idly):
            break
    else:
        return []
    at, losses = finite_curve(trace, trace.loss)
    stays = f"has stayed near {number(float(np.mean(losses[at >= when])), 3)} since"
    loss = f"falls slowly since, to {number(course.end, 3)} at step {last:,}" if slowly else stays
    still = ", still falling then," if not early and not slowly else ""
    where = f"{'at' if edge > low * peak else 'below'} {share(low)} of its peak ({number(peak)})"
    what = f"{where} since step {when:,}, for {share(idle)} of the run; the loss{still} {loss}"
    return [
        _finding(when, last, idle, limits.SCHEDULE_SHARE, what, f"Steps this small change {'little' if slowly else 'nothing'}")
    ]


def _edges(peak: float) -> Iterator[tuple[float, float]]:
    """Shares of the peak, and the rate below which they are reached. A step to just a tenth is usual: it comes last."""
    yield limits.SCHEDULE_LOW, limits.SCHEDULE_LOW * peak * (1 - _ROUNDING)
    yield limits.SCHEDULE_TENTH, limits.SCHEDULE_TENTH * peak * (1 - _ROUNDING)
    yield limits.SCHEDULE_TENTH, limits.SCHEDULE_TENTH * peak * (1 + _ROUNDING)


def _nothing_left(trace: Trace, steps: NDArray[np.int64], rates: Floats) -> list[Finding]:
    """A rate that fell, at once or by and by, to so little that no weight moves, for more of the run than a schedule means to
    waste.
    """
    peak, last = float(rates.max()), int(trace.loss.step[-1])
    high = np.flatnonzero(rates >= limits.SCHEDULE_NOTHING * peak)
    if high[-1] == len(steps) - 1:
        return []
    when = int(steps[high[-1] + 1])
    idle = (last - when) / max(last - int(steps[0]), 1)
    at_once = rates[high[-1]] >= limits.SCHEDULE_TENTH * peak
    if idle < (limits.SCHEDULE_WASTED if at_once else limits.SCHEDULE_MOST) or last - when < limits.SCHEDULE_STEPS:
        return []
    rate = float(rates[high[-1] + 1 :].max())
    what = f"{number(rate)} (its peak was {number(peak)}) since step {when:,} at the latest, for {share(idle)} of the run"
    return [_finding(when, last, idle, limits.SCHEDULE_WASTED, what, "Steps this small are lost in rounding: no weight changes")]


def _finding(when: int, last: int, idle: float, limit: float, what: str, why: str) -> Finding:
    return Finding(
        id="schedule-to-zero",
        severity="warning",
        where=(),
        steps=(when, last),
        value=idle,
        limit=limit,
        message=f"The learning rate has been {what}.",
        why=f"{why}: the rest of the run is wasted.",
        remedy=f"Spread the schedule over the whole run, {last + 1:,} steps: call scheduler.step() once an epoch if it counts "
        f"epochs, or give it that many steps (T_max, total_steps, milestones, a gamma of "
        f"{number(limits.SCHEDULE_LOW ** (1 / (last + 1)), 5)} a step).",
        reference="Smith 2018, A disciplined approach to neural network hyper-parameters; torch.optim.lr_scheduler",
    )


def _upside_down(trace: Trace, seen: Evidence) -> Iterator[Finding]:
    """A scheduler that takes a rising score for one that should fall, or the reverse."""
    dev, calls, drops = trace.dev.mean[np.isfinite(trace.dev.mean)], int(seen.figure("calls")), int(seen.figure("drops"))
    if drops < limits.PLATEAU_DROPS or len(dev) < limits.PLATEAU_DROPS or not dev.min() <= limits.PLATEAU_BETTER * dev[0]:
        return
    mode = seen.words["mode"]
    other, way = ("max", "lower") if mode == "min" else ("min", "higher")
    yield Finding(
        id="schedule-to-zero",
        severity="warning",
        where=(),
        steps=seen.steps,
        value=float(drops),
        limit=float(limits.PLATEAU_DROPS),
        message=f"ReduceLROnPlateau(mode={mode!r}) has lowered the learning rate {drops} times, from "
        f"{number(seen.figure('rate_first'))} to {number(seen.figure('rate'))}: none of the {calls} numbers it was given was "
        f"{way} than the first ({number(seen.figure('best'), 3)}), while the loss on held-out data came down from "
        f"{number(float(dev[0]), 3)} to {number(float(dev.min()), 3)}.",
        why="The scheduler takes each improvement for the opposite, and makes the steps smaller and smaller.",
        remedy=f"Pass mode={other!r} if it is given a score such as accuracy; mode='min' is for a loss."
        if other == "max"
        else "Pass mode='min' if it is given a loss; mode='max' is for a score such as accuracy.",
        reference="torch.optim.lr_scheduler.ReduceLROnPlateau: mode",
    )


def _still_falling(trace: Trace, when: int, least: float) -> bool:
    """Whether the loss fell over the stretch before `when`, by more than its noise and by this share, and faster than since."""
    steps, losses = finite_curve(trace, trace.loss)
    before, since = losses[(steps >= when / 3) & (steps < when)], losses[steps >= when]
    if len(before) < 6 or len(since) < 6:
        return False
    half, half_since = len(before) // 2, len(since) // 2
    fell = float(np.mean(before[:half]) - np.mean(before[half:]))
    fell_since = float(np.mean(since[:half_since]) - np.mean(since[half_since:]))
    level, noise = abs(float(np.mean(before[half:]))), 3 * (standard_error(before) or 0.0)
    return fell > max(least * level, noise) and fell_since < fell / 2


def _falls_to_the_end(trace: Trace, when: int) -> bool:
    """Whether the loss fell over the last third of the run, by more than its noise."""
    steps, losses = finite_curve(trace, trace.loss)
    third = len(losses) // 3
    if third < 6 or steps[-third] < when:
        return False
    before, after = losses[-2 * third : -third], losses[-third:]
    return float(np.mean(before) - np.mean(after)) > 3 * (standard_error(after) or 0.0)


@check("no-warmup", needs=("loss",))
def no_warmup(trace: Trace) -> Iterator[Finding]:
    """A deep post-norm transformer at its full learning rate from the first step.

    Measured: Layer norms that come after a skip connection, and the learning rate of the first step.
    Formula: share = (rate at the first step) / (highest rate); loss > {WARM_LEARNED} * (loss of guessing), at rest, or after
        {PLATEAU_STEPS} steps where gradients vanish or explode.
    """
    seen = seen_once(trace, "post-norm")
    if seen is None or seen.figure("post") < limits.POST_NORMS:
        raise Skip("not applicable", "no deep network with layer norms after its skip connections")
    rates = trace.step_stats["learning_rate"][usable(trace)]
    peak = learning_rate(trace)
    course = consequence(trace)
    long = course.steps[1] - course.steps[0] >= PLATEAU_STEPS
    hardly = course.left > limits.WARM_LEARNED and (at_rest(trace) or (long and uneven(trace)))
    if not (course.bad or hardly) or not len(rates) or trace.steps[0] != 0 or not rates[0] >= limits.WARM_SHARE * peak:
        return
    outcome = (
        course.words
        if course.bad
        else (
            f"the loss, at {number(course.end, 3)}, is hardly below {course.reference.words} "
            f"({number(course.reference.value, 3)})"
        )
    )
    yield Finding(
        id="no-warmup",
        severity="critical",
        where=(),
        steps=(0, course.steps[1]),
        value=float(rates[0]),
        limit=limits.WARM_SHARE * peak,
        message=f"{int(seen.figure('post'))} layer norms come after skip connections (post-norm), the learning rate is "
        f"{number(float(rates[0]))} from the first step on, and {outcome}.",
        why="In such a network the gradients of the last layers are large at first; full steps along them lead to a state from "
        "which "
        "it does not learn.",
        remedy=f"Put the norms before the blocks (norm_first=True), or raise the learning rate from 0 to {number(peak)} over "
        f"the first "
        "few thousand steps.",
        reference="Xiong et al. 2020, On layer normalization in the transformer architecture",
    )
