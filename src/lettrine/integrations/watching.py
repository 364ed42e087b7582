"""The common part of the callbacks for all frameworks: begin a watch, hand losses over, print and save the report at the end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from lettrine.arguments import checked
from lettrine.errors import LettrineError
from lettrine.health.findings import Finding, Report
from lettrine.health.observers import LOGGER, Observers, OnFinding
from lettrine.health.schedule import Schedule
from lettrine.health.tracking import LogTo
from lettrine.integrations.going_on import going_on
from lettrine.integrations.telling import save_page
from lettrine.torch.watch import watch
from lettrine.torch.watching.watch import Watch


def _nobody(_: Finding) -> None:
    """Do nothing with a finding: the log has it anyway."""


@checked
class Watching:
    """Watches one training after another.

    every, classes, on_finding, stop_on, log_to, live: as in `health.watch`. show: print the report at the end. save: write it
    into `folder`, or else into the log folder of the framework if it has one: health.html, or health.txt without the extra
    `report`.
    Raises HealthError for values out of range.

    watch: of the present training, or of the last one. report: of the last one; None if it has none.
    """

    def __init__(
        self,
        *,
        every: int | None = None,
        classes: int = 0,
        on_finding: OnFinding | None = None,
        stop_on: str | None = None,
        log_to: LogTo | None = None,
        live: bool = False,
        show: bool = True,
        save: bool = True,
        folder: str | Path | None = None,
    ) -> None:
        Schedule(every or 0)  # raise for values out of range now, not when the training begins
        Observers().tell(on_finding, stop_on)
        self._options: dict[str, Any] = {"every": every, "classes": classes, "stop_on": stop_on, "log_to": log_to, "live": live}
        self._options["on_finding"] = on_finding or _nobody
        self._show, self._save, self._folder = show, save, folder
        self.watch: Watch | None = None
        self.report: Report | None = None

    def begin(self, model: Any, optimizer: Any, state: dict[str, Any] | None = None, **options: Any) -> None:
        """A training begins. state: of the watch of a training that it resumes; its step alone, if no more is known of it."""
        self.leave()
        self.report, earlier = None, self.watch
        try:
            self.watch = watch(model, optimizer, **{**self._options, **options})
            if state := going_on(earlier, self.watch, state):
                self.watch.load_state_dict(state)
            self.watch.start()
        except LettrineError as error:  # the training goes on without a watch
            LOGGER.error("%s", error)

    @property
    def should_stop(self) -> bool:
        """Whether something as severe as `stop_on` was found."""
        return self.watch is not None and self.watch.should_stop

    def leave(self) -> None:
        """Stop watching."""
        if self.watch is not None:
            self.watch.close()

    def end(self, folder: str | Path | None = None, *, told: bool = True) -> None:
        """The training is over: judge it. folder: for the framework's own logs. told: whether this process prints and saves."""
        if self.watch is None or self.report is not None:
            return
        self.leave()
        try:
            self.report = self.watch.report()
            told = told and not self.watch.rank
            if told and self._show:
                sys.stdout.write(f"\n{self.report}\n")  # a progress bar may not have ended its line
            folder = self._folder or folder
            if told and self._save and folder is not None:
                LOGGER.info("the report is in %s", save_page(self.report, Path(folder)))
        except LettrineError as error:
            LOGGER.error("%s", error)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "watch": None}  # a copy or a pickle of a callback watches nothing
