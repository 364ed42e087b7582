"""The published experiments, one after the other: what was trained, and what was printed. Data, no code.

Every one splits the words 80/10/10 after a shuffle with seed 42, and takes batches of 32 with plain SGD. One that runs 200,000
steps divides the learning rate by ten half-way. Letters are those of `recipe.SOURCES`.
"""

from __future__ import annotations

from typing import Any, Final

from lettrine.arguments import checked
from lettrine.errors import ConfigError
from lettrine.model.initialisation import NAIVE, SCHEMES, Initialisation
from lettrine.recipes.recipe import CIVIL_CODE, NAMES, PRENOMS, Published, Recipe
from lettrine.training.api import Shape
from lettrine.training.settings import Settings

LONG: Final = 200_000
GAIN: Final = 5.0 / 3.0


def _shape(hidden: tuple[int, ...], *, activation: str = "tanh", norm: str = "none", **more: Any) -> Shape:
    """A shape that leaves nothing to the defaults of `train`, which aim at a low loss."""
    plain: dict[str, Any] = {"context": 3, "embedding": 10, "direct": False, "hidden_bias": norm == "none", "output_bias": True}
    return Shape(hidden=hidden, activation=activation, norm=norm, **{"output_norm": False, "norm_momentum": 0.1, **plain, **more})


_ONE = _shape((200,))
_DEEP = _shape((100,) * 5)
_WIDE = _shape((200,) * 5)
_LINEAR = _shape((100,) * 5, activation="identity")
_NORMED = _shape((100,) * 5, norm="batch", output_norm=True, hidden_bias=True)
_NORMED_NO_BIAS = _shape((100,) * 5, norm="batch", output_norm=True, output_bias=False)
_NORMED_WIDE = _shape((200,) * 5, norm="batch", output_norm=True)


def _deep(gain: float) -> Initialisation:
    return Initialisation(hidden=gain, output=0.1)


def _normed(gain: float) -> Initialisation:
    return Initialisation(hidden=gain, output=gain, output_norm=0.1)


