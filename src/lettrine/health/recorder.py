"""Collects the figures of sampled steps, in bounded memory however long the run is.

A producer (the torch watch, the trainer) samples step 0, and after each sampled step asks `Schedule.after` for the next one. It
measures a sampled step with `lettrine.health.measure` and gives the figures to `Recorder.record`, and the loss of every step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import isfinite
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lettrine.arguments import checked
from lettrine.errors import HealthError, quote
from lettrine.health.curves import Buckets, LossCurve
from lettrine.health.details import Details
from lettrine.health.evidence import Evidence
from lettrine.health.live import Frame
from lettrine.health.measure import GradientMeasure, OutputMeasure
from lettrine.health.nonfinite import met_first
from lettrine.health.observers import Observers
from lettrine.health.rows import Named, SampledRows
from lettrine.health.scalars import of_step
from lettrine.health.schedule import Schedule
from lettrine.health.trace import (
    STEP_STATS,
    Facts,
    Floats,
    ModuleInfo,
    NonFinite,
    ParameterInfo,
    Trace,
)


@checked
class Recorder:
    """Collects figures step by step and makes a `Trace` of them at any time.

    modules, parameters: the watched ones, by qualified name, in the order of the first forward pass; add new ones at any time.
    facts: about the run; replace them at any time. observers: called during the training.
    """

    def __init__(self, schedule: Schedule | None = None, facts: Facts | None = None) -> None:
        self.schedule = schedule or Schedule()
        self.facts = facts or Facts()
        self.modules: dict[str, ModuleInfo] = {}
        self.parameters: dict[str, ParameterInfo] = {}
        self.first_nonfinite: NonFinite | None = None
        self.observers = Observers()
        self.version = 0  # grows whenever something is recorded; while it is the same, so is the report
        self._evidence: dict[tuple[str, tuple[str, ...]], Evidence] = {}
        self._next_detail = 0
        self._next_search = 0
        self._last = -1
        self._rows = SampledRows()
        self._details = Details()
        self._loss = LossCurve()
        self._dev = Buckets()

    def detailed(self, step: int) -> bool:
        """Whether to take histograms and maps too, and to follow gradients from the backward pass to the step, if this step is
        sampled: at the first steps, then whenever the steps taken have doubled.
        """
        return step >= self._next_detail

    def noted(self, step: int) -> None:
        """A sampled step was measured in all due detail. `record` calls this itself."""
        if step >= self._next_detail:
            self._next_detail = step + max(1, step)
        if step >= self._next_search:
            self._next_search = 4 * step + 2

    @property
    def quiet_until(self) -> int:
        """The next step that is `detailed` or `searched`, if it is sampled."""
        return min(self._next_detail, self._next_search)

    def searched(self, step: int) -> bool:
        """Whether to search for units that are copies of each other, if this step is sampled. The search takes longest."""
        return step >= self._next_search

    @checked
    def add(self, *infos: ModuleInfo | ParameterInfo) -> None:
        """Add modules and parameters, or facts about them."""
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
        """The same as `record`, without checking types: for a producer that samples many modules often."""
        self._check(step, (*outputs, *gradients, *norms), parameters, stats)
        known = self.first_nonfinite
        if known is None or known.step > step or (known.step == step and not known.where):
            met = met_first(outputs, gradients, parameters, stats)
            if met is not None:
                self.note_nonfinite(step, *met, exact=step <= self._last + 1)
        rows: dict[str, Named] = {
            "outputs": (tuple(outputs), [measure.row for measure in outputs.values()]),
            "gradients": (tuple(gradients), [measure.row for measure in gradients.values()]),
            "parameters": (tuple(parameters), list(parameters.values())),
            "norms": (tuple(norms), list(norms.values())),
        }
        self._rows.add(step, stats, rows)
        self._details.add(step, outputs, gradients, len(self.modules))
        self._plan_after(step)
        self.observers.sampled(step, partial(_scalars_of, rows, stats))

    def record_frame(self, frame: Frame) -> None:
        """The same as `record` for several sampled steps of the same modules and parameters."""
        if frame.finite:
            self._record_tables(frame)
        else:
            for figures in frame.each():
                self.take(norms={}, **figures)
        self._details.add_frame(frame, len(self.modules))

    def _record_tables(self, frame: Frame) -> None:
        self._check(frame.steps[0], frame.modules, frame.parameters, frame.stats[0])
        self._rows.add_frame(frame)
        for place, step in enumerate(frame.steps):
            self.observers.sampled(step, partial(_scalars_of_frame, frame, place))
        self._plan_after(frame.steps[-1])

    def _plan_after(self, step: int) -> None:
        self.noted(step)
        self.version += 1
        self._last = step

    def record_loss(self, step: int, loss: float) -> None:
        """The loss of one step, sampled or not; several at one step are averaged."""
        self.record_losses([_point(step, loss)])

    def record_losses(self, losses: Sequence[tuple[int, float]]) -> None:
        """The losses of many steps, (step, loss), in order."""
        self.version += bool(losses)
        self._loss.add(losses)
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
        self._loss.add_run(first, losses)

    @checked
    def record_dev(self, step: int, loss: float) -> None:
        """The loss on held-out data after `step` steps."""
        self.version += 1
        self._dev.add([_point(step, loss)])

    def note_nonfinite(self, step: int, where: str, phase: str, *, exact: bool = True) -> None:
        """Note where the first value that is not finite was found.

        Of several notes, the first of the earliest step is kept; at the same step, one that names a module is preferred.
        """
        known = self.first_nonfinite
        if known is None or step < known.step or (step == known.step and where and not known.where):
            self.version += 1
            self.first_nonfinite = NonFinite(step, where, phase, exact)

    @checked
    def note_evidence(self, evidence: Evidence) -> None:
        """Keep evidence. It replaces earlier evidence of the same kind and place; the same evidence again is nothing new."""
        place = evidence.kind, evidence.where
        if repr(self._evidence.get(place)) != repr(evidence):  # NaN is not equal to itself
            self.version += 1
            self._evidence[place] = evidence

    def note_error(self, error: str) -> None:
        """Note an error inside the health code; the report shows it once."""
        if error not in self.facts.errors:
            self.version += 1
            self.facts = replace(self.facts, errors=(*self.facts.errors, error))

    def trace(self) -> Trace:
        """Everything recorded so far. The recorder can go on."""
        return Trace(
            modules=tuple(self.modules.values()),
            parameters=tuple(self.parameters.values()),
            facts=self.facts,
            steps=self._rows.steps(),
            step_stats=self._rows.stats(),
            outputs=self._rows.tables("outputs", self.modules),
            gradients=self._rows.tables("gradients", self.modules),
            parameter_stats=self._rows.tables("parameters", self.parameters),
            norms=self._rows.tables("norms", self.modules),
            output_histograms=self._details.histograms("output"),
            gradient_histograms=self._details.histograms("gradient"),
            units=self._details.units(),
            maps=self._details.maps(),
            loss=self._loss.curve(),
            recent=self._loss.recent(),
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


def _point(step: Any, loss: Any) -> tuple[int, float]:
    try:
        return index(step), float(loss)
    except (TypeError, ValueError, OverflowError):
        raise HealthError(f"the recorder got the loss {quote(loss)} of step {quote(step)}; expected two numbers") from None


def _scalars_of(rows: Mapping[str, Named], stats: Mapping[str, float]) -> Mapping[str, float]:
    tables: dict[str, Any] = {kind: dict(zip(names, table, strict=True)) for kind, (names, table) in rows.items()}
    return of_step(tables, stats)


def _scalars_of_frame(frame: Frame, place: int) -> Mapping[str, float]:
    tables: dict[str, Any] = {
        kind: dict(zip(frame.names(kind), table[place], strict=True)) for kind, table in frame.tables.items()
    }
    return of_step(tables, frame.stats[place])
