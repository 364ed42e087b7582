"""The whole state of a training in one file, so that one rename replaces it all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lettrine.engine.base import Doubles, check_moments
from lettrine.errors import EngineError, RunDamagedError
from lettrine.model.config import MLPConfig
from lettrine.model.parameters import Parameters, check_parameters
from lettrine.training.settings import Settings
from lettrine.training.storage import read_arrays, write_arrays

TRAINER: Final = "trainer.safetensors"


@dataclass
class Checkpoint:
    """The whole state of a training between two steps, enough to continue as if nothing had happened.

    losses: of every step so far, (S,). dev_steps, dev_losses: development losses so far, (D,).
    seconds: spent in the engine, and in all.
    health: arrays and text of the health recorder, see `lettrine.health.trace`.
    changes: how many of the settings' changes have been made.
    """

    step: int
    parameters: Parameters
    moments: Parameters
    best: Parameters
    best_step: int
    best_dev: float
    losses: Doubles
    dev_steps: NDArray[np.int64]
    dev_losses: Doubles
    seconds: tuple[float, float]
    health: tuple[Mapping[str, NDArray[Any]], str] = field(default_factory=lambda: ({}, ""))
    changes: int = 0

    def write(self, folder: Path) -> None:
        """Replace the checkpoint in one step."""
        arrays: dict[str, NDArray[Any]] = {
            "losses": self.losses,
            "dev_steps": self.dev_steps,
            "dev_losses": self.dev_losses,
            "numbers": np.array([self.step, self.best_step, self.best_dev, *self.seconds, self.changes], np.float64),
        }
        groups = {"parameters": self.parameters, "moments": self.moments, "best": self.best, "health": self.health[0]}
        for group, values in groups.items():
            arrays |= {f"{group}/{name}": value for name, value in values.items()}
        write_arrays(folder / TRAINER, arrays, {"health": self.health[1]})

    @classmethod
    def read(cls, folder: Path, config: MLPConfig, settings: Settings) -> Checkpoint | None:
        """The checkpoint of a run folder, None if it was killed before its first. Raises RunDamagedError."""
        path = folder / TRAINER
        if not path.exists() and not path.is_symlink():
            return None
        arrays, about = read_arrays(path)
        groups: dict[str, dict[str, NDArray[Any]]] = {"parameters": {}, "moments": {}, "best": {}, "health": {}}
        for name, value in arrays.items():
            group, slash, rest = name.partition("/")
            if slash and group in groups:
                groups[group][rest] = np.array(value)  # a writeable copy; the memory of the file is read-only
        try:
            numbers = _vector(arrays, "numbers", np.float64)
            if len(numbers) == 5:  # written before there were changes
                numbers = np.append(numbers, 0.0)
            if len(numbers) != 6 or np.isnan(numbers).any() or (numbers[[0, 1, 3, 4, 5]] < 0).any():
                raise ValueError(f"numbers {numbers.tolist()}")  # noqa: TRY301 - told on in our own words below
            step, best_step, best_dev, engine_seconds, seconds, changes = numbers.tolist()
            if changes > len(settings.changes):
                raise ValueError(f"{changes:.0f} changes of {len(settings.changes)}")  # noqa: TRY301
            settings = settings.after(int(changes))
            losses = _vector(arrays, "losses", np.float64)
            dev_steps, dev_losses = _vector(arrays, "dev_steps", np.int64), _vector(arrays, "dev_losses", np.float64)
            if len(losses) != step or step > settings.steps or len(dev_steps) != len(dev_losses) or best_step > step:
                raise ValueError(f"{len(losses)} losses for step {step:.0f} of {settings.steps}")  # noqa: TRY301
            check_parameters(config, groups["parameters"])
            check_parameters(config, groups["best"])
            check_moments(config, settings.optimiser, groups["parameters"], groups["moments"])
            return cls(
                int(step),
                groups["parameters"],
                groups["moments"],
                groups["best"],
                int(best_step),
                best_dev,
                losses,
                dev_steps,
                dev_losses,
                (engine_seconds, seconds),
                (groups["health"], about.get("health", "")),
                int(changes),
            )
        except (KeyError, ValueError, TypeError, OverflowError, EngineError) as error:
            raise RunDamagedError(f"{path} is not a checkpoint of this run ({error}); the run is damaged, train again") from None


def _vector(arrays: Mapping[str, NDArray[Any]], name: str, dtype: Any) -> NDArray[Any]:
    """One array of the state, which has one axis and its own type."""
    value = arrays[name]
    if value.ndim != 1 or value.dtype != dtype:
        raise ValueError(f"{name} is {value.dtype} of shape {value.shape}")
    return np.array(value)
