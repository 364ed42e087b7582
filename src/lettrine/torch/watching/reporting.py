"""The report of a watch. The checks run again only if something new was recorded. With a task, experiments are made as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from lettrine.health.findings import Report
from lettrine.health.trace import Trace
from lettrine.torch.watching.probes import Probes
from lettrine.torch.watching.start import Start

Task: TypeAlias = tuple[Any, Callable[..., Any]] | str | None
"""A task for a watch: batches and a loss function, or the name of a function that makes a task."""


class Reporting:
    """Makes the reports of one watch."""

    def __init__(self, probes: Probes, task: Task, minutes: float) -> None:
        self._probes, self._task, self._minutes = probes, task, minutes
        self._start = Start(probes) if isinstance(task, tuple) else None  # a task by name builds its own model
        self._judged: tuple[Any, Report] | None = None
        self._tried: Report | None = None

    def of(self, trace: Trace, version: Any, *, over: bool) -> Report:
        """The report of a trace. version: of the trace. over: whether the watch has closed, so that experiments may run."""
        from lettrine.health.checks import examine  # noqa: PLC0415  reading a trace needs all checks, watching needs none

        if self._judged is None or self._judged[0] != (version, over):
            self._judged = ((version, over), self._with_experiments(examine(trace if over else trace.unfinished), over=over))
        return self._judged[1]

    def for_trackers(self, trace: Trace, version: Any) -> Report:
        """The same without experiments; only who asks for a report wants these."""
        from lettrine.health.checks import examine  # noqa: PLC0415

        return self.of(trace, version, over=True) if self._task is None else examine(trace)

    def _with_experiments(self, watched: Report, *, over: bool) -> Report:
        from lettrine.health.combining import suggesting  # noqa: PLC0415  watching needs none

        if self._task is None or not over:
            return suggesting(watched)
        from lettrine.torch.checkup import checkup  # noqa: PLC0415  only who asks for experiments pays for them

        if self._tried is None:
            if isinstance(self._task, str):
                self._tried = checkup(task=self._task, minutes=self._minutes, watched=watched)
            else:
                optimiser = self._probes.optimisers[0] if self._probes.optimisers else None
                assert self._start is not None  # noqa: S101  for the type checker
                with self._start.again(optimiser):
                    self._tried = checkup(self._probes.model, *self._task, optimiser, minutes=self._minutes, watched=watched)
        return self._tried
