"""Moments, counts and histograms of arrays, from which all figures of the health check are made.

The compiled twin (`lettrine._native`, used when built) computes the same in one pass over many arrays a call:

    moments(arrays) -> float64 (n, 8)            one row of MOMENTS for each array (float32 or float64, contiguous, any shape)
    moments_of_difference(after, before) -> (n, 8)  the same of float64(after[i]) - float64(before[i])
    zone_counts(arrays, zones) -> list of int64 (U,)  of each (R, U) array, by column, how many values lie in the zone
                                                 (low, high, inside); NaN and infinities lie in none
    histogram(arrays, lows, highs, bins) -> int64 (n, bins)  bin = trunc((v - low) * (bins / (high - low))) in float64,
                                                 kept within 0 … bins - 1; values that are not finite are not counted

and the same figures of tensors of another library, read where they lie in memory: `Tensors`, `Live` and `OutputHook`, for `live`.

Sums are kept in float64, whatever the array's type. The twin adds groups of eight float32 numbers in float32, where every figure
still has six correct digits then. std is the unbiased one (division by n - 1), as `torch.std` has it. Values that are not finite
are counted, and left out of every other figure. Missing is NaN: the std of one value, the mean of none.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import nan, sqrt
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lettrine.activations import Zone
from lettrine.health.parts import Values
from lettrine.health.trace import BINS, Floats

native: Any  # None where it is not built
try:
    from lettrine import _native

    native = _native
except ImportError:  # the package works without its compiled part
    native = None


TAIL: Final = 5.0  # histograms reach to mean ± TAIL std, and what lies beyond is counted in their outermost bins

MOMENTS: Final = ("count", "mean", "std", "rms", "min", "max", "zeros", "nonfinite")
"""Of one array. count: how many values are finite; mean … max: of those, NaN where there are none (std: fewer than two);
zeros: how many are exactly 0; nonfinite: how many are NaN or infinite."""


class Bins(NamedTuple):
    """A histogram: counts (G,) over equal bins from low to high; values beyond are in the outermost bins."""

    counts: NDArray[np.int64]
    low: float
    high: float


def moments_of(arrays: Sequence[Values], minus: Sequence[Values] | None = None) -> Floats:
    """MOMENTS of each array, (n, 8); with `minus`, of float64(array) - float64(minus). They are contiguous float32 or float64."""
    if native is not None:
        table: Floats = native.moments(arrays) if minus is None else native.moments_of_difference(arrays, minus)
        return table
    if minus is None:
        found = [_moments(array.astype(np.float64).ravel()) for array in arrays]
    else:
        found = [_moments((a.astype(np.float64) - b).ravel()) for a, b in zip(arrays, minus, strict=True)]
    return np.array(found, dtype=np.float64).reshape(len(arrays), len(MOMENTS))


def histograms_of(arrays: Sequence[Values], moments: Floats) -> list[Bins | None]:
    """Histogram of the finite values of each array, from max(min, mean - TAIL std) to min(max, mean + TAIL std).

    moments: those of the arrays. None for an array without a finite value. Where all values are equal the range is half a unit
    to either side.
    """
    ranges = [range_of(*row) for row in moments[:, [1, 2, 4, 5]].tolist()]
    there = [place for place, limits in enumerate(ranges) if limits is not None]
    found: list[Bins | None] = [None] * len(arrays)
    if not there:
        return found
    lows, highs = zip(*(limits for limits in ranges if limits is not None), strict=True)
    if native is not None:
        counts = np.asarray(native.histogram([plain(arrays[place]) for place in there], list(lows), list(highs), BINS))
    else:
        counts = np.array([_histogram(arrays[place], *pair) for place, *pair in zip(there, lows, highs, strict=True)])
    for place, row, low, high in zip(there, counts, lows, highs, strict=True):
        found[place] = Bins(row, low, high)
    return found


_WIDEST: Final = 1e300  # a range wider than twice this has no width that a float can hold


def range_of(mean: float, std: float, low: float, high: float) -> tuple[float, float] | None:
    """Ends of the histogram of an array with these MOMENTS; None if there is nothing to count."""
    if not low <= high:
        return None
    if std > 0.0:
        low, high = max(low, mean - TAIL * std), min(high, mean + TAIL * std)
    low, high = min(max(low, -_WIDEST), _WIDEST), max(min(high, _WIDEST), -_WIDEST)
    # Written so that a range too narrow for its magnitude (or for 1 / width) also falls here.
    if not (high - low) > 1e-12 * max(abs(low), abs(high), 1e-280):
        half = max(0.5, 1e-6 * abs(low))  # values of 1e17 do not change when 0.5 is added
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


def zone_counts(tables: Sequence[Values], zones: Sequence[tuple[float, float, bool]]) -> Sequence[NDArray[np.int64]]:
    """By unit, how many values of each (R, U) table lie in its zone."""
    if not tables:
        return []
    if native is not None:
        counts: list[NDArray[np.int64]] = native.zone_counts(tables, zones)
        return counts
    return [np.count_nonzero(_within(table, Zone(*zone)), axis=0) for table, zone in zip(tables, zones, strict=True)]


def _within(table: Values, zone: Zone) -> NDArray[np.bool_]:
    # Zones are float64 numbers: comparing in the table's own type would round the limit.
    low, high = np.float64(zone.low), np.float64(zone.high)
    inside: NDArray[np.bool_] = (table >= low) & (table <= high) if zone.inside else (table <= low) | (table >= high)
    return inside & np.isfinite(table) if not np.isfinite((zone.low, zone.high)).all() or not zone.inside else inside


def plain(array: Values) -> Values:
    """Contiguous float32 or float64, as the compiled functions want it."""
    if array.dtype.char not in "fd":
        array = array.astype(np.float32)
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)
