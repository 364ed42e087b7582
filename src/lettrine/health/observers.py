"""Callbacks during a training: at each sampled step, and at each new finding."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from lettrine.errors import HealthError, quote
from lettrine.health.findings import SEVERITIES, Finding
from lettrine.health.trace import Trace

LOOK_SECONDS: Final = 2.0  # between two runs of the checks during a training, at least; and
LOOK_FIRST: Final = 5.0  # seconds before the first run, which takes 0.1: a shorter training pays for none
LOOK_SHARE: Final = 0.01  # of the time, at most, for all these runs

LOGGER: Final = logging.getLogger("lettrine.health")
_LEVELS: Final = dict(zip(SEVERITIES, (logging.INFO, logging.WARNING, logging.ERROR), strict=True))

OnSample = Callable[[int, Mapping[str, float]], None]
OnFinding = Callable[[Finding], None]


class Observers:
    """The functions to call during a training.

    on_sample: called with a sampled step and its figures, by the keys of `lettrine.health.scalars`. on_finding: called with each
    finding when it first appears, and again when it becomes more severe. should_stop: whether a finding was as severe as
    `stop_on`.
    """

    def __init__(self) -> None:
        self.on_sample: list[OnSample] = []
        self.on_finding: list[OnFinding] = []
        self.should_stop = False
        self._told: dict[str, int] = {}
        self._looked = time.perf_counter()
        self._wait = LOOK_FIRST

    def tell(self, on_finding: OnFinding | None, stop_on: str | None) -> None:
        """Give new findings to `on_finding` and to the log, and note whether one is as severe as `stop_on`."""
        if stop_on is not None and stop_on not in SEVERITIES:
            raise HealthError(f"stop_on got {quote(stop_on)}; expected one of {', '.join(SEVERITIES)}")
        if on_finding is not None or stop_on is not None:
            self.on_finding.append(log)
        if on_finding is not None:
            self.on_finding.append(on_finding)
        if stop_on is not None:
            self.on_finding.append(lambda found: self._stop(found.severity, stop_on))

    def _stop(self, severity: str, stop_on: str) -> None:
        self.should_stop = self.should_stop or SEVERITIES.index(severity) >= SEVERITIES.index(stop_on)

    def sampled(self, step: int, figures: Callable[[], Mapping[str, float]]) -> None:
        """A step was sampled. Its figures are computed only if a function wants them."""
        if self.on_sample:
            gathered = figures()
            for each in self.on_sample:
                each(step, gathered)

    def look(self, trace: Callable[[], Trace], *, now: bool = False) -> tuple[Finding, ...]:
        """Run the checks if it is time, or if `now`. Returns the new findings; `on_finding` gets the worst first."""
        if not now and time.perf_counter() - self._looked < self._wait:
            return ()
        from lettrine.health.checks import examine  # noqa: PLC0415  recording needs no check, and is started more often

        began = time.perf_counter()
        fresh = tuple(
            each for each in examine(trace().unfinished).findings if SEVERITIES.index(each.severity) > self._told.get(each.id, -1)
        )
        for finding in fresh:
            self._told[finding.id] = SEVERITIES.index(finding.severity)
            for told in self.on_finding:
                told(finding)
        self._looked = time.perf_counter()
        self._wait = max(LOOK_SECONDS, (self._looked - began) / LOOK_SHARE)
        return fresh


def log(finding: Finding) -> None:
    """Write a finding to the log: "info" as INFO, "warning" as WARNING, "critical" as ERROR."""
    LOGGER.log(_LEVELS[finding.severity], "%s: %s %s", finding.id, finding.message, finding.remedy)
