"""Callbacks of a training that goes on: at each sampled step, and at each new finding."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from lettrine.errors import HealthError, quote
from lettrine.health.findings import SEVERITIES, Finding
from lettrine.health.trace import Trace

LOOK_SECONDS: Final = 2.0  # at least, between two runs of the checks while a training goes on, and
LOOK_SHARE: Final = 0.01  # of the time at most is spent on all these runs

LOGGER: Final = logging.getLogger("lettrine.health")
_LEVELS: Final = dict(zip(SEVERITIES, (logging.INFO, logging.WARNING, logging.ERROR), strict=True))

OnSample = Callable[[int, Mapping[str, float]], None]
OnFinding = Callable[[Finding], None]


class Observers:
    """Those who asked to be told.

    on_sample: called with a sampled step and its figures, by the keys of `lettrine.health.scalars`. on_finding: called with each
    finding when it first appears, and again when it has become more severe. should_stop: whether one was as severe as was asked
    for.
    """

    def __init__(self) -> None:
        self.on_sample: list[OnSample] = []
        self.on_finding: list[OnFinding] = []
        self.should_stop = False
        self._told: dict[str, int] = {}
        self._looked = time.perf_counter()
        self._wait = LOOK_SECONDS

    def tell(self, on_finding: OnFinding | None, stop_on: str | None) -> None:
        """Tell `on_finding` and the log of what is found, and note whether anything was as severe as `stop_on`."""
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
        """A step was sampled; its figures are gathered only if somebody listens."""
        if self.on_sample:
            gathered = figures()
            for each in self.on_sample:
                each(step, gathered)

    def look(self, trace: Callable[[], Trace], *, now: bool = False) -> tuple[Finding, ...]:
        """Run the checks if it is time, or `now`; returns what was not known before, worst first told to `on_finding`."""
        if not now and time.perf_counter() - self._looked < self._wait:
            return ()
        from lettrine.health.checks import examine  # noqa: PLC0415  recording needs no check, and is started more often

        began = time.perf_counter()
        fresh = tuple(each for each in examine(trace()).findings if SEVERITIES.index(each.severity) > self._told.get(each.id, -1))
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
