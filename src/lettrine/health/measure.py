"""Figures of one array: what the health check measures, defined in numpy.

Pure functions of arrays, in the order of the table rows of `trace`. Sums are kept in float64 whatever the
array's type; std is the unbiased one (division by n - 1), as `torch.std` has it; values that are not finite are
left out of every other figure and counted. Missing is NaN: the std of one value, the mean of none.

An array beyond `parts.CAP` values is represented by a fixed, evenly spread part of it. Those who measure arrays in the same
memory at one step after another keep a plan (`OutputPlan`, `GradientPlan`, `ParameterPlan`), in which all that does not change
is worked out once.

The compiled twin (`lettrine._native`, used when built) computes the same figures in one pass over many arrays a call:

    moments(arrays) -> float64 (n, 8)            one row of MOMENTS for each array (float32 or float64, contiguous, any shape)
    moments_of_difference(after, before) -> (n, 8)  the same of float64(after[i]) - float64(before[i])
    zone_counts(arrays, zones) -> list of int64 (U,)  of each (R, U) array, by column, how many values lie in the zone
                                                 (low, high, inside); NaN and infinities lie in none
    histogram(arrays, lows, highs, bins) -> int64 (n, bins)  bin = trunc((v - low) * (bins / (high - low))) in float64,
                                                 kept within 0 … bins - 1; values that are not finite are not counted
"""

from __future__ import annotations

from collections.abc import Sequence
from math import nan, sqrt
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lettrine.health.limits import ACTIVATIONS, Zone
from lettrine.health.parts import Values, part, rows, snapshot_of
from lettrine.health.trace import BINS, GRADIENT_STATS, NORM_STATS, OUTPUT_STATS, PARAMETER_STATS, Floats

try:
    from lettrine import _native
except ImportError:  # the package works without its compiled part
    _native = None  # type: ignore[assignment,unused-ignore]


TAIL: Final = 5.0  # histograms reach to mean ± TAIL std, and what lies beyond is counted in their outermost bins

MOMENTS: Final = ("count", "mean", "std", "rms", "min", "max", "zeros", "nonfinite")
"""Of one array. count: how many values are finite; mean … max: of those, NaN where there are none (std: fewer than two);
zeros: how many are exactly 0; nonfinite: how many are NaN or infinite."""


_quiet: Final = np.errstate(divide="ignore", invalid="ignore", over="ignore")  # where there is no value at all, a figure is NaN


class Bins(NamedTuple):
    """A histogram: counts (G,) over equal bins from low to high; values beyond are in the outermost bins."""

    counts: NDArray[np.int64]
    low: float
    high: float


class OutputMeasure(NamedTuple):
    """One output at one step.

    row: OUTPUT_STATS. rows: how many examples (positions included) it was measured on.
    dead (U,): units dead on all of them; saturated (U,): share of each unit's values saturated; None where
    the activation table has no such zone. histogram, snapshot (examples, units; float16): None unless detail was asked for.
    """

    row: Floats
    rows: int
    dead: NDArray[np.bool_] | None = None
    saturated: Floats | None = None
    histogram: Bins | None = None
    snapshot: NDArray[np.float16] | None = None


class GradientMeasure(NamedTuple):
    """The gradient of one output at one step: GRADIENT_STATS and, if detail was asked for, its histogram."""

    row: Floats
    histogram: Bins | None = None


class OutputArrays(NamedTuple):
    """One output to measure. unit_axis: the axis of the units, -1 or 1; activation: key of `limits.ACTIVATIONS`, or ""."""

    values: Values
    unit_axis: int = -1
    activation: str = ""


class ParameterArrays(NamedTuple):
    """One parameter to measure: its values before and after the step, its gradient, all of one shape.

    after, gradient: None where there is none. size: how many values the whole parameter has, if these are a part of it
    (0: these are all). duplicate: what `duplicates` said of the whole matrix, NaN if it was not asked.
    """

    before: Values
    after: Values | None = None
    gradient: Values | None = None
    learning_rate: float = nan
    size: int = 0
    duplicate: float = nan


def output(values: Values, unit_axis: int = -1, activation: str = "", *, detail: bool = False) -> OutputMeasure:
    """Figures of one module's output; see `outputs`."""
    return outputs([OutputArrays(values, unit_axis, activation)], detail=detail)[0]


def outputs(items: Sequence[OutputArrays], *, detail: bool = False) -> list[OutputMeasure]:
    """Figures of many outputs: OUTPUT_STATS, flags of the units, and with `detail` histograms and snapshots.

    saturated = values in the activation's saturated zone / finite values; dead = units whose every value lies in the
    dead zone / units; zero = values exactly 0 / finite values; nonfinite = values not finite / values.
    """
    return OutputPlan(items).measure(detail=detail)


