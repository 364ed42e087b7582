"""The one table of activations. Whatever depends on an activation reads it here.

An activation that the language model can train with is one row here with its two formulas, and one kernel in
`native/activations.hpp`. A row without formulas is known to the health check only.

numpy is imported when a formula is first computed, not before: the command line prints the names without it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf, nan, sqrt
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    import numpy as np
else:

    class _Numpy:
        """numpy, imported by the first use of one of its functions."""

        def __getattr__(self, name: str) -> Any:
            return getattr(importlib.import_module("numpy"), name)

    np = _Numpy()

Array: TypeAlias = Any  # of numpy, float32 or float64; what comes out has the type and shape of what went in

TANH_SATURATED: Final = 0.97  # makemore part 3: "saturated" is abs(h) > 0.97, where the slope is below 0.06
TANH_DEAD: Final = 0.99  # makemore part 3: white columns of the map are abs(h) > 0.99, slope below 0.02
SELU_ALPHA: Final = 1.6732632423543772  # Klambauer et al. 2017, "Self-Normalizing Neural Networks"
SELU_SCALE: Final = 1.0507009873554805
SELU_FLOOR: Final = -SELU_SCALE * SELU_ALPHA
LEAKY_SLOPE: Final = 0.01  # of leaky ReLU below zero, torch's default
GELU_INNER: Final = sqrt(2.0 / 3.141592653589793)  # Hendrycks & Gimpel 2016, tanh form
GELU_CUBIC: Final = 0.044715
MISH_LINEAR: Final = 20.0  # from here on mish(x) is x to the last digit of a double


@dataclass(frozen=True)
class Zone:
    """A set of output values: low <= v <= high if `inside`, else v <= low or v >= high. NaN and infinities are in no zone."""

    low: float
    high: float
    inside: bool = False


@dataclass(frozen=True)
class Activation:
    """One row of the table.

    torch: name of the class in torch.nn. arguments: what that class is given for these formulas and zones to hold.
    operation: autograd's name of the function, "" where a call of it cannot be told from other operations.
    gain: factor on 1/sqrt(fan_in) that keeps the spread of what goes into the activations from layer to layer; NaN where
        none is known. derivation: where it comes from.
    saturated: outputs at which the slope is so small that hardly any gradient passes; None if the activation has no
        bounded side that trained networks are judged by.
    dead: outputs at which the unit passes no gradient worth the name; a unit is dead on a batch when all its outputs
        there lie in this zone. None if that cannot happen.
    rectifier: whether it passes about half of what comes in, and so shrinks it by sqrt(2) even where weights keep the scale.
    formula: y = f(x). slope: f'(x), given x and y, of which the simpler one is used. None: not for the language model.
    """

    torch: str
    arguments: Mapping[str, float | str] = field(default_factory=dict)
    operation: str = ""
    gain: float = nan
    derivation: str = ""
    saturated: Zone | None = None
    dead: Zone | None = None
    rectifier: bool = False
    formula: Callable[[Array], Array] | None = None
    slope: Callable[[Array, Array], Array] | None = None


def _gelu_tanh(x: Array) -> Array:
    return np.tanh(GELU_INNER * (x + GELU_CUBIC * x * x * x))


def _gelu_slope(x: Array, _: Array) -> Array:
    t = _gelu_tanh(x)
    return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * GELU_INNER * (1.0 + 3.0 * GELU_CUBIC * x * x)


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * x))  # the same function as 1 / (1 + exp(-x)), without its overflow


def _silu_slope(x: Array, _: Array) -> Array:
    s = _sigmoid(x)
    return s * (1.0 + x * (1.0 - s))


def _elu(x: Array) -> Array:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def _selu(x: Array) -> Array:
    return SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0)))


def _mish_parts(x: Array) -> tuple[Array, Array]:
    """e^x and n = e^x (e^x + 2), of which tanh(softplus(x)) = n / (n + 2)."""
    e = np.exp(np.minimum(x, MISH_LINEAR))
    return e, e * (e + 2.0)


def _mish(x: Array) -> Array:
    _, n = _mish_parts(x)
    return x * (n / (n + 2.0))


def _mish_slope(x: Array, _: Array) -> Array:
    e, n = _mish_parts(x)
    inner = np.minimum(x, MISH_LINEAR) * 4.0 * e * (e + 1.0) / (n + 2.0) ** 2
    return np.where(x > MISH_LINEAR, x.dtype.type(1.0), n / (n + 2.0) + inner)


_TANH_SATURATED, _TANH_DEAD = Zone(-TANH_SATURATED, TANH_SATURATED), Zone(-TANH_DEAD, TANH_DEAD)
_MEAN_SQUARE = "1 / sqrt(E[f(z)^2])"

ACTIVATIONS: Final[dict[str, Activation]] = {
    "identity": Activation(
        "Identity", gain=1.0, derivation="nothing is lost", formula=lambda x: x, slope=lambda x, _: np.ones_like(x)
    ),
    # sigmoid(x) = (1 + tanh(x/2)) / 2, so its zones are those of tanh moved to [0, 1].
    "sigmoid": Activation(
        "Sigmoid",
        operation="Sigmoid",
        gain=1.0,
        derivation="by convention; its outputs are all positive, and it wants batch norm rather than a gain",
        saturated=Zone((1 - TANH_SATURATED) / 2, (1 + TANH_SATURATED) / 2),
        dead=Zone((1 - TANH_DEAD) / 2, (1 + TANH_DEAD) / 2),
        formula=_sigmoid,
        slope=lambda _, y: y * (1.0 - y),
    ),
    "tanh": Activation(
        "Tanh",
        operation="Tanh",
        gain=5 / 3,
        derivation="by convention, found by trial; a little more than 1 / sqrt(E[tanh(z)^2]), against its shrinking when deep",
        saturated=_TANH_SATURATED,
        dead=_TANH_DEAD,
        formula=lambda x: np.tanh(x),  # noqa: PLW0108  numpy is not imported yet where this is read
        slope=lambda _, y: 1.0 - y * y,
    ),
    "softsign": Activation(
        "Softsign",
        gain=2.3375334,
        derivation=_MEAN_SQUARE,
        saturated=_TANH_SATURATED,
        dead=_TANH_DEAD,
        formula=lambda x: x / (1.0 + np.abs(x)),
        slope=lambda _, y: (1.0 - np.abs(y)) ** 2,
    ),
    "hardtanh": Activation(
        "Hardtanh", {"min_val": -1.0, "max_val": 1.0}, "Hardtanh", saturated=Zone(-1.0, 1.0), dead=Zone(-1.0, 1.0)
    ),
    "hardsigmoid": Activation("Hardsigmoid", operation="Hardsigmoid", saturated=Zone(0.0, 1.0), dead=Zone(0.0, 1.0)),
    # Half of a healthy ReLU layer is zero: only units that are zero for every example are a fault (Lu et al. 2019).
    "relu": Activation(
        "ReLU",
        operation="Relu",
        gain=sqrt(2.0),
        derivation="sqrt(2): the half below zero is cut off, and with it half of the mean square",
        dead=Zone(-inf, 0.0, inside=True),
        rectifier=True,
        formula=lambda x: np.maximum(x, 0),
        slope=lambda x, _: (x > 0).astype(x.dtype),
    ),
    "relu6": Activation("ReLU6", dead=Zone(0.0, 6.0), rectifier=True),
    "hardswish": Activation("Hardswish", operation="Hardswish", dead=Zone(0.0, 0.0, inside=True), rectifier=True),
    # Never quite flat: a leaky unit always passes its slope.
    "leaky-relu": Activation(
        "LeakyReLU",
        {"negative_slope": LEAKY_SLOPE},
        "LeakyRelu",
        gain=sqrt(2.0 / (1.0 + LEAKY_SLOPE**2)),
        derivation="sqrt(2 / (1 + a^2)): the half below zero is left with a^2 of its mean square",
        rectifier=True,
        formula=lambda x: np.where(x > 0, x, LEAKY_SLOPE * x),
        slope=lambda x, _: np.where(x > 0, x.dtype.type(1.0), x.dtype.type(LEAKY_SLOPE)),
    ),
    "prelu": Activation("PReLU", operation="PreluKernel", gain=sqrt(2.0 / (1.0 + 0.25**2)), rectifier=True),
    # Smooth cousins of ReLU reach 0 from below: outputs this close to 0 for a whole batch come from inputs far below
    # zero (gelu: x < -3.2, slope above -0.008; silu and mish: x < -7, slope above -0.006).
    "gelu": Activation(
        "GELU",
        {"approximate": "tanh"},
        "Gelu",
        gain=1.5335304,  # of the exact form; the tanh form that is computed here differs in the fifth digit
        derivation=_MEAN_SQUARE,
        dead=Zone(-2e-3, 0.0, inside=True),
        rectifier=True,
        formula=lambda x: 0.5 * x * (1.0 + _gelu_tanh(x)),
        slope=_gelu_slope,
    ),
    "silu": Activation(
        "SiLU",
        operation="Silu",
        gain=1.6765325,
        derivation=_MEAN_SQUARE,
        dead=Zone(-6e-3, 0.0, inside=True),
        rectifier=True,
        formula=lambda x: x * _sigmoid(x),
        slope=_silu_slope,
    ),
    "mish": Activation(
        "Mish",
        operation="Mish",
        gain=1.4868476,
        derivation=_MEAN_SQUARE,
        dead=Zone(-6e-3, 0.0, inside=True),
        rectifier=True,
        formula=_mish,
        slope=_mish_slope,
    ),
    # softplus has slope 1 - exp(-output).
    "softplus": Activation("Softplus", {"beta": 1.0}, "Softplus", dead=Zone(0.0, 5e-3, inside=True)),
    # Their floor: the slope left there is 1 + v / floor times the one at 0-.
    "elu": Activation(
        "ELU",
        {"alpha": 1.0},
        "Elu",
        gain=1.2451983,
        derivation=_MEAN_SQUARE,
        saturated=Zone(-TANH_SATURATED, inf),
        dead=Zone(-TANH_DEAD, inf),
        formula=_elu,
        slope=lambda x, y: np.where(x > 0, x.dtype.type(1.0), y + x.dtype.type(1.0)),
    ),
    "celu": Activation("CELU", {"alpha": 1.0}, saturated=Zone(-TANH_SATURATED, inf), dead=Zone(-TANH_DEAD, inf)),
    "selu": Activation(
        "SELU",
        gain=3 / 4,
        derivation="3/4, by convention; a gain of 1 is what it normalises itself with",
        saturated=Zone(SELU_FLOOR * TANH_SATURATED, inf),
        dead=Zone(SELU_FLOOR * TANH_DEAD, inf),
        formula=_selu,
        slope=lambda x, y: np.where(x > 0, x.dtype.type(SELU_SCALE), y + x.dtype.type(SELU_SCALE * SELU_ALPHA)),
    ),
}
"""By name. `ModuleInfo.activation` holds such a name, or "" for "not applicable" (softmax, for one, is judged by no zone).
Gains of identity, sigmoid, tanh, ReLU, leaky ReLU and SELU are those of `torch.nn.init.calculate_gain`. It has none for the
others; 1 / sqrt(E[f(z)^2]) for z of N(0, 1) is the rule ReLU's sqrt(2) comes from (He et al. 2015)."""

TRAINABLE: Final = tuple(name for name, row in ACTIVATIONS.items() if row.formula is not None)
"""Names of those that the language model can train with."""


def activate(name: str, x: Array) -> Array:
    """The activation of x, of the same shape."""
    formula = ACTIVATIONS[name].formula
    assert formula is not None, name  # noqa: S101  a configuration only holds names of TRAINABLE
    return formula(x)


def slope(name: str, x: Array, y: Array) -> Array:
    """The derivative at x, where y is the activation of x."""
    formula = ACTIVATIONS[name].slope
    assert formula is not None, name  # noqa: S101
    return formula(x, y)


def any_of(names: tuple[str, ...]) -> str:
    """Names as a sentence lists them: "tanh, relu or gelu"."""
    return f"{', '.join(names[:-1])} or {names[-1]}"
