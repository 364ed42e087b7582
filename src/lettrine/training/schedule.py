"""Learning rate of every step, worked out before training begins."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from lettrine.engine.base import Doubles
from lettrine.errors import ConfigError

SCHEDULES: Final = ("constant", "step", "cosine", "one-cycle")

# One-cycle as in Smith & Topin 2018, "Super-Convergence", with the proportions torch's OneCycleLR takes by default.
WARM_UP: Final = 0.3
START_DIVISOR: Final = 25.0
END_DIVISOR: Final = 1e4


def learning_rates(schedule: str, peak: float, steps: int) -> Doubles:
    """The learning rate of each of `steps` steps, (S,).

    constant: peak throughout. step: a tenth of it in the second half, as in the published runs. cosine: half a cosine
    from peak to 0 (Loshchilov & Hutter 2017). one-cycle: from peak / 25 up to peak over the first 30 %, then down to almost 0.

    Raises ConfigError for an unknown schedule, a peak below 0 or not finite, or no steps.
    """
    if schedule not in SCHEDULES:
        raise ConfigError(f"schedule got {schedule!r}; expected one of {', '.join(SCHEDULES)}")
    if not 0.0 <= peak < math.inf:
        raise ConfigError(f"learning rate got {peak}; expected 0 or more")
    if steps < 1:
        raise ConfigError(f"steps got {steps}; expected at least 1")
    step = np.arange(steps, dtype=np.float64)
    if schedule == "constant":
        return np.full(steps, peak)
    if schedule == "step":
        return np.where(step < steps // 2, peak, peak / 10.0)
    if schedule == "cosine":
        return _cosine(peak, 0.0, step / steps)
    start, end, top = peak / START_DIVISOR, peak / START_DIVISOR / END_DIVISOR, WARM_UP * steps - 1.0
    up = _cosine(start, peak, step / top) if top > 0 else np.full(steps, peak)
    down = _cosine(peak, end, (step - top) / max(steps - 1.0 - top, 1.0))
    return np.where(step <= top, up, down)


def _cosine(start: float, end: float, share: Doubles) -> Doubles:
    """From start to end along half a cosine, share running from 0 to 1."""
    result: Doubles = end + (start - end) * 0.5 * (1.0 + np.cos(np.pi * share))
    return result
