"""The check of losses that the steps move the wrong way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.losses.endless import endless
from lettrine.health.checks.losses.exchanged_pairs import exchanged_pairs
from lettrine.health.checks.losses.shrinking import shrinking
from lettrine.health.checks.reading import listed, number, plural, share, usable
from lettrine.health.checks.reference import looked_at, loss_seen, ordinary, trained_values
from lettrine.health.checks.registry import check
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.limits_wiring import LABELS_NEAR, STILL_LOOKS, UPHILL_LOOKS
from lettrine.health.trace import Trace

_REMEDIES: Final = {
    "overlap": "Train on 1 - overlap, such as loss = 1 - dice.",
    "cosine": "Train on 1 - cosine, such as loss = 1 - F.cosine_similarity(output, target).mean().",
    "log-likelihood": "Put a minus before it: loss = -log_prob.mean().",
    "entropy": "Subtract it: loss = policy_loss - c * entropy.mean().",
    "error": "Add it: loss = policy_loss + c * value_loss.",
}
_IN_ORDER: Final = {
    "cross_entropy": "cross_entropy(logits, targets)",
    "binary_cross_entropy": "binary_cross_entropy(probabilities, targets)",
    "binary_cross_entropy_with_logits": "binary_cross_entropy_with_logits(logits, targets)",
    "kl_div": "kl_div(logits.log_softmax(1), targets, reduction='batchmean')",
}
_WHY: Final = {
    "overlap": "The network learns to answer where the targets are not.",
    "cosine": "The network learns to give vectors that point away from their targets.",
    "log-likelihood": "The network learns to find the data unlikely, which has no end: the loss falls until numbers overflow.",
    "entropy": "A bonus for entropy keeps a policy trying other actions; with this sign it settles on one the sooner.",
    "error": "The values become wrong, as far as they can, and the actions are judged by them.",
}
_TOLD: Final = {
    "entropy": "entropy of the policy smaller",
    "error": "squared error of the values, a part of the policy's loss, larger",
}


@check("wrong-direction")
def wrong_direction(trace: Trace) -> Iterator[Finding]:
    """Steps that make an error larger, or a measure of what is right smaller; answers and targets that changed places in the
    loss; a loss that falls without end.

    Measured: The sign with which an error reaches the loss, and whether the optimiser maximises. The same for measures of what is
        right (an overlap, a cosine with the targets, a likelihood, the entropy of a policy). The size of the codes of a flow
        beside the log-volume in its loss, and the sign with which the logarithm of a scale is added to it. Whether a
        cross-entropy or divergence is given targets as its input, and the model's answers as its target, and whether one written
        by hand counts nothing where the label is 0. Of a loss below 0, whether it has a lowest value. Whether the learning rate
        is below 0, and the loss rises. How far apart lie the pairs that a contrastive loss pulls together, and those that it
        pushes apart.
        Without an optimiser: whether the weights move along the gradient, and the loss rises.
    Formula: d(loss) / d(error) < 0, or d(loss) / d(what is right) > 0, and it moved that way at all looks. A flow: the mean
        square of its codes came below {VOLUME_VANISHED:g}. A scale exp(s): d(loss) / ds has the sign that pays for shrinking, and
        mean s fell by {SCALE_FELL:g} or more. Below 0: the loss reached {UNBOUNDED:g} times the size of its first
        values, and is {UNBOUNDED_GROWS:g} times as deep as half-way, where one optimiser trains against no judge.
    """
    seen = loss_seen(trace)
    rising = _upwards(seen) if seen is not None and seen.figure("upwards") == 1 else ()
    yield from [
        *_below_nought(trace),
        *_exchanged(trace),
        *_yes_alone(trace),
        *_measures(trace),
        *shrinking(trace),
        *exchanged_pairs(trace),
        *_uphill(trace),
        *rising,
    ] or endless(trace)
    looked_at(trace)


def _upwards(seen: Evidence) -> Iterator[Finding]:
    """An error that the steps increase: its sign is wrong, or the optimiser maximises it."""
    trained = trained_values(seen)
    values = [abs(value) for value in trained]
    if len(values) < limits.HANDED_POINTS or not values[-1] > values[0]:
        return
    negated = any(value < 0 for value in trained)
    yield Finding(
        id="wrong-direction",
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


def _below_nought(trace: Trace) -> Iterator[Finding]:
    """A learning rate below 0: each step goes up, as one of a schedule does that is called for longer than it was made for."""
    mask, course = usable(trace), consequence(trace)
    steps, rates = trace.steps[mask], trace.step_stats["learning_rate"][mask]
    up = steps[rates < 0]
    most = float(np.nanmin(rates, initial=0.0))
    if len(up) < UPHILL_LOOKS or up[-1] != steps[-1] or course.kind not in ("rises", "not finite", "flat", "guessing"):
        return
    scheduled = bool((rates > 0).any())
    when = f"since step {int(up[0]):,}, down to {number(most)}" if scheduled else f"from the first step on ({number(most)})"
    yield Finding(
        id="wrong-direction",
        severity="critical",
        where=(),
        steps=(int(up[0]), int(steps[-1])),
        value=most,
        limit=0.0,
        message=f"The learning rate is below 0 {when}, and {course.words}.",
        why="A step against the gradient makes the loss smaller; with a rate below 0 each goes along it, and undoes what was "
        "learned.",
        remedy="Stop calling scheduler.step() when the schedule is over, or give it the whole number of steps; keep a rate that "
        "is computed from falling below 0, as in max(0, 1 - step / steps)."
        if scheduled
        else "Take a rate above 0. If the loss is to grow, build the optimizer with maximize=True.",
        reference="torch.optim: an optimizer makes the loss smaller, unless maximize=True",
    )


def _uphill(trace: Trace) -> Iterator[Finding]:
    """Steps made by hand along the gradient, of a loss that should fall and rises."""
    course = consequence(trace)
    for seen in trace.seen("steps by hand"):
        looks = int(seen.figure("looks"))
        worse = ordinary(trace) and course.kind in ("rises", "not finite", "flat")
        if not worse or looks < STILL_LOOKS or seen.figure("uphill") < looks:
            continue
        yield Finding(
            id="wrong-direction",
            severity="critical",
            where=seen.where,
            steps=seen.steps,
            value=float(looks),
            limit=float(STILL_LOOKS),
            message=f"At each of {looks} steps looked at, up to step {seen.steps[1]:,}, {listed(seen.where)} "
            f"{plural(seen.where, 'was', 'were')} moved along the gradient, by no optimizer that is known, and {course.words}.",
            why="The gradient points to where the loss grows. Each step goes there.",
            remedy="Subtract it: with torch.no_grad(): p -= rate * p.grad. If the loss is to grow, take its negative.",
            reference="torch.optim: taking an optimization step",
        )


def _exchanged(trace: Trace) -> Iterator[Finding]:
    """Answers in the place of the targets."""
    for seen in trace.seen("exchanged"):
        function = seen.words["function"]
        if seen.figure("looks") < max(seen.figure("all"), limits.HANDED_POINTS):
            continue
        yield Finding(
            id="wrong-direction",
            severity="critical",
            where=(),
            steps=seen.steps,
            value=seen.figure("looks"),
            limit=limits.HANDED_POINTS,
            message=f"{function} is given the targets where it expects the model's answers, and the answers where it expects "
            f"the targets, at all {int(seen.figure('looks'))} steps looked at.",
            why="Its two arguments are not alike: a lower value no longer means better answers.",
            remedy=f"Exchange the two: {_IN_ORDER[function]}.",
            reference=f"torch.nn.functional.{function}: input, target",
        )


def _yes_alone(trace: Trace) -> Iterator[Finding]:
    """A cross-entropy of yes and no without the half for no: log(sigmoid) times labels of 0 and 1 is the whole loss."""
    for seen in trace.seen("comparison"):
        mean, std = seen.figure("mean"), seen.figure("std")
        labels = seen.figure("low") == 0 and seen.figure("high") == 1 and abs(std**2 - mean * (1 - mean)) <= LABELS_NEAR
        whole = seen.words["expects"] == "product" and seen.figure("alone") == seen.figure("given") == 1
        chain = [name for name in seen.words["operations"].split() if name != "Clamp"]
        looks = int(seen.figure("looks"))
        if not (labels and whole and chain in (["LogSigmoid"], ["Log", "Sigmoid"]) and looks >= limits.HANDED_POINTS):
            continue
        yield Finding(
            id="wrong-direction",
            severity="critical",
            where=seen.where[:1],
            steps=seen.steps,
            value=1 - mean,
            limit=0.0,
            message=f"The loss is log(sigmoid) times the labels, at all {looks} steps looked at: it counts nothing where the "
            f"label is 0, as {share(1 - mean)} of them are.",
            why="To say yes to everything makes such a loss 0: the network learns nothing of the noes.",
            remedy="Use binary_cross_entropy_with_logits(outputs, labels), or add (1 - labels) * logsigmoid(-outputs) before the "
            "minus.",
            reference="Goodfellow, Bengio & Courville 2016, Deep Learning, section 6.2.2.2: sigmoid units",
        )


def _measures(trace: Trace) -> Iterator[Finding]:
    """What each step makes smaller, although more of it is better."""
    for seen in trace.seen("wrong direction"):
        beside, first, last = seen.words["with"], seen.figure("first"), seen.figure("last")
        if seen.figure("looks") < max(seen.figure("all"), limits.HANDED_POINTS) or not (beside or _worse(seen)):
            continue
        what = seen.words["what"]
        yield Finding(
            id="wrong-direction",
            severity="warning" if beside or what in _TOLD else "critical",
            where=(),
            steps=seen.steps,
            value=last,
            limit=first,
            message=f"The steps make the {_TOLD.get(what, f'{what} with the targets smaller')}, although "
            f"{'less' if what == 'error' else 'more'} of it is better: it was "
            f"{number(first, 3)} at first, and has come to {number(last, 3)}."
            + (f" {beside}, which is added to it, pulls towards the same targets." if beside else ""),
            why=_WHY[what],
            remedy=_REMEDIES[what],
            reference="torch.optim: an optimizer makes the loss smaller, unless maximize=True",
        )


def _worse(seen: Evidence) -> bool:
    """Whether it fell, a cosine below 0; whether an error rose."""
    first, last = seen.figure("first"), seen.figure("last")
    if seen.words["what"] == "error":
        return last > first
    return last < (min(first, 0.0) if seen.words["what"] == "cosine" else first)
