"""The check for a loss that is handed over but is not the one trained on."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.comparing import two_labels
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.losses.all_classes import all_classes
from lettrine.health.checks.losses.mixtures import mixtures
from lettrine.health.checks.losses.numbered import numbered_classes
from lettrine.health.checks.reading import number, share
from lettrine.health.checks.reference import NEED_NOT_FALL, handed_ratios, looked_at, ordinary, trained_values, units_of
from lettrine.health.checks.registry import Skip, check
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace

_PROBABILITIES = ("Sigmoid", "Softmax")
_LEAST = 1e-12  # least ratio: a logarithm needs a positive number


@check("other-loss", needs=("loss",))
def other_loss(trace: Trace) -> Iterator[Finding]:
    """Another loss than the one trained on was handed to the watch, or a squared error where probabilities or classes are judged,
    or a logarithm of a softmax of which no target picks a class, or the likelihood of a mixture whose weights do not sum to 1.

    Measured: The loss handed to watch.loss, beside the loss on which backward() was called. Of whole numbers that one answer is
        to come near, whether their order says anything: the nearest neighbour with another number has a number that is near.
        And the errors that are computed in a step, beside those that the loss holds. Whether the loss is the mean of log-softmax
        over all classes. What the weights of a mixture sum to.
    Formula: ratio = handed / trained on. It must be constant up to powers of 2, because a GradScaler multiplies by them. Numbers
        name classes where {NAMES_NEARER:.0%} or more of the ways to number them at random bring neighbours nearer together, and
        {NAMES_KEPT:.0%} of the neighbours have the same number.
    """
    seen = looked_at(trace)
    yield from mixtures(trace, axis=False)
    yield from (untold := [*all_classes(trace)])
    if untold or seen.figure("upwards") == 1:
        return
    if not ordinary(trace):
        raise Skip("not applicable", NEED_NOT_FALL)
    if (last := next(iter(trace.seen("only last")), None)) is not None and last.figure("looks") == last.figure("all"):
        yield _one_row(last) if last.words.get("row") else _only_last(last)
        return
    part = next(iter(trace.seen("handed term")), None)
    if part is not None and part.figure("looks") >= limits.HANDED_POINTS and part.figure("share") < limits.HANDED_SHARE:
        yield _one_term(part)
        return
    yield from (squares := [*_squares_of_probabilities(trace), *numbered_classes(trace)])
    ratios = handed_ratios(trace, seen)
    if len(ratios) < limits.HANDED_POINTS:
        if squares:
            return
        raise Skip("not run", f"{len(ratios)} of the {limits.HANDED_POINTS} losses needed beside those trained on")
    middle = float(np.sort(ratios)[len(ratios) // 2])
    # A GradScaler halves or doubles its scale sometimes. On this log2 axis that gives whole steps, and few different values.
    turns = np.log2(np.maximum(ratios / middle, _LEAST)) if middle else np.full(1, np.inf)
    near = np.abs(turns - np.round(turns)) <= limits.HANDED_SPREAD
    if np.mean(near) >= limits.HANDED_ALIKE and len(np.unique(np.round(turns[near]))) <= limits.HANDED_SCALES:
        return
    if max(seen.figure("passes"), seen.figure("parts")) > 1 and isfinite(units_of(trace, seen)):
        return  # that of one of the parts of each step: it varies around their mean
    course = consequence(trace)
    fell = _trained_falls(seen) and course.kind in ("rises", "guessing", "flat")
    yield Finding(
        id="other-loss",
        severity="warning" if fell else "info",
        where=(),
        steps=seen.steps,
        value=float(ratios.max() / ratios.min()) if ratios.min() > 0 else float("nan"),
        limit=1 + limits.HANDED_SPREAD,
        message=f"The loss handed to watch.loss is not the one trained on: it is between {number(float(ratios.min()))} and "
        f"{number(float(ratios.max()))} times it" + (f". That one falls; of this one, {course.words}." if fell else "."),
        why="The steps make only the loss smaller on which backward() is called: what is in the other one alone is not learned."
        if fell
        else "The report then speaks of another loss, such as one of its terms, a running mean, or that of other data.",
        remedy="Call backward() on the loss that you mean to train on, such as the sum of all terms, and hand over the same one: "
        "watch.loss(loss)."
        if fell
        else "Hand over the tensor on which backward() is called: watch.loss(loss).",
        reference="lettrine: watch.loss",
    )


def _trained_falls(seen: Evidence) -> bool:
    """Whether the loss on which backward() was called fell by half."""
    values = trained_values(seen)
    return len(values) >= limits.HANDED_POINTS and 0 <= values[-1] < values[0] / 2


def _only_last(seen: Evidence) -> Finding:
    errors, function = int(seen.figure("errors")), seen.words["function"]
    return Finding(
        id="other-loss",
        severity="warning",
        where=seen.where,
        steps=seen.steps,
        value=float(errors),
        limit=1.0,
        message=f"At each step looked at {errors} errors are computed ({function}), one for each call of {seen.where[0]}, and "
        "the loss holds the last one alone.",
        why="What the network is asked at all other places of a sequence teaches it nothing.",
        remedy="Add them up, loss = loss + error in the loop, or call backward() on torch.stack(errors).mean() after it. Where "
        "the last answer alone is meant, compute no other.",
        reference="Goodfellow, Bengio & Courville 2016, Deep Learning, section 10.2: the loss of a sequence",
    )


def _one_row(seen: Evidence) -> Finding:
    rows, row, function = int(seen.figure("errors")), seen.words["row"], seen.words["function"]
    return Finding(
        id="other-loss",
        severity="warning",
        where=seen.where,
        steps=seen.steps,
        value=float(rows),
        limit=1.0,
        message=f"At each step looked at {seen.where[0]} answers {rows} examples, and {function} is given one of them: "
        f"output[{row}] and target[{row}].",
        why=f"The other {rows - 1} examples of each batch teach it nothing.",
        remedy=f"Give {function} all of them: {function}(output, target). To take the last step of each sequence write output[:, "
        "-1].",
        reference="Goodfellow, Bengio & Courville 2016, Deep Learning, section 8.1.3: minibatch algorithms",
    )


def _one_term(part: Evidence) -> Finding:
    return Finding(
        id="other-loss",
        severity="warning",
        where=(),
        steps=part.steps,
        value=part.figure("share"),
        limit=limits.HANDED_SHARE,
        message=f"The loss handed to watch.loss is one of the {int(part.figure('terms'))} terms that are trained on, the "
        f"{part.words['kind']}, and makes up only {share(part.figure('share'))} of their sum.",
        why="What is shown is not what the steps make smaller: it may stand still or rise while the sum falls, and the other way "
        "round.",
        remedy="Hand over, and log, the sum on which backward() is called: watch.loss(loss).",
        reference="lettrine: watch.loss",
    )


def _squares_of_probabilities(trace: Trace) -> Iterator[Finding]:
    """A squared error between probabilities and labels, if not much was learned."""
    course = consequence(trace)
    for each in trace.seen("comparison"):
        last = (each.words["operations"].split() or [""])[0]
        squared = each.words["expects"] == "squared" and each.figure("alone") == 1 and each.figure("given") == 1
        if not (squared and two_labels(each) and last in _PROBABILITIES) or course.well or course.kind == "unknown":
            continue
        entropy = "binary_cross_entropy_with_logits" if last == "Sigmoid" else "cross_entropy"
        yield Finding(
            id="other-loss",
            severity="info",
            where=each.where[:1],
            steps=course.steps,
            value=course.end,
            limit=course.reference.value,
            message=f"The loss is the squared error of a {last.lower()}'s outputs against labels of 0 and 1; {course.words}.",
            why="Where an answer is certain and wrong the activation is almost flat, and the gradient of its square almost 0: "
            "the worst answers learn least.",
            remedy=f"Give the raw outputs of {each.where[0]}, without the {last.lower()}, to {entropy}.",
            reference="Goodfellow, Bengio & Courville 2016, Deep Learning, section 6.2.2: output units",
        )
