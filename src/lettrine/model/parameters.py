"""Parameters as named numpy arrays, with the names and layout of the torch twin's `state_dict`.

    embedding.weight            (V, E)
    layers.0.weight             (H0, T*E)    hidden Linear, as (out, in)
    layers.0.bias               (H0,)
    norms.0.weight, .bias       (H0,)        batch norm's scale and shift
    …                                        one group for each hidden layer
    output.weight               (V, H)
    output.bias                 (V,)
    output_norm.weight, .bias   (V,)
    direct.weight               (V, T*E)

and, beside them, the running statistics, which no optimiser moves:

    norms.0.running_mean, .running_var (H0,), …, output_norm.running_mean, .running_var (V,)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lettrine.errors import EngineError
from lettrine.model.config import MLPConfig

Array: TypeAlias = NDArray[np.floating[Any]]
Parameters: TypeAlias = dict[str, Array]


def parameter_shapes(config: MLPConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every trained array, in the order of the forward pass."""
    shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (config.vocabulary_size, config.embedding)}
    inputs = config.context * config.embedding
    if config.direct:
        shapes["direct.weight"] = (config.vocabulary_size, inputs)
    for layer, width in enumerate(config.hidden):
        shapes[f"layers.{layer}.weight"] = (width, inputs)
        if config.hidden_bias:
            shapes[f"layers.{layer}.bias"] = (width,)
        if config.norm == "batch":
            shapes[f"norms.{layer}.weight"] = (width,)
            shapes[f"norms.{layer}.bias"] = (width,)
        inputs = width
    shapes["output.weight"] = (config.vocabulary_size, inputs)
    if config.output_bias:
        shapes["output.bias"] = (config.vocabulary_size,)
    if config.output_norm:
        shapes["output_norm.weight"] = (config.vocabulary_size,)
        shapes["output_norm.bias"] = (config.vocabulary_size,)
    return shapes


def buffer_shapes(config: MLPConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of the running statistics of batch norm, none without it."""
    widths: dict[str, int] = {}
    if config.norm == "batch":
        widths |= {f"norms.{layer}": width for layer, width in enumerate(config.hidden)}
    if config.output_norm:
        widths["output_norm"] = config.vocabulary_size
    return {f"{name}.{part}": (width,) for name, width in widths.items() for part in ("running_mean", "running_var")}


def group_of(name: str) -> str:
    """The parameter group an L2 coefficient is given for: embedding, hidden, output, direct, norm or bias."""
    room, _, rest = name.partition(".")
    if room in ("norms", "output_norm"):
        return "norm"
    if rest.endswith("bias"):
        return "bias"
    return "hidden" if room == "layers" else room


GROUPS = ("embedding", "hidden", "output", "direct", "norm", "bias")


def copy_parameters(parameters: Mapping[str, Array], dtype: Any = None) -> Parameters:
    """Deep copy, in another precision on request."""
    return {name: np.array(value, dtype=dtype or value.dtype, order="C") for name, value in parameters.items()}


def check_parameters(config: MLPConfig, parameters: Mapping[str, Array]) -> None:
    """Raise EngineError unless every array of `config` is there, of the right shape, and all of one float type.

    Engines write these arrays in place, so they must also be contiguous and writeable.
    """
    wanted = parameter_shapes(config) | buffer_shapes(config)
    if missing := [name for name in wanted if name not in parameters]:
        raise EngineError(f"parameters lack {', '.join(missing)}; expected the names of lettrine.model.parameter_shapes")
    if unknown := [name for name in parameters if name not in wanted]:
        raise EngineError(f"parameters hold unknown names {', '.join(unknown)}; expected {', '.join(wanted)}")
    dtypes = {np.dtype(value.dtype) for value in parameters.values()}
    if len(dtypes) != 1 or dtypes.pop() not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise EngineError("parameters are not all float32 or all float64; convert them with copy_parameters(…, dtype)")
    for name, shape in wanted.items():
        value = parameters[name]
        if value.shape != shape:
            raise EngineError(f"{name} has shape {value.shape}; expected {shape}")
        if not value.flags.c_contiguous or not value.flags.writeable:
            raise EngineError(f"{name} is not a contiguous, writeable array; pass np.ascontiguousarray(…) or a copy")
