"""Edges of batched graphs; reported as "batch-mixing"."""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.consequence import consequence
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


def links_not_moved_on(trace: Trace) -> Iterator[Finding]:
    """Graphs that lie one after another in a batch, while all edges are among the nodes of the first, or of the first few."""
    for seen in trace.seen("links"):
        if seen.figure("looks") < limits.MASK_LOOKS:
            continue
        course = consequence(trace)
        graphs, nodes, largest = int(seen.figure("graphs")), int(seen.figure("nodes")), int(seen.figure("largest"))
        yield Finding(
            id="batch-mixing",
            severity="info" if course.well else "warning",
            where=(),
            steps=seen.steps,
            value=float(largest),
            limit=float(nodes),
            message=f"{graphs} graphs lie one after another, {nodes:,} nodes in all, and {_which(seen)}"
            f"{f'; {course.words}' if course.kind != 'unknown' else ''}.",
            why="Messages go between nodes of one graph, and those of all others have no edges: answers depend on which graph "
            "comes first in the batch.",
            remedy="Add to the edges of each graph the number of nodes in all graphs before it: edge_index + offset, as "
            "torch_geometric.loader.DataLoader does for edge_index (for other fields by Data.__inc__).",
            reference="Fey & Lenssen 2019, Fast graph representation learning with PyTorch Geometric, section 2: mini-batches",
        )


def _which(seen: Evidence) -> str:
    if (reached := seen.figure("reached")) > 1:
        return f"no edge reaches a node after the first {reached:.0f} graphs"
    largest = int(seen.figure("largest"))
    return f"no edge has a node's number of {largest} or more: all edges are among the nodes of the first graph"
