"""Evidence "collapsed": vectors of a network that a loss compares with each other, and how far they lie apart.

where: the network. figures: "apart" at the first look, and "last", the larger of the last two: distance of two rows, root mean
square; "size" at the last look: mean length of a row; "value", "before" and "first": the loss at the last look, at the one before
it and at the first one; "rows"; "looks"; "pulls": 1 if the loss is nothing but distances between what the network gives.

A loss compares them if it takes a distance or a difference of two tensors that were both made of the network's vectors.

Evidence "one direction": vectors that cosine_similarity compares, both of which the network made in this step. where: what gave
the first of them. figures: "first" and "last": mean cosine of any two of its rows at the first look, and the smaller of the last
two; "pairs": mean cosine of those compared, at the last look; "looks".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

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
_PULLING: Final = frozenset(("distance", "penalty"))
_ROWS: Final = 1_024  # of each output that are measured
_LEAST: Final = 8


@reader
class Collapsed:
    """Measures the vectors at each look."""

    def __init__(self) -> None:
        self._seen: dict[str, list[tuple[int, float, float, float, int]]] = {}
        self._pulls = True
        self._directions: dict[str, list[tuple[int, float, float]]] = {}

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        for name, alike, pairs in _directions(look):
            self._directions.setdefault(name, []).append((look.step, alike, pairs))
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
        self._pulls &= {each.kind for each in look.terms} <= _PULLING
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
                    "pulls": float(self._pulls),
                }
                yield Evidence("collapsed", (name,), (seen[0][0], seen[-1][0]), figures)
        for name, found in self._directions.items():
            if len(found) > 1:
                last, pairs, looks = min(found[-1][1], found[-2][1]), found[-1][2], float(len(found))
                figures = {"first": found[0][1], "last": last, "pairs": pairs, "looks": looks}
                yield Evidence("one direction", (name,), (found[0][0], found[-1][0]), figures)


def _directions(look: Look) -> Iterator[tuple[str, float, float]]:
    """What gave vectors that are compared by their cosine, the mean cosine of any two of them, and of those compared."""
    given = [(each.name, output) for each in look.roots for output in each.outputs]
    if not {each.kind for each in look.terms} <= _PULLING | {"other"}:
        return  # what else the loss asks for tells examples apart
    names = {output.data_ptr(): name for name, output in given if output.ndim == 2 and output.shape[1] > 1}
    seen = set[str]()
    for call in look.outside:
        two = [call.given(place, name) for place, name in enumerate(("x1", "x2"))] if call.name == "cosine_similarity" else []
        if len(two) < 2 or not all(isinstance(each, Tensor) and each.data_ptr() in names and readable(each) for each in two):
            continue
        name, made = names[two[0].data_ptr()], call.result.grad_fn
        if made is None or made not in look.nodes:
            continue  # only looked at
        if two[0].shape != two[1].shape or two[0].data_ptr() == two[1].data_ptr() or len(two[0]) < _LEAST or name in seen:
            continue
        seen.add(name)
        rows = [functional.normalize(each.detach()[:_ROWS].float(), dim=1) for each in two]
        count = len(rows[0])
        alike = (float(rows[0].sum(0).square().sum()) - count) / (count * (count - 1))
        yield name, alike, float((rows[0] * rows[1]).sum(1).mean())


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
