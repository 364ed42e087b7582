"""The check for a loss that is handed over but is not the one trained on."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.directions import wrong_directions
from lettrine.health.checks.episode_ends import kept_ends
from lettrine.health.checks.policies import mispaired
from lettrine.health.checks.reading import listed, number, share
from lettrine.health.checks.reference import NEED_NOT_FALL, handed_ratios, loss_seen, ordinary
from lettrine.health.checks.registry import Skip, check
from lettrine.health.checks.rivals import allies
from lettrine.health.checks.second import mixed_derivatives
from lettrine.health.checks.targets import two_labels
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.limits_wiring import WEIGHTS_LOOKS
from lettrine.health.trace import Trace

_PROBABILITIES = ("Sigmoid", "Softmax")
_LEAST = 1e-12  # least ratio: a logarithm needs a positive number


@check("other-loss", needs=("loss",))
def other_loss(trace: Trace) -> Iterator[Finding]:
    """A loss that is not what is meant: put together wrongly, made larger by the steps, or another one than is handed over.

    Measured: The loss handed to watch.loss, beside the loss on which backward() was called.
        And whether the steps make it smaller at all, or make a measure of what is right smaller (an overlap, a cosine, a
        likelihood); whether the mean over a batch is taken before the loss or before a product with weights of the examples;
        whether weights of log-probabilities of drawn actions or the target of a value are trained by it; which of a clipped and
        a free ratio of probabilities it keeps; which next states count in the targets of values, a share of {ENDS_KEPT:.0%} or
        less; which way a generator and its judge move the score of what is generated; and whether second derivatives hold
        mixed ones too.
    Formula: ratio = handed / trained on. It must be constant up to powers of 2, because a GradScaler multiplies by them.
    """
    seen = loss_seen(trace)
    if wrong := [*mispaired(trace), *map(_averaged, trace.seen("averaged first"))] or list(mixed_derivatives(trace)):
        yield from wrong
        return
    if seen is None:
        raise Skip("not applicable", "no backward pass was looked at")
    if certain := _certain(trace, seen):
        yield certain[0]
    if certain or seen.figure("upwards") == 1:
        return
    if not ordinary(trace):
        raise Skip("not applicable", NEED_NOT_FALL)
    part = next(iter(trace.seen("handed term")), None)
    if part is not None and part.figure("looks") >= limits.HANDED_POINTS and part.figure("share") < limits.HANDED_SHARE:
        yield _one_term(part)
        return
    yield from (squares := list(_squares_of_probabilities(trace)))
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
    yield Finding(
        id="other-loss",
        severity="info",
        where=(),
        steps=seen.steps,
        value=float(ratios.max() / ratios.min()) if ratios.min() > 0 else float("nan"),
        limit=1 + limits.HANDED_SPREAD,
        message=f"The loss handed to watch.loss is not the one trained on: it is between {number(float(ratios.min()))} and "
        f"{number(float(ratios.max()))} times it.",
        why="The report then speaks of another loss, such as one of its terms, a running mean, or that of other data.",
        remedy="Hand over the tensor on which backward() is called: watch.loss(loss).",
        reference="lettrine: watch.loss",
    )


def _certain(trace: Trace, seen: Evidence) -> list[Finding]:
    """What the graph of the loss alone shows to be wrong."""
    weights = [
        each for each in trace.seen("trained weights") if each.figure("looks") >= max(WEIGHTS_LOOKS, each.figure("drawn") / 2)
    ]
    upwards = _upwards(seen) if seen.figure("upwards") == 1 else wrong_directions(trace)
    return [_trained_weights(each) for each in weights] or [*upwards, *kept_ends(trace), *allies(trace)]


def _trained_weights(seen: Evidence) -> Finding:
    """A value that is no constant for the policy."""
    return Finding(
        id="other-loss",
        severity="warning",
        where=seen.where,
        steps=seen.steps,
        value=seen.figure("looks"),
        limit=0.0,
        message=f"Log-probabilities of drawn actions are multiplied by something that {listed(seen.where)} "
        f"{'compute' if len(seen.where) > 1 else 'computes'}, with its graph: the loss of the policy trains them too.",
        why="That gradient makes a value wrong in the direction that makes the loss of the policy small; the policy then follows "
        "wrong values.",
        remedy="Detach it where it weights the policy: loss = -(log_prob * (returns - value.detach())).mean(); the value learns "
        "from its own loss alone.",
        reference="Mnih et al. 2016, Asynchronous methods for deep reinforcement learning, section 4",
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


def _averaged(each: Evidence) -> Finding:
    rows, left = int(each.figure("rows")), each.figure("left")
    apart = f" Each answer alone misses its target by {share(left)} of the targets' variance." if isfinite(left) else ""
    return Finding(
        id="other-loss",
        severity="info" if left < limits.AVERAGED_LEFT or each.figure("looks") < limits.HANDED_POINTS else "warning",
        where=each.where,
        steps=each.steps,
        value=float(rows),
        limit=1.0,
        message=f"The loss is taken after the mean over {rows} {each.words['what']}: it compares one mean with another.{apart}",
        why="A mean can be right while every single answer is wrong: all answers get the same gradient, whatever their targets.",
        remedy="Take the loss of each answer first, and then the mean: F.mse_loss(output, target), or "
        "(output - target).pow(2).mean().",
        reference="torch.nn.MSELoss: reduction",
    )


def _upwards(seen: Evidence) -> Iterator[Finding]:
    """An error that the steps increase: its sign is wrong, or the optimiser maximises it."""
    known = sorted((int(name.split()[1]), value) for name, value in seen.figures.items() if name.startswith("value "))
    values = [abs(value) for _, value in known if isfinite(value)]
    if len(values) < limits.HANDED_POINTS or not values[-1] > values[0]:
        return
    negated = any(value < 0 for _, value in known)
    yield Finding(
        id="other-loss",
        severity="critical",
        where=(),
        steps=seen.steps,
        value=values[-1],
        limit=values[0],
        message=f"Each step makes the {seen.words['kind']} larger: "
        + ("the loss is its negative" if negated else "the optimizer was built with maximize=True")
        + f". It was {number(values[0], 3)} at first, and has come to {number(values[-1], 3)}.",
        why="The network learns to be wrong: an error has no highest value, and grows until numbers overflow.",
        remedy="Take the minus before the loss away." if negated else "Build the optimizer without maximize=True.",
        reference="torch.optim: an optimizer makes the loss smaller, unless maximize=True",
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
