"""Everything a training run is told, as one frozen value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final

from lettrine.arguments import checked
from lettrine.engine.base import Optimiser
from lettrine.engine.choice import ENGINES
from lettrine.errors import ConfigError
from lettrine.model.initialisation import SCHEMES, Initialisation
from lettrine.training.changes import Change
from lettrine.training.schedule import SCHEDULES

KEEPS: Final = ("best", "last")

LEARNING_RATES: Final = {"adamw": 0.01, "sgd": 0.1}
EPOCHS: Final = 7.0  # measured: at the default shape more passes lower the training loss, not the development loss
# learning rate * weight decay * steps of AdamW: what it forgets in all. Held constant, a small list is held back more in
# each of its fewer steps (Wang & Aitchison 2024); measured on names.txt and on the shipped list, where it avoids overfitting.
TOTAL_DECAY: Final = 3.0
MIN_STEPS: Final = 500
MAX_STEPS: Final = 20_000  # of the default only: a list of millions of words is learned in less than five passes
MOST_STEPS: Final = 10**9  # a loss is kept of each
EVALUATIONS: Final = 20  # of the development loss in a run, unless told otherwise


@checked
@dataclass(frozen=True)
class Settings:
    """How a network is trained.

    steps: optimiser steps; 0 chooses about EPOCHS passes over the training examples. batch: B.
    learning_rate: its peak, None for LEARNING_RATES' by optimiser; schedule: see `learning_rates`.
    init: the scheme's name, or an Initialisation of one's own.
    seed: of initialisation and batches. split_seed, fractions: of the split into train, dev and test.
    eval_every: steps between development losses; 0 for EVALUATIONS in a run.
    keep: "best" keeps the weights of the lowest development loss, "last" those of the last step.
    calibrate: replace batch norm's running statistics by those of the whole training set at the end.
    threads: for the engine; the result is the same run after run for the same count.
    engine: "auto", "reference" or "native". health: watch the network and report what is wrong with it.
    changes: what is changed while the training goes on, in the order of the steps; see `Change`.

    Raises ConfigError for a value outside its range.
    """

    steps: int = 0
    batch: int = 256
    learning_rate: float | None = None
    schedule: str = "one-cycle"
    optimiser: Optimiser = field(default_factory=Optimiser)
    init: str | Initialisation = "kaiming"
    seed: int = 0
    split_seed: int = 42
    fractions: tuple[float, float] = (0.8, 0.1)
    eval_every: int = 0
    keep: str = "best"
    calibrate: bool = False
    threads: int = 1
    engine: str = "auto"
    health: bool = True
    changes: tuple[Change, ...] = ()

    def __post_init__(self) -> None:
        if self.learning_rate is None:
            object.__setattr__(self, "learning_rate", LEARNING_RATES[self.optimiser.kind])
        for name, least, most in (
            ("steps", 0, MOST_STEPS),
            ("batch", 1, 2**24),
            ("seed", 0, 2**63 - 1),
            ("split_seed", 0, 2**63 - 1),
            ("eval_every", 0, 10**12),
            ("threads", 1, 1024),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise ConfigError(f"{name.replace('_', ' ')} got {value!r}; expected a whole number from {least} to {most:,}")
        if not 0.0 < self.peak < math.inf:
            raise ConfigError(f"learning rate got {self.learning_rate}; expected more than 0")
        for name, value, choices in (
            ("schedule", self.schedule, SCHEDULES),
            ("engine", self.engine, ENGINES),
            ("keep", self.keep, KEEPS),
        ):
            if value not in choices:
                raise ConfigError(f"{name} got {value!r}; expected one of {', '.join(choices)}")
        if isinstance(self.init, str) and self.init not in SCHEMES:
            raise ConfigError(f"init got {self.init!r}; expected one of {', '.join(SCHEMES)}")
        steps = [change.step for change in self.changes]
        if steps != sorted(steps):
            raise ConfigError(f"changes got the steps {', '.join(map(str, steps))}; expected them in order")

    @property
    def peak(self) -> float:
        """The peak learning rate."""
        return float(self.learning_rate if self.learning_rate is not None else LEARNING_RATES[self.optimiser.kind])

    @property
    def initialisation(self) -> Initialisation:
        """The scheme itself."""
        return SCHEMES[self.init] if isinstance(self.init, str) else self.init

    def resolved(self, examples: int) -> Settings:
        """The same with everything chosen that was left open, for that many training examples."""
        steps = self.steps or int(min(max(EPOCHS * examples / self.batch, MIN_STEPS), MAX_STEPS))
        optimiser = self.optimiser
        if optimiser.weight_decay is None and optimiser.kind == "adamw":
            optimiser = replace(optimiser, weight_decay=TOTAL_DECAY / (self.peak * steps))
        return replace(self, steps=steps, eval_every=self.eval_every or max(steps // EVALUATIONS, 1), optimiser=optimiser)

    def after(self, count: int) -> Settings:
        """The settings in force once the first `count` changes are made; its own changes are all there still."""
        made = self
        for change in self.changes[:count]:
            made = change.applied(made)
        return made

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "fractions": list(self.fractions), "changes": [asdict(change) for change in self.changes]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """The inverse of `to_dict`. Raises ConfigError for unknown names and wrong types."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ConfigError(f"training settings have unknown entries {', '.join(unknown)}; expected {', '.join(sorted(known))}")
        try:
            init, optimiser = values.get("init", "kaiming"), values.get("optimiser", {})
            fractions = values.get("fractions", (0.8, 0.1))
            made = cls(
                **{
                    **values,
                    "init": init if isinstance(init, str) else Initialisation(**init),
                    "optimiser": Optimiser(**optimiser),
                    "fractions": tuple(fractions),
                    "changes": tuple(Change(**change) for change in values.get("changes", ())),
                }
            )
            made.after(len(made.changes))  # says if one of them cannot be made
            return made  # noqa: TRY300
        except TypeError as error:
            raise ConfigError(f"training settings are of the wrong type ({error}); expected {', '.join(sorted(known))}") from None
