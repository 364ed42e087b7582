"""Initialisation by measurement: every layer is scaled until its outputs have the wished standard deviation.

Mishkin & Matas 2016, "All you need is a good init" (layer-sequential unit variance). From the input on, the weights of each
layer are divided by the standard deviation of its outputs on a batch. No formula of fan-in or gain is needed: weights end at the
same scale, whatever their distribution was. The logits are scaled so small that the loss is that of a uniform guess.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from lettrine.engine.base import Integers
from lettrine.engine.reference import Observation, observe
from lettrine.errors import EngineError
from lettrine.model.config import MLPConfig
from lettrine.model.parameters import Array, Parameters, copy_parameters

WISHED_STD: Final = 1.0  # of the inputs of each activation
LOGIT_STD: Final = 0.1  # costs LOGIT_STD**2 / 2 = 0.005 nats more than a uniform guess; 0 would give the layers below no gradient


@dataclass(frozen=True)
class ScaledLayer:
    """What was done to one layer. before, after: std of its outputs. factor: its weights (and bias) were multiplied by it."""

    name: str
    before: float
    after: float
    factor: float


@dataclass(frozen=True)
class CalibratedParameters:
    """Calibrated weights, and what was done to them.

    layers: from the input on, the logits last. loss: before and after, in nats. uniform: that of a uniform guess, ln V.
    """

    parameters: Parameters
    layers: tuple[ScaledLayer, ...]
    loss: tuple[float, float]
    uniform: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the weights."""
        return {"layers": [vars(layer) for layer in self.layers], "loss": list(self.loss), "uniform": self.uniform}


def calibrate(
    config: MLPConfig, parameters: Mapping[str, Array], contexts: Integers, targets: Integers, *, std: float = WISHED_STD
) -> CalibratedParameters:
    """A copy of the parameters with which every hidden Linear's outputs have standard deviation `std` on examples (B, T), (B,).

    A layer is linear in its weight and bias together, so one division makes it exact. The embedding is left as it is.
    Raises EngineError for a layer whose outputs do not differ at all, such as one of zeros.
    """
    if not 0.0 < std < math.inf:
        raise EngineError(f"std got {std}; expected a number above 0")
    result = copy_parameters(parameters)
    seen = first = observe(config, result, contexts, targets)
    layers: list[ScaledLayer] = []
    for name in [f"layers.{layer}" for layer in range(len(config.hidden))]:
        layers.append(_scale(result, name, seen.outputs[name], std))
        seen = observe(config, result, contexts, targets)
    if config.output_norm:
        layers.append(_scale(result, "output_norm", seen.outputs["output_norm"], LOGIT_STD))
    else:
        layers += _scale_logits(config, result, seen)
    last = observe(config, result, contexts, targets)
    return CalibratedParameters(result, tuple(layers), (first.loss, last.loss), math.log(config.vocabulary_size))


def _scale_logits(config: MLPConfig, parameters: Parameters, seen: Observation) -> list[ScaledLayer]:
    """Direct connections first get the same share of the logits as the last layer. Then the sum of both is made small."""
    if not config.direct:
        return [_scale(parameters, "output", seen.outputs["output"], LOGIT_STD)]
    outputs = {name: seen.outputs[name] for name in ("output", "direct")}
    spreads = {name: _spread(name, value) for name, value in outputs.items()}
    together = _spread("the logits", outputs["output"] / spreads["output"] + outputs["direct"] / spreads["direct"])
    wished = LOGIT_STD / together
    return [_scale(parameters, name, value, wished) for name, value in outputs.items()]


def _scale(parameters: Parameters, name: str, outputs: Array, wished: float) -> ScaledLayer:
    before = _spread(name, outputs)
    factor = wished / before
    for part in (f"{name}.weight", f"{name}.bias"):
        if part in parameters:
            parameters[part] *= parameters[part].dtype.type(factor)
    return ScaledLayer(name, before, wished, factor)


def _spread(name: str, outputs: Array) -> float:
    value = float(outputs.astype(np.float64).std())
    if not (math.isfinite(value) and value > 0.0):
        raise EngineError(f"the outputs of {name} have a standard deviation of {value}; draw its weights at random first")
    return value
