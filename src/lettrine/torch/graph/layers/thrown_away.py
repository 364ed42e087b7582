"""Evidence "thrown away": a function whose result nothing takes and no loss reaches, while the tensor it was given goes on.

where: the module in which it is called. figures: "looks" at which it was so; "share" of the values that its mask hides, at the
last of them, NaN if it has none; "causal": 1 if the mask hides all that comes later and nothing else. words: "function"; "taker":
the function that was given the same tensor next. A mask that hides nothing is not reported.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import nan
from typing import ClassVar, Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.capture.thrown_away import MASKS, ThrownAway
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.walks import NODES
from lettrine.torch.private import sequence_number

_PLACES: Final = 2  # least places of a sequence


@reader
class Thrown:
    """Holds what nothing took against the graph of the loss: calls of functions that are not torch's own are not seen."""

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], tuple[set[int], str, float, bool]] = {}

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        if not look.untaken or not look.nodes or len(look.nodes) >= NODES:
            return ()
        reached = {sequence_number(node) for node in look.nodes}
        given = [each for root in look.roots for each in root.outputs]
        for call in look.untaken:
            if call.number in reached or call.number is None or any(map(call.made, given)):
                continue
            share, causal = _hidden(call) if call.name in MASKS else (nan, False)
            if share != 0.0:
                looks = self._found.get((call.where, call.name), (set(),))[0] | {look.step}
                self._found[call.where, call.name] = looks, call.taker, share, causal
        return ()

    def finish(self) -> Iterable[Evidence]:
        """What was seen."""
        for (where, name), (looks, taker, share, causal) in self._found.items():
            figures = {"looks": float(len(looks)), "share": share, "causal": float(causal)}
            words = {"function": name, "taker": taker}
            yield Evidence("thrown away", (where,) if where else (), (min(looks), max(looks)), figures, words)


def _hidden(call: ThrownAway) -> tuple[float, bool]:
    """The share of the values that a mask hides, 0 if it cannot be read; and whether these are all that come later."""
    mask = next((each for each in call.args if isinstance(each, Tensor) and each.dtype is torch.bool and readable(each)), None)
    if mask is None or not mask.numel():
        return 0.0, False
    hidden = ~mask if call.name == "where" and call.args[0] is mask and isinstance(call.args[1], Tensor) else mask
    share = float(hidden.float().mean())
    square = hidden.ndim > 1 and hidden.shape[-1] == hidden.shape[-2] >= _PLACES
    later = square and bool((hidden == torch.ones_like(hidden).triu(1)).all())
    return (0.0 if share == 1.0 else share), later
