"""Evidence "blind mask": a mask of an attention that hides every key from every query, at every look.

A number far below 0 is then added to all scores, which the softmax cancels: nothing is hidden. Or it is put in place of all
scores: then all keys have the same weight, and what they hold is not read. Such as attention masks of all zeros from a loader,
where 1 marks the tokens to be read.

where: the module in which the mask is applied. figures: "looks". words: "what", "added" or "filled".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.comparisons import readable

_ADDING: Final = ("add", "add_")
_FILLING: Final = ("masked_fill", "masked_fill_")
_ATTENTION: Final = "scaled_dot_product_attention"
_HIDING: Final = -1e3  # scores are hidden by -1e4, -1e9 or the like; scores themselves are of the size of 10
_KEYS: Final = 2  # least keys


@reader
class BlindMasks:
    """Reads the masks of attentions."""

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._blind: dict[tuple[str, str], set[int]] = {}
        self._sighted: set[str] = set()  # modules with a mask that leaves something visible

    def look(self, look: Look) -> Iterable[Evidence]:
        """Read every mask."""
        scores = {id(call.given(0, "input")) for call in look.calls if call.name == "softmax" and call.where}
        for call in reversed(look.calls):
            applied = call.name == _ATTENTION or (id(call.result) in scores and call.name in (*_ADDING, *_FILLING))
            for what, mask in _masks(call) if applied and call.where else ():
                scores.update(id(each) for each in call.args[:2])  # one mask after another
                if bool((mask <= _HIDING).all()):
                    self._blind.setdefault((call.where, what), set()).add(look.step)
                else:
                    self._sighted.add(call.where)
        return ()

    def finish(self) -> Iterator[Evidence]:
        """Masks that hid everything at every look."""
        for (where, what), looks in self._blind.items():
            if where not in self._sighted:
                yield Evidence("blind mask", (where,), (min(looks), max(looks)), {"looks": float(len(looks))}, {"what": what})


def _masks(call: FunctionCall) -> Iterator[tuple[str, Tensor]]:
    """What is added to the scores, or put in their place, with its kind; only data, which nobody trains."""
    first, second = call.given(0, "input"), call.given(1, "other")
    pair: tuple[Any, ...] = ()
    if call.name in _ADDING:
        pair = (first, second)
    elif call.name == _ATTENTION:
        pair = (call.given(3, "attn_mask"),)
    elif isinstance(mask := call.given(1, "mask"), Tensor) and isinstance(value := call.given(2, "value"), int | float):
        if readable(mask):
            yield "filled", torch.where(mask, value, 0.0)
        return
    for each in pair:
        data = isinstance(each, Tensor) and readable(each) and not each.requires_grad and each.is_floating_point()
        if data and each.ndim and each.shape[-1] >= _KEYS and bool(each.isfinite().all()):
            yield "added", each
