"""What plants a fault in a training: functions that change its words, settings, initial weights or engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lettrine.engine.base import Doubles, Engine, Indices, Integers, Optimiser, TrainState
from lettrine.model.config import MLPConfig
from lettrine.model.parameters import Parameters
from lettrine.recipes.recipe import Recipe
from lettrine.text.windows import Windows
from lettrine.training.settings import Settings


@dataclass(frozen=True)
class Patient:
    """Everything one training is made of. engine: wraps the engine of the settings; prepare: changes the initial weights."""

    recipe: Recipe
    settings: Settings
    splits: tuple[Windows, Windows, Windows]
    engine: Callable[[Engine], Engine] = lambda engine: engine
    prepare: Callable[[Parameters], None] = lambda _: None


class VarianceFromMean:
    """An engine that updates the running variance from the running mean, as one notebook does."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def train(
        self,
        config: MLPConfig,
        optimiser: Optimiser,
        state: TrainState,
        contexts: Integers,
        targets: Integers,
        indices: Indices,
        learning_rates: Doubles,
        *,
        threads: int = 1,
        seed: int = 0,
    ) -> Doubles:
        """Step by step: running_var = (1 - m) * running_mean + m * batch variance."""
        losses = []
        keep = 1.0 - config.norm_momentum
        norms = [name.removesuffix(".running_mean") for name in state.parameters if name.endswith(".running_mean")]
        for row, rate in zip(indices, learning_rates, strict=True):
            before = {
                norm: (state.parameters[f"{norm}.running_mean"].copy(), state.parameters[f"{norm}.running_var"].copy())
                for norm in norms
            }
            loss = self._engine.train(
                config, optimiser, state, contexts, targets, row[None], np.array([rate]), threads=threads, seed=seed
            )
            for norm, (mean, variance) in before.items():
                state.parameters[f"{norm}.running_var"] += (keep * (mean - variance)).astype(variance.dtype)
            losses.append(float(loss[-1]))
            if not np.isfinite(losses[-1]):
                break
        return np.array(losses)


def init(**changes: Any) -> Callable[[Patient], Patient]:
    """Another initialisation."""

    def plant(patient: Patient) -> Patient:
        changed = replace(patient.settings.initialisation, **changes)
        return replace(patient, settings=replace(patient.settings, init=changed))

    return plant


def settings(**changes: Any) -> Callable[[Patient], Patient]:
    """Other settings."""
    return lambda patient: replace(patient, settings=replace(patient.settings, **changes))


def shape(**changes: Any) -> Callable[[Patient], Patient]:
    """Another shape of the network."""
    return lambda patient: replace(patient, recipe=replace(patient.recipe, shape=replace(patient.recipe.shape, **changes)))


def data(train: Callable[[Windows], Windows], dev: Callable[[Windows], Windows] | None = None) -> Callable[[Patient], Patient]:
    """Change the training examples and, by default, the held-out ones in the same way."""

    def plant(patient: Patient) -> Patient:
        training, second, third = patient.splits
        other = dev or train
        return replace(patient, splits=(train(training), other(second), other(third)))

    return plant


def both(*plants: Callable[[Patient], Patient]) -> Callable[[Patient], Patient]:
    """Several of these, one after the other."""

    def plant(patient: Patient) -> Patient:
        for each in plants:
            patient = each(patient)
        return patient

    return plant


def target_in_context(windows: Windows) -> Windows:
    """The target is the last character of its context."""
    contexts = windows.contexts.copy()
    contexts[:, :-1] = contexts[:, 1:]
    contexts[:, -1] = windows.targets
    return Windows(contexts, windows.targets)


def without_ends(windows: Windows) -> Windows:
    """Without the examples whose target is the end of a word."""
    kept = windows.targets != 0
    return Windows(windows.contexts[kept], windows.targets[kept])


def inputs_as_labels(windows: Windows) -> Windows:
    """The last character of the context as the target."""
    return Windows(windows.contexts, np.ascontiguousarray(windows.contexts[:, -1]))


def shuffled_targets(windows: Windows) -> Windows:
    """Targets in a random order."""
    return Windows(windows.contexts, np.random.default_rng(0).permutation(windows.targets))


def first(count: int) -> Callable[[Windows], Windows]:
    """The first examples only."""
    return lambda windows: Windows(windows.contexts[:count], windows.targets[:count])


def kill_relu(parameters: Parameters) -> None:
    """A bias under which no unit of the first layer is ever above 0."""
    parameters["layers.0.bias"][:] = -100.0
