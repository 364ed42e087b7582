"""Evidence "drawn": whether a network begins with the random values that its weights were drawn with.

where: (). figures: "matrices", trained ones that were looked at before the first step; "share" of them that hold values as one of
the usual initialisers draws them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from torch import nn

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.walks import fresh_random

_MOST: Final = 12  # matrices that are read: the first ones, which are trained and copied first, tell enough


@reader
class Drawn:
    """Looks once, before the first step."""

    def __init__(self) -> None:
        self._done = False

    def look(self, look: Look) -> Iterable[Evidence]:
        """At the first look."""
        if self._done:
            return
        self._done = True
        usual = (each for each in look.named.values() if not isinstance(each, nn.UninitializedParameter))
        matrices = [each for each in usual if each.requires_grad and each.ndim > 1 and each.device.type != "meta"][:_MOST]
        if look.step == 0 and matrices:
            drawn = sum(bool(fresh_random(each)) for each in matrices) / len(matrices)
            yield Evidence("drawn", (), (0, 0), {"matrices": float(len(matrices)), "share": drawn})

    def finish(self) -> Iterable[Evidence]:
        """Nothing more."""
        return ()
