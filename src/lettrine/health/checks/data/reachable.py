"""Generators and critics that cannot reach what they are measured by, and a yes that is none: reported as "target-range"."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import prod
from typing import Final

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.reading import number, share
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.limits import OUT_OF_REACH, TARGETS_LEAST
from lettrine.health.trace import Trace

_SPOKEN: Final = {
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Softmax": "softmax",
    "Hardtanh": "hard tanh",
    "Hardsigmoid": "hard sigmoid",
}


def reals(trace: Trace) -> Iterator[Finding]:
    """Data that a generator can never imitate."""
    for seen in trace.seen("real"):
        if seen.figure("looks") < limits.REAL_LOOKS or seen.figure("outside") < limits.REAL_OUTSIDE:
            continue
        maker, critic = seen.where
        least, most = number(seen.figure("least"), 3), number(seen.figure("most"), 3)
        low, high, last = number(seen.figure("low")), number(seen.figure("high")), _spoken(seen.words["last"])
        yield Finding(
            id="target-range",
            severity="warning",
            where=(maker,),
            steps=seen.steps,
            value=seen.figure("outside"),
            limit=limits.REAL_OUTSIDE,
            message=f"{critic} is shown data from {least} to {most} beside what {maker} makes, and {maker} ends in a {last}, "
            f"which gives {low} to {high}: at least {share(seen.figure('outside'))} of the values are out of its reach.",
            why=f"{critic} tells the two apart by their range alone, and {maker} can never learn to imitate the data.",
            remedy=f"Bring the data to the range from {low} to {high}, or give {maker} a last activation that reaches "
            f"them: tanh for "
            "data from -1 to 1, a sigmoid for 0 to 1, none for data with mean 0 and std 1.",
            reference="Radford, Metz & Chintala 2016, Unsupervised representation learning with DCGAN, section 4",
        )


def hinges(trace: Trace) -> Iterator[Finding]:
    """Hinges that an activation never reaches."""
    for seen in trace.seen("hinge"):
        if seen.figure("looks") < limits.HINGE_LOOKS:
            continue
        least, name, last = seen.figure("least"), seen.where[0], _spoken(seen.words["last"])
        yield Finding(
            id="target-range",
            severity="warning",
            where=seen.where,
            steps=seen.steps,
            value=least,
            limit=0.0,
            message=f"The loss cuts at 0 what is {number(least)} or more whatever {name} gives, since it ends in a "
            f"{last}: the margin "
            f"of {number(abs(seen.figure('margin')))} is never reached.",
            why="A hinge lets go of answers that are right by the margin. Here it never does, and pushes the "
            "activation to its flat "
            "end, where the gradient vanishes.",
            remedy=f"Leave out the {last} at the end of {name}: hinge losses take raw scores.",
            reference="Lim & Ye 2017, Geometric GAN; torch.nn.HingeEmbeddingLoss",
        )


def pair_labels(trace: Trace) -> Iterator[Finding]:
    """Labels of 0 in a loss of pairs that knows 1 and -1: what they stand for teaches nothing."""
    for seen in trace.seen("pair labels"):
        if seen.figure("looks") < max(limits.LATE_LOOKS, seen.figure("all")):
            continue
        function = seen.words["function"]
        yield Finding(
            id="target-range",
            severity="critical",
            where=(),
            steps=seen.steps,
            value=0.0,
            limit=-1.0,
            message=f"The labels are 0 and 1; {function} expects -1 and 1. Those of 0, {share(seen.figure('none'))} of them, "
            "have no gradient.",
            why="Pairs with the label 0 teach nothing: only one kind of pairs is learned, and one answer to everything fits it.",
            remedy="Give the loss 2 * y - 1.",
            reference="torch.nn.CosineEmbeddingLoss and MarginRankingLoss: targets of 1 or -1",
        )


def small_yes(seen: Sequence[Evidence]) -> Iterator[Finding]:
    """Labels of 0 and a number far below one half, such as masks, or pictures, divided by 255 twice."""
    for each in seen:
        high, mean = each.figure("high"), each.figure("mean")
        asked = each.words["expects"] in ("logits", "probabilities", "likelihood") and each.figure("given") == 1
        if not asked or not each.figure("low") >= 0 or not 0 < high <= limits.YES_LEAST:
            continue
        squares, pixels = each.figure("std") ** 2 + mean**2, prod(map(int, re.findall(r"\d+", each.words["shape"])[1:]))
        picture = pixels >= limits.YES_PIXELS and high * 255 <= 1 + limits.YES_TWO
        two = each.figure("low") == 0 and abs(squares - high * mean) <= limits.YES_TWO * high * mean
        if not picture and not two:
            continue  # more than two values: a share of something may be small everywhere
        yield Finding(
            id="target-range",
            severity="critical",
            where=each.where[:1],
            steps=each.steps,
            value=high,
            limit=limits.YES_LEAST,
            message=f"The targets are {'from 0 to' if picture else '0 or'} {number(high, 3)}; the binary cross-entropy takes "
            "them for probabilities.",
            why=f"Even where the answer is yes the network learns to say yes in {share(high)} of the cases: it never does.",
            remedy=f"Give targets of 0 and 1: divide them by {number(high, 3)}."
            + (" A picture that ToTensor has read is from 0 to 1 already." if abs(high * 255 - 1) < limits.YES_TWO else ""),
            reference="torch.nn.BCELoss: targets between 0 and 1; torchvision.transforms.ToTensor",
        )


def picked(trace: Trace) -> Iterator[Evidence]:
    """Targets of answers that were picked out of several, as values of actions are, where it is certain that they are out of
    reach: on average, or nearly all of them by far. (Single returns scatter about a value that may well be in reach.)
    """
    for seen in trace.seen("picked"):
        low, high, mean, std, rows = (seen.figure(name) for name in ("reach_low", "reach_high", "mean", "std", "rows"))
        if seen.figure("looks") < limits.PICKED_LOOKS or rows < TARGETS_LEAST or not seen.figure("lost") > OUT_OF_REACH:
            continue
        doubt = limits.PICKED_ERRORS * std / rows**0.5
        apart = mean + doubt < low or mean - doubt > high
        if apart or (std > limits.PICKED_FAR * (high - low) and seen.figure("outside") >= limits.PICKED_OUTSIDE):
            yield seen


def _spoken(operation: str) -> str:
    return _SPOKEN.get(operation, operation.lower())
