"""Figures of one array: what the health check measures, defined in numpy.

Pure functions of arrays, in the order of the table rows of `trace`. Sums are kept in float64 whatever the
array's type; std is the unbiased one (division by n - 1), as `torch.std` has it; values that are not finite are
left out of every other figure and counted. Missing is NaN: the std of one value, the mean of none.

An array beyond `CAP` values is represented by a fixed, evenly spread part of it, so that one sampled step has a
bounded cost: `rows` picks whole examples of an output, `stride` picks weights of a parameter.

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
from functools import lru_cache
from math import ceil, gcd, nan, sqrt
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lettrine.health.limits import ACTIVATIONS, Zone
from lettrine.health.trace import BINS, GRADIENT_STATS, NORM_STATS, OUTPUT_STATS, PARAMETER_STATS, Floats

try:
    from lettrine import _native
except ImportError:  # the package works without its compiled part
    _native = None  # type: ignore[assignment,unused-ignore]

Values: TypeAlias = NDArray[np.floating[Any]]

CAP: Final = 16_384  # values looked at in one array: the std of so many is known to 0.6 %
MIN_ROWS: Final = 64  # examples kept however wide the layer: fewer would call a unit dead that was only quiet
MAP_ROWS: Final = 64  # examples of a saturation map
MAP_UNITS: Final = 256  # units of a saturation map
TAIL: Final = 5.0  # histograms reach to mean ± TAIL std, and what lies beyond is counted in their outermost bins
SAME: Final = 1e-5  # units whose weights differ by less, relative to the matrix's rms, count as identical

MOMENTS: Final = ("count", "mean", "std", "rms", "min", "max", "zeros", "nonfinite")
"""Of one array. count: how many values are finite; mean … max: of those, NaN where there are none (std: fewer than two);
zeros: how many are exactly 0; nonfinite: how many are NaN or infinite."""


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
    tables = [rows(item.values, item.unit_axis) for item in items]
    moments = moments_of(tables)
    count = moments[:, 0]
    table = np.full((len(items), len(OUTPUT_STATS)), nan)
    table[:, :5] = moments[:, 1:6]
    with np.errstate(divide="ignore", invalid="ignore"):  # no value at all: NaN
        table[:, 7] = moments[:, 6] / count
        table[:, 8] = moments[:, 7] / (count + moments[:, 7])
    entries = [ACTIVATIONS.get(item.activation) for item in items]
    zones = [entry.saturated if entry else None for entry in entries] + [entry.dead if entry else None for entry in entries]
    counts = _counts(tables + tables, zones)
    histograms = histograms_of(tables, moments) if detail else [None] * len(items)
    results = []
    for place, (values, row) in enumerate(zip(tables, table, strict=True)):
        in_zone, all_dead = counts[place], counts[place + len(items)]
        size = values.shape[0]
        flags, shares, snapshot = None, None, None
        if in_zone is not None:
            shares = in_zone / max(size, 1)
            if count[place]:
                row[5] = in_zone.sum() / count[place]
        if all_dead is not None:
            flags = all_dead == size
            if count[place]:
                row[6] = np.count_nonzero(flags) / flags.size
        if detail and (flags is not None or shares is not None):
            snapshot = snapshot_of(values)
        results.append(OutputMeasure(row, size, flags, shares, histograms[place], snapshot))
    return results


def gradient(values: Values, *, detail: bool = False) -> GradientMeasure:
    """Figures of the gradient of the loss with respect to one output; see `gradients`."""
    return gradients([values], detail=detail)[0]


def gradients(arrays: Sequence[Values], *, detail: bool = False) -> list[GradientMeasure]:
    """Figures of the gradients of many outputs: GRADIENT_STATS, and with `detail` their histograms."""
    parts = [part(values) for values in arrays]
    moments = moments_of(parts)
    table = np.empty((len(parts), len(GRADIENT_STATS)))
    table[:, :3] = moments[:, 1:4]
    with np.errstate(divide="ignore", invalid="ignore"):  # no value at all: NaN
        table[:, 3] = moments[:, 7] / (moments[:, 0] + moments[:, 7])
    histograms = histograms_of(parts, moments) if detail else [None] * len(parts)
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
    before = [part(item.before) for item in items]
    with_gradient = [place for place, item in enumerate(items) if item.gradient is not None]
    with_after = [place for place, item in enumerate(items) if item.after is not None]
    data = moments_of(before)
    slopes = np.full((len(items), len(MOMENTS)), nan)
    moved = np.full((len(items), len(MOMENTS)), nan)
    if with_gradient:
        slopes[with_gradient] = moments_of([part(item.gradient) for item in items if item.gradient is not None])
    if with_after:
        after = [part(item.after) for item in items if item.after is not None]
        moved[with_after] = moments_of(after, [before[place] for place in with_after])
    spread = np.where(data[:, 2] > 0.0, data[:, 2], nan)
    sizes = np.array([item.size or item.before.size for item in items], dtype=np.float64)
    lost = np.where(np.isnan(moved[:, 7]), data[:, 7], moved[:, 7])
    table = np.empty((len(items), len(PARAMETER_STATS)))
    table[:, 0:3] = data[:, 1:4]
    table[:, 3:5] = slopes[:, 1:3]
    table[:, 5] = slopes[:, 3] * np.sqrt(sizes)
    table[:, 6] = slopes[:, 2] / spread
    table[:, 7] = moved[:, 2] / spread
    table[:, 8] = moved[:, 3]
    table[:, 9] = [item.duplicate for item in items]
    table[:, 10] = lost / np.array([max(values.size, 1) for values in before])
    table[:, 11] = slopes[:, 7] / (slopes[:, 0] + slopes[:, 7])
    table[:, 12] = [item.learning_rate for item in items]
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


def duplicates(matrix: Values) -> float:
    """Share of units (rows) whose incoming weights equal those of another unit to within SAME of the matrix's rms.

    NaN for fewer than two rows or a vector. Rows are compared with their neighbours in the order of one fixed projection, so the
    cost is that of reading the matrix; beyond CAP values only the first rows are read.
    """
    if matrix.ndim < 2 or matrix.shape[0] < 2:
        return nan
    table = matrix.reshape(matrix.shape[0], -1)
    if table.shape[1] < 2:
        return nan
    table = table[: max(2, 16 * CAP // table.shape[1]), :]
    projected = (table @ _direction(table.shape[1]).astype(table.dtype)).astype(np.float64)
    if not np.isfinite(projected).all():
        return nan
    order = np.argsort(projected, kind="stable")
    flat = table.ravel()
    limit = SAME * sqrt(float(flat @ flat) / flat.size)
    # A row and its equal project alike; only such neighbours are worth comparing value by value.
    near = np.flatnonzero(np.diff(projected[order]) <= limit * table.shape[1])
    first, second = order[near], order[near + 1]
    same = np.abs(table[first] - table[second]).max(axis=1, initial=0.0) <= limit
    return len(set(first[same].tolist()) | set(second[same].tolist())) / table.shape[0]


def rows(values: Values, unit_axis: int = -1, cap: int = CAP) -> Values:
    """An output as (R, U): one row for each example and position, one column for each unit; at most about `cap` values.

    A larger one is represented by rows spread evenly over it and, only where MIN_ROWS of them would still be too many values,
    by units spread evenly as well. A scalar is (1, 1), a vector (R, 1).
    """
    if values.ndim < 2:
        table = values.reshape(-1, 1)
        return table if table.shape[0] <= cap else table[spread(table.shape[0], cap)]
    if values.ndim == 2 and unit_axis in (-1, 1) and values.size <= cap:
        return values
    axis = unit_axis % values.ndim
    units = values.shape[axis]
    behind = int(np.prod(values.shape[axis + 1 :], dtype=np.int64))
    blocks = values.reshape(-1, units, behind)
    examples = blocks.shape[0] * behind
    picked_rows, picked_units = picks(examples, units, cap)
    if picked_rows is None:
        return blocks[:, :, 0] if behind == 1 else np.moveaxis(blocks, 1, 2).reshape(-1, units)
    table = blocks[picked_rows // behind, :, picked_rows % behind]
    return table if picked_units is None else table[:, picked_units]


@lru_cache(maxsize=512)
def picks(examples: int, units: int, cap: int = CAP) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
    """Which rows and which columns of an (examples, units) table to look at; None means all of them."""
    if examples * units <= cap:
        return None, None
    kept = min(examples, max(MIN_ROWS, cap // max(units, 1)))
    width = max(1, cap // kept)
    return spread(examples, kept), (spread(units, width) if width < units else None)


def spread(size: int, count: int) -> NDArray[np.int64]:
    """`count` different places spread evenly over range(size)."""
    kept = min(count, size)
    return np.arange(kept, dtype=np.int64) * size // kept


def part(values: Values, cap: int = CAP) -> Values:
    """The array as it is, or every `stride`-th of its values in memory order if it has more than `cap`."""
    if values.size <= cap:
        return values
    return values.reshape(-1)[:: stride(values.shape, cap)]


def stride(shape: Sequence[int], cap: int = CAP) -> int:
    """Step that leaves at most `cap` of an array's values and does not keep to a few of its columns: prime to the last axis."""
    size = int(np.prod(shape, dtype=np.int64))
    step = max(1, ceil(size / cap))
    if step > 1:
        while gcd(step, shape[-1]) > 1:
            step += 1
    return step


