"""Faults to try: each is planted in a healthy recipe, to see whether the health check finds it and whether the remedy helps.

Those under "met in the sources" are mistakes that the study notebooks warn of; the others are the commonest in training loops.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from lettrine.errors import ConfigError
from lettrine.model.initialisation import Initialisation
from lettrine.recipes.catalogue import find_recipe
from lettrine.recipes.recipe import Recipe
from lettrine.tools import planting
from lettrine.tools.planting import Patient

STEPS: Final = 1_000


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


FAULTS: Final = (
    Fault(
        "fan-in-squared",
        "Hidden weights are multiplied by fan-in squared instead of divided by its root.",
        "Divide by sqrt(fan-in), times the gain.",
        "kaiming",
        "saturation",
        planting.init(hidden=30.0**2 * 5 / 3, hidden_fan_in=False),
        source="sources",
    ),
    Fault(
        "target-in-context",
        "The context already holds the character to predict.",
        "Let the context end before the target.",
        "kaiming",
        "leak",
        planting.data(planting.target_in_context),
        source="sources",
    ),
    Fault(
        "no-end",
        "No example teaches where a word ends.",
        "Add one example for the end of each word.",
        "kaiming",
        "never-ends",
        planting.data(planting.without_ends),
        source="sources",
    ),
    Fault(
        "variance-from-mean",
        "Batch norm's running variance is updated from the running mean.",
        "running_var = (1 - momentum) * running_var + momentum * variance.",
        "deep-batchnorm-5/3",
        "norm-statistics",
        lambda patient: replace(patient, engine=planting.VarianceFromMean),
        source="sources",
        steps=300,
    ),
    Fault(
        "inputs-as-labels",
        "The held-out loss is computed with the last input as the label.",
        "Give the targets to the loss.",
        "kaiming",
        "held-out-labels",
        planting.data(lambda windows: windows, planting.inputs_as_labels),
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
        planting.init(hidden=1.0, hidden_fan_in=False, hidden_bias=1.0, output=1.0, output_fan_in=False, output_bias=1.0),
    ),
    Fault(
        "zero-init",
        "Every weight but the embedding starts at zero.",
        "Draw them at random.",
        "kaiming",
        "symmetry",
        planting.init(hidden=0.0, hidden_bias=0.0, output=0.0),
    ),
    Fault(
        "gain-too-large",
        "A deep tanh net starts with a gain of 3.",
        "The gain of tanh, 5/3; or batch norm.",
        "deep-tanh-5/3",
        "saturation",
        planting.init(hidden=3.0),
    ),
    Fault(
        "fading-signal",
        "A deep linear net starts with a gain of 0.5.",
        "A gain of 1.",
        "deep-linear-1",
        "activation-scale",
        planting.init(hidden=0.5),
    ),
    Fault(
        "dead-relu",
        "Every hidden bias of a ReLU net is -100.",
        "Biases at 0.",
        "relu",
        "dead-units",
        lambda patient: replace(patient, prepare=planting.kill_relu),
    ),
    Fault(
        "rate-too-high",
        "A learning rate a hundred times too high.",
        "0.1 instead of 10.",
        "kaiming",
        "update-too-large",
        planting.settings(learning_rate=10.0),
    ),
    Fault(
        "rate-too-low",
        "A learning rate two hundred times too low.",
        "0.1 instead of 0.0005.",
        "kaiming",
        "update-too-small",
        planting.settings(learning_rate=0.0005),
    ),
    Fault(
        "shuffled-labels",
        "Inputs and labels were shuffled apart.",
        "Shuffle them together.",
        "kaiming",
        "no-learning",
        planting.data(planting.shuffled_targets),
    ),
    Fault(
        "too-few-examples",
        "A hundred examples for twelve thousand parameters.",
        "All of them.",
        "kaiming",
        "overfitting",
        planting.data(planting.first(100), lambda windows: windows),
        steps=4_000,
    ),
    Fault(
        "bias-before-norm",
        "The layers in front of batch norm have biases.",
        "Leave them out.",
        "deep-batchnorm-1",
        "bias-before-norm",
        planting.shape(hidden_bias=True),
    ),
    Fault(
        "norm-momentum-too-small",
        "Batch norm's momentum is so small that a short run never forgets its start.",
        "A momentum of 0.1, or statistics of the whole training set at the end.",
        "deep-batchnorm-1",
        "norm-statistics",
        planting.shape(norm_momentum=1e-4),
    ),
    Fault(
        "small-batch-norm",
        "Batches of 4 with a batch norm momentum of 0.5.",
        "Batches of 32 and a momentum of 0.1.",
        "deep-batchnorm-1",
        "norm-statistics",
        planting.both(planting.settings(batch=4), planting.shape(norm_momentum=0.5)),
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
