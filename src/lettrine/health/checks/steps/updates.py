"""Checks of the steps the optimiser takes: too large, too small, on stale gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.consequence import consequence, first_loss, weigh
from lettrine.health.checks.reading import (
    Mask,
    finite_curve,
    late,
    learning_rate,
    listed,
    median,
    middle,
    number,
    pace,
    rounded,
    share,
    span,
    tenfold,
    times,
    update_ratios,
    usable,
)
from lettrine.health.checks.registry import Skip, check
from lettrine.health.checks.steps.given_rates import never_reached, own_rate
from lettrine.health.checks.steps.held_back import held_back
from lettrine.health.checks.steps.killed import Killed, killed
from lettrine.health.checks.steps.straight import straight_on
from lettrine.health.findings import Finding
from lettrine.health.trace import Floats, Trace

_DESTROY: Final = (
    "Steps this large destroy what earlier ones learned: the loss jumps about, units saturate or die, values overflow."
)


@check("update-too-large", needs=("parameters",), symptom="silent")
def update_too_large(trace: Trace) -> Iterator[Finding]:
    """Steps too large for the weights they move: the learning rate is too high.

    Measured: How far one real step of the optimiser moves each weight, relative to the weight's own std.
    Formula: update:data = std(after - before) / std(before); the median of all weight matrices, over three sampled steps in a
        row (only those that did not begin at 0) or after the first {LATE_FROM:.0%} of the run. Late steps of up to
        {UPDATE_LARGE_EARLY:g} are a remark if the loss ends below {HARDLY_LEARNED:g} of guessing. One step above
        {UPDATE_LARGE_EARLY:g} is enough if most units after that weight worked before it and are dead since.
    """
    names, table = update_ratios(trace, usable(trace))
    if (died := killed(trace)) is not None:
        yield _killing(trace, died)
        return
    steps = trace.steps[usable(trace)]
    # What a weight that begins at 0 is measured against was made by its first steps: they are large by construction.
    grown = np.array([_drawn(trace, name) for name in names])
    network = middle(table[grown]) if grown.any() else np.full(len(steps), np.nan)
    # Three sampled steps in a row, so that one odd step does not count.
    runs = middle(np.stack([network[:-2], network[1:-1], network[2:]]))
    most = limits.UPDATE_LARGE if _thrown(trace) else limits.UPDATE_LARGE_EARLY
    early = int(np.argmax(np.nan_to_num(runs) > most))
    if runs[early] > most:
        mask = (trace.steps >= steps[early]) & usable(trace)
        value, limit, aim = float(np.nanmax(runs)), most, limits.UPDATE_AIM_EARLY
        each = np.array([np.nanmax(row[early : early + 3], initial=0.0) for row in table]) * grown
    elif steps[-1] - steps[0] >= limits.LEARNING_STEPS:
        mask, aim = late(trace), limits.UPDATE_AIM
        each = np.array([median(row[mask[usable(trace)]]) for row in table])
        value = float(middle(each[:, None])[0])
        limit = limits.UPDATE_LARGE if value > limits.UPDATE_LARGE else limits.UPDATE_LARGE_ONE
    else:
        return
    large = [name for name, ratio in zip(names, each, strict=True) if ratio > limit]
    if not large:
        return
    general = limit < limits.UPDATE_LARGE_ONE
    value = value if general else float(np.nanmax(each))
    calmed = limit == limits.UPDATE_LARGE_EARLY and value <= limits.UPDATE_LARGE_ONE and _calms(trace, table)
    learned = _learns(trace) if calmed or (general and value <= limits.UPDATE_LARGE_EARLY) else ""
    yield Finding(
        id="update-too-large",
        severity="info" if learned else "critical" if general else "warning",
        where=tuple(large),
        steps=span(trace, mask),
        value=value,
        limit=limit,
        message=f"Each step changes {listed(large)} by {number(value)} of {'their' if len(large) > 1 else 'its'} size; about "
        f"{number(aim)} is usual{learned}.",
        why=_DESTROY,
        remedy="If the loss should fall further, compare a short run at a third of the learning rate, or lower it at the end."
        if learned
        else f"Lower the learning rate {_slower(trace, mask, value / aim)}"
        + ("." if general else f", for {listed(large)} alone, or initialise {listed(large)} larger."),
        reference=f"{limits.STUDY}: log10 of update:data, with a line at -3",
    )


def _learns(trace: Trace) -> str:
    """Half a sentence if much was learned nevertheless: data that are not certain, such as text, leave a loss that no rate takes
    away; otherwise "".
    """
    course = consequence(trace)
    against = course.reference.value if course.reference.known else course.start
    learned = course.kind in ("learns", "falls") and course.end < limits.HARDLY_LEARNED * against
    return f"; {course.words}" if learned else ""


def _drawn(trace: Trace, name: str) -> bool:
    """Whether a weight was not 0 throughout at its first step."""
    return not (trace.steps[0] == 0 and trace.parameter(name, "rms")[0] == 0)


def _slower(trace: Trace, mask: Mask, factor: float) -> str:
    """By what to lower the rate, such as "10 times, from 0.1 to 0.01"."""
    rate = learning_rate(trace, mask)
    return times(factor) + (f", from {number(rate)} to {number(rounded(rate / tenfold(factor)))}" if rate > 0 else "")


def _killing(trace: Trace, died: Killed) -> Finding:
    """Units that worked before a large step."""
    mask = (trace.steps <= died.dead) & usable(trace)
    return Finding(
        id="update-too-large",
        severity="critical",
        where=(died.weight, died.layer),
        steps=(died.step, int(trace.steps[usable(trace)][-1])),
        value=died.size,
        limit=limits.UPDATE_LARGE_EARLY,
        message=died.words,
        why=f"{_DESTROY} A dead unit stays as it is.",
        remedy=f"Lower the learning rate {_slower(trace, mask, died.size / limits.UPDATE_AIM_EARLY)}, or raise it from near 0 "
        "over the first steps, and start anew: units that are dead stay dead.",
        reference="Lu et al. 2019, Dying ReLU and initialization; " + limits.STUDY,
    )


def _thrown(trace: Trace) -> bool:
    """Whether the loss began near guessing, the first steps raised it far above that, and nothing was learned since."""
    first, course = first_loss(trace), consequence(trace)
    steps, losses = finite_curve(trace, trace.loss)
    soon = losses[steps < limits.THROWN_STEPS]
    if not course.bad or not course.reference.known or not len(soon) or not first < limits.FAR_ABOVE * course.reference.value:
        return False
    return float(np.max(soon)) > limits.THROWN * max(first, course.reference.value)


def _calms(trace: Trace, table: Floats) -> bool:
    """Whether steps were large at first and later no larger than steps with which much is learned, and the loss has fallen well
    below guessing since.
    """
    mask = late(trace)[usable(trace)]
    sizes = np.array([median(row[mask]) for row in table])
    settled = float(middle(sizes[:, None])[0]) <= limits.UPDATE_LARGE_EARLY
    learns = consequence(trace).kind == "learns" and bool(_learns(trace))
    return settled and learns and int(trace.steps[-1]) >= limits.LEARNING_STEPS


@check("update-too-small", needs=("parameters",))
def update_too_small(trace: Trace) -> Iterator[Finding]:
    """Steps that hardly move the weights, even when they were largest: the learning rate is too low.

    Measured: How far one real step of the optimiser moves each weight, when the steps were largest.
    Formula: update:data = std(after - before) / std(before); the median of all weight matrices at each step, over the tenth of
    the steps with the highest values: below {UPDATE_SMALL:g}, or below {UPDATE_TIMID:g} if nothing is learned. Critical if
    nothing is learned and even the matrix that moves farthest stays below {UPDATE_TIMID:g}. Where no loss tells how it went: if
    all steps of the run together are not above {UNTRAVELLED:g} of weights drawn at random. Or: the highest rate of a schedule
    is 1/{GIVEN_FAR:g} or less of the one that the optimiser was made with, and little is learned. Or, for larger steps up to
    {STRAIGHT_SIZE:g}: over {STRAIGHT_STEPS} steps or more the weights go straight on (the cosine between the ways of both halves
    is {STRAIGHT} or more) and the loss falls like a line, with {HARDLY_LEARNED:.0%} of that of guessing left, or of its start
    where guessing is unknown.
    """
    if certain := list(never_reached(trace)):
        yield from certain
        return
    mask = usable(trace)
    names, table = update_ratios(trace, mask)
    kept = np.isfinite(table).any(axis=0)
    value = pace(table[:, kept])
    limit = limits.UPDATE_TIMID if _nothing_learned(trace) else limits.UPDATE_SMALL
    if value == 0 or _stopped(trace, names, table):
        return  # steps of exactly 0 belong to another check
    straight = list(straight_on(trace, value))
    if value >= limit:
        yield from straight
        return
    rate, factor = learning_rate(trace), tenfold(limits.UPDATE_AIM / value)
    towards = f", from {number(rate)} to {number(rounded(rate * factor))}" if rate > 0 else ""
    still = _untravelled(trace, value)
    none_moves = pace(np.nanmax(table[:, kept], axis=0, keepdims=True)) < limits.UPDATE_TIMID and _nothing_learned(trace)
    finding = Finding(
        id="update-too-small",
        severity="critical" if none_moves else "warning",
        where=(),
        steps=span(trace, mask),
        value=value,
        limit=limit,
        message=f"The steps change the weights by {number(value)} of their size; about {number(limits.UPDATE_AIM)} is usual."
        + (f" {still}" if still else ""),
        why="At this speed learning takes far more steps than needed.",
        remedy=held_back(trace)
        or own_rate(trace, names, table, limit)
        or (
            f"Raise the learning rate {times(limits.UPDATE_AIM / value)}{towards}; "
            "if the weights were initialised too large, shrink them instead."
        ),
        reference=f"{limits.STUDY}: log10 of update:data, with a line at -3",
    )
    weighed = finding if still else weigh(finding, trace, symptom="silent")
    if straight and (weighed is None or weighed.severity == "info"):
        yield from straight  # the losses tell little, the way of the weights tells it nevertheless
    elif weighed is not None:
        yield weighed


def _stopped(trace: Trace, names: Sequence[str], table: Floats) -> bool:
    """Whether a step was far too large for the weights before they stood still: what stopped them is not the rate."""
    grown = np.array([_drawn(trace, name) for name in names])
    return bool(grown.any()) and bool(np.nan_to_num(middle(table[grown])).max() > limits.UPDATE_LARGE_EARLY)


def _untravelled(trace: Trace, value: float) -> str:
    """What is left of the random start, where no loss tells how the training went; "" if the weights may have come far."""
    drawn = next(iter(trace.seen("drawn")), None)
    steps = int(trace.steps[-1] - trace.steps[0]) + 1
    little = steps >= limits.UNTRAVELLED_STEPS and value * steps <= limits.UNTRAVELLED
    if drawn is None or drawn.figure("share") < 1 or not little or consequence(trace).kind != "unknown":
        return ""
    return f"All {steps:,} steps together moved them by {share(value * steps)} at most: they are still the random start."


def _nothing_learned(trace: Trace) -> bool:
    """Whether the loss has not come below that of guessing: it does not fall, or has not even come so far."""
    course = consequence(trace, least=limits.LEARNING_STEPS)
    above = course.kind == "falls" and course.end >= course.reference.value
    return course.kind in ("guessing", "flat") or above


@check("missing-zero-grad")
def missing_zero_grad(trace: Trace) -> Iterator[Finding]:
    """Gradients of earlier steps still in place when the backward pass begins.

    Measured: Whether gradients of earlier steps are still there when the backward pass of a step begins.
    Formula: share = (sampled steps with leftover gradients) / (sampled steps after the first). Above {LEFTOVER_PART:.0%} they are
        cleared now and then only, above {LEFTOVER_SHARE:.0%} mostly not.
    """
    mask = usable(trace)
    mask[:1] = False
    left = trace.step_stats["leftover_gradient"][mask]
    left = left[np.isfinite(left)]
    if not len(left):
        raise Skip("not run", "whether gradients were cleared was not recorded for a second step")
    value, most = float(np.mean(left > 0)), limits.LEFTOVER_SHARE
    part = limits.LEFTOVER_PART < value <= most and int((left > 0).sum()) >= limits.LEFTOVER_LOOKS
    if value <= most and not part:
        return
    kept = _never_cleared(trace)
    now_and_then = (
        "Each gradient is then followed more than once: in its own step, and again in those up to the next clearing.",
        "Step and clear under one condition: after the last micro-batch, optimizer.step() and then optimizer.zero_grad().",
    )
    never = (
        "Each step then follows the sum of all gradients so far, which grows and is out of date.",
        "Call optimizer.zero_grad() once after each optimizer.step() (or before each backward pass of a new step)."
        if any(info.optimised is not None for info in trace.parameters)
        else "Call model.zero_grad() after each step that you make by hand.",
    )
    why, remedy = now_and_then if value < 1 else never
    yield Finding(
        id="missing-zero-grad",
        severity="warning" if part else "critical",
        where=kept,
        steps=span(trace, mask),
        value=value,
        limit=limits.LEFTOVER_PART if part else most,
        message=f"At {share(value)} of the sampled steps the backward pass began with gradients of earlier steps still there"
        + (f", those of {listed(kept)}." if kept else "."),
        why=why,
        remedy=remedy,
        reference="torch.optim: Optimizer.zero_grad",
    )


def _never_cleared(trace: Trace) -> tuple[str, ...]:
    """The parameters whose optimiser finds earlier gradients, if another optimiser does not; empty if all do."""
    told = [each for each in trace.seen("gradients") if each.figure("followed") > 1]
    found = [each for each in told if each.figure("leftover") > limits.LEFTOVER_SHARE * each.figure("followed")]
    return tuple(name for each in found for name in each.where) if len(found) < len(told) else ()
