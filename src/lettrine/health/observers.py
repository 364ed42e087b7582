"""Who is told while a training goes on: of each sampled step, and of what the checks find."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from lettrine.health.findings import SEVERITIES, Finding
from lettrine.health.trace import Trace

LOOK_SECONDS: Final = 2.0  # between two runs of the checks on a training under way, and
LOOK_SHARE: Final = 0.01  # of the time at most, all of them together

OnSample = Callable[[int, Mapping[str, float]], None]
OnFinding = Callable[[Finding], None]


class Observers:
    """Those who asked to be told.

    on_sample: called with a sampled step and its figures, by the keys of `lettrine.health.scalars`. on_finding: called with each
    finding when it first appears, and again when it has become more severe.
    """

    def __init__(self) -> None:
        self.on_sample: list[OnSample] = []
        self.on_finding: list[OnFinding] = []
        self._told: dict[str, int] = {}
        self._looked = time.perf_counter()
        self._wait = LOOK_SECONDS

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