def moments_of(arrays: Sequence[Values], minus: Sequence[Values] | None = None) -> Floats:
    """MOMENTS of each array, (n, 8); with `minus`, of float64(array) - float64(minus)."""
    if _native is not None:
        arrays = [_plain(array) for array in arrays]
        if minus is None:
            return np.asarray(_native.moments(arrays))
        return np.asarray(_native.moments_of_difference(arrays, [_plain(array) for array in minus]))
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf and the like, found and counted below
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


def _range(mean: float, std: float, low: float, high: float) -> tuple[float, float] | None:
    """Ends of a histogram; None if there is nothing to count."""
    if not low <= high:
        return None
    if std > 0.0:
        low, high = max(low, mean - TAIL * std), min(high, mean + TAIL * std)
    # Written so that a range too narrow for its magnitude (or for 1 / width) also falls here.
    if not (high - low) > 1e-12 * max(abs(low), abs(high), 1e-280):
        low, high = low - 0.5, high + 0.5
    return low, high


def _histogram(values: Values, low: float, high: float) -> NDArray[np.int64]:
    flat = values.astype(np.float64).ravel()
    if not np.isfinite(flat).all():
        flat = flat[np.isfinite(flat)]
    places = np.clip((flat - low) * (BINS / (high - low)), 0, BINS - 1).astype(np.int64)
    return np.bincount(places, minlength=BINS)


