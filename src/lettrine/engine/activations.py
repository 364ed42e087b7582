"""The non-linearities and their slopes, by the names of `MLPConfig.activation`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from lettrine.model.config import LEAKY_SLOPE
from lettrine.model.parameters import Array

SELU_ALPHA: Final = 1.6732632423543772  # Klambauer et al. 2017, "Self-Normalizing Neural Networks"
SELU_SCALE: Final = 1.0507009873554805
GELU_SLOPE: Final = float(np.sqrt(2.0 / np.pi))  # Hendrycks & Gimpel 2016, tanh form
GELU_CUBIC: Final = 0.044715


def _gelu(x: Array) -> Array:
    y: Array = 0.5 * x * (1.0 + np.tanh(GELU_SLOPE * (x + GELU_CUBIC * x * x * x)))
    return y


def _gelu_slope(x: Array, _: Array) -> Array:
    t = np.tanh(GELU_SLOPE * (x + GELU_CUBIC * x * x * x))
    slope: Array = 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * GELU_SLOPE * (1.0 + 3.0 * GELU_CUBIC * x * x)
    return slope


def _sigmoid(x: Array) -> Array:
    y: Array = 0.5 * (1.0 + np.tanh(0.5 * x))  # the same function as 1 / (1 + exp(-x)), without its overflow
    return y


def _selu(x: Array) -> Array:
    y: Array = SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0)))
    return y


ACTIVATE: Final[dict[str, Callable[[Array], Array]]] = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "leaky-relu": lambda x: np.where(x > 0, x, LEAKY_SLOPE * x),
    "gelu": _gelu,
    "sigmoid": _sigmoid,
    "selu": _selu,
    "identity": lambda x: x,
}

# Derivative of each at input x, where the output y is already known and often simpler to use.
SLOPE: Final[dict[str, Callable[[Array, Array], Array]]] = {
    "tanh": lambda _, y: 1.0 - y * y,
    "relu": lambda x, _: (x > 0).astype(x.dtype),
    "leaky-relu": lambda x, _: np.where(x > 0, x.dtype.type(1.0), x.dtype.type(LEAKY_SLOPE)),
    "gelu": _gelu_slope,
    "sigmoid": lambda _, y: y * (1.0 - y),
    "selu": lambda x, y: np.where(x > 0, x.dtype.type(SELU_SCALE), y + x.dtype.type(SELU_SCALE * SELU_ALPHA)),
    "identity": lambda x, _: np.ones_like(x),
}
