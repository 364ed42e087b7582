"""Checks of the targets: out of reach, all the same, several where one is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, log

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.comparing import compared, operations_of, two_labels
from lettrine.health.checks.consequence import Consequence, consequence
from lettrine.health.checks.data.constant_parts import constant_parts, others_ignored
from lettrine.health.checks.data.paths import impossible_paths, same_words
from lettrine.health.checks.data.positives import no_positives
from lettrine.health.checks.data.reachable import hinges, pair_labels, picked, reals, small_yes
from lettrine.health.checks.losses.kl import kl_targets
from lettrine.health.checks.reading import number, share
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


def given(each: Evidence) -> bool:
    """Whether targets are data, and enough of them were seen."""
    return each.figure("given") == 1 and each.figure("rows") >= limits.TARGETS_LEAST


@check("target-range")
def target_range(trace: Trace) -> Iterator[Finding]:
    """Targets that the network's last activation cannot reach, or that are not probabilities although the loss expects them.

    Measured: The lowest and the highest target, against what the last activation can give, or against 0 and 1 where the loss
        takes targets for probabilities. Of answers that are picked, such as the values of actions taken: whether the targets are
        out of reach on average, or scatter {PICKED_FAR:g} times as far as the activation reaches.
        Also whether rows of targets under a softmax hold amounts instead of shares of 1, and whether a loss for the signs -1 and
        1 gets 0 and 1, or one for probabilities 0 and a number next to 0. Of words that ctc_loss is to find: whether they hold
        its blank, and whether there are frames enough. Whether kl_div gets logarithms for probabilities, or these for logarithms.
    Formula: lost = (squared distance of the targets from the nearest value in reach) / (variance of the targets); a
        blank among {PATHS_BLANK:.0%} of the letters, or {PATHS_SHORT:.0%} of the words with too few frames.
    """
    yield from kl_targets(trace)
    yield from impossible_paths(trace)
    yield from reals(trace)
    yield from hinges(trace)
    yield from pair_labels(trace)
    yield from (_out_of_reach(each, each.figure("low"), each.figure("high")) for each in picked(trace))
    yield from small_yes(compared(trace))
    for each in compared(trace):
        low, high = each.figure("low"), each.figure("high")
        if not (given(each) or _many_outside(each)) or not isfinite(low):
            continue
        tolerance = limits.SHARE_TOLERANCE
        if _amounts(each, low, high):
            yield _no_shares(each, low, high)
        elif each.words["expects"] == "signs" and two_labels(each):
            yield _no_signs(each)
        elif each.words["expects"] in _PROBABILITIES and (low < -tolerance or high > 1 + tolerance):
            yield _no_probabilities(each, low, high)
        elif each.words["expects"] in ("squared", "absolute") and each.figure("lost") > limits.OUT_OF_REACH:
            yield _out_of_reach(each, low, high)


def _many_outside(each: Evidence) -> bool:
    """Whether so many of a few targets, from small batches, lie out of reach that the rest cannot change it."""
    return each.figure("given") == 1 and each.figure("outside") * each.figure("rows") >= limits.TARGETS_OUTSIDE


def _softmaxed(each: Evidence) -> bool:
    """Whether the loss holds targets against the logarithm of a softmax, and is nothing else."""
    last = [name for name in operations_of(each) if name != "Log"][:1]
    by_hand = each.words["expects"] == "product" and each.figure("alone") == 1 and last in (["Softmax"], ["LogSoftmax"])
    return each.words["expects"] == "classes" or by_hand


def _amounts(each: Evidence, low: float, high: float) -> bool:
    """Whether rows of targets under a softmax are amounts: several a row, below 0 or above 1. Word counts are whole numbers."""
    mixed = each.figure("rows_mixed") > limits.ROWS_MIXED and _softmaxed(each)
    uneven = each.figure("row_spread") > limits.ROWS_UNEVEN * abs(each.figure("row_sum"))
    return mixed and uneven and (low < -limits.SHARE_TOLERANCE or high > 1 + limits.SHARE_TOLERANCE)


def _no_shares(each: Evidence, low: float, high: float) -> Finding:
    return Finding(
        id="target-range",
        severity="critical",
        where=each.where[:1],
        steps=each.steps,
        value=low if low < 0 else high,
        limit=0.0 if low < 0 else 1.0,
        message=(
            f"The cross-entropy takes rows of targets for shares of 1, but they hold numbers from {number(low, 3)} to "
            f"{number(high, 3)} and sum to {number(each.figure('row_sum'), 3)} on average, differently in each row."
        ),
        why=(
            "A share below 0 rewards a small probability: the loss has no lowest value, and the numbers are not learned."
            if low < 0
            else "A softmax gives shares of 1: how large the numbers of a row are can never be learned."
        ),
        remedy=(
            f"To predict numbers give mse_loss the raw outputs of {each.where[0]}, without a softmax; for shares divide each row "
            "by its sum."
        ),
        reference="torch.nn.CrossEntropyLoss: class probabilities",
    )


def _no_signs(each: Evidence) -> Finding:
    return Finding(
        id="target-range",
        severity="critical",
        where=each.where[:1],
        steps=each.steps,
        value=0.0,
        limit=-1.0,
        message=f"The targets are 0 and 1; {each.words['function']} expects -1 and 1.",
        why="A product with 0 has no slope: no example of class 0 teaches anything.",
        remedy="Give the loss 2 * y - 1, or use binary_cross_entropy_with_logits, which takes 0 and 1.",
        reference="torch.nn.SoftMarginLoss and HingeEmbeddingLoss: targets of 1 or -1",
    )


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
    shared = each.kind == "picked" and made == "softmax"
    within = f"{number(below)} to {number(above)}" if isfinite(below) and isfinite(above) else "its range"
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
        remedy=f"Remove the {made} after {each.where[0]}"
        + (": values of actions need not sum to 1." if shared else f", or scale the targets into {within}."),
        reference="LeCun et al. 1998, Efficient BackProp, section 4.5: choosing target values",
    )


@check("target-constant")
def target_constant(trace: Trace) -> Iterator[Finding]:
    """The same target for every example, or only targets that the loss ignores.

    Measured: The targets of all sampled batches, and how many of those batches hold only targets that are ignored.
    Formula: none: one class, or a standard deviation of 0, in {CONSTANT_LOOKS} or more batches up to step {CONSTANT_STEP} or
        later. Of several losses: labels that are all 0, beside a part that gets no gradient, or beside a mask that takes all
        else away in {POSITIVES_ROWS:,} examples or more; and numbers that are all the same in {CONSTANT_ROWS} examples or more,
        beside targets that differ.
    """
    yield from same_words(trace)
    seen = compared(trace)
    yield from (_all_ignored(each) for each in seen if each.words["expects"] == "classes" and each.figure("all_ignored") > 0.5)
    yield from no_positives(trace, seen)
    yield from constant_parts(trace, seen)
    if len(seen) > 1:
        return  # several losses: one of them may have a constant target on purpose
    each = seen[0]
    late = each.figure("looks") >= limits.CONSTANT_LOOKS and each.steps[1] >= limits.CONSTANT_STEP
    single = each.figure("classes_seen") == 1 or (isfinite(each.figure("std")) and each.figure("std") == 0)
    # The same number in every example, neither 0 nor a class: not a rare event that sampling could have missed.
    certain = each.words["expects"] in ("squared", "absolute") and each.figure("mean") != 0
    if not (given(each) and late and single and each.figure("alone") == 1) or not (certain or _all_easy(trace, each)):
        return
    classes = each.figure("classes_seen") == 1
    if classes and each.figure("ignored") >= limits.IGNORED_SHARE:
        yield others_ignored(each)
        return
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

    Measured: The number of labels in each row of targets under a softmax, and what its numbers sum to.
    Formula: share = (rows with two labels or more) / (rows).
    """
    for each in compared(trace):
        counts = each.figure("high") > 1 + limits.SHARE_TOLERANCE  # of votes or words: a row of them may hold only 0 and 1
        many = 0.0 if counts else each.figure("rows_many")
        last = [name for name in operations_of(each) if name != "Log"][:1]
        softmax = last == ["Softmax"] or each.words["expects"] == "classes"
        softmax |= last == ["LogSoftmax"] and each.words["expects"] == "product" and each.figure("alone") == 1
        if _sums_to_another(each) and not consequence(trace).well:
            yield _another_sum(each, consequence(trace))
        elif given(each) and softmax and many > limits.ROWS_OF_MANY:
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


def _sums_to_another(each: Evidence) -> bool:
    """Whether all rows of mixed shares sum to one and the same number that is not 1."""
    total = each.figure("row_sum")
    same = each.figure("row_spread") <= limits.SHARE_TOLERANCE * total and abs(total - 1) > limits.OUT_OF_REACH
    return given(each) and each.words["expects"] == "classes" and each.figure("rows_mixed") > limits.ROWS_MIXED and same


def _another_sum(each: Evidence, harm: Consequence) -> Finding:
    total = each.figure("row_sum")
    return Finding(
        id="target-rows",
        severity="warning" if harm.bad else "info",
        where=each.where[:1],
        steps=each.steps,
        value=total,
        limit=1.0,
        message=f"Each row of targets sums to {number(total, 3)}, where a softmax gives shares of 1; {harm.words}.",
        why="An amount that is added to all classes equally favours none of them, and hides the labels.",
        remedy="Give the class numbers to cross_entropy, and label_smoothing=0.1 if the labels are to be smoothed.",
        reference="torch.nn.CrossEntropyLoss: class probabilities, label_smoothing",
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
