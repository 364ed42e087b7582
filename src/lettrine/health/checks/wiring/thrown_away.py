"""Functions called for nothing: what they return is thrown away, and the tensor they were given goes on as it was.

A mask before a softmax is reported as "padding-mask", as "future-leak" if it hides what comes later, all else as "no-gradient".
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, nan
from typing import Final

from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.reading import share
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.limits_wiring import LOST_STEPS
from lettrine.health.trace import Trace

_WEIGHED: Final = ("softmax", "log_softmax")


def thrown_away(trace: Trace, check: str) -> Iterator[Finding]:
    """What this check reports of them."""
    for seen in trace.seen("thrown away"):
        if seen.figure("looks") >= LOST_STEPS and _check_of(seen) == check:
            yield _finding(trace, seen, check)


def _check_of(seen: Evidence) -> str:
    if not isfinite(seen.figure("share")) or seen.words["taker"] not in _WEIGHED:
        return "no-gradient"
    return "future-leak" if seen.figure("causal") else "padding-mask"


def _finding(trace: Trace, seen: Evidence, check: str) -> Finding:
    name, taker, hidden = seen.words["function"], seen.words["taker"], seen.figure("share")
    place, masks, course = f" in {seen.where[0]}" if seen.where else "", isfinite(hidden), consequence(trace)
    fine = not masks and course.well
    call = "torch.where(mask, x, value)" if name == "where" else f"x.{name}(mask, value)" if masks else f"{name}(x)"
    return Finding(
        id=check,
        severity="info" if fine else "warning",
        where=seen.where,
        steps=seen.steps,
        value=0.0,
        limit=nan,
        message=f"What {name} returns{place} is thrown away at all looks: {taker} is given the tensor as it was before"
        + (f", with the {share(hidden)} of its values that were to be hidden" if masks else "")
        + (f"; {course.words}." if fine else "."),
        why={
            "padding-mask": "Nothing is hidden: every place attends to those that only fill up.",
            "future-leak": "Nothing is hidden: every place sees those after it, which it is to predict.",
        }.get(check, f"The call does nothing: {name} makes a new tensor and leaves the one it is given as it is."),
        remedy=f"Go on with what it returns: x = {call}.",
        reference=f"torch: {'torch.where' if name == 'where' else name}",
    )
