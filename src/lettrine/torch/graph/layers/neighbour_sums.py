"""Evidence "neighbour sums": a matrix that tells which nodes of a graph are linked, as whole numbers, multiplies their features.

Each node then gets the sum of its neighbours, however many there are.

where: the module around the product; none outside of all. figures: "looks" that showed it; "nodes"; "mean" and "most":
neighbours of a node on average and at most. A matrix that is learned, or whose rows or columns are divided by the number of
neighbours, is another one.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import ClassVar, Final

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.private import version

_PRODUCTS: Final = frozenset("matmul mm bmm __matmul__".split())  # noqa: SIM905
_NODES: Final = (8, 4_096)  # least and most nodes: a small square matrix of whole numbers may be anything
_LINKED: Final = 2.0  # neighbours of a node on average, or more


@reader
class NeighbourSums:
    """Looks at the products with square matrices of data."""

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, int, Evidence]] = {}
        self._known: tuple[weakref.ref[Tensor], int, Tensor | None] | None = None  # most graphs are the same at each step

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        found: dict[str, tuple[int, float, float]] = {}
        for call in look.calls:
            links, nodes = call.given(0, "input"), call.given(1, "other", call.given(1, "mat2"))
            if call.name not in _PRODUCTS or not (isinstance(links, Tensor) and isinstance(nodes, Tensor)) or call.where in found:
                continue
            if (sums := self._sums(links, nodes)) is not None:
                found[call.where] = len(sums), float(sums.mean()), float(sums.max())
        for where, (count, mean, most) in found.items():
            first, looks, _ = self._seen.get(where, (look.step, 0, None))
            figures = {"looks": looks + 1.0, "nodes": float(count), "mean": mean, "most": most}
            evidence = Evidence("neighbour sums", (where,) if where else (), (first, look.step), figures)
            self._seen[where] = first, looks + 1, evidence
            yield evidence

    def _sums(self, links: Tensor, nodes: Tensor) -> Tensor | None:
        """How many neighbours each node has, if the first matrix tells of links and the second has a row for each node."""
        square = links.ndim > 1 < nodes.ndim and links.shape[-1] == links.shape[-2] == nodes.shape[-2]
        if not square or links.requires_grad or not nodes.requires_grad or not readable(links):
            return None
        known = self._known
        if known is None or known[0]() is not links or known[1] != version(links):
            known = self._known = weakref.ref(links), version(links), _sums(links)
        return known[2]

    def finish(self) -> Iterable[Evidence]:
        """Nothing more."""
        return ()


def _sums(links: Tensor) -> Tensor | None:
    """The row sums of whole numbers from 0 on, unless they are few, or only count along a sequence."""
    if not _NODES[0] <= links.shape[-1] <= _NODES[1]:
        return None
    table = links.detach().reshape(-1, *links.shape[-2:])[0]
    if bool((table < 0).any()) or bool((table != table.round()).any()):
        return None
    sums = table.sum(dim=1)
    ordered = bool((table.triu(1) == 0).all()) or bool((table.tril(-1) == 0).all())  # a running sum along a sequence
    return sums if float(sums.mean()) >= _LINKED and not ordered else None
