"""Evidence "padding-index": where the padding index of an embedding occurs among the other indices.

where: the module. figures: "looks", "index"; "share" of all indices; "inside" share of its occurrences that stand alone between
two other tokens, as a real token does; padding stands in a run at either end. "fixed" share of looks at which it stood in the
same places of all rows: it then marks places and does not pad rows of different length. "targets" 1 if it is also a target of
the loss.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader

_LEAST: Final = 3  # places in a row
_ROWS: Final = 8  # rows needed to say that all are alike


@reader
class Padding:
    """Counts where the padding index occurs."""

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._seen: dict[str, list[float]] = {}  # first step, looks, all indices, padding, alone between others, fixed

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        for call in look.calls:
            padding = call.given(2, "padding_idx")
            if call.name != "embedding" or not call.where or padding is None:
                continue
            counts = _counts(call.given(0, "input"), call.given(1, "weight"), int(padding))
            if counts is None:
                continue
            seen = self._seen.setdefault(call.where, [float(look.step), 0.0, 0.0, 0.0, 0.0, 0.0])
            for place, more in enumerate((1, *counts), start=1):
                seen[place] += more
            first, looks, total, there, inside, fixed = seen
            figures = {
                "looks": looks,
                "index": float(padding),
                "share": there / total,
                "inside": inside / there if there else 0.0,
                "fixed": fixed / looks,
            }
            words = len(call.given(1, "weight"))
            figures["targets"] = float(any(_asks_for(each, int(padding), words) for each in look.calls))
            yield Evidence("padding-index", (call.where,), (int(first), look.step), figures)

    def finish(self) -> Iterable[Evidence]:
        """Nothing more."""
        return ()


def _counts(given: Any, weight: Any, padding: int) -> tuple[int, int, int, int] | None:
    """The number of indices, of paddings, of paddings that stand alone between two others, and 1 if padding is in the same
    places of all rows.
    """
    if not isinstance(given, Tensor) or not isinstance(weight, Tensor) or given.ndim < 2 or given.shape[-1] < _LEAST:
        return None
    there = given.detach() == (padding if padding >= 0 else padding + len(weight))
    alone = there[..., 1:-1] & ~there[..., :-2] & ~there[..., 2:]
    rows = there.flatten(0, -2)
    fixed = len(rows) >= _ROWS and bool(rows[0].any()) and bool((rows == rows[0]).all())
    return there.numel(), int(torch.count_nonzero(there)), int(torch.count_nonzero(alone)), int(fixed)


def _asks_for(call: FunctionCall, index: int, words: int) -> bool:
    """Whether a cross-entropy with one class for each word has this index among its targets and does not ignore it."""
    given, target = call.given(0, "input"), call.given(1, "target")
    if call.name not in ("cross_entropy", "nll_loss") or not isinstance(target, Tensor) or target.is_floating_point():
        return False
    same = isinstance(given, Tensor) and given.ndim > 1 and given.shape[1] == words
    return same and int(call.kwargs.get("ignore_index", -100)) != index and bool((target == index).any())