def snapshot_of(table: Values) -> NDArray[np.float16]:
    """A map of an (R, U) table: at most MAP_ROWS examples by MAP_UNITS units, spread evenly."""
    kept = table
    if table.shape[0] > MAP_ROWS:
        kept = kept[spread(table.shape[0], MAP_ROWS)]
    if table.shape[1] > MAP_UNITS:
        kept = kept[:, spread(table.shape[1], MAP_UNITS)]
    limit = float(np.finfo(np.float16).max)
    return np.clip(kept, -limit, limit).astype(np.float16)


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


def _counts(tables: Sequence[Values], zones: Sequence[Zone | None]) -> list[NDArray[np.int64] | None]:
    """By unit, how many values of each (R, U) table lie in its zone; None where there is no zone."""
    asked = [(table, zone) for table, zone in zip(tables, zones, strict=True) if zone is not None]
    if not asked:
        return [None] * len(tables)
    if _native is not None:
        arrays = [_plain(table) for table, _ in asked]
        found = iter(_native.zone_counts(arrays, [(zone.low, zone.high, zone.inside) for _, zone in asked]))
    else:
        found = iter([np.count_nonzero(_within(table, zone), axis=0) for table, zone in asked])
    return [None if zone is None else np.asarray(next(found), dtype=np.int64) for zone in zones]


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


@lru_cache(maxsize=64)
def _direction(size: int) -> Floats:
    return np.random.default_rng(0).standard_normal(size)
