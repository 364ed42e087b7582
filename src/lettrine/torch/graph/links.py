"""Evidence "links": several graphs in one batch, whose edges all point at the nodes of the first.

Graphs are batched by laying their nodes one after another, (N, features); the numbers of nodes in edges must then be moved on by
the nodes that lie before theirs.

where: (). figures: "looks" at which no edge went beyond the largest graph's number of nodes; "nodes", "graphs", "largest",
"edges".

How many graphs there are, and how many nodes each has, is told by an input that numbers the graph of each node (0, 0, 1, 1, 2 …),
or by one of shape (graphs, nodes, …). Edges are what rows of all nodes are picked by on the way to the output, or an input of
shape (2, edges); but not beside (graphs, nodes, …), where one set of edges may be that of all graphs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.comparisons import readable
from lettrine.torch.graph.reading import operation
from lettrine.torch.graph.walks import walk
from lettrine.torch.private import saved, saves_elsewhere

_GRAPHS: Final = 4  # in a batch: an edge that goes nowhere beyond the first of them by chance is unlikely
_EDGES: Final = 0.5  # times the nodes
_SEARCHED: Final = 1_000


@reader
class Links:
    """Compares edges with the graphs they belong to."""

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._looks: list[tuple[int, int, int, int, int]] = []  # step, nodes, graphs, nodes of the largest, edges
        self._fine = False

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        given = [each for root in look.roots for each in _tensors(root.args, root.kwargs)]
        for nodes, graphs, largest, numbered in _batched(given):
            for edges in (*(_edges(given) if numbered else ()), *_picked(look, nodes)):
                if edges.numel() < _EDGES * nodes:
                    continue
                if int(edges.max()) >= largest:
                    self._fine = True
                elif graphs >= _GRAPHS:
                    self._looks.append((look.step, nodes, graphs, largest, edges.shape[-1]))
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What all looks say: edges that ever go beyond the first graph are moved on."""
        if self._looks and not self._fine:
            step, nodes, graphs, largest, edges = self._looks[-1]
            looks = len({each[0] for each in self._looks})
            figures = {"looks": looks, "nodes": nodes, "graphs": graphs, "largest": largest, "edges": edges}
            yield Evidence("links", (), (self._looks[0][0], step), {name: float(value) for name, value in figures.items()})


def _tensors(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """What the model was given, and what the batch of a graph library holds."""
    found = []
    for each in (*args, *kwargs.values()):
        held = (each,) if isinstance(each, Tensor) else (getattr(each, "edge_index", None), getattr(each, "batch", None))
        found += [tensor for tensor in held if isinstance(tensor, Tensor) and readable(tensor)]
    return found


def _batched(given: list[Tensor]) -> Iterator[tuple[int, int, int, bool]]:
    """Nodes of all graphs, how many graphs there are, nodes of the largest, and whether each node is numbered by its graph."""
    for each in given:
        if each.ndim == 1 and not each.is_floating_point() and each.dtype is not torch.bool:
            steps = each.diff()
            if len(each) > 1 and int(each[0]) == 0 and int(each[-1]) > 0 and bool(((steps == 0) | (steps == 1)).all()):
                yield len(each), int(each[-1]) + 1, int(each.bincount().max()), True
        elif each.ndim == 3 and each.shape[1] > 1:
            yield each.shape[0] * each.shape[1], each.shape[0], each.shape[1], False


def _edges(given: list[Tensor]) -> list[Tensor]:
    return [each for each in given if each.ndim == 2 and len(each) == 2 and each.dtype is torch.int64 and each.shape[1] > 2]


def _picked(look: Look, nodes: int) -> Iterator[Tensor]:
    """By which numbers rows of (nodes, …) are picked."""
    if saves_elsewhere():
        return
    for node in walk([tensor.grad_fn for root in look.roots for tensor in root.outputs], _SEARCHED):
        name, sizes = operation(node), saved(node, "self_sym_sizes")
        if name not in ("Index", "IndexSelect") or not sizes or sizes[0] != nodes:
            continue
        index = saved(node, "index") if name == "IndexSelect" else (saved(node, "indices") or (None,))[0]
        if isinstance(index, Tensor) and index.dtype is torch.int64 and index.ndim == 1 and index.numel():
            yield index
