"""Checks of the targets: out of reach, all the same, several where one is wanted, of an unusual scale."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, log, nan

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.consequence import consequence, steps_until
from lettrine.health.checks.head import compared, operations_of
from lettrine.health.checks.reading import number, share
from lettrine.health.checks.reference import loss_seen, ordinary
from lettrine.health.checks.registry import check
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace

_MADE = {
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
    "Tanh": "tanh",
    "Relu": "ReLU",
    "Softplus": "softplus",
    "Hardtanh": "hard tanh",
    "Hardsigmoid": "hard sigmoid",
    "Exp": "exponential",
    "Elu": "ELU",
    "Clamp": "clamp",
}
_PROBABILITIES = ("logits", "probabilities", "likelihood")


def _given(each: Evidence) -> bool:
    """Whether targets are data, and enough of them were seen."""
    return each.figure("given") == 1 and each.figure("rows") >= limits.TARGETS_LEAST


@check("target-range")
def target_range(trace: Trace) -> Iterator[Finding]:
    """Targets that the network's last activation cannot reach, or that are not probabilities although the loss expects them.

    Measured: The lowest and the highest target, compared with the range of the last activation, or with 0 and 1 if the loss
    takes targets for probabilities.
    Formula: lost = (squared distance of the targets from the nearest value in reach) / (variance of the targets).
    """
    for each in compared(trace):
        low, high = each.figure("low"), each.figure("high")
        if not _given(each) or not isfinite(low):
            continue
        tolerance = limits.SHARE_TOLERANCE
        if each.words["expects"] in _PROBABILITIES and (low < -tolerance or high > 1 + tolerance):
            yield _no_probabilities(each, low, high)
        elif each.words["expects"] in ("squared", "absolute") and each.figure("lost") > limits.OUT_OF_REACH:
            yield _out_of_reach(each, low, high)


def _no_probabilities(each: Evidence, low: float, high: float) -> Finding:
    whole = high >= 2 and float(high).is_integer() and float(low).is_integer()
    return Finding(
        id="target-range",
        severity="critical",
        where=each.where[:1],
        steps=each.steps,
        value=high if high > 1 else low,
        limit=1.0 if high > 1 else 0.0,
        message=f"Targets go from {number(low, 3)} to {number(high, 3)}; the binary cross-entropy takes them for probabilities.",
        why="Outside of 0 to 1 the loss has no lowest value: it falls below 0 as the outputs grow, and nothing is learned.",
        remedy=(
            f"For {int(high) + 1} classes give the last layer {int(high) + 1} outputs, and use cross_entropy."
            if whole
            else "To predict numbers use mse_loss on raw outputs; to predict yes or no give targets of 0 and 1."
        ),
        reference="torch.nn.BCELoss: targets between 0 and 1",
    )


def _out_of_reach(each: Evidence, low: float, high: float) -> Finding:
    made = _MADE.get((operations_of(each) or ["Clamp"])[0], "last activation")
    below, above = each.figure("reach_low"), each.figure("reach_high")
    reach = f"only values above {number(below)}" if not isfinite(above) else f"values from {number(below)} to {number(above)}"
    if not isfinite(below):
        reach = f"only values below {number(above)}"
    lost = each.figure("lost")
    return Finding(
        id="target-range",
        severity="critical" if lost > limits.OUT_OF_REACH_MUCH else "warning",
        where=each.where[:1],
        steps=each.steps,
        value=lost,
        limit=limits.OUT_OF_REACH,
        message=(
            f"The {made} after {each.where[0]} gives {reach}, but {share(each.figure('outside'))} of the targets lie outside: "
            f"they go from {number(low, 3)} to {number(high, 3)}."
        ),
        why=f"The part out of reach, {share(min(lost, 1.0))} of the targets' variance, can never be learned.",
        remedy=(
            f"Remove the {made} after {each.where[0]}, or scale the targets into "
            + ("its range." if not (isfinite(below) and isfinite(above)) else f"{number(below)} to {number(above)}.")
        ),
        reference="LeCun et al. 1998, Efficient BackProp, section 4.5: choosing target values",
    )


@check("target-constant")
def target_constant(trace: Trace) -> Iterator[Finding]:
    """The same target for every example, or only targets that the loss ignores.

    Measured: The targets of all sampled batches, and how many of those batches hold only targets that are ignored.
    Formula: none: one class, or a standard deviation of 0, in {CONSTANT_LOOKS} or more batches up to step {CONSTANT_STEP} or
        later.
    """
    seen = compared(trace)
    yield from (_all_ignored(each) for each in seen if each.words["expects"] == "classes" and each.figure("all_ignored") > 0.5)
    if len(seen) > 1:
        return  # several losses: one of them may have a constant target on purpose
    each = seen[0]
    late = each.figure("looks") >= limits.CONSTANT_LOOKS and each.steps[1] >= limits.CONSTANT_STEP
    single = each.figure("classes_seen") == 1 or (isfinite(each.figure("std")) and each.figure("std") == 0)
    # The same number in every example, neither 0 nor a class: not a rare event that sampling could have missed.
    certain = each.words["expects"] in ("squared", "absolute") and each.figure("mean") != 0
    if not (_given(each) and late and single and each.figure("alone") == 1) or not (certain or _all_easy(trace, each)):
        return
    classes = each.figure("classes_seen") == 1
    what = "belong to the same class" if classes else f"have the target {number(each.figure('mean'), 4)}"
    yield Finding(
        id="target-constant",
        severity="warning",
        where=each.where[:1],
        steps=each.steps,
        value=1.0,
        limit=2.0,
        message=f"All {int(each.figure('rows')):,} sampled examples, up to step {each.steps[1]:,}, {what}.",
        why="The network learns to give the same answer to everything, and a loss near 0 means nothing.",
        remedy="See how the labels are read or made: a wrong column, comparison or folder may give all of them the same value.",
        reference="Karpathy 2019, A recipe for training neural networks: become one with the data",
    )


def _all_easy(trace: Trace, each: Evidence) -> bool:
    """Whether no later loss is as high as one example of another class would make it; sampled steps alone could miss such an
    example.

    A class that is missing in n examples has a share of about 1 / n; one example of it in a batch of B adds log(n) / B to the
    loss.
    """
    steps, peaks = trace.loss.step, trace.loss.high
    late = peaks[steps >= 0.5 * steps[-1]] if len(steps) else peaks
    rows, batch = each.figure("rows"), max(trace.facts.batch_size, 1)
    return bool(len(late)) and float(np.max(late)) < 0.5 * log(rows) / batch


@check("target-rows")
def target_rows(trace: Trace) -> Iterator[Finding]:
    """Rows of targets that do not sum to 1, under a softmax, which does.

    Measured: The number of labels in each row of targets under a softmax.
    Formula: share = (rows with two labels or more) / (rows).
    """
    for each in compared(trace):
        many = each.figure("rows_many")
        last = [name for name in operations_of(each) if name != "Log"][:1]
        softmax = last == ["Softmax"] or each.words["expects"] == "classes"
        softmax |= last == ["LogSoftmax"] and each.words["expects"] == "product" and each.figure("alone") == 1
        if _given(each) and softmax and many > limits.ROWS_OF_MANY:
            yield Finding(
                id="target-rows",
                severity="warning",
                where=each.where[:1],
                steps=each.steps,
                value=many,
                limit=limits.ROWS_OF_MANY,
                message=f"{share(many)} of the rows of targets hold two labels or more; the classes of a softmax sum to 1.",
                why="An example with several labels can give each of them at most its share: the loss cannot come near 0.",
                remedy="Use binary_cross_entropy_with_logits on the raw outputs without a softmax, one yes or no for each label.",
                reference="torch.nn.CrossEntropyLoss: class probabilities; BCEWithLogitsLoss: several labels",
            )


def _all_ignored(each: Evidence) -> Finding:
    return Finding(
        id="target-constant",
        severity="critical",
        where=each.where[:1],
        steps=each.steps,
        value=each.figure("all_ignored"),
        limit=0.0,
        message=f"In {share(each.figure('all_ignored'))} of the batches every target is the one that cross_entropy ignores.",
        why="A mean over nothing is 0 / 0: the loss is NaN, and there is nothing to learn.",
        remedy="See how labels are masked (padding, prompt, a shift by one): some target must remain; skip batches without any.",
        reference="torch.nn.CrossEntropyLoss: ignore_index",
    )


@check("target-scale", needs=("loss",))
def target_scale(trace: Trace) -> Iterator[Finding]:
    """Numeric targets that are far from the size of a fresh network's outputs.

    Measured: Mean and standard deviation of the numeric targets.
    Formula: size = sqrt(mean**2 + std**2).
    """
    if not trace.seen("comparison") and (far := _far_from_zero(trace)) is not None:
        yield far
        return
    for each in compared(trace):
        if each.words["expects"] not in ("squared", "absolute") or not _given(each):
            continue
        mean, std = each.figure("mean"), each.figure("std")
        size = (mean**2 + std**2) ** 0.5
        harm = consequence(trace)
        left = harm.end / std**2 if each.words["expects"] == "squared" and each.figure("alone") == 1 and std > 0 else nan
        # If the mean is so far away, even most of the differences between targets are lost.
        most = limits.HARDLY_LEARNED if abs(mean) >= limits.SCALE_FAR * std else limits.CHANCE_SHARE
        if size < limits.SCALE_FAR or not (harm.bad or left > most):
            continue
        sign = "-" if mean > 0 else "+"
        unexplained = f"; the loss leaves {share(left)} of their variance" if left > most and not harm.bad else ""
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


def _far_from_zero(trace: Trace) -> Finding | None:
    """The same if only the loss is known, such as that of a sum over atoms: the run is spent on reaching the mean."""
    seen, course = loss_seen(trace), consequence(trace)
    if seen is None or seen.words["kind"] != "squared error" or not ordinary(trace) or course.kind == "unknown":
        return None
    variance, square = seen.figure("reference"), seen.figure("even")
    far = square >= limits.SCALE_FAR**2 * max(variance, 1.0)
    steps, run = steps_until(trace, course.reference.value), course.steps[1] - course.steps[0] + 1
    hardly = course.bad or course.end >= limits.HARDLY_LEARNED * course.reference.value
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
