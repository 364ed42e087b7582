"""Messages and attention from one graph of a batch to others; reported as "batch-mixing"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.reading import share
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace

_WHAT: Final = {
    "attention": "{share} of the attention{where} goes to other examples of the batch: {graphs} lie in one list of {nodes:,}",
    "edges": "{share} of the edges join different graphs: {graphs} lie one after another, {nodes:,} nodes in all",
    "nearest": "{share} of the neighbours picked for each node belong to other graphs: {graphs} lie one after another, {nodes:,} "
    "nodes in all",
}
_REMEDY: Final = {
    "attention": "Hide what belongs to other examples, scores.masked_fill(batch[:, None] != batch, -torch.inf), or give the "
    "nodes an axis for the batch, (graphs, nodes, features), with a mask of padding.",
    "edges": "Make the edges of each graph by itself, and add to their numbers those of the nodes before it; knn_graph and "
    "radius_graph take batch=batch.",
    "nearest": "Search the neighbours within each graph: set distances between different graphs to infinity before topk, or hand "
    "batch=batch to knn_graph.",
}


def between_graphs(trace: Trace) -> Iterator[Finding]:
    """Nodes that get something from other graphs of the batch."""
    seen = [each for each in trace.seen("between graphs") if _mixing(each)]
    for what in dict.fromkeys(each.words["what"] for each in seen):
        same = [each for each in seen if each.words["what"] == what]
        most = max(same, key=lambda each: each.figure("share"))
        course = consequence(trace)
        named = {"share": share(most.figure("share")), "where": f" in {most.where[0]}" if most.where else ""}
        sizes = {"graphs": int(most.figure("graphs")), "nodes": int(most.figure("nodes"))}
        yield Finding(
            id="batch-mixing",
            severity="info" if course.well or most.figure("scatter") > limits.STANDING_SCATTER else "warning",
            where=tuple(dict.fromkeys(name for each in same for name in each.where)),
            steps=most.steps,
            value=most.figure("share"),
            limit=limits.BETWEEN_SHARE,
            message=f"{_WHAT[what].format(**named, **sizes)}{f'; {course.words}' if course.kind != 'unknown' else ''}.",
            why="The answer to one graph then depends on which others are in its batch, and what belongs to it gets lost.",
            remedy=_REMEDY[what],
            reference="Fey & Lenssen 2019, Fast graph representation learning with PyTorch Geometric, section 2: mini-batches",
        )


def _mixing(seen: Evidence) -> bool:
    """Whether it was so at every look, and with many others: two graphs of a pair may be compared on purpose."""
    always = seen.figure("looks") == seen.figure("all") >= limits.MASK_LOOKS
    return always and seen.figure("share") >= limits.BETWEEN_SHARE and seen.figure("partners") >= limits.BETWEEN_PARTNERS
