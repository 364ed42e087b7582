"""Changes to a training between two steps, by hand or by a program. They are kept so that they can be repeated.

A run's settings hold its changes in order. So a resumed run, or another run with the same settings, makes the same changes at
the same steps and ends with the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from lettrine.arguments import checked
from lettrine.errors import ConfigError

if TYPE_CHECKING:
    from lettrine.training.settings import Settings

OF_SETTINGS: Final = ("learning_rate", "schedule", "steps", "batch", "eval_every")  # in the order of `Trainer.change`
OF_OPTIMISER: Final = ("momentum", "weight_decay", "l2")
SCALE: Final = "scale"
CHANGEABLE: Final = (*OF_SETTINGS, *OF_OPTIMISER, SCALE)


@checked
@dataclass(frozen=True)
class Change:
    """New values from one optimiser step on.

    step: how many steps had been taken. values: by name, of CHANGEABLE: fields of `Settings` and of its optimiser, and "scale",
    which multiplies parameters: {"layers.0.weight": 0.5}. A new learning rate is the new peak of the schedule, which continues.

    Raises ConfigError for a name that cannot be changed during a training, or a factor that is not finite.
    """

    step: int
    values: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.step < 0:
            raise ConfigError(f"change got step {self.step}; expected 0 or more")
        if unknown := sorted(set(self.values) - set(CHANGEABLE)):
            raise ConfigError(f"change got {', '.join(unknown)}; expected among {', '.join(CHANGEABLE)}")
        for name, factor in self.scaled.items():
            if isinstance(factor, bool) or not isinstance(factor, int | float) or not isfinite(factor):
                raise ConfigError(f"scale of {name} got {factor!r}; expected a number")

    @property
    def scaled(self) -> Mapping[str, float]:
        """Factor on each parameter that is scaled."""
        found = self.values.get(SCALE, {})
        if not isinstance(found, Mapping):
            raise ConfigError(f"scale got a {type(found).__name__}; expected factors by parameter name")
        return found

    def applied(self, settings: Settings) -> Settings:
        """The settings with the new values. Raises ConfigError for a value outside its range."""
        chosen = {name: value for name, value in self.values.items() if name in OF_SETTINGS}
        optimiser = {name: value for name, value in self.values.items() if name in OF_OPTIMISER}
        if chosen.get("batch", 1) == 0:
            raise ConfigError("batch got 0; expected at least 1")
        if chosen.get("steps", self.step + 1) <= self.step:
            raise ConfigError(f"steps got {chosen['steps']} at step {self.step}; expected more")
        return replace(settings, optimiser=replace(settings.optimiser, **optimiser), **chosen)
