"""Faults to try: each is planted in a healthy recipe, to see whether the health check finds it and whether the remedy helps.

Those under "met in the sources" are mistakes that the study notebooks warn of; the others are the commonest in training loops.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from lettrine.engine.base import Doubles, Engine, Indices, Integers, Optimiser, TrainState
from lettrine.errors import ConfigError
from lettrine.model.config import MLPConfig
from lettrine.model.initialisation import Initialisation
from lettrine.model.parameters import Parameters
from lettrine.recipes.catalogue import find_recipe
from lettrine.recipes.recipe import Recipe
from lettrine.text.windows import Windows
from lettrine.training.settings import Settings

STEPS: Final = 1_000


@dataclass(frozen=True)
class Patient:
    """Everything one training is made of. engine: wraps the engine of the settings; prepare: changes the initial weights."""

    recipe: Recipe
    settings: Settings
    splits: tuple[Windows, Windows, Windows]
    engine: Callable[[Engine], Engine] = lambda engine: engine
    prepare: Callable[[Parameters], None] = lambda _: None


@dataclass(frozen=True)
class Fault:
    """One fault.

    planted: the fault. remedy: its cure, by default the healthy recipe. recipe: the healthy one. finding: id of the finding
    that names the fault. plant: changes a healthy training; or `torch`, the name of a fault in `lettrine.torch.faults`, for
    faults that only a training loop in torch can have. source: "sources" or "common".
    """

    name: str
    planted: str
    remedy: str
    recipe: str
    finding: str
    plant: Callable[[Patient], Patient] | None = None
    torch: bool = False
    source: str = "common"
    steps: int = STEPS

    def patients(self, sick: Patient) -> tuple[Patient, Patient]:
        """The faulty training and the healthy one."""
        return (self.plant(sick) if self.plant else sick), sick


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


def _init(**changes: Any) -> Callable[[Patient], Patient]:
    def plant(patient: Patient) -> Patient:
        init = replace(patient.settings.initialisation, **changes)
        return replace(patient, settings=replace(patient.settings, init=init))

    return plant


def _settings(**changes: Any) -> Callable[[Patient], Patient]:
    return lambda patient: replace(patient, settings=replace(patient.settings, **changes))


def _shape(**changes: Any) -> Callable[[Patient], Patient]:
    return lambda patient: replace(patient, recipe=replace(patient.recipe, shape=replace(patient.recipe.shape, **changes)))


def _data(train: Callable[[Windows], Windows], dev: Callable[[Windows], Windows] | None = None) -> Callable[[Patient], Patient]:
    """Change the training examples and, by default, the held-out ones in the same way."""

    def plant(patient: Patient) -> Patient:
        first, second, third = patient.splits
        other = dev or train
        return replace(patient, splits=(train(first), other(second), other(third)))

    return plant


def _both(*plants: Callable[[Patient], Patient]) -> Callable[[Patient], Patient]:
    def plant(patient: Patient) -> Patient:
        for each in plants:
            patient = each(patient)
        return patient

    return plant


def _target_in_context(windows: Windows) -> Windows:
    contexts = windows.contexts.copy()
    contexts[:, :-1] = contexts[:, 1:]
    contexts[:, -1] = windows.targets
    return Windows(contexts, windows.targets)


def _without_ends(windows: Windows) -> Windows:
    kept = windows.targets != 0
    return Windows(windows.contexts[kept], windows.targets[kept])


def _inputs_as_labels(windows: Windows) -> Windows:
    return Windows(windows.contexts, np.ascontiguousarray(windows.contexts[:, -1]))


def _shuffled_targets(windows: Windows) -> Windows:
    return Windows(windows.contexts, np.random.default_rng(0).permutation(windows.targets))


def _first(count: int) -> Callable[[Windows], Windows]:
    return lambda windows: Windows(windows.contexts[:count], windows.targets[:count])


def _kill_relu(parameters: Parameters) -> None:
    parameters["layers.0.bias"][:] = -100.0


FAULTS: Final = (
    Fault(
        "fan-in-squared",
        "Hidden weights are multiplied by fan-in squared instead of divided by its root.",
        "Divide by sqrt(fan-in), times the gain.",
        "kaiming",
        "saturation",
        _init(hidden=30.0**2 * 5 / 3, hidden_fan_in=False),
        source="sources",
    ),
    Fault(
        "target-in-context",
        "The context already holds the character to predict.",
        "Let the context end before the target.",
        "kaiming",
        "leak",
        _data(_target_in_context),
        source="sources",
    ),
    Fault(
        "no-end",
        "No example teaches where a word ends.",
        "Add one example for the end of each word.",
        "kaiming",
        "never-ends",
        _data(_without_ends),
        source="sources",
    ),
    Fault(
        "variance-from-mean",
        "Batch norm's running variance is updated from the running mean.",
        "running_var = (1 - momentum) * running_var + momentum * variance.",
        "deep-batchnorm-5/3",
        "norm-statistics",
        lambda patient: replace(patient, engine=VarianceFromMean),
        source="sources",
        steps=300,
    ),
    Fault(
        "inputs-as-labels",
        "The held-out loss is computed with the last input as the label.",
        "Give the targets to the loss.",
        "kaiming",
        "held-out-labels",
        _data(lambda windows: windows, _inputs_as_labels),
        source="sources",
    ),
    Fault(
        "shared-generator",
        "Words drawn during training come from the generator that draws the batches.",
        "Use a separate generator for each purpose.",
        "kaiming",
        "shared-generator",
        source="sources",
        steps=200,
    ),
    Fault(
        "naive-init",
        "Everything is drawn from N(0, 1).",
        "Small last layer, hidden weights of std gain / sqrt(fan-in).",
        "kaiming",
        "initial-loss",
        _init(hidden=1.0, hidden_fan_in=False, hidden_bias=1.0, output=1.0, output_fan_in=False, output_bias=1.0),
    ),
    Fault(
        "zero-init",
        "Every weight but the embedding starts at zero.",
        "Draw them at random.",
        "kaiming",
        "symmetry",
        _init(hidden=0.0, hidden_bias=0.0, output=0.0),
    ),
    Fault(
        "gain-too-large",
        "A deep tanh net starts with a gain of 3.",
        "The gain of tanh, 5/3; or batch norm.",
        "deep-tanh-5/3",
        "saturation",
        _init(hidden=3.0),
    ),
    Fault(
        "fading-signal",
        "A deep linear net starts with a gain of 0.5.",
        "A gain of 1.",
        "deep-linear-1",
        "activation-scale",
        _init(hidden=0.5),
    ),
    Fault(
        "dead-relu",
        "Every hidden bias of a ReLU net is -100.",
        "Biases at 0.",
        "relu",
        "dead-units",
        lambda patient: replace(patient, prepare=_kill_relu),
    ),
    Fault(
        "rate-too-high",
        "A learning rate a hundred times too high.",
        "0.1 instead of 10.",
        "kaiming",
        "update-too-large",
        _settings(learning_rate=10.0),
    ),
    Fault(
        "rate-too-low",
        "A learning rate two hundred times too low.",
        "0.1 instead of 0.0005.",
        "kaiming",
        "update-too-small",
        _settings(learning_rate=0.0005),
    ),
    Fault(
        "shuffled-labels",
        "Inputs and labels were shuffled apart.",
        "Shuffle them together.",
        "kaiming",
        "no-learning",
        _data(_shuffled_targets),
    ),
    Fault(
        "too-few-examples",
        "A hundred examples for twelve thousand parameters.",
        "All of them.",
        "kaiming",
        "overfitting",
        _data(_first(100), lambda windows: windows),
        steps=4_000,
    ),
    Fault(
        "bias-before-norm",
        "The layers in front of batch norm have biases.",
        "Leave them out.",
        "deep-batchnorm-1",
        "bias-before-norm",
        _shape(hidden_bias=True),
    ),
    Fault(
        "norm-momentum-too-small",
        "Batch norm's momentum is so small that a short run never forgets its start.",
        "A momentum of 0.1, or statistics of the whole training set at the end.",
        "deep-batchnorm-1",
        "norm-statistics",
        _shape(norm_momentum=1e-4),
    ),
    Fault(
        "small-batch-norm",
        "Batches of 4 with a batch norm momentum of 0.5.",
        "Batches of 32 and a momentum of 0.1.",
        "deep-batchnorm-1",
        "norm-statistics",
        _both(_settings(batch=4), _shape(norm_momentum=0.5)),
    ),
    Fault(
        "missing-zero-grad",
        "optimizer.zero_grad() is never called.",
        "Call it once a step.",
        "kaiming",
        "missing-zero-grad",
        torch=True,
        steps=300,
    ),
    Fault(
        "softmax-twice",
        "The network ends in a softmax, and the loss takes another one.",
        "Give the loss the raw logits.",
        "kaiming",
        "probabilities-as-logits",
        torch=True,
        steps=300,
    ),
    Fault(
        "eval-mode",
        "The network is trained in eval mode.",
        "model.train() before training.",
        "deep-batchnorm-1",
        "wrong-mode",
        torch=True,
        steps=300,
    ),
    Fault(
        "forgotten-layer",
        "The optimiser was not given the last layer.",
        "Give it all of model.parameters().",
        "kaiming",
        "not-optimised",
        torch=True,
        steps=300,
    ),
)

_BY_NAME: Final = {fault.name: fault for fault in FAULTS}
_RELU: Final = replace(
    find_recipe("kaiming"),
    name="relu",
    lesson="One hidden layer of ReLU units.",
    shape=replace(find_recipe("kaiming").shape, activation="relu"),
    init=Initialisation(output=0.01, output_fan_in=False),
    published=(),
)


def find_fault(name: str) -> Fault:
    """The fault of that name. Raises ConfigError for an unknown one."""
    if name not in _BY_NAME:
        raise ConfigError(f"fault got {name!r}; expected one of {', '.join(_BY_NAME)}")
    return _BY_NAME[name]


def healthy_recipe(fault: Fault) -> Recipe:
    """The recipe a fault is planted in."""
    return _RELU if fault.recipe == "relu" else find_recipe(fault.recipe)
