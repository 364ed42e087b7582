"""Evidence "links": several graphs in one batch, but all edges are among the nodes of the first graph, or of the first few.

A batch of graphs lays their nodes one after another, (N, features). The node numbers in the edges of a graph must then be
increased by the number of nodes before that graph.

where: (). figures: "looks" at which no edge pointed beyond the node count of the largest graph, or beyond the first half of the
graphs; "nodes", "graphs", "largest", "edges"; "reached": of how many graphs, from the first on, edges reach the nodes.

The number of graphs and their sizes are read from an input that holds the graph number of each node (0, 0, 1, 1, 2 …), or from
an input of shape (graphs, nodes, …). Edges of one graph are few beside all nodes: they count if as many rows are added up by
numbers that lie within the first graph too. Edges are the indices that pick rows of all nodes on the way to the output, or an
input of shape (2, edges). An input (2, edges) beside one of (graphs, nodes, …) is not used: all graphs may share one set of
edges.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.reading import operation
from lettrine.torch.graph.walks import walk
from lettrine.torch.private import saved, saves_elsewhere

_GRAPHS: Final = 4  # least graphs in a batch: with so many, all edges hardly stay within the first by chance
_EDGES: Final = 0.5  # least edges, times the nodes
_REACHED: Final = 0.5  # share of the graphs: with half of them bare at each look, these would have to be atoms on their own, last
_ADDING: Final = ("IndexAdd", "ScatterAdd")
_SEARCHED: Final = 1_000


@reader
class Links:
    """Compares edges with the graphs they belong to."""

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._looks: list[tuple[int, dict[str, float]]] = []
        self._fine = False

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        given = [each for root in look.roots for each in tensors_given(root.args, root.kwargs)]
        for nodes, graphs, largest, numbers in batched(given):
            told = edges_among(given) if numbers is not None else []
            for edges in told or (each for each in picked(look, nodes) if each.ndim == 1):
                few = edges.numel() < _EDGES * nodes
                if few and (edges.numel() < _EDGES * largest or not _added_up(look, edges.shape[-1], largest)):
                    continue
                highest = int(edges.max())
                reached = 1 if highest < largest else graphs
                if highest >= largest and numbers is not None and highest < nodes:
                    reached = int(numbers[highest]) + 1
                if reached > 1 and reached > _REACHED * graphs:
                    self._fine = True
                elif graphs >= _GRAPHS:
                    figures = {"nodes": nodes, "graphs": graphs, "largest": largest, "edges": edges.shape[-1], "reached": reached}
                    self._looks.append((look.step, {name: float(value) for name, value in figures.items()}))
        return ()

    def finish(self) -> Iterator[Evidence]:
        """The result over all looks. If an edge ever points beyond the first graph, the numbers were increased correctly."""
        if self._looks and not self._fine:
            (first, _), (step, figures) = self._looks[0], max(self._looks, key=lambda each: each[1]["reached"])
            looks = len({at for at, _ in self._looks})
            yield Evidence("links", (), (first, step), {"looks": float(looks), **figures})


def tensors_given(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensors given to the model, also those inside the batch object of a graph library."""
    found = []
    for each in (*args, *kwargs.values()):
        held = (each,) if isinstance(each, Tensor) else (getattr(each, "edge_index", None), getattr(each, "batch", None))
        found += [tensor for tensor in held if isinstance(tensor, Tensor) and readable(tensor)]
    return found


def batched(given: list[Tensor]) -> Iterator[tuple[int, int, int, Tensor | None]]:
    """Number of nodes of all graphs, number of graphs, nodes of the largest, and the graph of each node where it is given."""
    for each in given:
        if each.ndim == 1 and not each.is_floating_point() and each.dtype is not torch.bool:
            steps = each.diff()
            if len(each) > 1 and int(each[0]) == 0 and int(each[-1]) > 0 and bool(((steps == 0) | (steps == 1)).all()):
                yield len(each), int(each[-1]) + 1, int(each.bincount().max()), each
        elif each.ndim == 3 and each.shape[1] > 1:
            yield each.shape[0] * each.shape[1], each.shape[0], each.shape[1], None


def edges_among(given: list[Tensor]) -> list[Tensor]:
    """The inputs (2, E) that may be edges."""
    return [each for each in given if each.ndim == 2 and len(each) == 2 and each.dtype is torch.int64 and each.shape[1] > 2]


def picked(look: Look, nodes: int) -> Iterator[Tensor]:
    """The indices that pick rows of (nodes, …): one row each, or several for each node."""
    if saves_elsewhere():
        return
    for node in walk([tensor.grad_fn for root in look.roots for tensor in root.outputs], _SEARCHED):
        name, sizes = operation(node), saved(node, "self_sym_sizes")
        if name not in ("Index", "IndexSelect") or not sizes or sizes[0] != nodes:
            continue
        index = saved(node, "index") if name == "IndexSelect" else (saved(node, "indices") or (None,))[0]
        if isinstance(index, Tensor) and index.dtype is torch.int64 and index.ndim in (1, 2) and index.numel():
            yield index


def added(look: Look) -> Iterator[Tensor]:
    """The indices by which rows are added up."""
    if saves_elsewhere():
        return
    for node in walk([tensor.grad_fn for root in look.roots for tensor in root.outputs], _SEARCHED):
        index = saved(node, "index") if operation(node) in _ADDING else None
        if isinstance(index, Tensor) and index.numel():
            yield index if index.ndim == 1 else index.flatten(1)[:, 0]


def _added_up(look: Look, count: int, largest: int) -> bool:
    """Whether so many rows are added up by numbers below that of the nodes of the largest graph."""
    return any(len(index) == count and int(index.max()) < largest for index in added(look))
