"""Checks of the loss on held-out data: does it follow the training loss, and do both have the same scale?"""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.held_out.answers import few_right, other_labels, rescaled, torn
from lettrine.health.checks.held_out.kept import kept
from lettrine.health.checks.layers.summed import DIVIDE, summed
from lettrine.health.checks.reading import finite_curve, number, standard_error
from lettrine.health.checks.reference import NEED_NOT_FALL, guess_of, loss_seen, ordinary, training_weight
from lettrine.health.checks.registry import Skip, check
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import ALIKE, Floats, Trace


@check("held-out-labels", needs=("dev", "loss"))
def held_out_labels(trace: Trace) -> Iterator[Finding]:
    """The loss on held-out data never beats guessing, although that on the training data does.

    Measured: The lowest loss on held-out data, against the loss of guessing. And whether one fixed exchange of classes makes the
        held-out answers right, and whether held-out labels are of one class, or of classes that training never showed, or are
        what one place of their inputs holds.
    Formula: limit = {HELD_OUT_CHANCE} * (loss of guessing), while the training loss is below {HELD_OUT_LEARNED} of it; or
        (share right after the exchange) - (share right) >= {RENAMED}; or {COPIED:.0%} of the held-out targets, and at most
        {COPIED_SELDOM:.0%} of those of training, are an input.
    """
    if (other := other_labels(trace)) is not None:
        yield other
        return
    if trace.facts.notes.get("held-out") == ALIKE:
        raise Skip("not applicable", "the held-out data are known to be prepared as the training data are")
    guess = guess_of(trace)
    if not np.isfinite(guess):
        raise Skip("not applicable", "the loss of guessing is not known")
    kept = np.isfinite(trace.dev.mean)
    steps, dev = trace.dev.step[kept], trace.dev.mean[kept]
    train_steps, train = finite_curve(trace, trace.loss)
    if len(dev) < limits.OVERFITTING_POINTS or len(train) < limits.LEARNING_STEPS:
        raise Skip("not run", f"{len(dev)} of the {limits.OVERFITTING_POINTS} evaluations needed")
    lowest, end = float(dev.min()), float(np.mean(dev[-2:]))
    now = float(np.mean(train[-max(10, len(train) // 10) :]))
    limit = limits.HELD_OUT_CHANCE * guess
    if lowest <= limit or now >= limits.HELD_OUT_LEARNED * guess:
        return
    # A training loss far below guessing may come from memorising: then overfitting keeps the held-out loss high.
    # Where inputs that are alike have other targets (parity), memorising raises the held-out loss at once, as wrong labels do.
    mirrored = _mirrored(steps, dev / guess, train_steps, train / guess) and not _unlike(trace)
    by_heart = now <= limits.HELD_OUT_BY_HEART * guess and not mirrored
    apart = torn(trace)
    if apart == "training" or (by_heart and apart != "held out") or summed(trace):
        return  # sums over neighbours are as large as nodes have many: answers to others are far too sure
    yield Finding(
        id="held-out-labels",
        severity="critical",
        where=(),
        steps=(int(steps[0]), int(steps[-1])),
        value=lowest,
        limit=limit,
        message=(
            f"The loss on held-out data never beat guessing ({number(guess, 3)}): {number(lowest, 3)} at best, "
            f"{number(end, 3)} at the end, while the training loss is {number(now, 3)}."
        ),
        why="What is learned from the training examples does not hold for the held-out ones: these are something else.",
        remedy="Look at one held-out batch beside one training batch: its labels must be the targets and not the inputs, and its "
        "inputs prepared, scaled and encoded alike.",
        reference="Karpathy 2019, A recipe for training neural networks: visualise what goes into the net",
    )


def _mirrored(steps: Floats, dev: Floats, train_steps: Floats, train: Floats) -> bool:
    """Whether the held-out loss rose while the training loss began to fall, both relative to the loss of guessing.

    Memorising leaves the held-out loss unchanged at first; learning wrong labels increases it at once.
    """
    before = [train[(train_steps <= step)][-limits.HELD_OUT_RECENT :] for step in steps]
    level = np.array([float(np.mean(part)) if len(part) else np.nan for part in before])
    early = (level > limits.HELD_OUT_EARLY) & (level < limits.HELD_OUT_LEARNED)
    return bool(early.any()) and float(np.median((dev[early] - 1) / (1 - level[early]))) > limits.HELD_OUT_MIRROR


def _unlike(trace: Trace) -> bool:
    """Whether inputs closest to each other have targets less alike than those of any two inputs."""
    return any(each.figure("closest") <= -limits.TOLD for each in trace.seen("inputs"))


@check("overfitting", needs=("dev",))
def overfitting(trace: Trace) -> Iterator[Finding]:
    """The loss on held-out data rises while that on the training data falls.

    Measured: The loss on held-out data at the end, against the best one.
    Formula: rise = mean(last two) / lowest - 1; a warning if {OVERFITTING_LOST:.0%} of what had been gained over guessing is
        lost again ({OVERFITTING_HEART:.0%} where the held-out loss is more than {OVERFITTING_FAR:.0f} times the training loss,
        and then of the lowest too, unless that is above {HARDLY_LEARNED} of guessing and few answers are right; of the lowest
        alone if the end is above {LEARNED_WELL} of guessing; for errors of numbers that end above {PLATEAU_HIGH} of guessing
        then any rise above {OVERFITTING_RISE:.0%}, and above guessing any rise), and no better weights were copied at their
        evaluation (`state_dict()`, a deep copy, a pickle) or loaded again at the end.
    """
    finite = np.isfinite(trace.dev.mean)
    steps, dev = trace.dev.step[finite], trace.dev.mean[finite]
    if len(dev) < limits.OVERFITTING_POINTS:
        raise Skip("not run", f"{len(dev)} of the {limits.OVERFITTING_POINTS} evaluations needed")
    place = int(np.argmin(dev))
    best, end = float(dev[place]), float(np.mean(dev[-2:]))
    guess, when = guess_of(trace), int(steps[place])
    # A likelihood of densities may be below 0: then only its fall from the first evaluation is a size.
    size = best if best > 0 else float(dev[0]) - best
    rise = best + limits.OVERFITTING_RISE * size
    train_steps, train = finite_curve(trace, trace.loss)
    then, now = train[train_steps <= when][-50:], train[-50:]
    heart = best > 0 and len(now) > 0 and end > limits.OVERFITTING_FAR * float(np.mean(now))
    worthless = heart and _of_numbers(trace) and end >= guess  # no better than one answer to all
    if place >= len(dev) - 2 or end <= (best if worthless else rise):
        return
    if len(then) and len(now) and float(np.mean(now)) > float(np.mean(then)):
        return  # both rise: that is divergence
    if len(now) and end <= float(np.mean(now)) + limits.NOISE * (standard_error(now) or 0.0):
        return  # not worse than on the training examples
    # The decisive figure: how much of the gain on held-out data is lost again in the weights at the end of the run.
    share = limits.OVERFITTING_HEART if heart else limits.OVERFITTING_LOST
    limit = max(rise, best + share * (guess - best if isfinite(guess) else size))
    if heart and _of_numbers(trace) and end >= limits.PLATEAU_HIGH * guess:
        limit = best if worthless else rise  # for numbers every rise is an error that grew
    elif heart and limits.LEARNED_WELL * guess <= end and best <= limits.HARDLY_LEARNED * guess:
        limit = max(rise, (1 + share) * best)  # much is left to lose: not only a few errors that are answered with certainty
    elif heart and not (best > limits.HARDLY_LEARNED * guess and few_right(trace)):
        # Memorised classes are answered with certainty: a few errors cost much, even if they became fewer.
        limit = max(limit, (1 + share) * best)
    gap = f", while the training loss is {number(float(np.mean(now)), 3)}" if len(now) else ""
    never = isfinite(guess) and best > limits.HELD_OUT_CHANCE * guess and trace.facts.notes.get("held-out") != ALIKE
    remedy = f"Stop at step {when}, or go" if when else "Go"
    if never and (sums := summed(trace)):
        remedy = f"{sums}. {DIVIDE} Then stop where it is best, or go"
    elif never:
        remedy = (
            f"It was never better than guessing ({number(guess, 3)}): first look at a held-out batch beside a training batch, "
            f"and see that labels and inputs are made alike. {remedy}"
        )
    held, how = kept(trace, steps, dev)
    safe = held <= limit
    gap += f"; {how}" if safe else ""
    yield Finding(
        id="overfitting",
        severity="warning" if end > limit and not safe else "info",
        where=(),
        steps=(when, int(steps[-1])),
        value=end,
        limit=limit,
        message=f"The loss on held-out data was best at step {when} ({number(best, 3)}) and has risen to {number(end, 3)}{gap}.",
        why="The network memorises its training examples; what it gains on these it loses on new ones.",
        remedy=f"{remedy} on with more data, a smaller network, dropout (0.1 to 0.5) or more weight decay (10 times what it is "
        "now, or 0.01 if it is 0).",
        reference="Prechelt 1998, Early stopping, but when?",
    )


def _of_numbers(trace: Trace) -> bool:
    seen = loss_seen(trace)
    return seen is not None and seen.words["kind"] in ("squared error", "absolute error", "smooth absolute error", "huber")


@check("dev-scale", needs=("dev", "loss"))
def dev_scale(trace: Trace) -> Iterator[Finding]:
    """A loss on held-out data that is the training loss times a constant: one is a sum where the other is a mean.

    Measured: The loss on held-out data, against the training loss just before each evaluation. And against the mean of the losses
        that the program computed for it, at the first evaluations after the first. And the spread and mean of held-out inputs,
        against those of the training inputs; {INPUTS_FAR:g} times apart, a held-out loss of {RESCALED_HURTS:.0%} of guessing
        is enough.
    Formula: factor = (held-out loss) / (mean of the losses it is made of), {DEV_MADE} or more either way, the same
        at each evaluation; or ratio = median(held-out loss / mean of the last {HELD_OUT_RECENT} training
        losses); highest ratio / lowest ratio at most {DEV_SCALE_EVEN}.
    """
    if not ordinary(trace):
        raise Skip("not applicable", NEED_NOT_FALL)
    if (other := rescaled(trace)) is not None:
        yield other
        return
    if other_labels(trace) is not None:
        raise Skip("not applicable", "held-out labels are others than those of the training data")
    weight = training_weight(trace)
    for each in trace.seen("evaluated"):
        if _scaled(each, weight):
            yield _counted_otherwise(each)
            return
    kept = np.isfinite(trace.dev.mean)
    steps, dev = trace.dev.step[kept], trace.dev.mean[kept]
    train_steps, train = finite_curve(trace, trace.loss)
    level = np.array([float(np.mean(part)) if len(part) else np.nan for part in levels(steps, train_steps, train)])
    known = np.isfinite(level) & (level > 0) & (dev > 0)
    if int(known.sum()) < limits.DEV_SCALE_POINTS:
        raise Skip("not run", f"{int(known.sum())} of the {limits.DEV_SCALE_POINTS} evaluations needed beside training losses")
    ratios, steps = dev[known] / level[known], steps[known]
    middle = float(np.median(ratios))
    above = middle > 1
    away, limit = (middle, limits.DEV_SCALE) if above else (1 / middle, limits.DEV_SCALE_BELOW)
    even = limits.DEV_SCALE_EVEN if above or away < limits.DEV_SCALE_FAR else limits.DEV_SCALE_EVEN_FAR
    summed = weight >= limits.DEV_SUMMED and bool((np.abs(ratios * weight - 1) <= limits.DEV_SUMMED_NEAR).all())
    if not summed and (away < limit or float(ratios.max() / ratios.min()) > even):
        if not torn(trace):
            yield from _far_from_the_start(steps, dev[known], level[known], guess_of(trace))
        return
    yield Finding(
        id="dev-scale",
        severity="warning",
        where=(),
        steps=(int(steps[0]), int(steps[-1])),
        value=away,
        limit=limit,
        message=f"The loss on held-out data is {number(away)} times {'above' if above else 'below'} the training loss at all "
        f"{len(ratios)} evaluations, from step {int(steps[0])} on.",
        why="One is a sum and the other a mean, or they are divided by different numbers: the two curves cannot be compared.",
        remedy=f"{'Divide' if above else 'Multiply'} the held-out loss by {number(away)}: add up loss.item() * len(batch) over "
        "all batches and divide by the number of examples.",
        reference="Karpathy 2019, A recipe for training neural networks",
    )


def _scaled(each: Evidence, weight: float) -> bool:
    """Whether the held-out loss is a constant times the mean of what it was made of, and not the one of the training loss."""
    factor, apart = each.figure("factor"), each.figure("apart")
    away = factor >= limits.DEV_MADE or 0 < factor <= 1 / limits.DEV_MADE
    constant = apart <= min(limits.DEV_MADE_EVEN, limits.DEV_MADE_SHARE * each.figure("moved") + limits.DEV_MADE_SAME)
    alike = abs(factor / weight - 1) <= limits.DEV_SUMMED_NEAR
    return each.figure("looks") > 1 and away and constant and isfinite(weight) and not alike


def _counted_otherwise(each: Evidence) -> Finding:
    factor, passes, rows = each.figure("factor"), int(each.figure("passes")), each.figure("rows")
    known = {
        f"the number of its batches, {passes}": passes,
        f"1 by the {number(rows, 3)} examples in a batch": 1 / rows,
        f"the {number(rows, 3)} examples in a batch": rows,
        f"1 by its {number(rows * passes, 4)} examples": 1 / (rows * passes),
        f"its {number(rows * passes, 4)} examples": rows * passes,
    }
    same = next((what for what, value in known.items() if abs(factor / value - 1) <= limits.DEV_MADE_EVEN), "")
    losses = f"{passes} losses" if passes > 1 else "loss"
    return Finding(
        id="dev-scale",
        severity="warning",
        where=(),
        steps=each.steps,
        value=factor,
        limit=limits.DEV_MADE,
        message=f"The held-out loss is {number(factor, 3)} times the mean of the {losses} computed for it, at each of "
        f"{int(each.figure('looks'))} evaluations{f': {same}' if same else ''}.",
        why="Its parts were added up, or divided by a wrong number: the two curves cannot be compared.",
        remedy="Add up loss.item() * len(batch) over all batches and divide by the number of examples.",
        reference="Karpathy 2019, A recipe for training neural networks",
    )


def _far_from_the_start(steps: Floats, dev: Floats, level: Floats, guess: float) -> Iterator[Finding]:
    """A held-out loss far above guessing from the first evaluation on, while the training loss was not: the inputs differ."""
    if not isfinite(guess) or float(dev.min()) < limits.DEV_FAR * guess or level[0] > limits.DEV_FAR / 2 * guess:
        return
    yield Finding(
        id="dev-scale",
        severity="warning",
        where=(),
        steps=(int(steps[0]), int(steps[-1])),
        value=float(dev.min()) / guess,
        limit=limits.DEV_FAR,
        message=f"The held-out loss was {number(float(dev[0]), 3)} at step {int(steps[0])} and {number(float(dev.min()), 3)} at "
        f"best; guessing gives {number(guess, 3)}, and the training loss was {number(float(level[0]), 3)} then.",
        why="Even an untrained network is not so wrong on inputs of the size it is trained on: these have another size.",
        remedy="Print mean and std of a held-out batch beside those of a training batch, and scale both with the same numbers.",
        reference="Karpathy 2019, A recipe for training neural networks: visualise what goes into the net",
    )


def levels(steps: Floats, train_steps: Floats, train: Floats) -> list[Floats]:
    """The training losses just before each evaluation; the first losses for an evaluation before any step."""
    return [train[train_steps <= step][-limits.HELD_OUT_RECENT :] if step > 0 else train[:3] for step in steps]
