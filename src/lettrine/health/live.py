"""Figures of the same modules and parameters at one step after another, read in place.

These are the figures of `measure`, for tensors of another library, whose memory changes with every step. An output is measured
when it is made, and its gradient when it arrives, while they are still in the processor's cache. Parameters are measured around
the step. The figures of many steps are computed together afterwards. DLPack's exchange functions (`__dlpack_c_exchange_api__`)
tell where the values are, so no array is made and no tensor is kept alive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lettrine.activations import ACTIVATIONS
from lettrine.health.measure import GradientMeasure, OutputMeasure, gradient_rows, output_rows, parameter_rows, quiet
from lettrine.health.moments import MOMENTS, Bins, native, range_of
from lettrine.health.parts import Picked, snapshot_of
from lettrine.health.trace import BINS, GRADIENT_STATS, OUTPUT_STATS, PARAMETER_STATS, Floats

STEPS: Final = 256  # steps kept, until their figures are computed together
_SATURATED, _DEAD, _NONFINITE = (OUTPUT_STATS.index(name) for name in ("saturated", "dead", "nonfinite"))
_SLOPE_NONFINITE: Final = GRADIENT_STATS.index("nonfinite")
_PARAMETER_NONFINITE: Final = [PARAMETER_STATS.index(name) for name in ("nonfinite", "gradient_nonfinite")]
_NORM: Final = PARAMETER_STATS.index("gradient_norm")


def reader(kind: type) -> Any:
    """The reader of tensors of this type in place; None without the compiled part, or if the type does not support it."""
    try:
        return None if native is None else native.Tensors(kind)
    except ValueError:
        return None


class LiveOutput(NamedTuple):
    """An output of a fixed shape, the part of it that is measured, and the activation that made it, "" for none."""

    name: str
    part: Picked
    activation: str


class UnitTotals(NamedTuple):
    """Counts over several steps for each unit (U,) of one module. dead: steps at which it was dead. streak: the same, in a row up
    to the last step. saturated: values that were saturated. None where the activation table has no such zone. rows: examples of
    all steps together.
    """

    units: int
    steps: int
    rows: int
    dead: NDArray[np.int64] | None = None
    streak: NDArray[np.int64] | None = None
    saturated: NDArray[np.int64] | Floats | None = None


@dataclass(frozen=True)
class Frame:
    """Figures of K sampled steps, in the form that `Recorder.record_frame` takes.

    stats: STEP_STATS of each step. tables: "outputs" (K, M, ·) and "gradients" (K, M, ·) of the modules, "parameters" (K, P, ·).
    rows: examples of each module. units: of the modules that have zones. histograms: "output" or "gradient", name, step
    and bins; maps: name and snapshot.
    """

    steps: list[int]
    stats: list[dict[str, float]]
    modules: tuple[str, ...]
    parameters: tuple[str, ...]
    tables: Mapping[str, Floats]
    rows: list[int]
    units: Mapping[str, UnitTotals]
    histograms: list[tuple[str, str, int, Bins]]
    maps: list[tuple[str, NDArray[np.float16]]]

    def names(self, kind: str) -> tuple[str, ...]:
        """Names of the modules or parameters of this kind of table."""
        return self.parameters if kind == "parameters" else self.modules

    @property
    def finite(self) -> bool:
        """Whether nothing in it was NaN or infinite, losses included."""
        outputs, gradients, parameters = self.tables.values()
        lost = outputs[..., _NONFINITE].any() or gradients[..., _SLOPE_NONFINITE].any()
        return not (lost or parameters[..., _PARAMETER_NONFINITE].any()) and bool(
            np.isfinite([stats.get("loss", 0.0) for stats in self.stats]).all()
        )

    def each(self) -> Iterator[dict[str, Any]]:
        """The arguments of `Recorder.record` for each step, without the units."""
        for place, (step, stats) in enumerate(zip(self.steps, self.stats, strict=True)):
            outputs, gradients, parameters = (table[place] for table in self.tables.values())
            yield {
                "step": step,
                "outputs": {
                    name: OutputMeasure(row, rows, None, None)
                    for name, rows, row in zip(self.modules, self.rows, outputs, strict=True)
                },
                "gradients": {name: GradientMeasure(row) for name, row in zip(self.modules, gradients, strict=True)},
                "parameters": dict(zip(self.parameters, parameters, strict=True)),
                **stats,
            }


class LivePlan:
    """Measures outputs, parameters and the gradients of both. All are float32 and contiguous, and exist at every step.

    tensors: their `reader`. parameters: the name of each, and the part that is measured. groups: for each parameter, the place of
    its learning rate among those given to `keep`. look: called with an output or a gradient, and its place, if `listen` asked for
    it.

    live: takes outputs and gradients from the `native.OutputHook` of each output. `live.heard`: the number of outputs in this
    step; `live.expected`: whether all of this step was as expected so far.
    """

    def __init__(
        self,
        tensors: Any,
        outputs: Sequence[LiveOutput],
        parameters: Sequence[tuple[str, Picked]],
        groups: Sequence[int],
        look: Callable[[int, Any], None],
    ) -> None:
        self.outputs = list(outputs)
        self.parameters = list(parameters)
        self._modules, self._names = tuple(output.name for output in outputs), tuple(name for name, _ in parameters)
        self._kinds = [("output", name) for name in self._modules] + [("gradient", name) for name in self._modules]
        self._histograms: list[tuple[str, str, int, Bins]] = []
        self._tables: dict[int, NDArray[np.floating[Any]]] = {}  # outputs that get a map, at the last step with details
        self.groups = list(groups)
        own, made = [part for _, part in parameters], [output.part for output in outputs]
        self._sizes = np.array([part.size for part in own], dtype=np.float64)
        self._looked_at = np.array([part.looked_at for part in own], dtype=np.float64)
        self._starts = np.cumsum([part.looked_at for part in own])[:-1]
        self._earlier = np.empty(sum(part.looked_at for part in own), dtype=np.float32)  # the parameters before the step
        room = STEPS + 1  # the present step's may be needed before the kept steps are handed over
        self._moments = np.empty((room, 2 * (len(own) + len(made)), len(MOMENTS)))
        self._moved = np.empty((room, len(own), len(MOMENTS)))
        self._zones: list[tuple[int, int]] = []  # place of the output, column of the figure: saturated before dead
        zones = []
        for place, output in enumerate(outputs):
            entry = ACTIVATIONS.get(output.activation)
            for column, zone in ((_SATURATED, entry and entry.saturated), (_DEAD, entry and entry.dead)):
                if zone:
                    self._zones.append((place, column))
                    zones.append((place, zone.low, zone.high, zone.inside, column == _DEAD))
        self._totals = np.empty((room, len(zones)))
        tables = self._moments, self._moved, self._earlier, self._totals
        self.live = native.Live(tensors, own, made, zones, *tables, range_of, look)
        self._steps: list[int] = []
        self._stats: list[dict[str, float]] = []
        self._rates: list[list[float]] = []
        self._duplicates: list[tuple[int, list[float]]] = []

    @property
    def full(self) -> bool:
        """Whether no other step can be kept before `frame` is called."""
        return len(self._steps) == STEPS

    def listen(self, *, detail: bool, looked: Sequence[int] = ()) -> None:
        """A step begins. detail: also histograms of outputs and gradients. looked: the places that `look` is called with; the
        gradient of an output has its place plus the number of outputs.
        """
        self.live.listen(len(self._steps), BINS if detail else 0, looked)

    def before(self, parameters: list[Any]) -> bool:
        """Measure just before the step. False if something was not as before: then this step has no figures here."""
        return bool(self.live.before(parameters))

    def after(self, parameters: list[Any]) -> None:
        """Measure the parameters just after the step; NaN if the step moved them to other memory."""
        self.live.after(parameters)

    @property
    def mapped(self) -> list[int]:
        """Places of the outputs that `map` takes."""
        return sorted({place for place, _ in self._zones})

    def map(self, place: int, table: NDArray[np.floating[Any]]) -> None:
        """Take an output, (rows, units), for a snapshot; only the last one of a frame is made."""
        self._tables[place] = table

    def keep(
        self, step: int, stats: dict[str, float], rates: list[float], duplicate: list[float] | None, *, detail: bool
    ) -> None:
        """The step just measured has the number `step`. stats: more may be added until `frame` is called. rates: learning rates.
        duplicate: of each parameter, None if they were not searched. detail: as in `listen`.
        """
        self.live.keep()
        if detail:
            ends, counts = self.live.details()
            kinds = (self._kinds[place] for place, _, _ in ends)
            self._histograms += [
                (*kind, step, Bins(row, low, high)) for kind, (_, low, high), row in zip(kinds, ends, counts, strict=True)
            ]
        if duplicate is not None:
            self._duplicates.append((len(self._steps), duplicate))
        self.kept(step, stats, rates)

    def kept(self, step: int, stats: dict[str, float], rates: list[float]) -> None:
        """A step that `native.Run` measured and kept has this number; stats and rates as in `keep`."""
        self._steps.append(step)
        self._stats.append(stats)
        self._rates.append(rates)

    def earlier(self) -> list[NDArray[np.float32]]:
        """The measured part of the parameters, before the step."""
        return np.split(self._earlier, self._starts)

    @quiet
    def frame(self) -> Frame | None:
        """Return the steps kept so far and forget them; None if there are none. After they are recorded, call `restart`."""
        steps, many = self._steps, len(self._steps)
        if not many:
            return None
        count, own = len(self.outputs), len(self.parameters)
        moments, moved = self._moments[:many], self._moved[:many]
        values, slopes, made, returned = np.split(moments, [own, 2 * own, 2 * own + count], axis=1)
        outputs = output_rows(made)
        for (place, column), totals in zip(self._zones, self._totals[:many].T, strict=True):
            # Of all finite values, or of all units.
            outputs[:, place, column] = totals / (made[:, place, 0] if column == _SATURATED else self.outputs[place].part.units)
            if column == _DEAD:
                outputs[made[:, place, 0] == 0, place, column] = nan
        rates = np.array(self._rates, dtype=np.float64)[:, self.groups]
        duplicate = np.full((many, own), nan)
        for place, row in self._duplicates:
            duplicate[place] = row
        parameters = parameter_rows(values, slopes, moved, np.sqrt(self._sizes), self._looked_at, rates, duplicate)
        squares = parameters[..., _NORM] ** 2
        norms = np.where(np.isnan(squares).all(axis=1), np.nan, np.sqrt(np.nansum(squares, axis=1)))
        stats = self._stats
        for each, norm in zip(stats, norms.tolist(), strict=True):
            each["gradient_norm"] = norm
        self._steps, self._stats, self._rates, self._duplicates = [], [], [], []
        tables = {"outputs": outputs, "gradients": gradient_rows(returned), "parameters": parameters}
        maps = [(self._modules[place], snapshot_of(table)) for place, table in self._tables.items()]
        rows = [output.part.rows for output in self.outputs]
        histograms, self._histograms, self._tables = self._histograms, [], {}
        return Frame(steps, stats, self._modules, self._names, tables, rows, self._units(many), histograms, maps)

    def restart(self) -> None:
        """The next kept step, which may have begun already, is the first one again."""
        self.live.restart()

    def _units(self, steps: int) -> dict[str, UnitTotals]:
        """The counts of the modules that have zones."""
        found: dict[str, UnitTotals] = {}
        sums, streaks = self.live.units()
        start = 0
        for place, column in self._zones:
            output = self.outputs[place]
            here = slice(start, start := start + output.part.units)
            totals = found.get(output.name, UnitTotals(output.part.units, steps, steps * output.part.rows))
            if column == _SATURATED:
                found[output.name] = totals._replace(saturated=sums[here])
            else:
                found[output.name] = totals._replace(dead=sums[here], streak=streaks[here])
        return found
