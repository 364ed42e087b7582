"""A view instead of a transposition: "future-leak" if the network then sees its targets, otherwise "batch-mixing"."""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.consequence import consequence
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace

_WHY = {
    "axes": "A view does not move axes: it cuts the same values, in the same order, into different rows.",
    "data": "A view does not move axes: neighbours in a picture or in time are torn apart, and colours or features get mixed.",
    "heads": "A view does not move axes: each place gets the values of other places, and of one head only.",
    "parts": "The parts lie one after the other in memory: each row gets values of other examples.",
}


def views_ahead(trace: Trace) -> Iterator[Finding]:
    """Those that give a place the values of later places, in a network that predicts the next element."""
    for seen in trace.seen("reshaped"):
        if seen.figure("ahead") and seen.figure("looks") >= limits.MASK_LOOKS and not seen.figure("batch"):
            yield _finding("future-leak", seen, "critical", ", and the target at each place is the element after it")


def views_mixing(trace: Trace) -> Iterator[Finding]:
    """All others."""
    for seen in trace.seen("reshaped"):
        if seen.figure("looks") >= limits.MASK_LOOKS and (seen.figure("batch") or not seen.figure("ahead")):
            course = consequence(trace)
            severity = "info" if course.well else "warning"
            yield _finding("batch-mixing", seen, severity, f"; {course.words}" if course.kind != "unknown" else "")


def _finding(name: str, seen: Evidence, severity: str, more: str) -> Finding:
    what, function = seen.words["what"], seen.words["function"]
    place = "outside of the model" if seen.where[0] == "loss" else f"in {seen.where[0]}"
    mixed = "examples of the batch" if seen.figure("batch") else "places"
    remedy = {
        "axes": f"Use transpose or permute to exchange axes, instead of {function}{seen.words['after']}.",
        "data": f"Use permute or transpose to exchange axes, such as x.permute(0, 3, 1, 2), instead of {function}"
        f"{seen.words['after']}.",
        "heads": "Bring the heads beside their values first: y.transpose(1, 2).reshape(B, T, H * D) to join them, and "
        "x.view(B, T, H, D).transpose(1, 2) to split them.",
        "parts": "Stack the parts along the axis of time, torch.stack(parts, 1), or view as (time, batch, ...), then transpose.",
    }[what]
    return Finding(
        id=name,
        severity=severity,
        where=() if seen.where[0] == "loss" else seen.where,
        steps=seen.steps,
        value=seen.figure("looks"),
        limit=0.0,
        message=f"A {function} {place} makes {seen.words['after']} of {seen.words['before']} without moving an axis, which mixes "
        f"{mixed}{more}.",
        why=_WHY[what],
        remedy=remedy,
        reference="torch.Tensor.view and torch.transpose",
    )
