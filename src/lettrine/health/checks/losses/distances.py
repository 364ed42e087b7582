"""Distances where logits are meant: reported as "wrong-direction"."""

from __future__ import annotations

from collections.abc import Iterator
from math import log

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.reading import number
from lettrine.health.findings import Finding
from lettrine.health.limits import HARDLY_LEARNED
from lettrine.health.trace import Trace


def distances(trace: Trace) -> Iterator[Finding]:
    """A softmax over distances prefers what is farthest; with centres that are the means of classes that is never learned."""
    for seen in trace.seen("distance logits"):
        even, last = log(seen.figure("classes")), seen.figure("last")
        if seen.figure("looks") < max(limits.LATE_LOOKS, seen.figure("all")) or not last >= HARDLY_LEARNED * even:
            continue
        yield Finding(
            id="wrong-direction",
            severity="critical",
            where=(),
            steps=seen.steps,
            value=last,
            limit=HARDLY_LEARNED * even,
            message=f"The cross-entropy is given distances as they are: the farthest gets the largest probability. The loss, "
            f"{number(seen.figure('first'), 3)} at first, is {number(last, 3)} at step {seen.steps[1]:,}, where guessing gives "
            f"{number(even, 3)}.",
            why="An example is to lie near its own class and far from the others; this asks for the opposite, which no vectors "
            "can give where the centre of a class is made of its examples.",
            remedy="Put a minus before them: cross_entropy(-distances, targets).",
            reference="Snell, Swersky & Zemel 2017, Prototypical networks for few-shot learning, equation 2",
        )
