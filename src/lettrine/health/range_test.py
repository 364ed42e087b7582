"""Learning-rate range test: raise the rate step by step, and see where the loss falls fastest and where it explodes.

Smith 2017, "Cyclical learning rates for training neural networks". It needs only a function that takes a step at a given rate and
returns its loss. `health.lr_range` has one for a torch module, `lettrine lr-range` for lettrine's own engines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, exp, inf, isfinite, log10, nan, sqrt
from typing import Any, Final, NamedTuple

import numpy as np

from lettrine.arguments import checked
from lettrine.errors import HealthError
from lettrine.health.trace import Floats

LOW: Final = 1e-5
HIGH: Final = 10.0
STEPS: Final = 600
LEAST_STEPS: Final = 20
MOST_STEPS: Final = 1_000_000
LEAST_PER_DECADE: Final = 5

MEMORY: Final = 0.15  # decades of rates over which the loss is smoothed
WINDOW: Final = 0.5  # decades over which a level is fitted: narrower ones chase the noise of single batches
WIDTH: Final = 0.3  # decades, of the step that is fitted to the fall; choosing it anew for each curve doubled the seeds' spread
MIDDLES: Final = 200  # places tried for it
FALL_NOISE: Final = 5.0  # standard errors that the loss must fall by before a fall is believed, and
FALL_SHARE: Final = 0.02  # of its starting value
RISE_SHARE: Final = 0.25  # share of the fall that is lost again; from there on a rate is not stable
DIVERGED: Final = 0.5  # of the starting loss above it: the sweep stops


@dataclass(frozen=True)
class RangeTest:
    """The curve of a sweep and what can be read from it.

    rates, losses, smooth: (S,), in order; losses[i] was seen just before the step at rates[i]. smooth: exponential mean with
    bias correction. steepest: rate at which the loss falls fastest over log(rate). largest: highest rate before the loss rises
    again. suggestion: half-way between the two on the logarithmic axis, or `steepest` where the loss never rose.
    `steepest` alone is too careful, since every step of the sweep learns; `largest` is the edge (benchmarks/bench_lr_range.py).
    All are NaN where there is none; reason says in one sentence what was found, or why nothing was. stopped: "" if the whole
    range was swept, else "diverged" or "not finite".
    """

    rates: Floats
    losses: Floats
    smooth: Floats
    steepest: float
    largest: float
    suggestion: float
    reason: str
    stopped: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN where there is no answer."""
        curve = {"rates": self.rates.tolist(), "losses": self.losses.tolist(), "smooth": self.smooth.tolist()}
        return {
            "suggestion": self.suggestion,
            "steepest": self.steepest,
            "largest": self.largest,
            "reason": self.reason,
            "stopped": self.stopped,
            **curve,
        }

    def __repr__(self) -> str:
        return f"RangeTest({len(self.rates)} rates from {self.rates[0]:.1e} to {self.rates[-1]:.1e}: {self.reason})"


def rates_of(low: float, high: float, steps: int) -> Floats:
    """Rates spaced evenly on a logarithmic axis, (S,).

    Raises HealthError for a range that is empty or not positive, or for too few steps to see anything in it.
    """
    if not (0.0 < low < high < inf):
        raise HealthError(f"learning-rate range got {low:g} to {high:g}; expected two rates above 0, the lower one first")
    least = max(LEAST_STEPS, ceil(LEAST_PER_DECADE * log10(high / low)))
    if not least <= steps <= MOST_STEPS:
        raise HealthError(f"steps got {steps}; expected {least} to {MOST_STEPS:,} to see anything between {low:g} and {high:g}")
    return np.geomspace(low, high, steps)


