"""Evidence: something that was seen in data, graph or wiring, without a judgement.

Watching collects what figures of outputs and gradients cannot show: how a loss was computed, the range of the targets, a
parameter that no optimiser holds. The check-up collects it by experiments. Checks read it beside the figures of the trace and
decide whether it is a fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from lettrine.arguments import checked

EXPERIMENT: Final = "experiment:"
"""An experiment of the check-up leaves evidence whose kind is this and the id of the experiment. `words["title"]` is its name,
`words["said"]` tells in one sentence what it measured, `figures["seconds"]` how long it took."""

SOURCE: Final = "source"
"""Kind of the evidence that says where a module was built: `words["file"]` and `figures["line"]`."""


@checked
@dataclass(frozen=True)
class Evidence:
    """One thing that was seen.

    kind: such as "softmax" or "targets"; the reader that collects a kind describes it.
    where: qualified names of the modules or parameters that it concerns; empty for the loss or the whole network.
    steps: first and last optimiser step of the looks.
    figures: numbers by name, NaN where unknown. words: texts by name, such as the name of an operation.
    """

    kind: str
    where: tuple[str, ...] = ()
    steps: tuple[int, int] = (0, 0)
    figures: Mapping[str, float] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)

    def figure(self, name: str) -> float:
        """One number; NaN if there is none of this name."""
        return self.figures.get(name, float("nan"))
