"""The check of means that are taken before they may be."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import Final

from lettrine.health import limits
from lettrine.health.checks.reading import share
from lettrine.health.checks.reference import looked_at
from lettrine.health.checks.registry import check
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.limits_wiring import LATE_LOOKS
from lettrine.health.trace import Trace

_LOGARITHMS: Final = ("log", "log_sigmoid", "logsigmoid", "softplus")
_EACH: Final = {
    ("differences", False): "Sum over the numbers of each pair alone, and take the mean last: "
    "-F.logsigmoid(positive - negative).mean(), where both hold one score a pair.",
    ("differences", True): "Cut each difference at 0, and take the mean last: F.relu(margin + near - far).mean(), where both "
    "hold one distance a pair.",
    ("distances", True): "Take the distance of each pair, (a - b).norm(dim=1) or F.pairwise_distance(a, b), cut each difference, "
    "and take the mean last.",
    ("probabilities", False): "Sum over the classes alone, and take the mean last: -(p * onehot).sum(1).log().mean(), or "
    "F.cross_entropy(logits, classes).",
}
"""What to do, by what was summed and whether a hinge follows."""
_SOURCE: Final = {
    "differences": "Rendle et al. 2009, BPR: Bayesian personalized ranking from implicit feedback, section 4.1",
    "distances": "torch.nn.TripletMarginLoss",
    "probabilities": "torch.nn.CrossEntropyLoss",
}


@check("averaged-first")
def averaged_first(trace: Trace) -> Iterator[Finding]:
    """A mean or a sum over the examples that is taken before each example has met its target or its weight.

    Measured: Whether answers are averaged over the batch before they are compared with targets, and what each answer alone then
        misses; whether a mean or sum over the examples is multiplied by weights of the examples, or set against one figure of
        each; whether a logarithm or a hinge is taken of the sum over all pairs.
    Formula: mean(loss) * mean(weights) is not mean(loss * weights); mean(answers) - mean(targets) says nothing of one answer.
        A remark where each answer alone misses less than {AVERAGED_LEFT:.0%} of the targets' variance.
    """
    yield from _weights(trace)
    yield from map(_answers, trace.seen("averaged first"))
    yield from (_bent(each) for each in trace.seen("bent sum") if each.figure("looks") >= limits.HANDED_POINTS)
    looked_at(trace)


def _answers(each: Evidence) -> Finding:
    rows, left = int(each.figure("rows")), each.figure("left")
    apart = f" Each answer alone misses its target by {share(left)} of the targets' variance." if isfinite(left) else ""
    return Finding(
        id="averaged-first",
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


def _bent(each: Evidence) -> Finding:
    """One logarithm, or one hinge, for a whole batch."""
    rows, function, of = int(each.figure("rows")), each.words["function"], each.words["of"]
    hinge = function not in _LOGARITHMS
    return Finding(
        id="averaged-first",
        severity="warning",
        where=each.where,
        steps=each.steps,
        value=float(rows),
        limit=1.0,
        message=f"One {'hinge' if hinge else 'logarithm'} ({function}) is taken of all {rows} {of} of a batch together, "
        "not one of each.",
        why="It sees how the batch does on the whole. As soon as that is well all gradients vanish, those of what is wrong too.",
        remedy=_EACH[of, hinge],
        reference=_SOURCE[of],
    )


def _weights(trace: Trace) -> Iterator[Finding]:
    """Weights of the examples that meet a mean or sum over the examples."""
    for seen in trace.seen("late weights"):
        if seen.figure("looks") < LATE_LOOKS:
            continue
        rows, of = int(seen.figure("rows")), seen.words.get("of", "mean")
        ratio = seen.words.get("how") == "ratio"
        yield Finding(
            id="averaged-first",
            severity="warning",
            where=seen.where,
            steps=seen.steps,
            value=float(rows),
            limit=1.0,
            message=f"A {of} over {rows} examples "
            + (
                f"of their log-probabilities is set against {rows} earlier ones, one for each example."
                if ratio
                else f"is multiplied by {rows} weights, one for each example: all examples count alike, and only the mean of the "
                "weights matters."
            ),
            why="Each example then has the ratio of all of them together, far from 1, and the clip holds it still."
            if ratio
            else f"{of}(loss) * mean(weights) is not mean(loss * weights): which weight belongs to which example is lost.",
            remedy="Keep the log-probability of each example: sum(-1) adds those of its actions if they have an axis of their "
            "own, and all examples if squeeze() took that axis away."
            if ratio
            else "Multiply first and take the mean after that: (loss * weights).mean(), where the loss of each example comes "
            'from reduction="none", or the log-probability of each step is left as it is.',
            reference="torch.nn.CrossEntropyLoss: reduction; Williams 1992, Simple statistical gradient-following algorithms",
        )