RECIPES: Final = (
    Recipe(
        "bengio2003",
        "The network of the paper, everything drawn from N(0, 1), characters on a plane one can look at.",
        _shape((100,), embedding=2),
        NAIVE,
        0.16,
        LONG,
        (
            Published("parameters", "A", CIVIL_CODE, (4_923,)),
            Published("initial", "A", CIVIL_CODE, (16.7,), "on 53 examples"),
            Published("train", "A", CIVIL_CODE, (1.8583,)),
            Published("dev", "A", CIVIL_CODE, (1.9103,)),
            Published("test", "A", CIVIL_CODE, (1.9492,)),
        ),
    ),
    # What `--effort best` takes for these words (docs/sizes.md), with the steps of the published run's split.
    Recipe(
        "challenge",
        "Beat the test loss of bengio2003 by any means: four wider networks, dropout, longer contexts, AdamW, and counts.",
        Shape(embedding=24, hidden=(400, 200), dropout=0.3),
        SCHEMES["kaiming"],
        0.006,
        4_000,
        (Published("challenge", "A", CIVIL_CODE, (1.9492,)),),
        ours=Settings(batch=256, networks=4, fractions=(0.8, 0.1), split_seed=42),
    ),
    Recipe(
        "naive",
        "Everything N(0, 1): the first loss is far above that of a guess, and the hidden layer is saturated.",
        _ONE,
        NAIVE,
        0.1,
        LONG,
        (
            Published("parameters", "N", NAMES, (11_897,)),
            Published("initial", "N", NAMES, (27.6,)),
            Published("initial", "P", PRENOMS, (22.0,)),
            Published("train", "N", NAMES, (2.1137,)),
            Published("dev", "N", NAMES, (2.1547,)),
            Published("train", "L", NAMES, (2.1245,)),
            Published("dev", "L", NAMES, (2.1682,)),
        ),
    ),
    Recipe(
        "small-logits",
        "The last layer starts near zero, so the first loss is that of a guess; the hidden layer is still saturated.",
        _ONE,
        SCHEMES["small-output"],
        0.1,
        LONG,
        (
            Published("parameters", "N", NAMES, (11_897,)),
            Published("initial", "N", NAMES, (3.30,)),
            Published("train", "N", NAMES, (2.0690,)),
            Published("dev", "N", NAMES, (2.1281,)),
            Published("train", "L", NAMES, (2.07,)),
            Published("dev", "L", NAMES, (2.13,)),
        ),
    ),
    Recipe(
        "small-hidden",
        "The hidden layer shrunk by hand as well: nothing is saturated, and the loss ends lower.",
        _ONE,
        SCHEMES["small-hidden"],
        0.1,
        LONG,
        (
            Published("parameters", "N", NAMES, (11_897,)),
            Published("initial", "N", NAMES, (3.3,)),
            Published("train", "N", NAMES, (2.0385,)),
            Published("dev", "N", NAMES, (2.1043,)),
            Published("train", "L", NAMES, (2.0356,)),
            Published("dev", "L", NAMES, (2.1027,)),
        ),
    ),
    Recipe(
        "tiny",
        "Everything small: it starts at the loss of a guess, and leaves it slowly.",
        _ONE,
        SCHEMES["tiny"],
        0.1,
        LONG,
        (Published("parameters", "P", PRENOMS, (15_906,)), Published("initial", "P", PRENOMS, (3.83,))),
    ),
    Recipe(
        "kaiming",
        "The principled scale, gain / sqrt(fan-in), does what the hand did.",
        _ONE,
        SCHEMES["kaiming"],
        0.1,
        LONG,
        (
            Published("parameters", "N", NAMES, (11_897,)),
            Published("initial", "N", NAMES, (3.28,)),
            Published("train", "N", NAMES, (2.0388,)),
            Published("dev", "N", NAMES, (2.1015,)),
            Published("train", "L", NAMES, (2.0377,)),
            Published("dev", "L", NAMES, (2.1070,)),
        ),
    ),
    Recipe(
        "batchnorm",
        "Batch norm before the tanh: no gain on a net this shallow, and the statistics at rest agree with those of batches.",
        _shape((200,), norm="batch", norm_momentum=0.001),
        SCHEMES["kaiming"],
        0.1,
        LONG,
        (
            Published("parameters", "L", NAMES, (12_097,)),
            Published("parameters", "B", CIVIL_CODE, (15_051,)),
            Published("initial", "L", NAMES, (3.32,)),
            Published("train", "L", NAMES, (2.0668,)),
            Published("dev", "L", NAMES, (2.1048,)),
            Published("train", "N", NAMES, (2.0704,), "running statistics"),
            Published("dev", "N", NAMES, (2.1112,), "running statistics"),
            Published("train-batch", "N", NAMES, (2.0683,)),
            Published("dev-batch", "N", NAMES, (2.1130,)),
            Published("train-precise", "N", NAMES, (2.0683,)),
            Published("dev-precise", "N", NAMES, (2.1131,)),
            Published("train", "B", CIVIL_CODE, (1.5225,), "with a learning rate of 0.2"),
            # The split was not seeded. Four splits of ours end at 1.729, 1.664, 1.690 and 1.698.
            Published("test", "B", CIVIL_CODE, (1.6819,), "with a learning rate of 0.2, on a split of its own", noise=0.027),
        ),
        rates=((CIVIL_CODE, 0.2),),
    ),
    Recipe(
        "deep-batchnorm",
        "Six layers deep and trained to the end: with batch norm every layer keeps its scale.",
        _NORMED_WIDE,
        _normed(1.0),
        0.2,
        LONG,
        (
            Published("parameters", "B", CIVIL_CODE, (176_733,)),
            Published("std", "B", CIVIL_CODE, (0.75, 0.80, 0.81, 0.81, 0.82)),
            Published("saturated", "B", CIVIL_CODE, (0.245, 0.282, 0.298, 0.298, 0.295)),
            Published("gradient-std", "B", CIVIL_CODE, (2.20e-3, 2.34e-3, 2.22e-3, 1.87e-3, 2.41e-3)),
        ),
    ),
    Recipe(
        "deep-gain-1",
        "A deep tanh net without a gain: the activations shrink towards the output.",
        _WIDE,
        _deep(1.0),
        0.2,
        1_000,
        (
            Published("parameters", "B", CIVIL_CODE, (175_651,)),
            Published("std", "B", CIVIL_CODE, (0.66, 0.64, 0.65, 0.65, 0.55)),
            Published("saturated", "B", CIVIL_CODE, (0.068, 0.043, 0.042, 0.050, 0.023)),
        ),
        drops=False,
    ),
    Recipe(
        "deep-gain-3",
        "A gain too large: half of every layer sits in the flat ends of the tanh.",
        _WIDE,
        _deep(3.0),
        0.2,
        1_000,
        (
            Published("parameters", "B", CIVIL_CODE, (175_651,)),
            Published("std", "B", CIVIL_CODE, (0.87, 0.89, 0.89, 0.89, 0.87)),
            Published("saturated", "B", CIVIL_CODE, (0.506, 0.531, 0.564, 0.549, 0.466)),
        ),
        drops=False,
    ),
    Recipe(
        "deep-tanh-5/3",
        "The gain of tanh: activations and gradients keep their scale through the layers.",
        _DEEP,
        _deep(GAIN),
        0.1,
        1,
        (
            Published("parameters", "N", NAMES, (46_497,)),
            Published("std", "N", NAMES, (0.750, 0.686, 0.673, 0.657, 0.663)),
            Published("gradient-std", "N", NAMES, (4.21e-4, 3.99e-4, 3.74e-4, 3.29e-4, 3.05e-4)),
        ),
        drops=False,
    ),
    Recipe(
        "deep-linear-5/3",
        "Without a tanh to shrink them again, a gain of 5/3 makes the signal grow with every layer.",
        _LINEAR,
        _deep(GAIN),
        0.1,
        1,
        (
            Published("parameters", "N", NAMES, (46_497,)),
            Published("std", "N", NAMES, (1.72, 2.72, 4.64, 7.63, 12.43)),
            Published("gradient-std", "N", NAMES, (2.52e-3, 1.51e-3, 9.37e-4, 5.41e-4, 3.24e-4)),
        ),
        drops=False,
        drawn=(1, 1),
    ),
    Recipe(
        "deep-linear-0.5",
        "A gain below 1: the signal fades on its way forward, the gradient on its way back.",
        _LINEAR,
        _deep(0.5),
        0.1,
        1,
        (
            Published("parameters", "N", NAMES, (46_497,)),
            Published("std", "N", NAMES, (0.538, 0.275, 0.143, 0.071, 0.033)),
            Published("gradient-std", "N", NAMES, (2.21e-5, 4.23e-5, 8.00e-5, 1.51e-4, 3.05e-4)),
        ),
        drops=False,
        drawn=(2, 2),
    ),
    Recipe(
        "deep-linear-1",
        "A linear net wants a gain of 1: then nothing grows and nothing fades.",
        _LINEAR,
        _deep(1.0),
        0.1,
        1,
        (
            Published("parameters", "N", NAMES, (46_497,)),
            Published("std", "N", NAMES, (1.02, 0.974, 0.966, 0.975, 1.02)),
            Published("gradient-std", "N", NAMES, (3.14e-4, 3.10e-4, 3.21e-4, 3.19e-4, 3.16e-4)),
        ),
        drops=False,
        drawn=(3, 3),
    ),
    # The notebook divides by the weights after the step; that shows in the last layer alone, which grew by 6 % in it.
    Recipe(
        "deep-linear-1-weights",
        "How fast each weight begins to learn: the last layer, shrunk to a tenth, stands far apart from the others.",
        _LINEAR,
        _deep(1.0),
        0.1,
        1,
        (
            Published("parameters", "N", NAMES, (46_497,)),
            Published("gradient-data", "N", NAMES, (8.8e-4, 9.7e-3, 1.7e-2, 1.7e-2, 1.7e-2, 1.8e-2, 3.36)),
        ),
        drops=False,
        drawn=(4, 4),
    ),
    Recipe(
        "deep-linear-1-trained",
        "The same after 1,000 steps: the last layer, shrunk at the start, has caught up with the others.",
        _LINEAR,
        _deep(1.0),
        0.1,
        1_000,
        (
            Published("parameters", "N", NAMES, (46_497,)),
            Published("gradient-data", "N", NAMES, (1.2e-2, 7.5e-2, 8.2e-2, 7.0e-2, 7.1e-2, 7.1e-2, 4.6e-1)),
        ),
        drops=False,
        drawn=(5, 5),
    ),
    Recipe(
        "deep-batchnorm-5/3",
        "Batch norm in a deep net, with the biases it makes superfluous.",
        _NORMED,
        _normed(GAIN),
        0.1,
        1_000,
        (
            Published("parameters", "N", NAMES, (47_551,)),
            Published("std", "N", NAMES, (0.636, 0.642, 0.639, 0.643, 0.644)),
            Published("gradient-std", "N", NAMES, (3.33e-3, 3.04e-3, 2.74e-3, 2.60e-3, 2.44e-3)),
        ),
        drops=False,
    ),
    # The lecture prints its shares under a gain of 5/3. They are, digit for digit, those of its last version, with a gain of 1
    # and 1,001 steps. Repeating it with its own variance (divided by n - 1) shows this.
    Recipe(
        "deep-batchnorm-1",
        "The same with a gain of 1 and without the superfluous biases: fewer parameters, and little else changes.",
        _NORMED_NO_BIAS,
        _normed(1.0),
        0.1,
        1_001,
        (
            Published("parameters", "L", NAMES, (47_024,)),
            Published("saturated", "L", NAMES, (0.0278, 0.0256, 0.0225, 0.0169, 0.0188)),
        ),
        drops=False,
    ),
    Recipe(
        "deep-batchnorm-0.2",
        "A gain far too small, and batch norm forgives it.",
        _NORMED,
        _normed(0.2),
        0.1,
        1_000,
        (
            Published("parameters", "N", NAMES, (47_551,)),
            Published("std", "N", NAMES, (0.638, 0.657, 0.670, 0.679, 0.681)),
            Published("gradient-std", "N", NAMES, (1.02e-3, 8.39e-4, 8.28e-4, 8.73e-4, 1.02e-3)),
        ),
        drops=False,
    ),
    Recipe(
        "deep-no-fan-in",
        "Weights not divided by sqrt(fan-in): every layer is saturated, and the updates are spread over decades.",
        _DEEP,
        Initialisation(hidden=GAIN, hidden_fan_in=False, output=0.1, output_fan_in=False),
        0.1,
        1_000,
        (
            Published("parameters", "N", NAMES, (46_497,)),
            Published("update-data", "N", NAMES, text="far below 1e-3, and spread over decades"),
        ),
        drops=False,
    ),
    Recipe(
        "deep-lr-0.001",
        "A learning rate a hundred times too small shows in the updates, long before the loss can tell.",
        _LINEAR,
        _deep(1.0),
        0.001,
        1_000,
        (
            Published("parameters", "N", NAMES, (46_497,)),
            Published("update-data", "N", NAMES, text="far below 1e-3"),
        ),
        drops=False,
    ),
)

_BY_NAME: Final = {recipe.name: recipe for recipe in RECIPES}


@checked
def find_recipe(name: str) -> Recipe:
    """The recipe of that name. Raises ConfigError for an unknown one."""
    if name not in _BY_NAME:
        raise ConfigError(f"recipe got {name!r}; expected one of {', '.join(_BY_NAME)} (lettrine recipe list tells what each is)")
    return _BY_NAME[name]
