"""Figures of the same modules and parameters at one step after another, read where their values lie in memory.

What `measure` does with arrays, for a producer that samples often and whose arrays (tensors of another library) lie elsewhere
at every step: two compiled calls a step and nothing else, and the figures of many steps worked out together afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lettrine.health.limits import ACTIVATIONS
from lettrine.health.measure import GradientMeasure, OutputMeasure, gradient_rows, output_rows, parameter_rows, quiet
from lettrine.health.moments import MOMENTS, Bins, native, ranges_of
from lettrine.health.parts import snapshot_of
from lettrine.health.trace import BINS, GRADIENT_STATS, OUTPUT_STATS, PARAMETER_STATS, Floats

STEPS: Final = 32  # kept before they are worked out
_SATURATED, _DEAD, _NONFINITE = (OUTPUT_STATS.index(name) for name in ("saturated", "dead", "nonfinite"))
_SLOPE_NONFINITE: Final = GRADIENT_STATS.index("nonfinite")
_PARAMETER_NONFINITE: Final = [PARAMETER_STATS.index(name) for name in ("nonfinite", "gradient_nonfinite")]
_NORM: Final = PARAMETER_STATS.index("gradient_norm")


class LiveOutput(NamedTuple):
    """An output of a fixed shape, (rows, units) in memory, and the activation that made it, "" for none."""

    name: str
    rows: int
    units: int
    activation: str


class UnitFlags(NamedTuple):
    """Of one module at K steps: whether each unit is dead (K, U), and how many of its values are saturated (K, U); None where
    the activation table has no such zone. rows: examples of all steps together.
    """

    units: int
    rows: int
    dead: NDArray[np.bool_] | None = None
    saturated: NDArray[np.int64] | Floats | None = None


@dataclass(frozen=True)
class Frame:
    """Figures of K sampled steps, as `Recorder.record_frame` wants them.

    stats: STEP_STATS of each step. tables: "outputs" (K, M, ·) and "gradients" (K, M, ·) of the modules, "parameters" (K, P, ·).
    rows: examples of each module. units: flags of the modules that have any. histograms: "output" or "gradient", name, step
    and bins; maps: name and snapshot.
    """

    steps: list[int]
    stats: list[dict[str, float]]
    modules: tuple[str, ...]
    parameters: tuple[str, ...]
    tables: Mapping[str, Floats]
    rows: list[int]
    units: Mapping[str, UnitFlags]
    histograms: list[tuple[str, str, int, Bins]]
    maps: list[tuple[str, NDArray[np.float16]]]

    @property
    def finite(self) -> bool:
        """Whether nothing in it was NaN or infinite, losses included."""
        outputs, gradients, parameters = self.tables.values()
        lost = outputs[..., _NONFINITE].any() or gradients[..., _SLOPE_NONFINITE].any()
        return not (lost or parameters[..., _PARAMETER_NONFINITE].any()) and bool(
            np.isfinite([stats.get("loss", 0.0) for stats in self.stats]).all()
        )

    def each(self) -> Iterator[dict[str, Any]]:
        """The arguments of `Recorder.record` for one step after another."""
        for place, (step, stats) in enumerate(zip(self.steps, self.stats, strict=True)):
            outputs, gradients, parameters = (table[place] for table in self.tables.values())
            measures = {}
            for name, rows, row in zip(self.modules, self.rows, outputs, strict=True):
                flags = self.units.get(name)
                dead = None if flags is None or flags.dead is None else flags.dead[place]
                saturated = None if flags is None or flags.saturated is None else flags.saturated[place] / rows
                measures[name] = OutputMeasure(row, rows, dead, saturated)
            yield {
                "step": step,
                "outputs": measures,
                "gradients": {name: GradientMeasure(row) for name, row in zip(self.modules, gradients, strict=True)},
                "parameters": dict(zip(self.parameters, parameters, strict=True)),
                **stats,
            }


class LivePlan:
    """Measures outputs, their gradients, parameters and their gradients, all float32 and contiguous, all there at every step.

    parameters: name and size of each. The caller vouches for the addresses it hands over. Only where `there` is true.
    """

    there: Final = native is not None

    def __init__(self, outputs: Sequence[LiveOutput], parameters: Sequence[tuple[str, int]]) -> None:
        self.outputs = list(outputs)
        self.parameters = list(parameters)
        self._modules, self._names = tuple(output.name for output in outputs), tuple(name for name, _ in parameters)
        self._kinds = [("output", name) for name in self._modules] + [("gradient", name) for name in self._modules]
        self._histograms: list[tuple[int, list[tuple[str, str]], NDArray[np.int64], Sequence[float], Sequence[float]]] = []
        self._tables: dict[int, NDArray[np.floating[Any]]] = {}  # outputs of which a map is made, at the last step with details
        own = [size for _, size in parameters]
        activations = [output.rows * output.units for output in outputs]
        self.sizes: list[int] = own * 2 + activations * 2
        self._sizes, self._own_sizes = np.array(self.sizes, dtype=np.int64), np.array(own, dtype=np.int64)
        self._earlier = np.empty(sum(own), dtype=np.float32)  # the parameters before the step
        starts = np.concatenate([[0], np.cumsum(own)[:-1]]).astype(np.int64) if own else np.empty(0, dtype=np.int64)
        self._copies = starts * self._earlier.itemsize + self._earlier.ctypes.data
        self._moments = np.empty((STEPS, len(self.sizes), len(MOMENTS)))
        self._moved = np.empty((STEPS, len(own), len(MOMENTS)))
        entries = [(place, ACTIVATIONS.get(output.activation)) for place, output in enumerate(outputs)]
        saturated = [(place, entry.saturated) for place, entry in entries if entry and entry.saturated]
        dead = [(place, entry.dead) for place, entry in entries if entry and entry.dead]
        self._border = len(saturated)
        self._zoned = [place for place, _ in saturated + dead]
        self._zones = [(zone.low, zone.high, zone.inside) for _, zone in saturated + dead]
        self._zoned_addresses = np.array([2 * len(own) + place for place in self._zoned], dtype=np.int64)
        self._rows = np.array([self.outputs[place].rows for place in self._zoned], dtype=np.int64)
        self._units = np.array([self.outputs[place].units for place in self._zoned], dtype=np.int64)
        self._counts = np.empty((STEPS, int(self._units.sum())), dtype=np.int64)
        self._steps: list[int] = []
        self._stats: list[dict[str, float]] = []
        self._rates: list[tuple[list[float], list[float]]] = []

    @property
    def full(self) -> bool:
        """Whether no other step can be kept before `frame` is called."""
        return len(self._steps) == STEPS

    def before(self, addresses: list[int]) -> None:
        """Measure just before the step. addresses: of parameters, their gradients, outputs, their gradients."""
        place, at = len(self._steps), np.array(addresses, dtype=np.int64)
        native.moments_at(at, self._sizes, self._moments[place], None, self._copies)
        if self._zones:
            native.zone_counts_at(at[self._zoned_addresses], self._rows, self._units, self._zones, self._counts[place])

    def after(self, addresses: list[int]) -> None:
        """Measure the parameters just after the step."""
        native.moments_at(np.array(addresses, dtype=np.int64), self._own_sizes, self._moved[len(self._steps)], self._copies)

    def detail(self, addresses: list[int], step: int) -> None:
        """Histograms of outputs and gradients as well; call it after `before`."""
        first = 2 * len(self.parameters)
        ranges = ranges_of(self._moments[len(self._steps), first:])
        there = [place for place, ends in enumerate(ranges) if ends is not None]
        at, sizes = (np.array([each[first + place] for place in there], dtype=np.int64) for each in (addresses, self.sizes))
        lows, highs = zip(*(ends for ends in ranges if ends is not None), strict=True) if there else ((), ())
        counts = native.histogram_at(at, sizes, list(lows), list(highs), BINS)
        self._histograms.append((step, [self._kinds[place] for place in there], counts, lows, highs))

    @property
    def mapped(self) -> list[int]:
        """Which outputs `map` is to be called with."""
        return sorted(set(self._zoned))

    def map(self, place: int, table: NDArray[np.floating[Any]]) -> None:
        """Take an output, (rows, units), for a snapshot; only the last one of a frame is made."""
        self._tables[place] = table

    def keep(self, step: int, stats: dict[str, float], learning_rates: list[float], duplicate: list[float]) -> None:
        """The step just measured is step number `step`. stats: may be added to until `frame` is called; learning_rates,
        duplicate: of each parameter.
        """
        self._steps.append(step)
        self._stats.append(stats)
        self._rates.append((learning_rates, duplicate))

    def earlier(self) -> list[NDArray[np.float32]]:
        """The parameters before the step, flat."""
        return np.split(self._earlier, np.cumsum(self._own_sizes)[:-1])

    @quiet
    def frame(self) -> Frame:
        """The steps kept so far, which are then forgotten."""
        steps, many = self._steps, len(self._steps)
        count, own = len(self.outputs), len(self.parameters)
        moments, moved = self._moments[:many], self._moved[:many]
        values, slopes, made, returned = np.split(moments, [own, 2 * own, 2 * own + count], axis=1)
        outputs = output_rows(made)
        flags = self._flags(made[..., 0], outputs)
        rates = np.array(self._rates, dtype=np.float64).reshape(many, 2, own)
        sizes = self._own_sizes.astype(np.float64)
        parameters = parameter_rows(values, slopes, moved, np.sqrt(sizes), sizes, rates[:, 0], rates[:, 1])
        squares = parameters[..., _NORM] ** 2
        norms = np.where(np.isnan(squares).all(axis=1), np.nan, np.sqrt(np.nansum(squares, axis=1)))
        stats = [{**stats, "gradient_norm": norm} for stats, norm in zip(self._stats, norms.tolist(), strict=True)]
        self._steps, self._stats, self._rates = [], [], []
        tables = {"outputs": outputs, "gradients": gradient_rows(returned), "parameters": parameters}
        histograms = [
            (kind, name, step, Bins(row, low, high))
            for step, kinds, counts, *ends in self._histograms
            for (kind, name), row, low, high in zip(kinds, counts, *ends, strict=True)
        ]
        maps = [(self._modules[place], snapshot_of(table)) for place, table in self._tables.items()]
        self._histograms, self._tables = [], {}
        rows = [output.rows for output in self.outputs]
        return Frame(steps, stats, self._modules, self._names, tables, rows, flags, histograms, maps)

    def _flags(self, counts: Floats, table: Floats) -> dict[str, UnitFlags]:
        """Flags of the units by module; their totals are written into the table. counts (K, M): finite values of each output."""
        found: dict[str, UnitFlags] = {}
        many = len(counts)
        zones = np.split(self._counts[:many], np.cumsum(self._units)[:-1], axis=1) if self._zoned else []
        for number, (place, inside) in enumerate(zip(self._zoned, zones, strict=True)):
            output = self.outputs[place]
            flags = found.get(output.name, UnitFlags(output.units, many * output.rows))
            if number < self._border:
                found[output.name] = flags._replace(saturated=inside.copy())  # the memory is used again
                table[:, place, _SATURATED] = inside.sum(axis=1) / counts[:, place]
            else:
                dead = inside == output.rows
                found[output.name] = flags._replace(dead=dead)
                share = np.count_nonzero(dead, axis=1) / output.units
                table[:, place, _DEAD] = np.where(counts[:, place] > 0, share, np.nan)
        return found
