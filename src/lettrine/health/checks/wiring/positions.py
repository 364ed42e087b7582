"""Positions added along the batch; reported as "batch-mixing"."""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits_wiring as limits
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


def positions_along_batch(trace: Trace) -> Iterator[Finding]:
    """Tables of positions whose rows go to the examples of a batch instead of the steps of a sequence."""
    for seen in trace.seen("positions"):
        if seen.figure("looks") < limits.MASK_LOOKS:
            continue
        batch, long, table = (int(seen.figure(name)) for name in ("batch", "long", "table"))
        yield Finding(
            id="batch-mixing",
            severity="warning",
            where=seen.where,
            steps=seen.steps,
            value=float(batch),
            limit=0.0,
            message=f"{seen.where[0]} adds the first {batch} of {table:,} positions to the {batch} examples of a batch: all "
            f"{long} steps of an example get the same one.",
            why="Steps cannot be told apart by their place, and the answer to an example depends on its place in the batch.",
            remedy="Cut the table by the number of steps, and put that on the axis of time: of (batch, time, features), "
            "x + table[: x.size(1)] with a table of (places, features).",
            reference="Vaswani et al. 2017, Attention is all you need, section 3.5: positional encoding",
        )
