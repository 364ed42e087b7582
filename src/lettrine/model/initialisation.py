"""Initialisation schemes by name: how wide each random array starts.

A weight starts as N(0, 1), divided by sqrt(fan-in) or not, times a factor. With sqrt(fan-in) and the
activation's gain the scale of the activations neither grows nor shrinks with depth
(He et al. 2015, "Delving Deep into Rectifiers"; makemore part 3).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from lettrine.activations import ACTIVATIONS
from lettrine.arguments import checked
from lettrine.errors import ConfigError
from lettrine.model.config import MLPConfig
from lettrine.model.parameters import Parameters, buffer_shapes, group_of, parameter_shapes


@checked
@dataclass(frozen=True)
class Initialisation:
    """Initial widths (standard deviations) of every group of parameters.

    embedding: of the embedding table.
    hidden: factor on hidden weights; None takes the activation's gain.
    hidden_fan_in, output_fan_in: whether those weights are divided by sqrt(fan-in) first.
    hidden_bias, output_bias: of the biases; 0 starts them at zero.
    output: factor on the output layer's weights, and on the direct connections'.
    output_norm: initial scale of batch norm on the logits (a constant, not a width).
    calibrated: whether the weights are then scaled layer by layer on training data, see `lettrine.engine.calibration`.

    Raises ConfigError for a factor that is negative or not finite.
    """

    embedding: float = 1.0
    hidden: float | None = None
    hidden_fan_in: bool = True
    hidden_bias: float = 0.0
    output: float = 1.0
    output_fan_in: bool = True
    output_bias: float = 0.0
    output_norm: float = 1.0
    calibrated: bool = False

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and not 0.0 <= value < math.inf:
                raise ConfigError(f"initialisation of {name} got {value}; expected 0 or more")

    def norm_start(self, name: str) -> float:
        """Initial value of a batch norm parameter: 0 for shifts, 1 for scales, `output_norm` for the scale of the logits."""
        if name.endswith("bias"):
            return 0.0
        return self.output_norm if name.startswith("output_norm") else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


NAIVE: Final = Initialisation(hidden=1.0, hidden_fan_in=False, hidden_bias=1.0, output_fan_in=False, output_bias=1.0)

SCHEMES: Final = {
    # The lecture's first network: everything N(0, 1). Its first loss is far above ln V and most tanh units saturate.
    "naive": NAIVE,
    # naive, but the output layer starts near 0, so that the first loss is ln V.
    "small-output": Initialisation(hidden=1.0, hidden_fan_in=False, hidden_bias=1.0, output=0.01, output_fan_in=False),
    # and the hidden layer is made smaller by hand.
    "small-hidden": Initialisation(hidden=0.2, hidden_fan_in=False, hidden_bias=0.01, output=0.01, output_fan_in=False),
    # Everything small: safe, but slow at the start.
    "tiny": Initialisation(hidden=0.01, hidden_fan_in=False, output=0.01, output_fan_in=False),
    # The principled scale: gain / sqrt(fan-in). With batch norm it matters little, and the biases are left out anyway.
    "kaiming": Initialisation(hidden_bias=0.01, output=0.01, output_fan_in=False),
    # For deep nets: biases at zero, the last layer at a tenth, be it a Linear or batch norm's scale.
    "deep": Initialisation(output=0.1, output_norm=0.1),
    # No formula: drawn at random, then scaled until a batch of the data has unit variance in every layer.
    "calibrated": Initialisation(calibrated=True),
}


def initialise(config: MLPConfig, scheme: Initialisation, generator: np.random.Generator, dtype: Any = np.float32) -> Parameters:
    """Draw every array of `config` in the order of the forward pass; running statistics start at mean 0, variance 1.

    Values are drawn in float64 and rounded, so that both precisions start from the same numbers.
    """
    parameters: Parameters = {}
    for name, shape in parameter_shapes(config).items():
        if group_of(name) == "norm":
            parameters[name] = np.full(shape, scheme.norm_start(name), dtype)
        else:
            parameters[name] = (generator.standard_normal(shape) * width_of(config, scheme, name, shape)).astype(dtype)
    for name, shape in buffer_shapes(config).items():
        parameters[name] = np.full(shape, float(name.endswith("running_var")), dtype)
    return parameters


def width_of(config: MLPConfig, scheme: Initialisation, name: str, shape: tuple[int, ...]) -> float:
    """Standard deviation that a weight or bias of that name and shape (out, in) starts with."""
    if name == "embedding.weight":
        return scheme.embedding
    hidden = name.startswith("layers.")
    if name.endswith("bias"):
        return scheme.hidden_bias if hidden else scheme.output_bias
    factor = (ACTIVATIONS[config.activation].gain if scheme.hidden is None else scheme.hidden) if hidden else scheme.output
    divided = scheme.hidden_fan_in if hidden else scheme.output_fan_in
    return factor / math.sqrt(shape[1]) if divided else factor
