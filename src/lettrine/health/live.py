"""Figures of the same modules and parameters at one step after another, read where their values lie in memory.

What `measure` does with arrays, for a producer that samples often and whose arrays (tensors of another library) lie elsewhere
at every step: two compiled calls a step and nothing else, and the figures of many steps worked out together afterwards. The
calls find the values by DLPack's exchange functions (`__dlpack_c_exchange_api__`), so that no array has to be made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from lettrine.health.limits import ACTIVATIONS
from lettrine.health.measure import GradientMeasure, OutputMeasure, gradient_rows, output_rows, parameter_rows, quiet
from lettrine.health.moments import MOMENTS, Bins, native, ranges_of
from lettrine.health.parts import snapshot_of
from lettrine.health.trace import BINS, GRADIENT_STATS, OUTPUT_STATS, PARAMETER_STATS, Floats

T = TypeVar("T", bound=np.generic)
STEPS: Final = 64  # kept before they are worked out
_SATURATED, _DEAD, _NONFINITE = (OUTPUT_STATS.index(name) for name in ("saturated", "dead", "nonfinite"))
_SLOPE_NONFINITE: Final = GRADIENT_STATS.index("nonfinite")
_PARAMETER_NONFINITE: Final = [PARAMETER_STATS.index(name) for name in ("nonfinite", "gradient_nonfinite")]
_NORM: Final = PARAMETER_STATS.index("gradient_norm")


def reader(kind: type) -> Any:
    """What reads tensors of this type where they lie; None without the compiled part, or where the type does not offer it."""
    try:
        return None if native is None else native.Tensors(kind)
    except ValueError:
        return None


class LiveOutput(NamedTuple):
    """An output of a fixed shape, (rows, units) in memory, and the activation that made it, "" for none."""

    name: str
    rows: int
    units: int
    activation: str


class UnitFlags(NamedTuple):
    """Of one module at K steps: whether each unit is dead (K, U), and how many of its values are saturated (K, U); None where
    the activation table has no such zone. rows: examples of all steps together. Both are overwritten by the next steps.
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

    tensors: a `reader` of them. parameters: name and size of each. groups: to which of the learning rates
    that `keep` is given each parameter belongs.
    """

    def __init__(
        self, tensors: Any, outputs: Sequence[LiveOutput], parameters: Sequence[tuple[str, int]], groups: Sequence[int]
    ) -> None:
        self.outputs = list(outputs)
        self.parameters = list(parameters)
        self._modules, self._names = tuple(output.name for output in outputs), tuple(name for name, _ in parameters)
        self._kinds = [("output", name) for name in self._modules] + [("gradient", name) for name in self._modules]
        self._histograms: list[tuple[int, list[tuple[str, str]], NDArray[np.int64], Sequence[float], Sequence[float]]] = []
        self._tables: dict[int, NDArray[np.floating[Any]]] = {}  # outputs of which a map is made, at the last step with details
        self.groups = list(groups)
        own, made = [size for _, size in parameters], [output.rows * output.units for output in outputs]
        self._sizes = np.array(own, dtype=np.float64)
        self._starts = np.cumsum(own)[:-1]
        self._earlier = np.empty(sum(own), dtype=np.float32)  # the parameters before the step
        self._moments = np.empty((STEPS, 2 * (len(own) + len(made)), len(MOMENTS)))
        self._moved = np.empty((STEPS, len(own), len(MOMENTS)))
        entries = [(place, ACTIVATIONS.get(output.activation)) for place, output in enumerate(outputs)]
        saturated = [(place, entry.saturated) for place, entry in entries if entry and entry.saturated]
        dead = [(place, entry.dead) for place, entry in entries if entry and entry.dead]
        self._saturated = _Zoned([place for place, _ in saturated], outputs, 0)
        self._dead = _Zoned([place for place, _ in dead], outputs, len(self._saturated.rows))
        self._counts = np.empty((STEPS, self._dead.start + len(self._dead.rows)), dtype=np.int64)
        zones = [(place, *outputs[place][1:3], zone.low, zone.high, zone.inside) for place, zone in saturated + dead]
        self._live = native.Live(tensors, own, made, zones, self._moments, self._moved, self._earlier, self._counts)
        self._steps: list[int] = []
        self._stats: list[dict[str, float]] = []
        self._rates: list[list[float]] = []
        self._duplicates: list[tuple[int, list[float]]] = []

    @property
    def full(self) -> bool:
        """Whether no other step can be kept before `frame` is called."""
        return len(self._steps) == STEPS

    def before(self, parameters: list[Any], outputs: list[Any]) -> bool:
        """Measure just before the step. False, and nothing is done, if something is not there as it was."""
        return bool(self._live.before(len(self._steps), parameters, outputs))

    def after(self, parameters: list[Any]) -> None:
        """Measure the parameters just after the step."""
        if not self._live.after(len(self._steps), parameters):
            self._moved[len(self._steps)] = nan  # they were taken elsewhere by the step itself

    def detail(self, step: int) -> None:
        """Histograms of outputs and gradients as well; call it after `before`."""
        ranges = ranges_of(self._moments[len(self._steps), 2 * len(self.parameters) :])
        there = [place for place, ends in enumerate(ranges) if ends is not None]
        lows, highs = zip(*(ends for ends in ranges if ends is not None), strict=True) if there else ((), ())
        counts = self._live.histogram(there, list(lows), list(highs), BINS)
        self._histograms.append((step, [self._kinds[place] for place in there], counts, lows, highs))

    @property
    def mapped(self) -> list[int]:
        """Which outputs `map` is to be called with."""
        return sorted({*self._saturated.places, *self._dead.places})

    def map(self, place: int, table: NDArray[np.floating[Any]]) -> None:
        """Take an output, (rows, units), for a snapshot; only the last one of a frame is made."""
        self._tables[place] = table

    def keep(self, step: int, stats: dict[str, float], rates: list[float], duplicate: list[float] | None) -> None:
        """The step just measured is step number `step`. stats: may be added to until `frame` is called; rates: learning rates;
        duplicate: of each parameter, None if they were not searched.
        """
        if duplicate is not None:
            self._duplicates.append((len(self._steps), duplicate))
        self._steps.append(step)
        self._stats.append(stats)
        self._rates.append(rates)

    def earlier(self) -> list[NDArray[np.float32]]:
        """The parameters before the step, flat."""
        return np.split(self._earlier, self._starts)

    @quiet
    def frame(self) -> Frame | None:
        """The steps kept so far, which are then forgotten; None if there are none."""
        steps, many = self._steps, len(self._steps)
        if not many:
            return None
        count, own = len(self.outputs), len(self.parameters)
        moments, moved = self._moments[:many], self._moved[:many]
        values, slopes, made, returned = np.split(moments, [own, 2 * own, 2 * own + count], axis=1)
        outputs = output_rows(made)
        flags = self._flags(made[..., 0], outputs)
        rates = np.array(self._rates, dtype=np.float64)[:, self.groups]
        duplicate = np.full((many, own), nan)
        for place, row in self._duplicates:
            duplicate[place] = row
        parameters = parameter_rows(values, slopes, moved, np.sqrt(self._sizes), self._sizes, rates, duplicate)
        squares = parameters[..., _NORM] ** 2
        norms = np.where(np.isnan(squares).all(axis=1), np.nan, np.sqrt(np.nansum(squares, axis=1)))
        stats = [{**stats, "gradient_norm": norm} for stats, norm in zip(self._stats, norms.tolist(), strict=True)]
        self._steps, self._stats, self._rates, self._duplicates = [], [], [], []
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

    def _flags(self, finite: Floats, table: Floats) -> dict[str, UnitFlags]:
        """Flags of the units by module; their totals are written into the table. finite (K, M): finite values of each output."""
        found: dict[str, UnitFlags] = {}
        counts, rows = self._counts[: len(finite)], [len(finite) * output.rows for output in self.outputs]
        if (zoned := self._saturated).places:
            inside = counts[:, : self._dead.start]
            totals = np.add.reduceat(inside, zoned.starts, axis=1)
            table[:, zoned.places, _SATURATED] = totals / finite[:, zoned.places]
            for place, of_units in zoned.split(inside):
                output = self.outputs[place]
                found[output.name] = UnitFlags(output.units, rows[place], saturated=of_units)
        if (zoned := self._dead).places:
            dead = counts[:, zoned.start :] == zoned.rows
            totals = np.add.reduceat(dead, zoned.starts, axis=1, dtype=np.int64)
            table[:, zoned.places, _DEAD] = np.where(finite[:, zoned.places] > 0, totals / zoned.units, nan)
            for place, flags in zoned.split(dead):
                output = self.outputs[place]
                found[output.name] = found.get(output.name, UnitFlags(output.units, rows[place]))._replace(dead=flags)
        return found


class _Zoned:
    """The outputs of which units are counted in a zone, their units side by side from column `start` of the counts on."""

    def __init__(self, places: list[int], outputs: Sequence[LiveOutput], start: int) -> None:
        widths = [outputs[place].units for place in places]
        self.places, self.start = places, start
        self.starts = np.cumsum([0, *widths])[:-1]  # of each output, from the first one
        self.units = np.array(widths, dtype=np.float64)
        self.rows = np.repeat([outputs[place].rows for place in places], widths)  # examples, of each unit

    def split(self, table: NDArray[T]) -> Iterator[tuple[int, NDArray[T]]]:
        """Place and columns of each output."""
        return zip(self.places, np.split(table, self.starts[1:], axis=1), strict=True)
