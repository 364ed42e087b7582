"""What counts as saturated, dead, too large or too small: every threshold of the health check, with its source.

Two tables of knowledge. `ACTIVATIONS` says, for each kind of activation, which outputs are saturated and
which are dead; an activation without an entry is never judged by its values. The named constants below
are the limits of the checks; the sentences a user reads are formatted from them, so text and code
cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import Final


@dataclass(frozen=True)
class Zone:
    """A set of output values: low <= v <= high if `inside`, else v <= low or v >= high. NaN and infinities are in no zone."""

    low: float
    high: float
    inside: bool = False


@dataclass(frozen=True)
class Activation:
    """What the outputs of one kind of activation tell.

    saturated: outputs at which the slope is so small that hardly any gradient passes; None if the activation has no
        bounded side that trained networks are judged by.
    dead: outputs at which the unit passes no gradient worth the name; a unit is dead on a batch when all its outputs
        there lie in this zone. None if that cannot happen.
    gain: factor on 1/sqrt(fan_in) that keeps the spread of the outputs from layer to layer; NaN where none is published.
    """

    saturated: Zone | None = None
    dead: Zone | None = None
    gain: float = float("nan")


TANH_SATURATED: Final = 0.97  # makemore part 3: "saturated" is abs(h) > 0.97, where the slope is below 0.06
TANH_DEAD: Final = 0.99  # makemore part 3: white columns of the map are abs(h) > 0.99, slope below 0.02
SELU_FLOOR: Final = -1.0507009873554805 * 1.6732632423543772  # Klambauer et al. 2017: -lambda * alpha

LEAKY_RELU_SLOPE: Final = 0.01  # torch's default; the gain is sqrt(2 / (1 + slope**2)), He et al. 2015

ACTIVATIONS: Final[dict[str, Activation]] = {
    "identity": Activation(gain=1.0),
    "tanh": Activation(Zone(-TANH_SATURATED, TANH_SATURATED), Zone(-TANH_DEAD, TANH_DEAD), 5 / 3),
    # sigmoid(x) = (1 + tanh(x/2)) / 2, so its limits are those of tanh moved to [0, 1].
    "sigmoid": Activation(
        Zone((1 - TANH_SATURATED) / 2, (1 + TANH_SATURATED) / 2), Zone((1 - TANH_DEAD) / 2, (1 + TANH_DEAD) / 2), 1.0
    ),
    "softsign": Activation(Zone(-TANH_SATURATED, TANH_SATURATED), Zone(-TANH_DEAD, TANH_DEAD), 1.0),
    "hardtanh": Activation(Zone(-1.0, 1.0), Zone(-1.0, 1.0)),
    "hardsigmoid": Activation(Zone(0.0, 1.0), Zone(0.0, 1.0)),
    # Half of a healthy ReLU layer is zero: only units that are zero for every example are a fault (Lu et al. 2019).
    "relu": Activation(None, Zone(-inf, 0.0, inside=True), sqrt(2.0)),
    "relu6": Activation(None, Zone(0.0, 6.0)),
    "hardswish": Activation(None, Zone(0.0, 0.0, inside=True)),
    # Never quite flat: a leaky unit always passes its slope.
    "leaky-relu": Activation(None, None, sqrt(2.0 / (1.0 + LEAKY_RELU_SLOPE**2))),
    "prelu": Activation(None, None, sqrt(2.0 / (1.0 + 0.25**2))),
    # Smooth cousins of ReLU reach 0 from below: outputs this close to 0 for a whole batch come from inputs far below
    # zero (gelu: x < -3.2, slope above -0.008; silu and mish: x < -7, slope above -0.006).
    "gelu": Activation(None, Zone(-2e-3, 0.0, inside=True)),
    "silu": Activation(None, Zone(-6e-3, 0.0, inside=True)),
    "mish": Activation(None, Zone(-6e-3, 0.0, inside=True)),
    # softplus has slope 1 - exp(-output).
    "softplus": Activation(None, Zone(0.0, 5e-3, inside=True)),
    # Their floor: the slope left there is 1 + v / floor times the one at 0-.
    "elu": Activation(Zone(-TANH_SATURATED, inf), Zone(-TANH_DEAD, inf)),
    "celu": Activation(Zone(-TANH_SATURATED, inf), Zone(-TANH_DEAD, inf)),
    "selu": Activation(Zone(SELU_FLOOR * TANH_SATURATED, inf), Zone(SELU_FLOOR * TANH_DEAD, inf), 3 / 4),
}
"""By key; `ModuleInfo.activation` holds such a key, or "" for "not applicable" (softmax, for one, is judged by no zone).
Gains: identity, sigmoid, tanh, ReLU, leaky ReLU and SELU as in the table of `torch.nn.init.calculate_gain`."""
