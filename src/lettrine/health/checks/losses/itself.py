"""Contrastive losses in which each example is compared with itself: reported as "other-loss"."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.reading import number
from lettrine.health.checks.wiring.connections import seen_once
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


def itself(trace: Trace) -> Iterator[Finding]:
    """Products of vectors with themselves, which nothing exceeds where all have one length; anchors that are their positives."""
    for each in trace.seen("triplets"):
        if each.figure("itself") >= max(limits.LATE_LOOKS, each.figure("looks")):
            yield _own_positive(each)
    seen = seen_once(trace, "contrast")
    if seen is None or seen.figure("itself") < max(limits.LATE_LOOKS, seen.figure("looks")):
        return
    asked, count, last = seen.figure("asked") == seen.figure("itself"), int(seen.figure("examples")), seen.figure("last")
    if seen.figure("asked") and not asked:
        return
    at = f"; the loss is {number(last, 3)} at step {seen.steps[1]:,}" if isfinite(last) else ""
    yield Finding(
        id="other-loss",
        severity="info" if asked and seen.figure("terms") > 1 else "warning",  # beside another loss it only spreads vectors
        where=(),
        steps=seen.steps,
        value=seen.figure("itself"),
        limit=0.0,
        message=(
            f"Each of {count} examples is asked to find itself: both sides of the products are the same vectors{at}."
            if asked
            else f"Each of {count} examples is compared with itself, too, and that product is the largest of its row, where "
            f"another one is the answer{at}."
        ),
        why=(
            "What is compared with itself is found whatever the network does: nothing is learned of what two views of one "
            "example have in common."
            if asked
            else "Nothing is more like an example than itself, so the right answer never gets more than half of the softmax, and "
            "the loss cannot fall below ln 2 = 0.69."
        ),
        remedy=(
            "Give the two sides two views of each example, by two calls of what augments it; or with both views in one matrix, "
            "mask the diagonal and let the target of each row be the other view."
            if asked
            else "Mask the diagonal before the softmax: logits.fill_diagonal_(-inf), or masked_fill with torch.eye."
        ),
        reference="Chen et al. 2020, A simple framework for contrastive learning of visual representations, equation 1: k != i",
    )


def _own_positive(seen: Evidence) -> Finding:
    return Finding(
        id="other-loss",
        severity="warning",
        where=(),
        steps=seen.steps,
        value=0.0,
        limit=0.0,
        message=f"The positive of each triplet is its anchor: they lay exactly 0 apart at all {int(seen.figure('looks'))} looks.",
        why="Nothing is pulled together: the network only learns to push two examples apart, which it can do for any two.",
        remedy="Give as the positive another example of the anchor's class, or another view of it: see how triplets are drawn.",
        reference="Schroff et al. 2015, FaceNet, section 3.1",
    )
