"""The optimisers that a watch was given: without wrappers, which have stepped, and facts about them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import nan
from typing import Any, Final, Protocol

from torch import nn
from torch.optim import Optimizer

from lettrine.errors import HealthError
from lettrine.health.trace import KEPT, Facts
from lettrine.torch.capture.outputs import running_of
from lettrine.torch.capture.settings import momentum
from lettrine.torch.capture.told import told_of

_IDLE: Final = 16  # after so many steps of one optimiser, another that has not stepped is no longer waited for


class Wrapped(Protocol):
    """A wrapper that a library puts around an optimiser."""

    @property
    def optimizer(self) -> Optimizer:
        """The optimiser inside."""
        ...


def optimisers_of(given: Optimizer | Wrapped | Iterable[Optimizer | Wrapped] | None) -> list[Optimizer]:
    """The optimisers as a list, each once, without the wrappers of libraries. Raises HealthError for anything else."""
    if given is None:
        return []
    listed: list[Any] = [given] if hasattr(given, "param_groups") or not isinstance(given, Iterable) else list(given)
    found: list[Optimizer] = []
    for optimiser in listed:
        inner = optimiser
        while isinstance(getattr(inner, "optimizer", None), Optimizer):
            inner = inner.optimizer
        if not isinstance(inner, Optimizer):
            raise HealthError(
                f"watch got a {type(inner).__name__} as optimizer; expected a torch.optim.Optimizer, or a list of them"
            )
        if not any(inner is each for each in found):  # a wrapper may be an Optimizer itself, and given beside what it wraps
            found.append(inner)
    return found


class Turns:
    """Which of several optimisers have stepped since the last step of all."""

    def __init__(self, count: int) -> None:
        self._steps, self._idle = [0] * count, [0] * count

    @property
    def fresh(self) -> bool:
        """Whether none has stepped yet."""
        return not any(self._steps)

    def complete(self, place: int) -> bool:
        """One of them has stepped. Returns whether all have now. Those that were idle for _IDLE steps are not waited for."""
        if len(self._steps) == 1:
            return True
        self._steps[place] += 1
        self._idle = [0 if other == place else steps + 1 for other, steps in enumerate(self._idle)]
        if any(not steps and idle < _IDLE for steps, idle in zip(self._steps, self._idle, strict=True)):
            return False
        self._steps = [0] * len(self._steps)
        return True


def run_facts(known: Facts, model: nn.Module, optimisers: Sequence[Optimizer]) -> Facts:
    """Facts about the optimisers and batch norm, added to those known already."""
    groups = [group for optimiser in optimisers for group in optimiser.param_groups]
    running = [(module, found) for module in model.modules() if (found := running_of(module)) is not None]
    kept = {"momentum": KEPT} if any(told_of(module).running is not None for module, _ in running) else {}
    return replace(
        known,
        optimiser=", ".join(dict.fromkeys(type(optimiser).__name__ for optimiser in optimisers)),
        momentum=momentum(groups[0]) if groups else nan,
        norm_momentum=next((float(found.share) for _, found in running if found.share is not None), nan),
        notes={**known.notes, **kept},
    )
