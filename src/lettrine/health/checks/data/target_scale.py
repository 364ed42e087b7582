"""Check of the scale of the targets: numbers far from what a fresh network answers."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, nan

from lettrine.health import limits
from lettrine.health.checks.comparing import compared
from lettrine.health.checks.consequence import Consequence, consequence, steps_until
from lettrine.health.checks.data.order import by_heart_only
from lettrine.health.checks.data.targets import given
from lettrine.health.checks.reading import number, share
from lettrine.health.checks.reference import loss_seen, ordinary
from lettrine.health.checks.registry import check
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


@check("target-scale", needs=("loss",))
def target_scale(trace: Trace) -> Iterator[Finding]:
    """Numeric targets that are far from the size of a fresh network's outputs.

    Measured: Mean and standard deviation of numbers that are to be predicted, and how far the answers still are from them. So
        the targets of one term of several are judged too, such as the returns that a critic is to predict.
    Formula: size = sqrt(mean**2 + std**2) >= {SCALE_FAR:g}, if nothing is learned; or little, once {SCALE_SPENT:.0%} of the run
        went by before the loss was that of the best single answer; of one term of several size >= {SCALE_APART:g}, and (mean
        squared error at the last look) >= {HARDLY_LEARNED} * size**2; targets with size <= {SCALE_TINY:g}, if the loss ends
        above {TINY_MISSED:g} times their variance; those of which a twentieth holds {FEW_RULE:.0%} of the squares, if the
        others are not followed; and a last layer without a bias, if the mean error is {OFFSET_FAR:g} standard deviations of the
        targets and {OFFSET_MOST:.0%} of the squared error late in the run.
    """
    if not trace.seen("comparison") and (far := _far_from_zero(trace)) is not None:
        yield far
        return
    for each in compared(trace):
        if each.words["expects"] not in ("squared", "absolute"):
            continue
        mean, std = each.figure("mean"), each.figure("std")
        size = (mean**2 + std**2) ** 0.5
        harm = consequence(trace)
        left = _left(each, harm)
        # If the mean is so far away, even most of the differences between targets are lost.
        spent = harm.reference.known and _spent(trace, harm)
        most = limits.HARDLY_LEARNED if abs(mean) >= limits.SCALE_FAR * std or spent else limits.CHANCE_SHARE
        if (found := _ruled(each) or _without_bias(trace, each)) is not None:
            yield found
            continue
        if not given(each) or size < limits.SCALE_FAR or not (harm.bad or left > most or by_heart_only(trace, harm)):
            if (far := _never_reached(trace, each) or _drowned(each, size, harm)) is not None:
                yield far
            continue
        sign = "-" if mean > 0 else "+"
        spread = "variance" if each.words["expects"] == "squared" else "mean distance from their median"
        if spent and isfinite(steps := steps_until(trace, harm.reference.value)):
            spread = f"{spread}, after {steps:,.0f} of {_taken(harm):,} steps to their mean"
        unexplained = f"; the loss leaves {share(left)} of their {spread}" if left > most and not harm.bad else ""
        yield Finding(
            id="target-scale",
            severity="warning",
            where=each.where[:1],
            steps=each.steps,
            value=size,
            limit=limits.SCALE_FAR,
            message=(
                f"The targets lie around {number(mean, 3)} with a std of {number(std, 3)}, and "
                f"{harm.words if harm.bad else 'the network does not follow them'}{unexplained}."
            ),
            why=(
                "A fresh network answers about 0 with a spread of 1: steps that can reach such targets are too large to "
                "learn anything but their size."
            ),
            remedy=(
                f"Train on (y {sign} {number(abs(mean), 3)}) / {number(std, 3)}, and undo it in the predictions."
                if std > 0
                else "Subtract the mean of the targets and divide by their std."
            ),
            reference="LeCun et al. 1998, Efficient BackProp, section 4.3: normalizing",
        )


def _taken(harm: Consequence) -> int:
    return harm.steps[1] - harm.steps[0] + 1


def _spent(trace: Trace, harm: Consequence) -> bool:
    """Whether most of the run went by before the loss was as low as that of one answer to every input."""
    return steps_until(trace, harm.reference.value) >= limits.SCALE_SPENT * _taken(harm)


def _left(each: Evidence, harm: Consequence) -> float:
    """What the loss leaves of that of the best single answer; NaN if it has other terms, or that is not known."""
    if each.figure("alone") != 1 or not each.figure("std") > 0:
        return nan
    if each.words["expects"] == "squared":
        return harm.end / each.figure("std") ** 2
    return harm.end / harm.reference.value if harm.reference.known else nan


def _never_reached(trace: Trace, each: Evidence) -> Finding | None:
    """Targets of one term of a loss, so large that late in the run the answers are still almost 0 beside them."""
    square, answer = each.figure("square"), each.figure("answer")
    late = len(trace.loss.step) > 0 and each.steps[1] >= max(limits.LATE_LOOK * trace.loss.step[-1], limits.CONSTANT_STEP)
    enough = each.figure("rows") >= limits.TARGETS_LEAST
    still = each.figure("error") >= limits.HARDLY_LEARNED * square and square >= limits.SCALE_APART**2
    if not (late and enough and still):
        return None
    size, reached = square**0.5, answer**0.5
    return Finding(
        id="target-scale",
        severity="warning",
        where=each.where[:1],
        steps=each.steps,
        value=size,
        limit=limits.SCALE_APART,
        message=f"The targets of {each.where[0]} are about {number(size, 3)} in size; at step {each.steps[1]:,} its answers are "
        f"still at {number(reached, 3)}.",
        why="Such a large error dominates the gradients of all layers that other terms of the loss share, and the size of the "
        "targets is learned before their differences.",
        remedy="Divide these targets (of a critic: the rewards) by "
        f"{number(size, 1)}, or standardise them, and multiply the answers by it where they are used.",
        reference="LeCun et al. 1998, Efficient BackProp, section 4.3: normalizing",
    )


def _ruled(each: Evidence) -> Finding | None:
    """A few targets, far from all others, that dominate a squared error; the answers do not follow the others."""
    std, most, left = each.figure("std"), each.figure("most_std"), each.figure("most_left")
    few = each.figure("heavy") >= limits.FEW_RULE and std >= limits.FEW_FAR * most
    late = each.steps[1] >= limits.LEARNING_STEPS / 2
    if not (given(each) and each.words["expects"] == "squared" and few and late and left >= limits.HARDLY_LEARNED):
        return None
    return Finding(
        id="target-scale",
        severity="warning",
        where=each.where[:1],
        steps=each.steps,
        value=std / most,
        limit=limits.FEW_FAR,
        message=f"A few targets lie far from all others: a twentieth of them holds {share(each.figure('heavy'))} of the sum of "
        f"squares. They go from {number(each.figure('low'), 3)} to {number(each.figure('high'), 3)}. The others have a std of "
        f"{number(most, 3)}; at step {each.steps[1]:,} the mean squared error there is {number(left)} times its square.",
        why="A squared error follows the farthest targets, and each of them moves the weights far.",
        remedy="Look at the largest targets: wrong units, or a mark for a missing value? Clip or drop them, take logarithms, or "
        "use huber_loss.",
        reference="Huber 1964, Robust estimation of a location parameter",
    )


def _without_bias(trace: Trace, each: Evidence) -> Finding | None:
    """Targets far from 0 beside a last layer that has no bias: late in the run most of the error is one number."""
    mean, std, error, offset = (each.figure(name) for name in ("mean", "std", "error", "offset"))
    late = len(trace.loss.step) > 0 and each.steps[1] >= max(limits.LATE_LOOK * trace.loss.step[-1], limits.LEARNING_STEPS / 2)
    names = {info.name for info in trace.parameters}
    bare = bool(each.where) and f"{each.where[0]}.weight" in names and f"{each.where[0]}.bias" not in names
    most = offset >= limits.OFFSET_MOST * error and offset >= (limits.OFFSET_FAR * std) ** 2
    if not (given(each) and each.words["expects"] == "squared" and late and bare and std > 0 and most):
        return None
    return Finding(
        id="target-scale",
        severity="warning",
        where=each.where[:1],
        steps=each.steps,
        value=offset**0.5 / std,
        limit=limits.OFFSET_FAR,
        message=f"The targets lie around {number(mean, 3)} with a std of {number(std, 3)}, and {each.where[0]} has no bias: at "
        f"step {each.steps[1]:,} its answers still miss the targets by {number(offset**0.5, 3)} on average, "
        f"{share(offset / error)} of the squared error.",
        why="Without a bias a layer cannot add the same number to all of its answers; it bends its weights to it instead.",
        remedy=f"Give {each.where[0]} a bias (bias=True), best begun at {number(mean, 3)}; or subtract {number(mean, 3)} from "
        "the targets and add it to the predictions.",
        reference="Bishop 2006, Pattern recognition and machine learning, section 3.1.1: the bias makes up for the mean",
    )


def _drowned(each: Evidence, size: float, harm: Consequence) -> Finding | None:
    """Targets so small that the answers scatter more than they do, to the end of the run."""
    variance = each.figure("std") ** 2
    squared = each.words["expects"] == "squared" and each.figure("alone") == 1 and harm.reference.known
    taken = harm.steps[1] - harm.steps[0] + 1
    missed = squared and taken >= limits.LEARNING_STEPS and harm.end >= limits.TINY_MISSED * harm.reference.value
    if not (given(each) and 0 < size <= limits.SCALE_TINY and variance > 0 and missed):
        return None
    return Finding(
        id="target-scale",
        severity="warning",
        where=each.where[:1],
        steps=each.steps,
        value=size,
        limit=limits.SCALE_TINY,
        message=f"The targets lie around {number(each.figure('mean'), 3)} with a std of {number(each.figure('std'), 3)}; the "
        f"loss ends at {number(harm.end, 3)}, {number(harm.end / harm.reference.value)} times that of "
        f"{harm.reference.words} ({number(harm.reference.value, 3)}).",
        why="A fresh network answers with a spread of about 1, and each step moves its answers by more than the targets differ.",
        remedy=f"Train on (y - {number(each.figure('mean'), 3)}) / {number(each.figure('std'), 3)}, and undo it in the "
        "predictions; see that pixels are not divided by 255 twice (ToTensor does it once).",
        reference="LeCun et al. 1998, Efficient BackProp, section 4.3: normalizing",
    )


def _far_from_zero(trace: Trace) -> Finding | None:
    """The same if only the loss is known, such as that of a sum over atoms: the run is spent on reaching the mean."""
    seen, course = loss_seen(trace), consequence(trace)
    if seen is None or seen.words["kind"] != "squared error" or not ordinary(trace) or course.kind == "unknown":
        return None
    variance, square = seen.figure("reference"), seen.figure("even")
    far = square >= limits.SCALE_FAR**2 * max(variance, 1.0)
    steps, run = steps_until(trace, course.reference.value), course.steps[1] - course.steps[0] + 1
    hardly = course.bad or course.left >= limits.HARDLY_LEARNED
    if not (far and hardly and steps >= limits.WASTED_SHARE * run):
        return None
    mean, std = (square - variance) ** 0.5, variance**0.5
    took = f"{steps:,.0f} of {run:,} steps went" if isfinite(steps) else "the whole run went"
    return Finding(
        id="target-scale",
        severity="warning",
        where=(),
        steps=course.steps,
        value=mean / std,
        limit=limits.SCALE_FAR,
        message=f"The targets lie {number(mean, 3)} from 0 with a std of {number(std, 3)}: {took} into reaching their mean, "
        f"and the loss ends at {number(course.end, 3)} ({number(course.reference.value, 3)}: {course.reference.words}).",
        why="A fresh network answers about 0: the differences between its answers are small beside the distance to the mean.",
        remedy="Train on (y - mean) / std of the training targets, and undo it in the predictions.",
        reference="LeCun et al. 1998, Efficient BackProp, section 4.3: normalizing",
    )
