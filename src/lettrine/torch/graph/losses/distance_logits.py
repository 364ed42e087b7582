"""Evidence "distance logits": a cross-entropy that is given distances, which are 0 or above, as its logits.

figures: "looks" at which it was, "all" looks with a cross-entropy, "classes", "first" and "last": the mean loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.losses.means import mean_of
from lettrine.torch.graph.losses.written import VIEWS, inputs_of, twice
from lettrine.torch.graph.reading import Node, operation
from lettrine.torch.private import saved

_PASSED: Final = VIEWS | frozenset("Mul Div Pow Sqrt Add Clamp ClampMin Mean Sum LinalgVectorNorm Norm".split())  # noqa: SIM905
_DISTANCES: Final = ("Cdist", "EuclideanDist")
_BACK: Final = 10  # operations between a distance and the loss


@reader
class DistanceLogits:
    """Reads the logits at each look."""

    def __init__(self) -> None:
        self._seen: list[tuple[int, float, int]] = []
        self._all = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        given = [(each, each.given) for each in look.terms if each.kind == "cross-entropy" and each.given is not None]
        self._all += bool(given)
        for term, logits in given:
            if logits.ndim == 2 and readable(logits) and _distance(logits) and bool((logits >= 0).all()):
                self._seen.append((look.step, mean_of(term), logits.shape[1]))
        return ()

    def finish(self) -> Iterator[Evidence]:
        """The first look and the last one."""
        if self._seen:
            (start, first, classes), (end, last, _) = self._seen[0], self._seen[-1]
            figures = {"looks": float(len(self._seen)), "all": float(self._all), "classes": float(classes)}
            yield Evidence("distance logits", (), (start, end), figures | {"first": first, "last": last})


def _distance(logits: Tensor) -> bool:
    """Whether numbers are distances, or the sizes of differences, times a number."""
    node: Node | None = logits.grad_fn
    sizes = False
    for _ in range(_BACK):
        if node is None:
            return False
        name = operation(node)
        if name in _DISTANCES or (name in ("Sub", "Rsub") and sizes):
            return True
        square = (name == "Pow" and saved(node, "exponent") == 2) or (name == "Mul" and twice(node))
        sizes |= square or name in ("LinalgVectorNorm", "Norm")
        if name not in _PASSED or (len(inputs_of(node)) > 1 and not square):
            return False
        node = next(iter(inputs_of(node)), None)
    return False