@checked
def sweep(step: Callable[[float], float], *, low: float = LOW, high: float = HIGH, steps: int = STEPS) -> RangeTest:
    """Take `steps` steps at rates that grow exponentially from `low` to `high`, and read the curve of their losses.

    step: takes one optimiser step at the given rate and returns the loss of its batch. It is called until the loss is not
    finite, or its smoothed value lies half above where it began.
    Raises HealthError for a range or number of steps that makes no sense, and if the very first loss is not finite.
    """
    rates = rates_of(low, high, steps)
    smoother, losses, smooth, stopped = Smoother(steps / log10(high / low)), [], [], ""
    lowest = inf
    for rate in rates.tolist():
        loss = float(step(rate))
        if not isfinite(loss):
            stopped = "not finite"
            break
        losses.append(loss)
        smooth.append(smoother.add(loss))
        lowest = min(lowest, smooth[-1])
        begun = float(np.mean(losses[: max(5, len(rates) // 20)]))
        if len(losses) > len(rates) // 20 and smooth[-1] > begun + max(DIVERGED * abs(begun), begun - lowest):
            stopped = "diverged"
            break
    if not losses:
        raise HealthError(
            "the first loss of the sweep is not finite; the weights or the data are broken before any step is taken"
        )
    return read_curve(rates[: len(losses)], np.array(losses), np.array(smooth), stopped)


class Smoother:
    """Exponential mean whose start is not pulled towards 0: divided by 1 - beta**n (Kingma & Ba 2015), over MEMORY decades."""

    def __init__(self, steps_per_decade: float) -> None:
        self._keep = exp(-1.0 / max(1.0, MEMORY * steps_per_decade))
        self._sum, self._weight = 0.0, 0.0

    def add(self, value: float) -> float:
        """The mean with one more value."""
        self._sum = self._keep * self._sum + (1.0 - self._keep) * value
        self._weight = self._keep * self._weight + (1.0 - self._keep)
        return self._sum / self._weight


def read_curve(rates: Floats, losses: Floats, smooth: Floats, stopped: str = "") -> RangeTest:
    """What a curve of losses over rates says: where it falls fastest, where it breaks, or that it does neither."""
    x = np.log10(rates)
    level = local_levels(x, losses)
    lowest = int(np.argmin(level))
    until = max(lowest + 1, min(LEAST_STEPS, len(x)))
    step = falling_step(x[:until], losses[:until])
    believed = max(FALL_NOISE * step.error, FALL_SHARE * abs(step.start))
    if not step.fall >= believed:
        above = np.flatnonzero(level > float(level[: max(1, len(level) // 4)].mean()) + believed)
        largest = float(rates[int(above[0]) - 1]) if len(above) and above[0] > 0 else nan
        where = f"; it rises from about {largest:.2g} on" if isfinite(largest) else ""
        reason = (
            f"No suggestion: between {rates[0]:.1g} and {rates[-1]:.1g} the loss falls by {max(step.fall, 0.0):.3f}, "
            f"no more than batches differ by{where}."
        )
        return RangeTest(rates, losses, smooth, nan, largest, nan, reason, stopped)
    # The last rate with a loss near the lowest: a loss that rises for a moment and falls again was a rough batch, not the edge.
    last = int(np.flatnonzero(level <= level[lowest] + RISE_SHARE * step.fall)[-1])
    largest = float(rates[last]) if last < len(rates) - 1 or stopped else nan
    steepest = 10.0**step.middle
    suggestion = sqrt(steepest * largest) if largest > steepest else steepest
    if isfinite(largest):
        reason = (
            f"The loss falls fastest near a rate of {steepest:.2g} and rises again beyond {largest:.2g}; "
            f"{suggestion:.2g} lies half-way between."
        )
    else:
        reason = f"The loss falls fastest near a rate of {steepest:.2g}, and had not risen again at {rates[-1]:.2g}."
    return RangeTest(rates, losses, smooth, steepest, largest, suggestion, reason, stopped)


class Step(NamedTuple):
    """A smooth step down. start: level before; fall: how far it goes down within what was seen; middle: where it is steepest;
    error: standard error of the fall.
    """

    start: float
    fall: float
    middle: float
    error: float


def falling_step(x: Floats, y: Floats) -> Step:
    """The step start - fall / (1 + exp(-(x - middle) / WIDTH)) nearest to the points, by least squares.

    It is steepest at its middle. All points together decide where that is; a slope taken between neighbours, however smoothed,
    lands a decade off now and then when batches are small. A fall longer than the step has its middle where the step's is.
    """
    middles = np.linspace(x[0], x[-1], MIDDLES)
    shape = 1.0 / (1.0 + np.exp(-(x[None, :] - middles[:, None]) / WIDTH))  # (M, S), from 0 up to 1
    centred = shape - shape.mean(axis=1, keepdims=True)
    spread = (centred**2).sum(axis=1)
    with np.errstate(all="ignore"):
        slope = centred @ (y - y.mean()) / spread  # (M,), negative where it falls
        left = ((y - y.mean()) ** 2).sum() - slope**2 * spread
    left = np.where((slope < 0) & (spread > 0), left, inf)
    best = int(np.argmin(left))
    if not isfinite(left[best]):
        return Step(float(y.mean()), 0.0, float(x[0]), 0.0)
    seen = float(shape[best, -1] - shape[best, 0])
    error = sqrt(max(float(left[best]), 0.0) / max(len(x) - 4, 1) / float(spread[best]))
    start = float(y.mean() + slope[best] * (shape[best, 0] - shape[best].mean()))
    return Step(start, float(-slope[best]) * seen, float(middles[best]), error * seen)


def local_levels(x: Floats, y: Floats) -> Floats:
    """The level at each x of a straight line fitted around it by least squares, over WINDOW on the axis, (S,)."""
    level = np.empty_like(y)
    for i, middle in enumerate(x):
        near = np.abs(x - middle) <= WINDOW / 2
        a, b = x[near], y[near]
        spread = float(((a - a.mean()) ** 2).sum())
        slope = float(((a - a.mean()) * (b - b.mean())).sum()) / spread if spread > 0 else 0.0
        level[i] = b.mean() + slope * (middle - a.mean())
    return level
