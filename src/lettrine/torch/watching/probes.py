"""The probes of one model. Each observes one kind of thing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from torch.optim import Optimizer

from lettrine.health.recorder import Recorder
from lettrine.health.trace import Facts
from lettrine.torch.capture.compiled import Visible
from lettrine.torch.capture.entrances import Entrances
from lettrine.torch.capture.graphs import ADVICE
from lettrine.torch.capture.guard import Guard
from lettrine.torch.capture.looker import Looker
from lettrine.torch.capture.losses import LossProbe
from lettrine.torch.capture.modules import ModuleProbe
from lettrine.torch.capture.optimisers import run_facts
from lettrine.torch.capture.parameters import ParameterProbe


@dataclass(frozen=True)
class Probes:
    """The probes of one model and of the optimisers that train it.

    optimisers: one list for all, in which another optimiser may take a place.
    visible: what can be seen at all, if something is compiled.
    """

    model: nn.Module
    optimisers: list[Optimizer]
    modules: ModuleProbe
    parameters: ParameterProbe
    losses: LossProbe
    looker: Looker
    entrances: Entrances
    visible: Visible

    @classmethod
    def of(cls, model: nn.Module, optimisers: list[Optimizer], recorder: Recorder, guard: Guard, visible: Visible) -> Probes:
        """The probes of a model. They have no hooks yet."""
        modules = ModuleProbe(model, guard)
        losses = LossProbe(recorder, modules)
        # If losses are handed over as numbers, the loss that `backward` is called on tells what they are made of.
        looker = Looker(model, optimisers, recorder, guard, met=losses.look)
        entrances = Entrances(model, looker.roots)
        return cls(model, optimisers, modules, ParameterProbe(model, optimisers), losses, looker, entrances, visible)

    def note_entrances(self) -> None:
        """After the first sampled step: from now on the modules that were called from outside stand for the model."""
        if roots := self.entrances.found():
            self.modules.enter(roots)
            self.looker.enter(roots)

    def facts(self, known: Facts, classes: int) -> Facts:
        """Facts of the run, added to those known already. classes: what the user said, 0 for nothing."""
        known = replace(known, source="torch", batch_size=self.modules.batch_size)
        facts = run_facts(self.losses.facts(known, classes), self.model, self.optimisers)
        notes: dict[str, Any] = {"compiled": self.visible.compiled} if self.visible.compiled else {}
        notes |= {"captured": ADVICE} if self.visible.captured else {}
        notes |= {"functions": "not noted"} if self.looker.blind else {}
        return replace(facts, notes={**facts.notes, **notes})
