"""Held-out examples that are trained on. Reported as "leak"."""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits
from lettrine.health.checks.reading import share
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


def trained_on(trace: Trace) -> Iterator[Finding]:
    """Held-out examples that were in training batches before, inputs and targets alike, far more of them than chance brings."""
    for seen in trace.seen("trained on"):
        same, rows, trained = (int(seen.figure(name)) for name in ("same", "rows", "trained"))
        if same < limits.TRAINED_ON_LEAST or same < limits.TRAINED_ON_CHANCE * seen.figure("by chance"):
            continue
        # A single batch that is trained on and judged is how one tries whether a network can learn at all.
        one = any(each.figure("period") == 1 for each in trace.seen("inputs"))
        yield Finding(
            id="leak",
            severity="warning" if same / rows >= limits.TRAINED_ON_SHARE and not one else "info",
            where=(),
            steps=seen.steps,
            value=same / rows,
            limit=limits.TRAINED_ON_SHARE,
            message=f"{same:,} of {rows:,} held-out examples ({share(same / rows)}) are among the {trained:,} training examples "
            "looked at before, with the same targets.",
            why="The loss on examples that were trained on does not tell what becomes of new ones.",
            remedy="Split the data once, before anything else, and give each part a loader of its own: with random_split and one "
            "generator, or by the indices of one permutation, rows[:n] and rows[n:].",
            reference="Kaufman et al. 2012, Leakage in data mining",
        )
