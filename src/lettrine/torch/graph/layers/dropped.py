"""Evidence "dropout": how much a dropout drops in training. where: the module that it is called in, () for the model itself.

figures: "share" of the values that are dropped; "looks"; "last": of them, how often what it gave was the answer that a loss
compared with its targets.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.comparisons import comparisons, readable
from lettrine.torch.graph.memory import memory


@reader
class Dropped:
    """Reads the settings of dropouts where they are called."""

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._found: dict[str, tuple[float, int, int]] = {}
        self._last = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        self._last = look.step
        answers = {memory(each.prediction) for each in look.once(comparisons) if each.given}
        for call in look.calls:
            share = call.given(1, "p", 0.5)
            known = isinstance(share, int | float) and isinstance(call.result, Tensor) and readable(call.result)
            if "dropout" in call.name and call.root >= 0 and call.given(2, "training", True) and known:
                _, looks, last = self._found.get(call.where, (0.0, 0, 0))
                self._found[call.where] = float(share), looks + 1, last + (memory(call.result) in answers)
        return ()

    def finish(self) -> Iterable[Evidence]:
        """The settings last seen."""
        for where, (share, looks, last) in self._found.items():
            figures = {"share": share, "looks": float(looks), "last": float(last)}
            yield Evidence("dropout", (where,) if where else (), (0, self._last), figures)
