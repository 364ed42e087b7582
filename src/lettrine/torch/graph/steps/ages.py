"""Evidence "optimiser ages": an optimiser whose state was reset in the middle of a run.

The age of a state is the number of steps it has counted. One for each optimiser that lost its state. where: (). figures: "looks"
at its steps; "back": looks at which the state was no older than at the look before, although there were gradients then; "lost":
those, and looks at which its age had grown by less than half of the steps taken since; "oldest": the highest age seen, NaN where
the state counts no steps; "memory": steps that its running average of gradients reaches back, 1 / (1 - beta1). words: kind.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, isfinite, isnan, nan
from typing import Any, Final

from torch import Tensor
from torch.optim import Optimizer

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Stepping, reader
from lettrine.torch.capture.settings import momentum

_READ: Final = 4  # parameters whose state is read


@dataclass
class _Kept:
    first: int
    last: int
    age: float
    looks: int = 1
    back: int = 0
    lost: int = 0
    fed: bool = False  # whether there were gradients at the last look
    oldest: float = nan
    memory: float = nan
    kind: str = ""


@reader
class Ages:
    """Follows how old the state of each optimiser is."""

    def __init__(self) -> None:
        self._kept: dict[int, _Kept] = {}

    def stepping(self, stepping: Stepping) -> Iterable[Evidence]:
        """An optimiser is about to step."""
        optimiser = stepping.optimiser
        place = next((place for place, each in enumerate(stepping.optimisers) if each is optimiser), -1)
        age, kept = _age(optimiser), self._kept.get(place)  # by its place: another one may take it
        if kept is None:
            beta = momentum(optimiser.param_groups[0])
            memory = 1.0 if isnan(beta) else 1 / (1 - beta) if beta < 1 else nan
            self._kept[place] = _Kept(stepping.step, stepping.step, age, oldest=age, memory=memory, kind=type(optimiser).__name__)
        elif stepping.step > kept.last:
            taken = stepping.step - kept.last
            back = age < kept.age or (age == kept.age < inf and kept.fed)
            slower = len(stepping.optimisers) == 1 and age - kept.age < taken / 2  # of several, one may be left out for a while
            kept.back += back
            kept.lost += back or slower
            kept.last, kept.age, kept.looks = stepping.step, age, kept.looks + 1
            kept.oldest = max(kept.oldest, age)
        held = (parameter for group in optimiser.param_groups for parameter in group["params"])
        self._kept[place].fed = _has_state(optimiser) and any(each.grad is not None for each in held)
        return ()

    def finish(self) -> Iterable[Evidence]:
        """The optimisers that lost their state."""
        for kept in self._kept.values():
            if kept.back:
                oldest = kept.oldest if isfinite(kept.oldest) else nan
                figures = {"looks": kept.looks, "back": kept.back, "lost": kept.lost, "oldest": oldest, "memory": kept.memory}
                told = {name: float(value) for name, value in figures.items()}
                yield Evidence("optimiser ages", (), (kept.first, kept.last), told, {"kind": kept.kind})


def _has_state(optimiser: Optimizer) -> bool:
    """Whether this optimiser is known to keep a state for each parameter with a gradient."""
    group = optimiser.param_groups[0]
    return type(optimiser).__module__.startswith("torch.optim") and bool("betas" in group or group.get("momentum"))


def _age(optimiser: Optimizer) -> float:
    """Steps that the state has kept: 0 without any, infinite where it does not count them."""
    held = (parameter for group in optimiser.param_groups for parameter in group["params"])
    states = [state for parameter in held if (state := optimiser.state.get(parameter))][:_READ]
    counts: list[Any] = [state["step"] for state in states if isinstance(state.get("step"), int | float | Tensor)]
    if not counts:
        return inf if any(value is not None for state in states for value in state.values()) else 0.0
    return max(float(count) for count in counts)
