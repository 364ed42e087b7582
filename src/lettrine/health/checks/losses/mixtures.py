"""Mixtures whose weights do not sum to 1: reported as "other-loss", or as "softmax-axis"."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import Final

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.reading import number
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace

_WHY: Final = "Such a sum of densities is no density: the likelihood grows with the weights, whatever the targets are."
_REFERENCE: Final = "Bishop 1994, Mixture density networks, equations 22 and 25"


def mixtures(trace: Trace, *, axis: bool) -> Iterator[Finding]:
    """axis: whether those are wanted that a softmax over another axis made, or all others."""
    for seen in trace.seen("mixture"):
        if seen.figure("looks") < max(limits.LATE_LOOKS, seen.figure("all")) or (seen.words["made"] == "Softmax") is not axis:
            continue
        yield _finding(seen, axis=axis)


def _finding(seen: Evidence, *, axis: bool) -> Finding:
    made, place, first, last = seen.words["made"], int(seen.figure("axis")), seen.figure("first"), seen.figure("last")
    by = "come from a softmax along another axis" if axis else f"come from a {made.lower()}"
    sums = f", sum to {number(first)} at first and to {number(last)} at step {seen.steps[1]:,}, not to 1"
    return Finding(
        id="softmax-axis" if axis else "other-loss",
        severity="warning",
        where=(),
        steps=seen.steps,
        value=last,
        limit=1.0,
        message=f"The loss is the likelihood of a mixture, summed along axis {place}, and its weights {by}"
        f"{sums if isfinite(last) else ': they do not sum to 1'}.",
        why=_WHY,
        remedy=f"Make the weights by a softmax along axis {place}, or their logarithms by log_softmax along it before logsumexp.",
        reference=_REFERENCE,
    )
