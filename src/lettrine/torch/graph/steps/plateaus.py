"""Evidence "plateau": a scheduler that lowers the rate when a number stops getting better, and that never saw it get better.

where: (). figures: "calls" of its step(); "drops" of the rate; "best", the number it takes for the best: the first; "factor" of a
drop; "rate", "rate_first". words: "mode": "min" or "max".

The scheduler is looked for once, when the rate has fallen: among what holds the optimiser. Where many objects are alive, as with
transformers, that takes 50 ms. So it is left to the report where another scheduler lowers the rate.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable
from math import log
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Stepping, reader
from lettrine.torch.capture.settings import setting


@reader
class Plateaus:
    """Asks the scheduler of an optimiser whose rate has fallen."""

    def __init__(self) -> None:
        self._optimiser: weakref.ref[Optimizer] | None = None
        self._found: weakref.ref[ReduceLROnPlateau] | None = None
        self._searched = False
        self._first = 0.0  # the rate at the first look
        self._last = 0
        self._told: dict[str, float] = {}
        self._mode = ""

    def stepping(self, stepping: Stepping) -> Iterable[Evidence]:
        """The first optimiser is about to step."""
        if stepping.optimiser is stepping.optimisers[0]:
            self._last = stepping.step
            if self._optimiser is None:
                self._optimiser, self._first = weakref.ref(stepping.optimiser), _rate(stepping.optimiser)
            if self._searched or not _scheduled(stepping.optimiser):
                self._ask(stepping.optimiser)
        return ()

    def finish(self) -> Iterable[Evidence]:
        """What it has seen by now, or had seen at the last look if it is gone."""
        optimiser = self._optimiser() if self._optimiser is not None else None
        if optimiser is not None:
            self._ask(optimiser)
        if self._told:
            yield Evidence("plateau", (), (0, self._last), self._told, {"mode": self._mode})

    def _ask(self, optimiser: Optimizer) -> None:
        rate = _rate(optimiser)
        if not rate < self._first:
            return
        if not self._searched:
            found = _scheduler(optimiser)
            self._searched, self._found = True, weakref.ref(found) if found is not None else None
        plateau: Any = self._found() if self._found is not None else None
        if plateau is None:
            return
        factor, patience, calls = float(plateau.factor), int(plateau.patience), int(plateau.last_epoch)
        drops = round(log(rate / self._first) / log(factor)) if 0 < factor < 1 and rate > 0 else 0
        better = calls - drops * (patience + 1) - int(plateau.num_bad_epochs)  # the first call counts as better
        self._told, self._mode = {}, str(plateau.mode)
        if drops > 0 and better <= 1 and not plateau.cooldown:
            figures = {"calls": calls, "drops": drops, "best": plateau.best, "factor": factor}
            self._told = {name: float(each) for name, each in figures.items()} | {"rate": rate, "rate_first": self._first}


def _scheduled(optimiser: Optimizer) -> bool:
    """Whether a scheduler noted the rate it began with: all do but ReduceLROnPlateau."""
    return "initial_lr" in optimiser.param_groups[0]


def _rate(optimiser: Optimizer) -> float:
    return setting(optimiser.param_groups[0], "lr")


def _scheduler(optimiser: Optimizer) -> ReduceLROnPlateau | None:
    """What holds the optimiser, itself or through its dict of attributes."""
    for each in gc.get_referrers(optimiser):
        owners = gc.get_referrers(each) if isinstance(each, dict) and "num_bad_epochs" in each else [each]
        if (found := next((owner for owner in owners if isinstance(owner, ReduceLROnPlateau)), None)) is not None:
            return found
    return None
