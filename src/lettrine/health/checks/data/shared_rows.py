"""Columns that share the rows of a table which has rows for each of them; reported as "underfitting"."""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.consequence import consequence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


def shared_rows(trace: Trace) -> Iterator[Finding]:
    """Numbers of several columns that are looked up in one table without the offset of each column."""
    for seen in trace.seen("shared rows"):
        columns, rows, highest = (int(seen.figure(name)) for name in ("columns", "rows", "highest"))
        if seen.figure("looks") < limits.UNTOLD_LOOKS or rows < limits.SHARED_ROWS:
            continue
        course = consequence(trace)
        yield Finding(
            id="underfitting",
            severity="info" if course.well else "warning",
            where=seen.where,
            steps=seen.steps,
            value=float(highest),
            limit=float(rows - 1),
            message=f"{seen.where[0]} has {rows:,} rows, as many as its {columns} columns of numbers have values together, but "
            f"none beyond row {highest:,} was ever asked for: the columns share their rows"
            + (f"; {course.words}." if course.kind != "unknown" else "."),
            why="The same number in two columns gets the same vector, although it means two things.",
            remedy="Give each column rows of its own: offsets = [0, sizes[0], sizes[0] + sizes[1], ...]; "
            f"{seen.where[0]}(x + offsets).",
            reference="Rendle 2010, Factorization machines: one feature for each value of each field",
        )
