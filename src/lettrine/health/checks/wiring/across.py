"""Answers that are picked along the axis of the examples; reported as "batch-mixing"."""

from __future__ import annotations

from collections.abc import Iterator
from math import nan

from lettrine.health import limits_wiring as limits
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


def picked_across(trace: Trace) -> Iterator[Finding]:
    """A gather with dim=0 where each row holds the answers to one example."""
    for seen in trace.seen("picked across"):
        if seen.figure("looks") < max(limits.LOST_STEPS, seen.figure("all")):
            continue
        rows, columns = int(seen.figure("rows")), int(seen.figure("columns"))
        yield Finding(
            id="batch-mixing",
            severity="critical",
            where=(),
            steps=seen.steps,
            value=float(rows),
            limit=nan,
            message=f"The loss takes gather(0, index) of answers of the shape ({rows}, {columns}) with an index of the shape "
            f"({rows}, 1), whose numbers are below {columns}: it picks rows, and always the first column.",
            why="Element i of the result is the first answer to example index[i], not answer index[i] to example i: no other "
            "column learns, and the loss may fall nevertheless.",
            remedy="Pick along the axis of the classes or actions: answers.gather(1, index).",
            reference="torch.gather: out[i][j] = input[index[i][j]][j] for dim=0",
        )
