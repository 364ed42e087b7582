"""Evidence "collapsed": vectors of a network that a loss compares with each other, and how far they lie apart.

where: the network. figures: "apart" at the first look, and "last", the larger of the last two: distance of two rows, root mean
square; "size" at the last look: mean length of a row; "value", "before" and "first": the loss at the last look, at the one before
it and at the first one; "rows"; "looks".

A loss compares them if it takes a distance or a difference of two tensors that were both made of the network's vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.comparisons import readable

_COMPARING: Final = frozenset(
    """sub __sub__ cdist pairwise_distance dist triplet_margin_loss triplet_margin_with_distance_loss cosine_similarity
    cosine_embedding_loss""".split()  # noqa: SIM905
)
_SHAPING: Final = frozenset(
    "__getitem__ unsqueeze expand view reshape normalize chunk split unbind select index_select repeat div __truediv__".split()  # noqa: SIM905
)
_ROWS: Final = 1_024  # of each output that are measured
_LEAST: Final = 8


@reader
class Collapsed:
    """Measures the vectors at each look."""

    def __init__(self) -> None:
        self._seen: dict[str, list[tuple[int, float, float, float, int]]] = {}

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        vectors: dict[str, list[Tensor]] = {}
        for root in look.roots:
            output = root.output
            if (
                isinstance(output, Tensor)
                and output.ndim == 2
                and output.shape[1] > 1
                and readable(output)
                and output.requires_grad
            ):
                vectors.setdefault(root.name, []).append(output)
        if look.loss is None or look.loss.numel() != 1 or not vectors:
            return ()
        for name, outputs in vectors.items():
            if sum(map(len, outputs)) < _LEAST or not _compared(look, outputs):
                continue
            rows = torch.cat([each.detach()[:_ROWS].float() for each in outputs])
            apart = float((2 * (rows - rows.mean(0)).square().sum(1).mean()).sqrt())
            told = (look.step, apart, float(rows.norm(dim=1).mean()), float(look.loss.detach()), len(rows))
            self._seen.setdefault(name, []).append(told)
        return ()

    def finish(self) -> Iterator[Evidence]:
        """The first look and the last ones."""
        for name, seen in self._seen.items():
            if len(seen) > 1:
                figures = {
                    "apart": seen[0][1],
                    "last": max(seen[-1][1], seen[-2][1]),
                    "size": seen[-1][2],
                    "value": seen[-1][3],
                    "before": seen[-2][3],
                    "first": seen[0][3],
                    "rows": float(seen[-1][4]),
                    "looks": float(len(seen)),
                }
                yield Evidence("collapsed", (name,), (seen[0][0], seen[-1][0]), figures)


def _compared(look: Look, outputs: list[Tensor]) -> bool:
    """Whether the loss compares these vectors with each other."""
    theirs = {id(each) for each in outputs}
    for call in look.outside:
        tensors = [each for each in call.args if isinstance(each, Tensor) and id(each) in theirs]
        if call.name in _COMPARING and len(tensors) > 1:
            return True
        if call.name in _SHAPING and tensors:
            theirs |= {id(each) for each in _several(call.result)}
    return False


def _several(value: Any) -> list[Tensor]:
    return [each for each in (value if isinstance(value, tuple | list) else (value,)) if isinstance(each, Tensor)]
