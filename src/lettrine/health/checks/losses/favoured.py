"""Weights that favour the classes which are frequent anyhow; reported as "majority-class"."""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits
from lettrine.health.checks.reading import number, share
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


def favoured(trace: Trace) -> Iterator[Finding]:
    """They are made of the numbers of labels, where those divided by them were meant, and the rare class is not answered."""
    for seen in trace.seen("class weights"):
        times, heavier, recall = (seen.figure(name) for name in ("times", "heavier", "recall"))
        apart = times >= limits.WEIGHTS_APART and heavier >= limits.WEIGHTS_APART**limits.WEIGHTS_POWER
        grows = seen.figure("power") >= limits.WEIGHTS_POWER and seen.figure("rows") >= limits.WEIGHTS_ROWS
        if not (apart and grows and recall <= limits.WEIGHTS_RECALL):
            continue
        frequent, rare = int(seen.figure("frequent")), int(seen.figure("rare"))
        yield Finding(
            id="majority-class",
            severity="warning",
            where=seen.where,
            steps=seen.steps,
            value=seen.figure("power"),
            limit=limits.WEIGHTS_POWER,
            message=f"The loss weighs class {frequent} {number(heavier, 2)} times as much as class {rare}, which has "
            f"{number(times, 2)} times fewer labels: the more labels a class has, the more each of them counts. Of class {rare}, "
            f"{share(seen.figure('share'))} of the labels, {share(recall)} are answered rightly.",
            why="Weights are to make up for labels that are few. These leave rare classes still less to say in the loss.",
            remedy="Turn the weights round: weight = counts.sum() / (len(counts) * counts) for cross_entropy, and "
            "pos_weight = negatives / positives for binary_cross_entropy_with_logits.",
            reference="He & Garcia 2009, Learning from imbalanced data",
        )
