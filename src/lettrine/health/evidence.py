"""Evidence: something that was seen in data, graph or wiring, without a judgement.

Watching collects it where a step shows what figures of outputs and gradients cannot: what a loss was made of, which range the
targets had, which parameter nobody holds. The check-up collects it by experiment. Checks read it beside the figures of the trace
and decide whether it is a fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from lettrine.arguments import checked

EXPERIMENT: Final = "experiment:"
"""What the kind of the evidence that an experiment of the check-up leaves begins with, before the experiment's id.
`words["title"]` is its name, `words["said"]` what it measured in one sentence, `figures["seconds"]` how long it took."""

SOURCE: Final = "source"
"""Kind of the evidence that says where a module was built: `words["file"]` and `figures["line"]`."""


@checked
@dataclass(frozen=True)
class Evidence:
    """One thing that was seen.

    kind: what it is, such as "softmax" or "targets"; each kind is described where it is collected.
    where: qualified names of the modules or parameters it concerns; empty for the loss or the whole network.
    steps: first and last optimiser step at which it was looked at.
    figures: numbers by name, NaN where unknown. words: texts by name, such as the name of an operation.
    """

    kind: str
    where: tuple[str, ...] = ()
    steps: tuple[int, int] = (0, 0)
    figures: Mapping[str, float] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)

    def figure(self, name: str) -> float:
        """One number, NaN if it is not there."""
        return self.figures.get(name, float("nan"))
