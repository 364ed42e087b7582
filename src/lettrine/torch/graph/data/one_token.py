"""Evidence "one token": nearly all tokens that an embedding is given are one and the same, as where a vocabulary knows no word.

Padding at the ends of rows does not count.

where: the embedding. figures: "looks"; "share" of the tokens; "token"; "known": rows of its table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from torch import Tensor, nn

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.data.counted import padded_ends
from lettrine.torch.graph.losses.comparisons import readable

_LEAST: Final = 4  # places of a row


@dataclass
class _Seen:
    counts: Tensor
    looks: int = 0


@reader
class OneToken:
    """Counts the tokens that tables are asked for."""

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._last = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        self._last = look.step
        for call in look.modules:
            given = next(iter(call.args), None)
            if not isinstance(call.module, nn.Embedding) or not isinstance(given, Tensor) or not readable(given):
                continue
            if given.ndim != 2 or given.shape[1] < _LEAST or given.is_floating_point():
                continue
            known = call.module.num_embeddings
            seen = self._seen.setdefault(call.name, _Seen(torch.zeros(known, dtype=torch.int64)))
            seen.counts += torch.bincount(given[_inside(given)].cpu().long(), minlength=known)[:known]
            seen.looks += 1
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What was counted."""
        for name, seen in self._seen.items():
            total, most = int(seen.counts.sum()), int(seen.counts.argmax())
            if total:
                figures = {"looks": float(seen.looks), "token": float(most), "known": float(len(seen.counts))}
                figures["share"] = int(seen.counts[most]) / total
                yield Evidence("one token", (name,), (0, self._last), figures)


def _inside(given: Tensor) -> Tensor:
    """The places (B, T) that are no padding, at either end of a row."""
    after, before = padded_ends(given), padded_ends(given.flip(1))
    inside = torch.ones_like(given, dtype=torch.bool)
    if after is not None:
        inside &= ~after.places
    if before is not None:
        inside &= ~before.places.flip(1)
    return inside
