"""Evidence "between graphs": the nodes of several graphs lie in one list, and messages or attention go from one graph to others.

where: the module that takes the softmax, () for edges. figures: "looks" that showed it, "all" looks at several graphs; "graphs",
"nodes" in all; "share" of the edges, or of the attention, that comes from other graphs, the least of all looks; "partners": other
graphs that reach one, the median; "scatter": Fisher's F of the batches, as in `inputs`: of graphs that belong together, such as
views of one scene, it is far above 1. words: "what": "attention", "edges" (given, or that rows were picked and added up by) or
"nearest" (picked for each node).

The graph of each node is read from an input that numbers it (0, 0, 1, 1, 2 …), or, if there is one answer for each graph, from
one of shape (graphs, nodes, …). Sequences of tokens that were laid one after another are graphs, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import torch
from numpy.typing import NDArray
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.data.batches import scatter
from lettrine.torch.graph.data.links import added, batched, edges_among, picked, tensors_given
from lettrine.torch.graph.data.telling import flat
from lettrine.torch.graph.losses.comparisons import readable

_GRAPHS: Final = 4  # least graphs in a batch
_MOST: Final = 2_048  # nodes whose attention is read
_LOOKS: Final = 16  # whose inputs are kept

Array = NDArray[Any]
Found = tuple[str, str, float, float]  # what, where, share, partners


@dataclass
class _Met:
    looks: int = 0
    share: float = 1.0
    partners: float = 0.0
    steps: list[int] = field(default_factory=list)


@reader
class BetweenGraphs:
    """Asks of each message whose it is."""

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._met: dict[tuple[str, str], _Met] = {}
        self._all = self._graphs = self._nodes = 0
        self._given: list[Array] = []

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        given = [each for root in look.roots for each in tensors_given(root.args, root.kwargs)]
        numbers = next(_numbers(given, [each for root in look.roots for each in root.outputs]), None)
        if numbers is None or look.place:
            return ()
        self._all, self._graphs, self._nodes = self._all + 1, int(numbers[-1]) + 1, len(numbers)
        first = next((each for each in given if each.ndim > 1 and len(each) in (self._graphs, self._nodes)), None)
        if first is not None and len(self._given) < _LOOKS:
            self._given.append(flat(first))
        found: dict[tuple[str, str], tuple[float, float]] = {}
        for what, where, share, partners in (*_attention(look, numbers), *_messages(look, given, numbers)):
            found.setdefault((what, where), (share, partners))
        for key, (share, partners) in found.items():
            met = self._met.setdefault(key, _Met())
            met.looks, met.share, met.partners = met.looks + 1, min(met.share, share), max(met.partners, partners)
            met.steps.append(look.step)
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What all looks showed."""
        for (what, where), met in self._met.items():
            counts = {"looks": met.looks, "all": self._all, "graphs": self._graphs, "nodes": self._nodes}
            figures = {name: float(value) for name, value in counts.items()}
            figures |= {"share": met.share, "partners": met.partners, "scatter": scatter(self._given)}
            yield Evidence("between graphs", (where,) if where else (), (met.steps[0], met.steps[-1]), figures, {"what": what})


def _numbers(given: list[Tensor], answers: list[Tensor]) -> Iterator[Tensor]:
    """(N,) the graph of each node. The rows of a picture or a board are no graphs: they have no answers of their own."""
    tokens = [(each.numel(), *each.shape, None) for each in given if each.ndim == 2 and each.dtype is torch.int64]
    for nodes, graphs, largest, numbers in (*batched(given), *tokens):
        each_one = any(each.shape[:1] == (graphs,) and each.shape[1:2] != (largest,) for each in answers)
        if graphs >= _GRAPHS and largest > 1 and (numbers is not None or each_one):
            yield torch.arange(graphs).repeat_interleave(nodes // graphs) if numbers is None else numbers.cpu()


def _attention(look: Look, numbers: Tensor) -> Iterator[Found]:
    nodes = len(numbers)
    for call in look.calls if nodes <= _MOST else ():
        weights = call.result
        if call.root < 0 or call.name != "softmax" or not isinstance(weights, Tensor) or not readable(weights):
            continue
        if weights.shape[-2:] == (nodes, nodes) and call.given(1, "dim", -1) in (-1, weights.ndim - 1):
            table = weights.detach().reshape(-1, nodes, nodes).float().mean(0).cpu()  # (N, N), heads together
            groups = torch.zeros(nodes, int(numbers[-1]) + 1).index_add_(1, numbers, table)  # (N, G) attention to each graph
            own = groups.gather(1, numbers[:, None])[:, 0]
            reached = (torch.zeros_like(groups[: groups.shape[1]]).index_add_(0, numbers, groups) > 0).sum(1) - 1
            yield "attention", call.where, float(1 - own.mean()), float(reached.float().median())


def _messages(look: Look, given: list[Tensor], numbers: Tensor) -> Iterator[Found]:
    nodes = len(numbers)
    pairs = [("edges", each[0], each[1]) for each in edges_among(given)]
    chosen = list(picked(look, nodes))
    pairs += [("edges", source, goal) for goal in added(look) for source in chosen if source.shape == goal.shape]
    rows = torch.arange(nodes)
    pairs += [
        ("nearest", each.reshape(-1), rows.repeat_interleave(each.shape[1]))
        for each in chosen
        if each.ndim == 2 and len(each) == nodes
    ]
    for what, sources, goals in pairs:
        ends = sources.cpu(), goals.cpu()
        if min(map(len, ends)) and all(int(each.min()) >= 0 and int(each.max()) < nodes for each in ends):
            here, there = (numbers[each] for each in ends)
            across = here != there
            graphs = int(numbers[-1]) + 1
            reached = (torch.bincount(there[across] * graphs + here[across], minlength=graphs**2) > 0).reshape(graphs, graphs)
            yield what, "", float(across.float().mean()), float(reached.sum(1).float().median())
