"""All settings of a training, as one frozen value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final

from lettrine.arguments import checked
from lettrine.engine.base import Optimiser
from lettrine.engine.choice import DEVICES, ENGINES
from lettrine.errors import ConfigError
from lettrine.model.initialisation import SCHEMES, Initialisation
from lettrine.training.batches import DRAWS
from lettrine.training.changes import Change
from lettrine.training.schedule import SCHEDULES
from lettrine.training.sizes import EFFORTS, Size, size_of

MODELS: Final = ("network", "counts")
PRIORS: Final = ("counts", "none")
KEEPS: Final = ("best", "last")

LEARNING_RATES: Final = {"adamw": 0.01, "sgd": 0.1}
# learning rate * weight decay * steps of AdamW: its total decay. It is constant, so a small list, with fewer steps, gets more
# decay in each (Wang & Aitchison 2024). Measured on names.txt and on the shipped list, where it avoids overfitting.
TOTAL_DECAY: Final = 3.0
PATIENCE: Final = 8  # evaluations of EVALUATIONS
MOST_NETWORKS: Final = 64
MOST_SECONDS: Final = 1e7
MOST_STEPS: Final = 10**9  # the loss of each step is kept
RENAMED: Final = {"calibrate": "precise_norm"}  # names of fields in runs of earlier versions
OLDER: Final = {"prior": "none", "networks": 1, "draw": "replacement", "patience": 0}  # fields that older runs lack
EVALUATIONS: Final = 20  # evaluations of the development loss in a run, by default


@checked
@dataclass(frozen=True)
class Settings:
    """How a network is trained.

    model: "network", or "counts" for counted words alone. prior: "counts" mixes the network with counts, "none" leaves it alone.
    effort: "quick", "default" or "best": how much time is traded for loss. seconds: the time to take instead; 0 goes by effort.
    networks: how many are trained and averaged; 0 lets effort and words choose, and is 1 where hidden widths or steps are given.
    steps, batch, learning_rate (its peak): 0 or None lets the words choose, see `lettrine.training.sizes`.
    draw: "epochs" takes every example once before any comes again, "replacement" draws each anew, as the published runs do.
    schedule: see `learning_rates`. patience: after so many evaluations without a better development loss training ends, 0 for
    never; None is PATIENCE, or 0 where steps are given.
    init: the scheme's name, or an Initialisation of one's own.
    seed: of initialisation and batches. split_seed, fractions: of the split into train, dev and test.
    eval_every: steps between development losses; 0 for EVALUATIONS in a run.
    keep: "best" keeps the weights of the lowest development loss, "last" those of the last step.
    precise_norm: replace batch norm's running statistics by those of the whole training set at the end.
    threads: for the engine; the result is the same run after run for the same count.
    engine: "auto", "reference", "native" or "torch"; device: "cpu", or "cuda" for the engine torch.
    health: watch the network and report what is wrong with it.
    changes: what is changed while the training goes on, in the order of the steps; see `Change`.

    Raises ConfigError for a value outside its range.
    """

    model: str = "network"
    prior: str = "counts"
    effort: str = "default"
    seconds: float = 0.0
    networks: int = 0
    steps: int = 0
    batch: int = 0
    draw: str = "epochs"
    patience: int | None = None
    learning_rate: float | None = None
    schedule: str = "one-cycle"
    optimiser: Optimiser = field(default_factory=Optimiser)
    init: str | Initialisation = "kaiming"
    seed: int = 0
    split_seed: int = 42
    fractions: tuple[float, float] = (0.8, 0.1)
    eval_every: int = 0
    keep: str = "best"
    precise_norm: bool = False
    threads: int = 1
    engine: str = "auto"
    device: str = "cpu"
    health: bool = True
    changes: tuple[Change, ...] = ()

    def __post_init__(self) -> None:
        for name, least, most in (
            ("steps", 0, MOST_STEPS),
            ("batch", 0, 2**24),
            ("networks", 0, MOST_NETWORKS),
            ("patience", 0, 10**6),
            ("seed", 0, 2**63 - 1),
            ("split_seed", 0, 2**63 - 1),
            ("eval_every", 0, 10**12),
            ("threads", 1, 1024),
        ):
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ConfigError(f"{name.replace('_', ' ')} got {value!r}; expected a whole number from {least} to {most:,}")
        if not 0.0 <= self.seconds <= MOST_SECONDS:
            raise ConfigError(f"seconds got {self.seconds}; expected 0 to {MOST_SECONDS:,.0f}")
        if not 0.0 < self.peak < math.inf:
            raise ConfigError(f"learning rate got {self.learning_rate}; expected more than 0")
        for name, value, choices in (
            ("model", self.model, MODELS),
            ("prior", self.prior, PRIORS),
            ("effort", self.effort, EFFORTS),
            ("draw", self.draw, DRAWS),
            ("schedule", self.schedule, SCHEDULES),
            ("engine", self.engine, ENGINES),
            ("device", self.device, DEVICES),
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

    def resolved(self, examples: int, size: Size | None = None, *, chosen: bool = False) -> Settings:
        """The same settings with all open choices made, for that many training examples.

        size: the choice of `sizes`, None to make it here. chosen: whether the network's widths are given by hand.
        """
        size = size or size_of(examples, self.effort)
        rate = self.learning_rate or (size.learning_rate if self.optimiser.kind == "adamw" else self.peak)
        batch = self.batch or size.batch
        steps = self.steps or min(replace(size, batch=batch).steps(examples), MOST_STEPS)
        alone = chosen or self.steps or self.prior == "none"
        optimiser = self.optimiser
        if optimiser.weight_decay is None and optimiser.kind == "adamw":
            optimiser = replace(optimiser, weight_decay=TOTAL_DECAY / (rate * steps))
        return replace(
            self,
            networks=self.networks or (1 if alone else size.networks),
            steps=steps,
            batch=batch,
            patience=self.patience if self.patience is not None else 0 if self.steps else PATIENCE,
            learning_rate=rate,
            eval_every=self.eval_every or max(steps // EVALUATIONS, 1),
            optimiser=optimiser,
        )

    def after(self, count: int) -> Settings:
        """The settings after the first `count` changes; they still hold all changes."""
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
        values = {RENAMED.get(name, name): value for name, value in values.items()}
        if unknown := sorted(set(values) - known):
            raise ConfigError(f"training settings have unknown entries {', '.join(unknown)}; expected {', '.join(sorted(known))}")
        try:
            values = {**OLDER, **values}
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
            made.after(len(made.changes))  # raises if one of them cannot be made
            return made  # noqa: TRY300
        except TypeError as error:
            raise ConfigError(f"training settings are of the wrong type ({error}); expected {', '.join(sorted(known))}") from None
