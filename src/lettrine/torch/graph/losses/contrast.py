"""Evidence "contrast": a contrastive loss, where products of the network's vectors tell the examples of a batch apart.

where: (). figures at the first look: "examples", how many are compared; "length", mean length of the vectors; "spread", std of
their lengths / mean, the larger of the two sides, 0 if they were normalised to one length; "most", the largest input of the
softmax; "value", the loss. At the last look: "last", the loss. Over all looks: "looks"; "itself", those at which the vectors were
compared with themselves, and the product of each with itself was the largest of its row, so not masked; "asked", those of these
at which each was the target of itself; "terms", of the loss at the last of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.rivals.opponents import contrastive, product_of
from lettrine.torch.private import saved, saves_elsewhere

_LEAST: Final = 8  # examples


@reader
class Contrast:
    """Measures the vectors whose products are compared."""

    def __init__(self) -> None:
        self._first: dict[str, float] = {}
        self._steps = (0, 0)
        self._last = 0.0
        self._counts = {"looks": 0.0, "itself": 0.0, "asked": 0.0, "terms": 0.0}

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        for term in look.terms if not saves_elsewhere() else ():
            given, target = term.given, term.target
            if term.kind != "cross-entropy" or given is None or target is None or len(given) < _LEAST:
                continue
            if not contrastive(given, target):
                continue
            sides = _sides(given)
            if sides is None:
                continue
            self._steps, self._last = (self._steps[0] if self._first else look.step, look.step), term.value
            self._counts["looks"] += 1
            if torch.equal(*sides) and bool((given.diagonal() >= given.amax(1)).all()):
                self._counts["itself"] += 1
                self._counts["asked"] += torch.equal(target, torch.arange(len(given), device=target.device))
                self._counts["terms"] = float(len(look.terms))
            if not self._first:
                lengths = [each.detach().float().norm(dim=-1) for each in sides]
                self._first = {
                    "examples": float(len(given)),
                    "length": float(torch.cat(lengths).mean()),
                    "spread": max(float(each.std() / each.mean()) for each in lengths),
                    "most": float(given.detach().float().abs().max()),
                    "value": term.value,
                }
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What the first look showed."""
        if self._first:
            yield Evidence("contrast", (), self._steps, {**self._first, **self._counts, "last": self._last})


def _sides(logits: Tensor) -> tuple[Tensor, Tensor] | None:
    """The two matrices (B, E) whose product logits are, up to a scale."""
    node = product_of(logits)
    one, other = (saved(node, name) for name in ("self", "mat2")) if node is not None else (None, None)
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return None
    one, other = one.reshape(-1, one.shape[-1]), other.transpose(-1, -2).reshape(-1, other.shape[-2])
    return (one, other) if len(one) == len(other) == len(logits) else None
