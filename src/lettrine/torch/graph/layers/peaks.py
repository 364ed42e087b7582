"""Evidence "peaks": how much of its weight a softmax inside the network gives to a single place, on average.

where: the module in which it is called. figures: "first", "last": mean of the largest share of a row, at the first and the last
look; "spread": std of the scores in a row at the first look; "size": places of a row; "looks".

Read are softmaxes over the last of three axes or more, as in attention, in rows of which LEAST places or more are not masked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.private import saved

LEAST: Final = 4  # places: among fewer one may well have nearly all
_MASKED: Final = -1e3  # no score of a network is so low
_ROWS: Final = 4_096  # read of one softmax


@dataclass
class _Peak:
    step: int
    first: float
    spread: float
    size: int
    last: float = 0.0
    looks: int = 0


@reader
class Peaks:
    """Follows the softmaxes of attention."""

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._found: dict[str, _Peak] = {}
        self._last = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        self._last = look.step
        met = set[str]()
        for call in look.calls:
            given, shares = call.given(0, "input"), call.result
            if call.name != "softmax" or not call.where or call.where in met:
                continue
            if not isinstance(given, Tensor) or not isinstance(shares, Tensor) or shares.ndim < 3 or shares.shape[-1] < LEAST:
                continue
            axis = saved(shares.grad_fn, "dim")
            if axis is None or int(axis) not in (shares.ndim - 1, 2**64 - 1):  # the latter is -1, which torch saves unsigned
                continue
            met.add(call.where)
            scores, shares = (each.detach().reshape(-1, shares.shape[-1])[:_ROWS].float() for each in (given, shares))
            rows = (scores > _MASKED).sum(1) >= LEAST
            if not bool(rows.any()):
                continue
            peak = float(shares[rows].amax(1).mean())
            if call.where not in self._found:
                own = torch.where(scores > _MASKED, scores, torch.nan)[rows]
                spread = float((own - own.nanmean(1, keepdim=True)).square().nanmean().sqrt())
                self._found[call.where] = _Peak(look.step, peak, spread, shares.shape[-1])
            found = self._found[call.where]
            found.last, found.looks = peak, found.looks + 1
        return ()

    def finish(self) -> Iterable[Evidence]:
        """The first and the last."""
        for where, each in self._found.items():
            figures = {"first": each.first, "last": each.last, "spread": each.spread, "size": each.size, "looks": each.looks}
            yield Evidence("peaks", (where,), (each.step, self._last), {name: float(value) for name, value in figures.items()})
