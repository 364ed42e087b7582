"""Figures of the same modules and parameters at one step after another, read where their values lie in memory.

What `measure` does with arrays, for a producer that samples often and whose arrays (tensors of another library) lie elsewhere
at every step: two compiled calls a step and nothing else, and the figures of many steps worked out together afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from lettrine.health.limits import ACTIVATIONS
from lettrine.health.measure import GradientMeasure, OutputMeasure, gradient_rows, output_rows, parameter_rows, quiet
from lettrine.health.moments import MOMENTS, native
from lettrine.health.trace import GRADIENT_STATS, OUTPUT_STATS, PARAMETER_STATS, Floats

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
    """Of one module at K steps: dead (K, U), 1 where a unit is dead; saturated (K, U), how many of its values are saturated; NaN
    where the activation table has no such zone. rows: examples of all steps together.
    """

    dead: Floats
    saturated: Floats
    rows: int

    @property
    def units(self) -> int:
        """How many units the module has."""
        return int(self.dead.shape[1])


@dataclass(frozen=True)
class Frame:
    """Figures of K sampled steps, as `Recorder.record_frame` wants them.

    stats: STEP_STATS of each step. tables: OUTPUT_STATS (K, M, ·) and GRADIENT_STATS (K, M, ·) of the modules, PARAMETER_STATS
    (K, P, ·) of the parameters. rows: examples of each module. units: flags of the modules that have any.
    """

    steps: list[int]
    stats: list[dict[str, float]]
    modules: list[str]
    parameters: list[str]
    tables: tuple[Floats, Floats, Floats]
    rows: list[int]
    units: Mapping[str, UnitFlags]

    @property
    def finite(self) -> bool:
        """Whether nothing in it was NaN or infinite, losses included."""
        outputs, gradients, parameters = self.tables
        lost = outputs[..., _NONFINITE].any() or gradients[..., _SLOPE_NONFINITE].any()
        return not (lost or parameters[..., _PARAMETER_NONFINITE].any()) and bool(
            np.isfinite([stats.get("loss", 0.0) for stats in self.stats]).all()
        )

    def each(self) -> Iterator[dict[str, Any]]:
        """The arguments of `Recorder.record` for one step after another."""
        for place, (step, stats) in enumerate(zip(self.steps, self.stats, strict=True)):
            outputs, gradients, parameters = (table[place] for table in self.tables)
            measures = {}
            for name, rows, row in zip(self.modules, self.rows, outputs, strict=True):
                flags = self.units.get(name)
                dead = None if flags is None or np.isnan(flags.dead[place, 0]) else flags.dead[place] == 1.0
                saturated = None if flags is None or np.isnan(flags.saturated[place, 0]) else flags.saturated[place] / rows
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
        self._taken = 0  # steps measured; those kept are fewer by one until all is known of the last
        self._steps: list[int] = []
        self._stats: list[dict[str, float]] = []
        self._rates: list[list[float]] = []

    @property
    def full(self) -> bool:
        """Whether no other step can be measured before `frame` is called."""
        return self._taken == STEPS

    def before(self, addresses: list[int]) -> None:
        """Measure just before the step. addresses: of parameters, their gradients, outputs, their gradients."""
        place, at = self._taken, np.array(addresses, dtype=np.int64)
        native.moments_at(at, self._sizes, self._moments[place], None, self._copies)
        if self._zones:
            native.zone_counts_at(at[self._zoned_addresses], self._rows, self._units, self._zones, self._counts[place])

    def after(self, addresses: list[int]) -> None:
        """Measure the parameters just after the step."""
        native.moments_at(np.array(addresses, dtype=np.int64), self._own_sizes, self._moved[self._taken], self._copies)
        self._taken += 1

    def keep(self, step: int, stats: dict[str, float], learning_rates: list[float]) -> None:
        """The step measured last was step number `step`; learning_rates: of each parameter."""
        self._steps.append(step)
        self._stats.append(stats)
        self._rates.append(learning_rates)

    @quiet
    def frame(self) -> Frame:
        """The steps kept so far, which are then forgotten."""
        steps, many = self._steps, len(self._steps)
        count, own = len(self.outputs), len(self.parameters)
        moments, moved = self._moments[:many], self._moved[:many]
        values, slopes, made, returned = np.split(moments, [own, 2 * own, 2 * own + count], axis=1)
        outputs = output_rows(made)
        flags = self._flags(made[..., 0], outputs)
        rates = np.array(self._rates, dtype=np.float64).reshape(many, own)
        sizes = self._own_sizes.astype(np.float64)
        parameters = parameter_rows(values, slopes, moved, np.sqrt(sizes), sizes, rates)
        squares = parameters[..., _NORM] ** 2
        norms = np.where(np.isnan(squares).all(axis=1), np.nan, np.sqrt(np.nansum(squares, axis=1)))
        stats = [{**stats, "gradient_norm": norm} for stats, norm in zip(self._stats, norms.tolist(), strict=True)]
        self._taken, self._steps, self._stats, self._rates = 0, [], [], []
        modules = [output.name for output in self.outputs]
        tables = outputs, gradient_rows(returned), parameters
        names = [name for name, _ in self.parameters]
        return Frame(steps, stats, modules, names, tables, [output.rows for output in self.outputs], flags)

    def _flags(self, counts: Floats, table: Floats) -> dict[str, UnitFlags]:
        """Flags of the units by module; their totals are written into the table. counts (K, M): finite values of each output."""
        found: dict[str, UnitFlags] = {}
        many = len(counts)
        zones = np.split(self._counts[:many].astype(np.float64), np.cumsum(self._units)[:-1], axis=1) if self._zoned else []
        for number, (place, inside) in enumerate(zip(self._zoned, zones, strict=True)):
            output = self.outputs[place]
            missing = np.full((many, output.units), np.nan)
            flags = found.get(output.name, UnitFlags(missing, missing, many * output.rows))
            if number < self._border:
                found[output.name] = flags._replace(saturated=inside)
                table[:, place, _SATURATED] = inside.sum(axis=1) / counts[:, place]
            else:
                found[output.name] = flags._replace(dead=(inside == output.rows).astype(np.float64))
                share = np.mean(inside == output.rows, axis=1)
                table[:, place, _DEAD] = np.where(counts[:, place] > 0, share, np.nan)
        return found