class OutputPlan:
    """Many outputs, measured as `outputs` does. lasting: whether new values in the same memory are measured by the same plan."""

    def __init__(self, items: Sequence[OutputArrays]) -> None:
        self._tables = [_plain(rows(item.values, item.unit_axis)) for item in items]
        self.lasting = all(table is item.values for table, item in zip(self._tables, items, strict=True))
        entries = [ACTIVATIONS.get(item.activation) for item in items]
        saturated = [(place, entry.saturated) for place, entry in enumerate(entries) if entry and entry.saturated]
        dead = [(place, entry.dead) for place, entry in enumerate(entries) if entry and entry.dead]
        self._saturated, self._dead = [place for place, _ in saturated], [place for place, _ in dead]
        self._zones = [(zone.low, zone.high, zone.inside) for _, zone in saturated + dead]
        self._zoned = [self._tables[place] for place, _ in saturated + dead]

    @_quiet
    def measure(self, *, detail: bool = False) -> list[OutputMeasure]:
        """The figures of what the memory holds now."""
        tables = self._tables
        moments = _moments_of(tables)
        count, lost = moments[:, 0], moments[:, 7]
        table = np.full((len(tables), len(OUTPUT_STATS)), nan)
        table[:, :5] = moments[:, 1:6]
        table[:, 7] = moments[:, 6] / count
        table[:, 8] = lost / (count + lost)
        shares, flags = self._units(count, table)
        if not detail:
            return [
                OutputMeasure(row, len(values), flags.get(place), shares.get(place))
                for place, (row, values) in enumerate(zip(table, tables, strict=True))
            ]
        histograms = histograms_of(tables, moments)
        maps = {place: snapshot_of(tables[place]) for place in {*shares, *flags}}
        return [
            OutputMeasure(row, len(values), flags.get(place), shares.get(place), histograms[place], maps.get(place))
            for place, (row, values) in enumerate(zip(table, tables, strict=True))
        ]

    def _units(self, count: Floats, table: Floats) -> tuple[dict[int, Floats], dict[int, NDArray[np.bool_]]]:
        """Share of each unit's values saturated and whether it is dead, by place; their totals are written into the table."""
        counts = _zone_counts(self._zoned, self._zones)
        border = len(self._saturated)
        shares: dict[int, Floats] = {}
        flags: dict[int, NDArray[np.bool_]] = {}
        for place, values, inside in zip(self._saturated, self._zoned, counts, strict=False):
            shares[place] = inside / len(values)
            table[place, 5] = np.add.reduce(inside) / count[place]
        for place, values, inside in zip(self._dead, self._zoned[border:], counts[border:], strict=True):
            dead = flags[place] = inside == len(values)
            table[place, 6] = np.count_nonzero(dead) / dead.size if count[place] else nan
        return shares, flags


def gradient(values: Values, *, detail: bool = False) -> GradientMeasure:
    """Figures of the gradient of the loss with respect to one output; see `gradients`."""
    return gradients([values], detail=detail)[0]


def gradients(arrays: Sequence[Values], *, detail: bool = False) -> list[GradientMeasure]:
    """Figures of the gradients of many outputs: GRADIENT_STATS, and with `detail` their histograms."""
    return GradientPlan(arrays).measure(detail=detail)


class GradientPlan:
    """Many gradients of outputs, measured as `gradients` does; lasting as in `OutputPlan`."""

    def __init__(self, arrays: Sequence[Values]) -> None:
        self._parts = [_plain(part(values)) for values in arrays]
        self.lasting = all(values is array for values, array in zip(self._parts, arrays, strict=True))

    @_quiet
    def measure(self, *, detail: bool = False) -> list[GradientMeasure]:
        """The figures of what the memory holds now."""
        moments = _moments_of(self._parts)
        table = np.empty((len(self._parts), len(GRADIENT_STATS)))
        table[:, :3] = moments[:, 1:4]
        table[:, 3] = moments[:, 7] / (moments[:, 0] + moments[:, 7])
        if not detail:
            return [GradientMeasure(row) for row in table]
        histograms = histograms_of(self._parts, moments)
        return [GradientMeasure(row, histogram) for row, histogram in zip(table, histograms, strict=True)]


def parameter(
    before: Values,
    after: Values | None = None,
    gradient: Values | None = None,
    learning_rate: float = nan,
    *,
    size: int = 0,
    duplicate: float = nan,
) -> Floats:
    """Figures of one parameter at one step, a row of PARAMETER_STATS; see `parameters`."""
    table = parameters([ParameterArrays(before, after, gradient, learning_rate, size, duplicate)])
    return table.reshape(-1)


