"""Pairs of one kind and of two that changed places in a loss: "wrong-direction"."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

from lettrine.health.checks.reading import share
from lettrine.health.findings import Finding
from lettrine.health.limits_wiring import LATE_LOOKS, PUSHED_LEFT, PUSHED_SURE, TRIPLETS_FARTHER
from lettrine.health.trace import Trace


def exchanged_pairs(trace: Trace) -> Iterator[Finding]:
    """What is pulled together lay farther apart from the start than what is pushed apart, and the network cannot tell them."""
    for seen in trace.seen("pushed"):
        farther, left, pulled, pushed = (seen.figure(name) for name in ("farther", "left", "pulled", "pushed"))
        error = sqrt((pulled + pushed + 1) / (12 * pulled * pushed))  # of the statistic of Mann and Whitney
        sure = farther >= max(TRIPLETS_FARTHER, 0.5 + PUSHED_SURE * error)
        if not sure or left < PUSHED_LEFT or seen.figure("looks") < LATE_LOOKS:
            continue
        yield Finding(
            id="wrong-direction",
            severity="warning",
            where=(),
            steps=seen.steps,
            value=farther,
            limit=TRIPLETS_FARTHER,
            message=f"Of two pairs, one that the loss pulls together and one that it pushes apart, the first lay farther apart "
            f"in {share(farther)} of all cases before any training, and does so in {share(left)} at step {seen.steps[1]:,}: the "
            "network does not learn to tell them.",
            why="Pairs of one kind are alike, and a fresh network mostly leaves them so. Where it is the other way round, the "
            "labels of like and unlike have changed places.",
            remedy="See which label means alike: y * d ** 2 + (1 - y) * relu(margin - d) ** 2 wants y = 1 for pairs of one kind; "
            "cosine_embedding_loss and hinge_embedding_loss want 1 for these and -1 for the others.",
            reference="Hadsell, Chopra & LeCun 2006, Dimensionality reduction by learning an invariant mapping, section 2.1",
        )
