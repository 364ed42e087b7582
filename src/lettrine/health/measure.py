"""Figures of one array: what the health check measures, defined in numpy.

All are pure functions of arrays, in the order of the table rows of `trace`. Sums are in float64 for every type. std is the
unbiased one (division by n - 1), as in `torch.std`. Values that are not finite are counted, and left out of all other figures.
Missing is NaN: the std of one value, the mean of none.

Of an array with more than `parts.CAP` values a fixed, evenly spaced part is measured. To measure arrays in the same memory at
many steps, keep a plan (`OutputPlan`, `GradientPlan`, `ParameterPlan`): it computes only once what does not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import nan, sqrt
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lettrine.activations import ACTIVATIONS
from lettrine.health.moments import MOMENTS, Bins, histograms_of, moments_of, plain, zone_counts
from lettrine.health.parts import Values, part, rows, snapshot_of
from lettrine.health.trace import GRADIENT_STATS, NORM_STATS, OUTPUT_STATS, PARAMETER_STATS, Floats

quiet: Final = np.errstate(divide="ignore", invalid="ignore", over="ignore")  # without any value a figure is NaN


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
    """One output to measure. unit_axis: the axis of the units, -1 or 1; activation: key of `lettrine.activations`, or ""."""

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
    """Measures many outputs, as `outputs` does. lasting: whether the plan also holds for new values in the same memory."""

    def __init__(self, items: Sequence[OutputArrays]) -> None:
        self._tables = [plain(rows(item.values, item.unit_axis)) for item in items]
        self.lasting = all(table is item.values for table, item in zip(self._tables, items, strict=True))
        entries = [ACTIVATIONS.get(item.activation) for item in items]
        saturated = [(place, entry.saturated) for place, entry in enumerate(entries) if entry and entry.saturated]
        dead = [(place, entry.dead) for place, entry in enumerate(entries) if entry and entry.dead]
        self._saturated, self._dead = [place for place, _ in saturated], [place for place, _ in dead]
        self._zones = [(zone.low, zone.high, zone.inside) for _, zone in saturated + dead]
        self._zoned = [self._tables[place] for place, _ in saturated + dead]

    @quiet
    def measure(self, *, detail: bool = False) -> list[OutputMeasure]:
        """The figures of the values that are in memory now."""
        tables = self._tables
        moments = moments_of(tables)
        table = output_rows(moments)
        shares, flags = self._units(moments[:, 0], table)
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
        counts = zone_counts(self._zoned, self._zones)
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
        self._parts = [plain(part(values)) for values in arrays]
        self.lasting = all(values is array for values, array in zip(self._parts, arrays, strict=True))

    @quiet
    def measure(self, *, detail: bool = False) -> list[GradientMeasure]:
        """The figures of the values that are in memory now."""
        moments = moments_of(self._parts)
        table = gradient_rows(moments)
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
        self._before = [plain(part(item.before)) for item in items]
        self._slopes = [(place, plain(part(item.gradient))) for place, item in enumerate(items) if item.gradient is not None]
        self._after = [(place, plain(part(item.after))) for place, item in enumerate(items) if item.after is not None]
        self._roots = np.sqrt(np.array([item.size or item.before.size for item in items], dtype=np.float64))
        self._looked_at = np.array([max(values.size, 1) for values in self._before], dtype=np.float64)
        self.lasting = (
            all(values is item.before for values, item in zip(self._before, items, strict=True))
            and all(values is items[place].gradient for place, values in self._slopes)
            and all(values is items[place].after for place, values in self._after)
        )

    @quiet
    def measure(self, learning_rates: Sequence[float], duplicate: Sequence[float] | float = nan) -> Floats:
        """The figures of the values that are in memory now."""
        data = moments_of(self._before)
        slopes = _scattered(len(data), self._slopes)
        moved = _scattered(len(data), self._after, self._before)
        return parameter_rows(
            data, slopes, moved, self._roots, self._looked_at, np.asarray(learning_rates), np.asarray(duplicate)
        )


def output_rows(moments: Floats) -> Floats:
    """OUTPUT_STATS of outputs with these MOMENTS (…, 8); the shares that depend on the activation are left NaN."""
    count, lost = moments[..., 0], moments[..., 7]
    table = np.full((*moments.shape[:-1], len(OUTPUT_STATS)), nan)
    table[..., :5] = moments[..., 1:6]
    table[..., 7] = moments[..., 6] / count
    table[..., 8] = lost / (count + lost)
    return table


def gradient_rows(moments: Floats) -> Floats:
    """GRADIENT_STATS of gradients with these MOMENTS (…, 8)."""
    table = np.empty((*moments.shape[:-1], len(GRADIENT_STATS)))
    table[..., :3] = moments[..., 1:4]
    table[..., 3] = moments[..., 7] / (moments[..., 0] + moments[..., 7])
    return table


def parameter_rows(
    data: Floats,
    slopes: Floats,
    moved: Floats,
    roots: Floats,
    looked_at: Floats,
    learning_rates: Floats,
    duplicate: Floats | float,
) -> Floats:
    """PARAMETER_STATS of parameters: data, slopes, moved (…, P, 8) are the MOMENTS of their values, gradients and updates.

    roots (P,): square roots of their sizes; looked_at (P,): how many of the values were measured; learning_rates (…, P);
    duplicate (…, P).
    """
    table = np.empty((*data.shape[:-1], len(PARAMETER_STATS)))
    spread = np.where(data[..., 2] > 0.0, data[..., 2], nan)
    table[..., 0:3] = data[..., 1:4]
    table[..., 3:5] = slopes[..., 1:3]
    table[..., 5] = slopes[..., 3] * roots
    table[..., 6] = slopes[..., 2] / spread
    table[..., 7] = moved[..., 2] / spread
    table[..., 8] = moved[..., 3]
    table[..., 9] = duplicate
    table[..., 10] = np.where(np.isnan(moved[..., 7]), data[..., 7], moved[..., 7]) / looked_at
    table[..., 11] = slopes[..., 7] / (slopes[..., 0] + slopes[..., 7])
    table[..., 12] = learning_rates
    return table


def _scattered(count: int, arrays: Sequence[tuple[int, Values]], minus: Sequence[Values] | None = None) -> Floats:
    """MOMENTS of the arrays at their places, NaN at the others."""
    if len(arrays) == count:
        return moments_of([values for _, values in arrays], minus)
    table = np.full((count, len(MOMENTS)), nan)
    if arrays:
        places = [place for place, _ in arrays]
        table[places] = moments_of(
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
