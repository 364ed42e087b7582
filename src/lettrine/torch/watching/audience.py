"""Who is told during a training: a tracker, a live page, and the function that is called with findings."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import suppress
from html import escape
from typing import Any, Final

from lettrine.errors import HealthError
from lettrine.health.findings import Report
from lettrine.health.observers import Observers, OnFinding
from lettrine.health.trace import Trace
from lettrine.health.tracking import LogTo, Tracking

_LIVE: Final = "lettrine.live.showing"
"""The module that makes live pages, imported only when one is asked for: watching itself draws nothing."""


class Audience:
    """Those whom a watch tells. observers: of its recorder. Other arguments: as in `health.watch`.

    stops: whether a finding may end the training.
    """

    def __init__(self, observers: Observers, on_finding: OnFinding | None, stop_on: str | None, log_to: LogTo | None) -> None:
        self._observers = observers
        self._page: Any = None
        self._tracking = None if log_to is None else Tracking(log_to)
        self._urgent = False
        self.stops = stop_on is not None
        observers.tell(on_finding, stop_on)
        if self._tracking is not None:
            observers.on_sample.append(self._tracking)

    def open_page(self, name: str) -> None:
        """Show the training on a live page of this name."""
        self._page = importlib.import_module(_LIVE).Live(name)

    @property
    def address(self) -> str:
        """Of the live page; "" without one."""
        return "" if self._page is None else str(self._page.address)

    @property
    def frame(self) -> str | None:
        """The live page in a frame, for notebooks; None without one."""
        return (
            f'<iframe src="{escape(self.address)}" width="100%" height="800" style="border:0"></iframe>' if self.address else None
        )

    @property
    def should_stop(self) -> bool:
        """Whether something as severe as `stop_on` was found."""
        return self._observers.should_stop

    def alarm(self) -> None:
        """A loss is not finite: run the checks as soon as possible, even if it is not time yet."""
        self._urgent = True

    def inform(self, step: int, trace: Callable[[], Trace], factor: Callable[[], float | None]) -> None:
        """A sampled step is complete: show it, and run the checks if somebody wants findings and it is time. factor: of losses,
        to be in true units.
        """
        if self._tracking is not None and self._tracking.factor is None:
            self._tracking.settle(factor())
        with suppress(HealthError):  # before the first sampled step there is nothing to show or to judge
            if self._page is not None:
                self._page.offer(trace, {"step": step})
            if self._observers.on_finding:
                self._observers.look(trace, now=self._urgent)
                self._urgent = False

    def leave_to_rank_0(self) -> None:
        """This process is not rank 0. Only rank 0 tells trackers and has a page."""
        self._observers.on_sample.clear()
        self._tracking = None
        self.close_page()
        self._page = None

    def close_page(self) -> None:
        """The watch closes."""
        if self._page is not None:
            self._page.close()

    def finish(self, report: Callable[[], Report]) -> None:
        """The watch has closed: hand the report to a tracker that wants it."""
        if self._tracking is not None:
            self._tracking.settle(self._tracking.factor or 1.0)
            if self._tracking.finishes:
                self._tracking.finish(report())
