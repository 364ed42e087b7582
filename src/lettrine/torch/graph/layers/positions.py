"""Evidence "positions": a table of positions is added along the batch, so that each example gets one position for all its steps.

Such as sines in the rows of a table (places, 1, D) that are cut by `x.size(0)`: right for (T, B, D), wrong for (B, T, D).

where: the module that adds them. figures: "looks" that showed it, "batch", "long" (steps of a sequence), "table" (places that the
table has).

What is added holds one row for each example, the first rows of a buffer, parameter or embedding that has more; the same row is
added to all steps. The batch is known if each row has one target and no other axis of the inputs is as long, or if all attention
and recurrent modules of the model take the batch first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar, Final

import torch
from torch import Tensor, nn

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.losses.softmaxes import batch_of
from lettrine.torch.graph.memory import memory

_ADDING: Final = ("add", "add_")
_AXES: Final = 3  # of what is added: examples, steps, features
_ROWS: Final = 2  # least rows: one is compared with the next


@reader
class Positions:
    """Looks at what is added to sequences."""

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._met: dict[
            str, list[tuple[int, int, int, int]]
        ] = {}  # by place: step, batch, steps of a sequence, rows of the table

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        batch = max(batch_of(look), _first(look))
        adding = any(call.name in _ADDING and call.where for call in look.calls)
        if look.place or batch < _ROWS or not adding:
            return ()
        tables = _tables(look)
        for call in look.calls:
            if call.name in _ADDING and call.where and (found := _along_batch(call, tables, batch)) is not None:
                self._met.setdefault(call.where, []).append((look.step, batch, *found))
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What was seen."""
        for where, met in self._met.items():
            looks = len({each[0] for each in met})
            figures = dict(zip(("batch", "long", "table"), map(float, met[-1][1:]), strict=True))
            yield Evidence("positions", (where,), (met[0][0], met[-1][0]), {"looks": float(looks)} | figures, {})


def _first(look: Look) -> int:
    """The rows of the input, if all modules that tell batch and time apart take as many, batch first; otherwise -1."""
    calls = [call for call in look.modules if isinstance(call.module, nn.MultiheadAttention | nn.RNNBase)]
    orders = {getattr(call.module, "batch_first", False) for call in calls}
    rows = {len(each) for root in look.roots for each in root.inputs if each.ndim > 1}
    rows |= {len(each) for call in calls for each in call.args[:1] if isinstance(each, Tensor)}
    return rows.pop() if orders == {True} and len(rows) == 1 else -1


def _tables(look: Look) -> dict[int, int]:
    """By address: the rows of all buffers, parameters and other tensors of modules, and of embeddings given 0, 1, 2 …"""
    held = [each for module in look.model.modules() for each in vars(module).values() if isinstance(each, Tensor)]
    held += [*look.named.values(), *look.model.buffers()]
    found = {memory(each): each.numel() // each.shape[-1] for each in held if readable(each) and each.ndim}
    for call in look.calls:
        places, weight, result = call.given(0, "input"), call.given(1, "weight"), call.result
        if call.name == "embedding" and all(isinstance(each, Tensor) and readable(each) for each in (places, weight, result)):
            flat = places.reshape(-1)
            if flat.numel() == max(places.shape, default=0) and bool((flat == torch.arange(len(flat), device=flat.device)).all()):
                found[memory(result)] = len(weight)
    return found


def _along_batch(call: FunctionCall, tables: dict[int, int], batch: int) -> tuple[int, int] | None:
    """Steps of a sequence and rows of the table, if the first rows of a table are added to the examples."""
    pair = [each for each in call.args[:2] if isinstance(each, Tensor) and each.ndim == _AXES and readable(each)]
    for x, added in (pair, pair[::-1]) if len(pair) == 2 else ():
        long, rows = x.shape[1], tables.get(memory(added), 0)
        alike = x.shape == (batch, long, added.shape[-1]) and added.shape == (batch, 1, x.shape[-1])
        if alike and rows > batch and long not in (1, batch) and bool((added[0] != added[1]).any()):
            return long, rows
    return None