def parameters(items: Sequence[ParameterArrays]) -> Floats:
    """Figures of many parameters at one step, (P, len(PARAMETER_STATS)).

    mean, std, rms: of the values before the step.
    gradient_data = std(gradient) / std(before); update_data = std(after - before) / std(before), the ratio of makemore
        part 3, from the real step and therefore right for any optimiser. NaN for a single value or constant weights: no answer.
    gradient_norm = rms(gradient) * sqrt(size), the Euclidean norm. update_rms = rms(after - before).
    nonfinite: share of values not finite after the step (before it, where there is no after).
    """
    return ParameterPlan(items).measure([item.learning_rate for item in items], [item.duplicate for item in items])


class ParameterPlan:
    """Many parameters, measured as `parameters` does; lasting as in `OutputPlan`."""

    def __init__(self, items: Sequence[ParameterArrays]) -> None:
        self._before = [_plain(part(item.before)) for item in items]
        self._slopes = [(place, _plain(part(item.gradient))) for place, item in enumerate(items) if item.gradient is not None]
        self._after = [(place, _plain(part(item.after))) for place, item in enumerate(items) if item.after is not None]
        self._roots = np.sqrt(np.array([item.size or item.before.size for item in items], dtype=np.float64))
        self._looked_at = np.array([max(values.size, 1) for values in self._before], dtype=np.float64)
        self.lasting = (
            all(values is item.before for values, item in zip(self._before, items, strict=True))
            and all(values is items[place].gradient for place, values in self._slopes)
            and all(values is items[place].after for place, values in self._after)
        )

    @_quiet
    def measure(self, learning_rates: Sequence[float], duplicate: Sequence[float] | float = nan) -> Floats:
        """The figures of what the memory holds now."""
        data = _moments_of(self._before)
        slopes = _scattered(len(data), self._slopes)
        moved = _scattered(len(data), self._after, self._before)
        table = np.empty((len(data), len(PARAMETER_STATS)))
        spread = np.where(data[:, 2] > 0.0, data[:, 2], nan)
        table[:, 0:3] = data[:, 1:4]
        table[:, 3:5] = slopes[:, 1:3]
        table[:, 5] = slopes[:, 3] * self._roots
        table[:, 6] = slopes[:, 2] / spread
        table[:, 7] = moved[:, 2] / spread
        table[:, 8] = moved[:, 3]
        table[:, 9] = duplicate
        table[:, 10] = np.where(np.isnan(moved[:, 7]), data[:, 7], moved[:, 7]) / self._looked_at
        table[:, 11] = slopes[:, 7] / (slopes[:, 0] + slopes[:, 7])
        table[:, 12] = learning_rates
        return table


def _scattered(count: int, arrays: Sequence[tuple[int, Values]], minus: Sequence[Values] | None = None) -> Floats:
    """MOMENTS of the arrays at their places, NaN at the others."""
    if len(arrays) == count:
        return _moments_of([values for _, values in arrays], minus)
    table = np.full((count, len(MOMENTS)), nan)
    if arrays:
        places = [place for place, _ in arrays]
        table[places] = _moments_of(
            [values for _, values in arrays], None if minus is None else [minus[place] for place in places]
        )
    return table


def norm(running_mean: Values, running_var: Values, batch_mean: Values, batch_var: Values, eps: float = 1e-5) -> Floats:
    """How far a batch norm's running statistics are from one batch's, a row of NORM_STATS; arrays (C,).

    mean_gap = sqrt(mean over channels of (running_mean - batch_mean)^2 / (batch_var + eps))
    variance_ratio = exp(mean over channels of log((running_var + eps) / (batch_var + eps)))
    Channels with a value that is not finite are left out; none left gives NaN.
    """
    arrays = [np.asarray(array, dtype=np.float64).ravel() for array in (running_mean, running_var, batch_mean, batch_var)]
    kept = np.isfinite(arrays).all(axis=0) & (arrays[1] >= 0.0) & (arrays[3] >= 0.0)
    if not kept.any():
        return np.full(len(NORM_STATS), nan)
    mean, var, seen_mean, seen_var = (array[kept] for array in arrays)
    gap = sqrt(float(np.mean((mean - seen_mean) ** 2 / (seen_var + eps))))
    ratio = float(np.exp(np.mean(np.log((var + eps) / (seen_var + eps)))))
    return np.array((gap, ratio))


def moments_of(arrays: Sequence[Values], minus: Sequence[Values] | None = None) -> Floats:
    """MOMENTS of each array, (n, 8); with `minus`, of float64(array) - float64(minus)."""
    plain = [_plain(array) for array in arrays]
    return _moments_of(plain, None if minus is None else [_plain(array) for array in minus])


