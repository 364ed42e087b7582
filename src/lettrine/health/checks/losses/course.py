"""Checks of the loss: where it starts, and whether it falls."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, log, nan

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.consequence import consequence, first_loss, steps_until
from lettrine.health.checks.data.one_token import one_token
from lettrine.health.checks.layers.summed import DIVIDE, summed
from lettrine.health.checks.losses.blank import blank_rows
from lettrine.health.checks.losses.collapse import collapsed, same_places
from lettrine.health.checks.losses.harder import little_by_little
from lettrine.health.checks.losses.starts import (
    drawn_anew,
    drawn_before,
    drawn_large,
    large_inputs,
    large_start,
    spreads,
    start_lower,
    tables_behind,
)
from lettrine.health.checks.reading import (
    ends,
    enough_losses,
    even_fall,
    learning_rate,
    median,
    number,
    output_module,
    pace,
    rounded,
    share,
    standard_error,
    start,
    tenfold,
    times,
    update_ratios,
    usable,
    weight_of,
)
from lettrine.health.checks.reference import (
    NEED_NOT_FALL,
    classes_of,
    even_of,
    guess_of,
    guess_of_values,
    loss_seen,
    ordinary,
    reference_of,
)
from lettrine.health.checks.registry import Skip, check
from lettrine.health.checks.steps.held_back import held_back
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


@check("initial-loss", needs=("loss",))
def initial_loss(trace: Trace) -> Iterator[Finding]:
    """The untrained network is confidently wrong.

    Measured: The loss of the first step, against that of an even guess among the classes.
    Formula: excess = first loss - ln(K), in nats; logits with a standard deviation of s cost about s**2 / 2. Where numbers are
    predicted: first loss >= {INITIAL_FAR:g} * (loss of the best single answer), with weights of std >= {INITIAL_HEAD:g} /
    sqrt(fan-in). Weights that wide before a last layer that is not are named as the place; so are embeddings with a std of
    {INITIAL_TABLE} or more of which the model itself computes its answers, such as the products of a factorisation machine.
    """
    expected, classes = even_of(trace), classes_of(trace)
    if not isfinite(expected) or classes < 2:
        yield from large_start(trace)
        return
    if trace.loss.step[0] != 0:
        raise Skip("not run", "the first step was not watched")
    if trace.seen("resumed"):
        raise Skip("not applicable", "the network was trained before")
    value = first_loss(trace)
    if not isfinite(value):
        raise Skip("not run", "the first loss was not finite")
    unit, batch = expected / log(classes), trace.facts.batch_size  # 1 for the mean over a batch
    added_up = loss_seen(trace) is None and trace.facts.notes.get("reduction") != "mean" and batch > 1
    if added_up and abs(value / batch - expected) < limits.INITIAL_LOSS_EXCESS:
        return
    limit = expected + limits.INITIAL_LOSS_EXCESS * unit
    if value <= limit:
        return
    if any(len(info.shape) > 1 and (not info.trainable or info.optimised is False) for info in trace.parameters):
        raise Skip("not applicable", "parts are fixed, so the network was trained before")
    back, course = steps_until(trace, expected), consequence(trace)
    last = output_module(trace)
    spread = median(trace.output(last.name, "std"), start(trace)) if last is not None and last.name in trace.outputs else nan
    weight = weight_of(trace, last.name) if last is not None else ""
    cheap = course.well or (
        course.left < limits.PLATEAU_HIGH
        and back <= limits.INITIAL_COST * (course.steps[1] - course.steps[0] + 1)
        and not drawn_large(trace, weight)
    )
    loud = back >= limits.INITIAL_WASTED and not cheap and not large_inputs(trace)
    inner, sums = drawn_before(trace, weight), summed(trace)
    near = f"to start near ln {classes} = {number(expected, 3)}."
    remedy = (drawn_anew(inner) if inner else DIVIDE) if inner or sums else start_lower(trace, spread, near, loud=loud)
    inner = inner or (() if sums else tables_behind(trace))
    yield Finding(
        id="initial-loss",
        severity="warning" if loud else "info",
        where=inner or ((last.name,) if last is not None else ()),
        steps=(0, 0),
        value=value,
        limit=limit,
        message=(
            f"The loss starts at {number(value, 3)}, where guessing evenly among {classes} classes gives "
            f"ln {classes} = {number(expected, 3)}"
            + (f", and takes {back:,.0f} steps to get there" if isfinite(back) else "")
            + (f": {spreads(trace, inner)}." if inner else f". {sums}." if sums else ".")
        ),
        why="The untrained network is confidently wrong, and the first steps only shrink "
        + ("these weights." if inner else "its last layer."),
        remedy=remedy,
        reference=f"{limits.STUDY}: expected loss at initialisation",
    )


def _begins_anew(trace: Trace) -> bool:
    """Whether each batch is held for some steps, as a task of meta-learning, and the weights are then taken back."""
    return any(
        limits.WRITTEN_OVER <= each.figure("written") < 1 and each.figure("held") >= limits.REPEATED
        for each in trace.seen("inputs")
    )


@check("no-learning", needs=("loss",))
def no_learning(trace: Trace) -> Iterator[Finding]:
    """The loss does not fall, or stops at the loss of guessing.

    Measured: The level of the loss at the end, against its level at the start and against the loss of guessing.
        And whether vectors that the loss compares with each other have become one, or come together under a loss of nothing but
        their distances, or have one direction, a mean cosine of {ONE_DIRECTION}, under one of cosines; or different examples are
        the same inside the network, at {BLANK_LOOKS} looks or more and all there were; or the answers at all places of a sequence
        are the same, where its targets differ; or whether {ONE_TOKEN:.0%} of the tokens that are given are one.
    Formula: end >= {CHANCE_SHARE} * (loss of guessing); or start - end < max({FLAT_SHARE} * start, 3 standard errors).
    """
    yield from (same := [*collapsed(trace), *same_places(trace), *blank_rows(trace), *one_token(trace)])
    if same:
        return
    if not ordinary(trace) or _begins_anew(trace):
        raise Skip("not applicable", NEED_NOT_FALL)
    if trace.seen("resumed") and not isfinite(guess_of(trace)):
        raise Skip("not applicable", "the network was trained before, and the loss of guessing is not known")
    result = trace.facts.result
    if result.get("held_out", np.inf) <= result.get("simple", -np.inf) + limits.WORSE_THAN_SIMPLE:
        raise Skip("not applicable", "the network does as well as the best simple model: there is no more to learn")
    steps, losses = enough_losses(trace, limits.PLATEAU_STEPS)
    beginning, end, noise = ends(losses)
    reference = reference_of(trace)
    guess, how, floor = guess_of(trace), reference.words, reference.floor
    if not isfinite(guess):
        guess, how = guess_of_values(trace, end), "answering the mean whatever the input"
    most = end + trace.facts.gain + limits.GAIN_NOISE * trace.facts.gain_error
    if not isfinite(trace.facts.chance) and end >= limits.CHANCE_SHARE * most:
        guess, how = end + trace.facts.gain, "giving every input the same answer"
    if not isfinite(guess) and steps[0] != 0:
        raise Skip("not run", "the first step was not watched, and the loss of guessing is not known")
    third = max(10, len(losses) // 3)
    earlier, later = losses[:third], losses[-third:]
    noise_of_means = standard_error(losses[third:]) or 0.0
    fell = float(np.mean(earlier) - np.mean(later))
    flat = beginning - end < max(limits.FLAT_SHARE * abs(beginning), 3 * noise) and fell < max(
        limits.FLAT_SHARE * abs(beginning), 3 * noise_of_means
    )
    above_guess = isfinite(guess) and end - floor >= limits.CHANCE_SHARE * (guess - floor)
    falling = float(np.mean(losses[-2 * third : -third]) - np.mean(later)) > max(limits.FLAT_SHARE * end, 3 * noise_of_means)
    stuck = above_guess and not falling
    if (not flat or (isfinite(guess) and not above_guess)) and not stuck:
        return
    worse = end > (1 + limits.FLAT_SHARE) * max(beginning, guess if isfinite(guess) else 0.0) + limits.NOISE * noise
    if worse or little_by_little(trace):
        return  # worse than at the start and than guessing, or learned and lost again: another check reports it
    what = (
        f"After {int(steps[-1]) + 1:,} steps the loss is {number(end, 3)}, no better than {how} ({number(guess, 3)})."
        if stuck
        else f"The loss stays where it was: {number(beginning, 3)} at first, {number(end, 3)} at step {int(steps[-1]):,}."
    )
    yield Finding(
        id="no-learning",
        severity="critical",
        where=(),
        steps=(int(steps[0]), int(steps[-1])),
        value=end,
        limit=guess if stuck else beginning,
        message=what,
        why="Whatever the network learns, it is not what the inputs say about the targets.",
        remedy=_get_it_moving(trace, high=isfinite(guess) and end > limits.FAR_ABOVE * guess),
        reference="Karpathy 2019, A recipe for training neural networks",
    )


def _get_it_moving(trace: Trace, *, fit: bool = True, high: bool = False, far: bool = False) -> str:
    """The advice, by how far the steps move the weights. high: the loss is so far above guessing that small steps cannot be the
    cause. far: it falls evenly, and has a long way to go.
    """
    rate = learning_rate(trace)
    try:
        _, table = update_ratios(trace, usable(trace))
        size = pace(table[:, np.isfinite(table).any(axis=0)])
    except Skip:
        size = nan
    if 0 < size < (limits.UPDATE_TIMID if fit else limits.UPDATE_LARGE / 5) and (cause := held_back(trace)):
        return cause
    if 0 < size < limits.UPDATE_TIMID:
        factor = tenfold(limits.UPDATE_AIM / size)
        towards = f", from {number(rate)} to {number(rounded(rate * factor))}" if rate > 0 else ""
        return (
            f"Raise the learning rate {times(limits.UPDATE_AIM / size)}{towards}: the steps change the weights by only "
            f"{number(size)} of their size, where about {number(limits.UPDATE_AIM)} is usual."
        )
    if not fit:
        small = (0 < size < limits.UPDATE_LARGE / 5 or far) and rate > 0
        return f"Try a learning rate of {number(rounded(rate * 3))} instead of {number(rate)}." if small else ""
    first = "See that inputs and targets belong together (shuffled alike?) by fitting one batch of 32 to a loss near 0"
    if not rate > 0:
        return f"{first}; then try learning rates ten times higher and lower."
    lower, higher = number(rounded(rate / 10)), number(rounded(rate * 10))
    if size > limits.UPDATE_LARGE or high:
        return f"{first}; then try a learning rate of {lower} instead of {number(rate)}."
    return f"{first}; then try learning rates of {higher} and {lower} instead of {number(rate)}."


@check("slow-learning", needs=("loss",))
def slow_learning(trace: Trace) -> Iterator[Finding]:
    """A loss that still falls at the end as fast as in the middle, or steeply: the run was too short, or its steps too small.

    Measured: How fast the loss falls in the last two thirds of the run, in five equal parts.
    Formula: evenness = (fall between the last two parts) / (fall between the first two); a warning if the loss at the end is
        still > {SLOW_UNREACHED:g} * (loss of guessing), after {SLOW_ENOUGH} steps or more. Without evenness, a remark if the fall
        between the last two parts is >= {SLOW_STEEP:.0%} of the loss.
    """
    if not ordinary(trace):
        raise Skip("not applicable", NEED_NOT_FALL)
    steps, losses = enough_losses(trace, limits.SHORT_STEPS)
    course = consequence(trace, least=limits.SHORT_STEPS)
    if course.kind not in ("learns", "falls") or course.well or _by_heart(trace):
        return
    falls, even_pace = even_fall(losses)
    rates = trace.step_stats["learning_rate"][usable(trace)]
    rates = rates[np.isfinite(rates)]
    third = len(losses) // 3
    fell = float(np.mean(losses[third : 2 * third]) - np.mean(losses[2 * third :]))
    short = len(losses) < limits.SHORT_RUN and fell > max(
        limits.SLOW_FALL * abs(course.end), limits.NOISE * standard_error(losses[third:])
    )
    last = losses[-2 * (len(losses) - third) // 5 :]
    steep = course.reference.known and falls[-1] > max(limits.SLOW_STEEP * course.end, limits.NOISE * standard_error(last))
    if not (even_pace or short or steep) or (len(rates) and rates[-1] < limits.SLOW_EVEN * rates.max()):
        return
    pace_left = float(falls[-1]) / (2 * len(losses) / 15) if even_pace or steep else fell / third  # a fifth of two thirds
    floor = course.reference.floor
    aim = floor + limits.LEARNED_WELL * ((course.reference.value if course.reference.known else course.start) - floor)
    factor = 1 + (course.end - aim) / pace_left / len(losses) if aim < course.end else 1.0
    # The pace of the last steps predicts the next ones, but not ten times as many.
    longer = f"about {number(max(2.0, factor), 1)}" if factor < limits.SLOW_FARTHEST else f"at least {limits.SLOW_FARTHEST:g}"
    known = course.reference
    enough = even_pace and known.known and course.steps[1] - course.steps[0] >= limits.SLOW_ENOUGH
    unreached = enough and course.end > limits.SLOW_UNREACHED * known.value
    taken = round((course.steps[1] - course.steps[0] + 1) * 2 / 15)
    slower = f", by {share(falls[-1] / course.end)} over its last {taken:,} steps" if steep and not even_pace else ""
    above = f", still above {number(known.value, 3)}, {known.words}" if unreached else ""
    yield Finding(
        id="slow-learning",
        severity="warning" if unreached else "info",
        where=(),
        steps=(int(steps[len(losses) // 3]), int(steps[-1])),
        value=float(falls[-1] / falls[0]),
        limit=limits.SLOW_EVEN,
        message=f"The loss still falls at the end{' as in the middle' if even_pace else ''}, to {number(course.end, 3)} at step "
        f"{int(steps[-1]):,}{slower}{above}.",
        why="The run ends before the network has learned what it can.",
        remedy=f"Train {longer} times as long. {_get_it_moving(trace, fit=False, far=unreached)}".rstrip(),
        reference="Goodfellow, Bengio & Courville 2016, Deep Learning, section 8.3.1: learning curves and the learning rate",
    )


def _by_heart(trace: Trace) -> bool:
    """Whether the loss on held-out data has been rising for a third of the run: what is still learned is only memorised."""
    known = np.isfinite(trace.dev.mean)
    step, loss = trace.dev.step[known], trace.dev.mean[known]
    return bool(len(loss)) and float(step[np.argmin(loss)]) < float(step[-1]) * (1 - limits.SLOW_RISING)
