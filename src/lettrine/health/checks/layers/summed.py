"""Sums over the neighbours of a node: what a symptom of theirs is told with."""

from __future__ import annotations

from lettrine.health.checks.reading import listed, number
from lettrine.health.limits_wiring import MASK_LOOKS
from lettrine.health.trace import Trace

DIVIDE = (
    "Divide the sums by the number of neighbours: take (A + I) / d in place of A, or (A + I) / sqrt(d d^T) as GCNConv does: d "
    "are the row sums of A + I; where sums are meant, normalise after each layer."
)


def summed(trace: Trace) -> str:
    """A sentence on layers that add up all neighbours of a node; "" if none does."""
    seen = [each for each in trace.seen("neighbour sums") if each.figure("looks") >= MASK_LOOKS]
    if not seen:
        return ""
    names, first = [each.where[0] for each in seen if each.where], seen[0]
    inside = f" in {listed(names)}" if names else ""
    return (
        f"The features of nodes are added up over their neighbours{inside}, {number(first.figure('mean'))} on average and up to "
        f"{first.figure('most'):.0f}, and the sums are not divided by that number"
    )