def _moments_of(arrays: Sequence[Values], minus: Sequence[Values] | None = None) -> Floats:
    """The same of arrays that are contiguous float32 or float64."""
    if _native is not None:
        return _native.moments(arrays) if minus is None else _native.moments_of_difference(arrays, minus)
    if minus is None:
        table = [_moments(array.astype(np.float64).ravel()) for array in arrays]
    else:
        table = [_moments((a.astype(np.float64) - b).ravel()) for a, b in zip(arrays, minus, strict=True)]
    return np.array(table, dtype=np.float64).reshape(len(arrays), len(MOMENTS))


def histograms_of(arrays: Sequence[Values], moments: Floats) -> list[Bins | None]:
    """Histogram of the finite values of each array, from max(min, mean - TAIL std) to min(max, mean + TAIL std).

    moments: those of the arrays. None for an array without a finite value. Where all values are equal the range is half a unit
    to either side.
    """
    ranges = [_range(*row) for row in moments[:, [1, 2, 4, 5]].tolist()]
    there = [place for place, limits in enumerate(ranges) if limits is not None]
    found: list[Bins | None] = [None] * len(arrays)
    if not there:
        return found
    lows, highs = zip(*(limits for limits in ranges if limits is not None), strict=True)
    if _native is not None:
        counts = np.asarray(_native.histogram([_plain(arrays[place]) for place in there], list(lows), list(highs), BINS))
    else:
        counts = np.array([_histogram(arrays[place], *pair) for place, *pair in zip(there, lows, highs, strict=True)])
    for place, row, low, high in zip(there, counts, lows, highs, strict=True):
        found[place] = Bins(row, low, high)
    return found


_WIDEST: Final = 1e300  # a range wider than twice this has no width that a float can hold


def _range(mean: float, std: float, low: float, high: float) -> tuple[float, float] | None:
    """Ends of a histogram; None if there is nothing to count."""
    if not low <= high:
        return None
    if std > 0.0:
        low, high = max(low, mean - TAIL * std), min(high, mean + TAIL * std)
    low, high = min(max(low, -_WIDEST), _WIDEST), max(min(high, _WIDEST), -_WIDEST)
    # Written so that a range too narrow for its magnitude (or for 1 / width) also falls here.
    if not (high - low) > 1e-12 * max(abs(low), abs(high), 1e-280):
        half = max(0.5, 1e-6 * abs(low))  # half a unit is nothing beside values of 1e17
        low, high = low - half, high + half
    return low, high


def _histogram(values: Values, low: float, high: float) -> NDArray[np.int64]:
    flat = values.astype(np.float64).ravel()
    if not np.isfinite(flat).all():
        flat = flat[np.isfinite(flat)]
    places = np.clip((flat - low) * (BINS / (high - low)), 0, BINS - 1).astype(np.int64)
    return np.bincount(places, minlength=BINS)


def _moments(flat: Floats) -> tuple[float, ...]:
    """MOMENTS of one float64 vector, which is overwritten."""
    size, lost = flat.size, 0
    total = float(flat.sum())
    if not np.isfinite(total):  # a value is not finite, or the sum of float64 values overflowed
        flat = flat[np.isfinite(flat)]
        lost = size - flat.size
        total = float(flat.sum()) if lost else total
    count = flat.size
    if count == 0:
        return (0.0, nan, nan, nan, nan, nan, 0.0, float(lost))
    mean = total / count
    low, high, zeros = float(flat.min()), float(flat.max()), count - int(np.count_nonzero(flat))
    flat -= mean
    deviation = float(flat @ flat)
    std = sqrt(deviation / (count - 1)) if count > 1 else nan
    return (float(count), mean, std, sqrt(mean * mean + deviation / count), low, high, float(zeros), float(lost))


def _zone_counts(tables: Sequence[Values], zones: Sequence[tuple[float, float, bool]]) -> Sequence[NDArray[np.int64]]:
    """By unit, how many values of each (R, U) table lie in its zone."""
    if not tables:
        return []
    if _native is not None:
        return _native.zone_counts(tables, zones)
    return [np.count_nonzero(_within(table, Zone(*zone)), axis=0) for table, zone in zip(tables, zones, strict=True)]


def _within(table: Values, zone: Zone) -> NDArray[np.bool_]:
    # Zones are float64 numbers: comparing in the table's own type would round the limit.
    low, high = np.float64(zone.low), np.float64(zone.high)
    inside: NDArray[np.bool_] = (table >= low) & (table <= high) if zone.inside else (table <= low) | (table >= high)
    return inside & np.isfinite(table) if not np.isfinite((zone.low, zone.high)).all() or not zone.inside else inside


def _plain(array: Values) -> Values:
    """Contiguous float32 or float64, as the compiled functions want it."""
    if array.dtype.char not in "fd":
        array = array.astype(np.float32)
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)
