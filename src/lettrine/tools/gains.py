"""The table of gains, with each entry checked numerically, and the spread of x @ w, which the gains keep constant.

A layer y = x @ w with w drawn N(0, s**2) has std(y) = s * sqrt(fan_in) * rms(x). With s = gain / sqrt(fan_in) and gain = 1 /
sqrt(E[f(z)**2]) for z of N(0, 1), the inputs of the activations keep their spread. The output of each layer has a mean square
of 1 / gain**2, and the gain of the next layer brings it back to 1 (He et al. 2015).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lettrine.activations import ACTIVATIONS, TRAINABLE, activate, slope
from lettrine.errors import ConfigError

Floats = NDArray[np.float64]

NODES: Final = np.linspace(-12.0, 12.0, 24_001)  # points for the integral of f; 1e-33 of the normal distribution lies beyond them
LAYERS: Final = 50
WIDTH: Final = 400  # of the sampled net
DEPTH: Final = 10


@dataclass(frozen=True)
class GainRow:
    """One activation.

    gain: of the table. exact: 1 / sqrt(E[f(z)**2]). settled: std of the pre-activations after LAYERS layers with the
    table's gain, by theory. sampled: that of a random net of DEPTH layers. backward: factor on the gradient for each layer of
    the backward pass, gain * sqrt(E[f'(z)**2]).
    """

    activation: str
    gain: float
    exact: float
    settled: float
    sampled: float
    backward: float
    derivation: str


@dataclass(frozen=True)
class SpreadRow:
    """x @ w for one scale of w: the measured std, and scale * sqrt(fan_in) as expected for x of N(0, 1)."""

    name: str
    scale: float
    measured: float
    expected: float
    values: Floats


def gain_rows(seed: int = 0) -> list[GainRow]:
    """The table of gains, checked."""
    return [gain_row(name, seed) for name in TRAINABLE]


def gain_row(activation: str, seed: int = 0) -> GainRow:
    """One entry of the table, checked by integration and by sampling."""
    gain, derivation = ACTIVATIONS[activation].gain, ACTIVATIONS[activation].derivation
    std = 1.0
    for _ in range(LAYERS):
        std = gain * sqrt(mean_of(lambda x: activate(activation, x) ** 2, std))
    backward = gain * sqrt(mean_of(lambda x: slope(activation, x, activate(activation, x)) ** 2, std))
    exact = 1.0 / sqrt(mean_of(lambda x: activate(activation, x) ** 2, 1.0))
    return GainRow(activation, gain, exact, std, _sampled(activation, gain, seed), backward, derivation)


def mean_of(function: Any, std: float) -> float:
    """E[function(x)] for x of N(0, std**2), by the trapezoidal rule, which is exact up to rounding for such smooth tails."""
    weights = np.exp(-0.5 * NODES**2)
    return float((weights * function(std * NODES)).sum() / weights.sum())


def spread_rows(fan_in: int = 10, examples: int = 1_000, units: int = 200, seed: int = 0) -> list[SpreadRow]:
    """X @ w with x (examples, fan_in) of N(0, 1) and w (fan_in, units) of N(0, 1) times 1, 5, 0.2 and 1 / sqrt(fan_in).

    Raises ConfigError for a fan-in below 1.
    """
    if isinstance(fan_in, bool) or not isinstance(fan_in, int) or not 1 <= fan_in <= 100_000:
        raise ConfigError(f"fan-in got {fan_in!r}; expected a whole number from 1 to 100,000")
    random = np.random.default_rng(seed)
    product = random.standard_normal((examples, fan_in)) @ random.standard_normal((fan_in, units))
    scales = {"w": 1.0, "5 w": 5.0, "0.2 w": 0.2, "w / sqrt(fan-in)": 1.0 / sqrt(fan_in)}
    return [
        SpreadRow(name, scale, float((scale * product).std()), scale * sqrt(fan_in), scale * product)
        for name, scale in scales.items()
    ]


def _sampled(activation: str, gain: float, seed: int) -> float:
    """Std of the pre-activations of the last of DEPTH layers of a random net."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((WIDTH, WIDTH))  # pre-activations of the first layer
    for _ in range(DEPTH):
        x = activate(activation, x) @ (random.standard_normal((WIDTH, WIDTH)) * gain / sqrt(WIDTH))
    return float(x.std())
