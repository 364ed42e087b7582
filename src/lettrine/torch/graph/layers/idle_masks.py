"""Evidence "idle mask": a mask of an attention that is the same for all keys, so that the softmax over the keys cancels it.

A mask of padding belongs on the axis of the keys, that over which the softmax sums. On the axis of the queries it adds the same
number to every score of a row: all weights stay as they are, and the real places attend to the padding.

where: the module in which the mask is applied. figures: looks; rows (share of the examples with padding, at the last look); run
(share of the places that are padding). words: token (of the padding), mask (name of the function).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.layers.attention import ADDED, HIDDEN, added_to
from lettrine.torch.graph.losses.comparisons import readable

_FILLS: Final = ("masked_fill", "masked_fill_")
_ADDS: Final = ("add", "add_")
_ATTENTION: Final = "scaled_dot_product_attention"
_NAMES: Final = {_ATTENTION: "attn_mask"} | dict.fromkeys(_ADDS, ADDED)
_WEIGHED: Final = ("softmax", "log_softmax")


@reader
class IdleMask:
    """Watches the masks of attentions, and over which axis each softmax sums."""

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], tuple[int, float, float, int]] = {}
        self._effective: set[str] = set()  # modules that have another mask, which hides keys
        self._last = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Read every mask."""
        self._last = look.step
        tokens = [each for root in look.roots for each in root.inputs if each.ndim == 2 and not each.is_floating_point()]
        axes = {id(call.given(0, "input")): call.given(1, "dim") for call in look.calls if call.name in _WEIGHED}
        for call in reversed(look.calls):
            if call.name in (*_FILLS, *_ADDS) and id(call.result) in axes:  # one mask after another
                for each in call.args[:2]:
                    axes.setdefault(id(each), axes[id(call.result)])
        for call in look.calls:
            read = _mask(call, axes)
            if read is None or not bool(read[0].any()):
                continue
            mask, axis = read
            if mask.shape[axis] > 1 and bool((mask != mask.narrow(axis, 0, 1)).any()):
                self._effective.add(call.where)
            elif (padding := _padding(mask, axis, tokens)) is not None:
                token, places = padding
                looks = self._found.get((call.where, call.name), (0,))[0] + 1
                rows, run = float(places.any(1).float().mean()), float(places.float().mean())
                self._found[call.where, call.name] = looks, rows, run, token
        return ()

    def finish(self) -> Iterable[Evidence]:
        """What was seen."""
        for (where, name), (looks, rows, run, token) in self._found.items():
            if where not in self._effective:
                figures = {"looks": float(looks), "rows": rows, "run": run}
                words = {"token": str(token), "mask": _NAMES.get(name, "masked_fill")}
                yield Evidence("idle mask", (where,), (0, self._last), figures, words)


def _mask(call: FunctionCall, axes: dict[int, Any]) -> tuple[Tensor, int] | None:
    """True where a score is hidden, with as many axes as the scores; and the axis of the keys, from the last one."""
    if call.name == _ATTENTION:
        mask: Any = call.given(3, "attn_mask")
        if isinstance(mask, Tensor) and readable(mask) and mask.dtype is torch.bool and mask.ndim > 2:
            return ~mask, -1
        return None
    if call.name not in (*_FILLS, *_ADDS) or id(call.result) not in axes:
        return None
    scores, mask, axis = call.given(0, "input"), call.given(1, "mask"), axes[id(call.result)]
    if call.name in _ADDS:
        scores, mask = added_to(call)
        mask = mask <= HIDDEN if mask is not None else None
    if not isinstance(mask, Tensor) or not readable(mask) or mask.dtype is not torch.bool or not isinstance(axis, int):
        return None
    axis = axis if axis < 0 else axis - getattr(scores, "ndim", 0)
    return (mask, axis) if mask.ndim == getattr(scores, "ndim", 0) and mask.ndim > 2 else None


def _padding(mask: Tensor, axis: int, tokens: list[Tensor]) -> tuple[int, Tensor] | None:
    """The token that the mask hides on another axis, and its places (B, T), if it hides all of them and nothing else."""
    hidden = mask.narrow(axis, 0, 1).squeeze(axis)  # (B, ..., Q)
    while hidden.ndim > 2:  # heads
        if bool((hidden != hidden[:, :1]).any()):
            return None
        hidden = hidden[:, 0]
    for table in tokens:
        if table.shape == hidden.shape and bool(hidden.any()) and bool((~hidden).any()):
            token = int(table[hidden][0])
            if bool(((table == token) == hidden).all()):
                return token, hidden
    return None
