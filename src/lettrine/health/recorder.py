"""Where the figures of sampled steps go: bounded in memory, however long the run.

A producer (the torch watch, the trainer) samples step 0, and after each sampled step asks `Schedule.after` for the next one. It
measures a sampled step with `lettrine.health.measure` and hands the figures to `Recorder.record`, and the loss of every step.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import isfinite, nan
from operator import index
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lettrine.arguments import checked
from lettrine.errors import HealthError, quote
from lettrine.health.evidence import Evidence
from lettrine.health.gathering import Buckets, Thinned, UnitSums, recent_curve, units_of
from lettrine.health.live import Frame
from lettrine.health.measure import GradientMeasure, OutputMeasure
from lettrine.health.moments import Bins
from lettrine.health.observers import Observers
from lettrine.health.scalars import of_step
from lettrine.health.schedule import Schedule
from lettrine.health.trace import (
    BINS,
    GRADIENT_STATS,
    NORM_STATS,
    OUTPUT_STATS,
    PARAMETER_STATS,
    RECENT,
    STEP_STATS,
    Facts,
    Floats,
    Histogram,
    ModuleInfo,
    NonFinite,
    ParameterInfo,
    Trace,
)

RUN: Final = 2**16  # losses kept as they came before they are brought into a curve
RECORDS: Final = 1_024  # sampled steps kept, and
ROWS: Final = 131_072  # rows of figures in all of them: a network of a thousand modules keeps fewer steps
DETAILS: Final = 96  # histograms kept of each module, and
HISTOGRAMS: Final = 8_192  # of all
LEAST: Final = 32  # kept in any case


@checked
class Recorder:
    """Gathers figures step by step and makes a `Trace` of them at any time.

    modules, parameters: what is watched, by qualified name, in the order of the first forward pass; add to them whenever
    something new appears. facts: what is known of the run; replace it at will. observers: who is told as it goes.
    """

    def __init__(self, schedule: Schedule | None = None, facts: Facts | None = None) -> None:
        self.schedule = schedule or Schedule()
        self.facts = facts or Facts()
        self.modules: dict[str, ModuleInfo] = {}
        self.parameters: dict[str, ParameterInfo] = {}
        self.first_nonfinite: NonFinite | None = None
        self.observers = Observers()
        self.version = 0  # grows with whatever is recorded: a report is as new as the version it was made from
        self._evidence: dict[tuple[str, tuple[str, ...]], Evidence] = {}
        self._next_detail = 0
        self._next_search = 0
        self._last = -1
        self._rows = Thinned[dict[str, Any]]()
        self._histograms: dict[tuple[str, str], Thinned[tuple[int, Bins]]] = {}
        self._units: dict[str, UnitSums] = {}
        self._maps: dict[str, dict[str, NDArray[np.float16]]] = {}
        self._loss = Buckets()
        self._run: list[NDArray[np.float64]] = []  # losses of steps that follow one another, not yet in the curve
        self._begun = self._gathered = 0  # the first of them, and how many they are
        self._recent: deque[tuple[int, float]] = deque(maxlen=RECENT)
        self._dev = Buckets()

    def detailed(self, step: int) -> bool:
        """Whether to take histograms and maps too, and to follow gradients from the backward pass to the step, if this step is
        sampled: at the first steps, then whenever the steps taken have doubled.
        """
        return step >= self._next_detail

    def noted(self, step: int) -> None:
        """This step has been looked at as was due; `record` says so by itself."""
        if step >= self._next_detail:
            self._next_detail = step + max(1, step)
        if step >= self._next_search:
            self._next_search = 4 * step + 2

    @property
    def quiet_until(self) -> int:
        """The next step that is `detailed` or `searched`, if it is sampled."""
        return min(self._next_detail, self._next_search)

    def searched(self, step: int) -> bool:
        """Whether to search for units that are copies of each other too, if this step is sampled; that takes longest."""
        return step >= self._next_search

    @checked
    def add(self, *infos: ModuleInfo | ParameterInfo) -> None:
        """Make modules and parameters known, or known better."""
        for info in infos:
            if isinstance(info, ModuleInfo):
                self.modules[info.name] = info
            else:
                self.parameters[info.name] = info

    @checked
    def record(
        self,
        step: int,
        *,
        outputs: Mapping[str, OutputMeasure] | None = None,
        gradients: Mapping[str, GradientMeasure] | None = None,
        parameters: Mapping[str, Floats] | None = None,
        norms: Mapping[str, Floats] | None = None,
        **stats: float,
    ) -> None:
        """One sampled step: figures by module or parameter name, in the order of the forward pass, and STEP_STATS by keyword.

        Does not record the loss for the curve: `record_loss` does, for every step. What is not given is NaN.
        Raises HealthError for a name that was not added, a figure that is not in STEP_STATS, or a step before the last one.
        """
        self.take(step, outputs or {}, gradients or {}, parameters or {}, norms or {}, **stats)

    def take(
        self,
        step: int,
        outputs: Mapping[str, OutputMeasure],
        gradients: Mapping[str, GradientMeasure],
        parameters: Mapping[str, Floats],
        norms: Mapping[str, Floats],
        **stats: float,
    ) -> None:
        """What `record` does, without a look at the types: for a producer that samples many modules often."""
        self._check(step, (*outputs, *gradients, *norms), parameters, stats)
        known = self.first_nonfinite
        if known is None or known.step > step or (known.step == step and not known.where):
            self._look_for_nonfinite(step, outputs, gradients, parameters, stats)
        names = len(outputs) + len(gradients) + len(parameters) + len(norms)
        self._rows.append(
            {
                "step": step,
                "stats": stats,
                "outputs": (tuple(outputs), [measure.row for measure in outputs.values()]),
                "gradients": (tuple(gradients), [measure.row for measure in gradients.values()]),
                "parameters": (tuple(parameters), list(parameters.values())),
                "norms": (tuple(norms), list(norms.values())),
            },
            limit=self._row_limit(names),
        )
        for kind, measures in (("output", outputs), ("gradient", gradients)):
            for name, measure in measures.items():
                if measure.histogram is not None:
                    self._keep_histogram(kind, name, step, measure.histogram)
        for name, output in outputs.items():
            if output.dead is not None or output.saturated is not None:
                self._sums(name, units_of(output)).add(output)
            if output.snapshot is not None:
                self._keep_map(name, output.snapshot)
        self._plan_after(step)
        measured: dict[str, Any] = {"outputs": outputs, "gradients": gradients}
        self.observers.sampled(step, partial(_scalars_of, measured, {"parameters": parameters, "norms": norms}, stats))

    def record_frame(self, frame: Frame) -> None:
        """Several sampled steps of the same modules and parameters: what `record` would do with each."""
        if frame.finite:
            self._record_tables(frame)
        else:
            for figures in frame.each():
                self.take(norms={}, **figures)
        for name, totals in frame.units.items():
            self._sums(name, totals.units).add_steps(totals)
        for kind, name, step, bins in frame.histograms:
            self._keep_histogram(kind, name, step, bins)
        for name, snapshot in frame.maps:
            self._keep_map(name, snapshot)

    def _record_tables(self, frame: Frame) -> None:
        self._check(frame.steps[0], frame.modules, frame.parameters, frame.stats[0])
        limit = self._row_limit(2 * len(frame.modules) + len(frame.parameters))
        of = {"outputs": frame.modules, "gradients": frame.modules, "parameters": frame.parameters}
        flat = [table.reshape(len(frame.steps), -1) for table in frame.tables.values()]
        ends = np.cumsum([0, *(table.shape[1] for table in flat)]).tolist()
        layout = {kind: (of[kind], slice(*pair)) for kind, pair in zip(frame.tables, itertools.pairwise(ends), strict=True)}
        # Copies: a view would keep the whole frame, of which few steps may be kept in the end.
        for place, (step, stats, row) in enumerate(zip(frame.steps, frame.stats, np.concatenate(flat, axis=1), strict=True)):
            self._rows.append({"step": step, "stats": stats, "layout": layout, "row": row.copy()}, limit=limit)
            self.observers.sampled(step, partial(_scalars_of_frame, frame, of, place))
        self._plan_after(frame.steps[-1])

    def _plan_after(self, step: int) -> None:
        self.noted(step)
        self.version += 1
        self._last = step

    def _row_limit(self, names: int) -> int:
        return max(LEAST, min(RECORDS, ROWS // max(names, 1)))

    def _keep_histogram(self, kind: str, name: str, step: int, bins: Bins) -> None:
        details = max(LEAST, min(DETAILS, HISTOGRAMS // max(2 * len(self.modules), 1)))
        self._histograms.setdefault((kind, name), Thinned()).append((step, bins), limit=details)

    def _keep_map(self, name: str, snapshot: NDArray[np.float16]) -> None:
        self._maps.setdefault(name, {"first": snapshot})["last"] = snapshot

    def _sums(self, name: str, units: int) -> UnitSums:
        if name not in self._units:
            self._units[name] = UnitSums(units)
        return self._units[name]

    def record_loss(self, step: int, loss: float) -> None:
        """The loss of one step, sampled or not; several at one step are averaged."""
        self.record_losses([_point(step, loss)])

    def record_losses(self, losses: Sequence[tuple[int, float]]) -> None:
        """The losses of many steps, (step, loss), in order."""
        self.version += 1
        self._gather()
        self._loss.add(losses)
        self._recent.extend(losses)
        for step, loss in losses:
            if not isfinite(loss):
                self.note_nonfinite(step, "", "loss")
                break

    def record_run(self, first: int, losses: NDArray[np.float64]) -> None:
        """The losses of steps that follow one another from `first` on."""
        if not np.isfinite(losses).all():
            self.record_losses(list(enumerate(losses.tolist(), first)))
            return
        self.version += 1
        if first != self._begun + self._gathered or self._gathered > RUN:
            self._gather()
        if not self._run:
            self._begun = first
        self._run.append(losses)
        self._gathered += len(losses)

    def _gather(self) -> None:
        """Bring the run of losses into the curve: many at once take a fraction of the time."""
        if not self._run:
            return
        losses, first = np.concatenate(self._run), self._begun
        self._run, self._gathered = [], 0
        self._loss.add_run(first, losses)
        late = max(len(losses) - RECENT, 0)
        self._recent.extend(enumerate(losses[late:].tolist(), first + late))

    @checked
    def record_dev(self, step: int, loss: float) -> None:
        """The loss on held-out data after `step` steps."""
        self.version += 1
        self._dev.add([_point(step, loss)])

    def note_nonfinite(self, step: int, where: str, phase: str, *, exact: bool = True) -> None:
        """Where the first value that is not finite was met; of several notes, the first of the earliest step is kept,
        and at one step one that names a module is better than one that names none.
        """
        known = self.first_nonfinite
        if known is None or step < known.step or (step == known.step and where and not known.where):
            self.version += 1
            self.first_nonfinite = NonFinite(step, where, phase, exact)

    @checked
    def note_evidence(self, evidence: Evidence) -> None:
        """Something was seen; what is of the same kind and place takes the place of what was noted before."""
        self.version += 1
        self._evidence[evidence.kind, evidence.where] = evidence

    def note_error(self, error: str) -> None:
        """Something went wrong inside the health code; shown in the report, once."""
        if error not in self.facts.errors:
            self.version += 1
            self.facts = replace(self.facts, errors=(*self.facts.errors, error))

    def trace(self) -> Trace:
        """Everything recorded so far. The recorder goes on unharmed."""
        self._gather()
        records = list(self._rows)
        steps = np.array([record["step"] for record in records], dtype=np.int64)
        stats = {name: np.array([record["stats"].get(name, nan) for record in records], dtype=np.float64) for name in STEP_STATS}
        return Trace(
            modules=tuple(self.modules.values()),
            parameters=tuple(self.parameters.values()),
            facts=self.facts,
            steps=steps,
            step_stats=stats,
            outputs=_stack(records, "outputs", self.modules, len(OUTPUT_STATS)),
            gradients=_stack(records, "gradients", self.modules, len(GRADIENT_STATS)),
            parameter_stats=_stack(records, "parameters", self.parameters, len(PARAMETER_STATS)),
            norms=_stack(records, "norms", self.modules, len(NORM_STATS)),
            output_histograms=self._histograms_of("output"),
            gradient_histograms=self._histograms_of("gradient"),
            units={name: sums.units() for name, sums in self._units.items()},
            maps={name: dict(pair) for name, pair in self._maps.items()},
            loss=self._loss.curve(),
            recent=recent_curve(self._recent),
            dev=self._dev.curve(),
            first_nonfinite=self.first_nonfinite,
            evidence=tuple(self._evidence.values()),
        )

    def _check(self, step: int, modules: Iterable[str], parameters: Iterable[str], stats: Mapping[str, float]) -> None:
        if step <= self._last:
            raise HealthError(f"record got step {step} after step {self._last}; expected steps in order, each once")
        for name in modules:
            if name not in self.modules:
                raise HealthError(f"record got the module {name!r}, which was not added; call add(ModuleInfo({name!r}, …)) first")
        for name in parameters:
            if name not in self.parameters:
                raise HealthError(
                    f"record got the parameter {name!r}, which was not added; call add(ParameterInfo({name!r}, …)) first"
                )
        for name in stats:
            if name not in STEP_STATS:
                raise HealthError(f"record got {name!r}; expected figures of a step among {', '.join(STEP_STATS)}")

    def _look_for_nonfinite(
        self,
        step: int,
        outputs: Mapping[str, OutputMeasure],
        gradients: Mapping[str, GradientMeasure],
        parameters: Mapping[str, Floats],
        stats: Mapping[str, float],
    ) -> None:
        """In the order of one step: forward from the input on, loss, backward from the output on, parameters, update.

        An output that is not finite while loss, gradients and weights are is meant so, such as scores masked by -inf.
        """
        exact = step <= self._last + 1
        output_column, gradient_column = OUTPUT_STATS.index("nonfinite"), GRADIENT_STATS.index("nonfinite")
        slope_column, data_column = PARAMETER_STATS.index("gradient_nonfinite"), PARAMETER_STATS.index("nonfinite")
        backward = reversed(list(gradients.items()))
        found = [(name, "backward") for name, measure in backward if measure.row[gradient_column] > 0]
        for column, phase in ((slope_column, "backward"), (data_column, "update")):
            found += [(name, phase) for name, row in parameters.items() if row[column] > 0]
        if not isfinite(stats.get("loss", 0.0)):
            found.insert(0, ("", "loss"))
        if found or ("loss" not in stats and not gradients):
            found = [(name, "forward") for name, output in outputs.items() if output.row[output_column] > 0] + found
        if found:
            self.note_nonfinite(step, *found[0], exact=exact)

    def _histograms_of(self, kind: str) -> dict[str, Histogram]:
        made = {}
        for (of, name), kept in self._histograms.items():
            if of == kind:
                steps, bins = zip(*kept, strict=True)
                made[name] = Histogram(
                    np.array(steps, dtype=np.int64),
                    np.array([each.counts for each in bins], dtype=np.float64).reshape(len(bins), BINS),
                    np.array([each.low for each in bins], dtype=np.float64),
                    np.array([each.high for each in bins], dtype=np.float64),
                )
        return made


def _stack(records: list[dict[str, Any]], kind: str, known: Iterable[str], width: int) -> dict[str, Floats]:
    """(K, width) of each name that was recorded at all, NaN where it was not."""
    found: dict[str, Floats] = {}
    places: dict[tuple[str, ...], list[Floats]] = {}
    for number, record in enumerate(records):
        names, rows = _rows(record, kind)
        if names not in places:
            for name in names:
                found.setdefault(name, np.full((len(records), width), nan))
            places[names] = [found[name] for name in names]
        for table, row in zip(places[names], rows, strict=True):
            table[number] = row
    return {name: found[name] for name in known if name in found}


def _rows(record: dict[str, Any], kind: str) -> tuple[tuple[str, ...], Sequence[Floats] | Floats]:
    """Names and rows of one kind, of a step that was recorded alone or in a frame."""
    if "layout" not in record:
        return record[kind]  # type: ignore[no-any-return]
    names, place = record["layout"].get(kind, ((), slice(0)))
    return names, record["row"][place].reshape(len(names), -1) if names else ()


def _point(step: Any, loss: Any) -> tuple[int, float]:
    try:
        return index(step), float(loss)
    except (TypeError, ValueError, OverflowError):
        raise HealthError(f"the recorder got the loss {quote(loss)} of step {quote(step)}; expected two numbers") from None


def _scalars_of(measured: Mapping[str, Any], rows: Mapping[str, Any], stats: Mapping[str, float]) -> Mapping[str, float]:
    """measured: of outputs and gradients, whose rows are inside; rows: of the rest."""
    tables = {kind: {name: each.row for name, each in found.items()} for kind, found in measured.items()}
    return of_step({**tables, **rows}, stats)


def _scalars_of_frame(frame: Frame, names: Mapping[str, Sequence[str]], place: int) -> Mapping[str, float]:
    tables: dict[str, Any] = {kind: dict(zip(names[kind], table[place], strict=True)) for kind, table in frame.tables.items()}
    return of_step(tables, frame.stats[place])
