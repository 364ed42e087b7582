"""Puts a training's pictures on the board, in a thread of its own: the training never waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lettrine.health.checks import examine
from lettrine.health.findings import Finding, Report
from lettrine.health.trace import Trace
from lettrine.live.board import Board
from lettrine.report.beside import Beside
from lettrine.report.figure import Figure, drawable, specification
from lettrine.report.pictures import TEXTS, charts
from lettrine.report.summary import verdict, watched

SHARE: Final = 0.06  # share of the time for pictures, unless the pause would exceed MOST_REST
LEAST_REST: Final = 0.3  # seconds: a browser needs far longer to draw a picture than we need to describe it
MOST_REST: Final = 2.0
CLOSE_SECONDS: Final = 20.0
JUDGE_SECONDS: Final = 1.0  # between two verdicts, and two lists of new words


@dataclass(frozen=True)
class Moment:
    """What there is to show of a training at one step.

    words: draws new words; lines: see `Beside`; more: pictures that are not of the trace; all called by the painter. before: the
    trace of the training that gave way to this one.
    """

    trace: Trace
    words: Callable[[], list[str]] | None = None
    title: str = "Health"
    lines: Callable[[], Mapping[str, float]] = dict
    more: Mapping[str, Callable[[], Figure]] = field(default_factory=dict)
    before: Trace | None = None


class Painter:
    """Draws the newest view it was offered while somebody looks: all there is, then the loss each time and the others in turn.

    extra: adds to what is told of a finding, such as how its remedy can be applied.
    """

    def __init__(self, board: Board, extra: Callable[[Finding], dict[str, Any]] = lambda _: {}) -> None:
        self._board, self._extra = board, extra
        self._offered: Moment | None = None
        self._again = threading.Event()
        self._closed, self._wants, self._urgent = False, True, False
        self._judged, self._turn = -JUDGE_SECONDS, 0
        self._painted: set[str] = set()
        self._before: Trace | None = None
        self._thread = threading.Thread(target=self._work, name="lettrine-painter", daemon=True)
        self._thread.start()

    def offer(self, view: Callable[[], Moment], *, now: bool = False) -> None:
        """Called by the training: takes a view if the last one has been drawn and somebody looks, or `now`."""
        if now or (self._wants and self._board.watched):
            self._wants, self._urgent = False, now
            self._offered = view()
            self._again.set()

    def close(self) -> None:
        """Draw all of what was offered last, and end."""
        self._closed = True
        self._again.set()
        self._thread.join(timeout=CLOSE_SECONDS)

    def _work(self) -> None:
        while True:
            self._again.wait()
            self._again.clear()
            view, self._offered = self._offered, None
            if view is None:
                if self._closed:
                    return
                continue
            began = time.perf_counter()
            try:
                self._paint(view)
            except Exception as error:  # noqa: BLE001  # a picture that cannot be drawn must not end the page, nor the training
                self._board.put("trouble", f"{type(error).__name__}: {error}")
            busy = time.perf_counter() - began
            if self._closed:
                return
            # The interpreter is left to the training for most of the time, unless the page asks for something.
            self._again.wait(min(max(busy / SHARE - busy, LEAST_REST), MOST_REST))
            self._wants = True

    def _paint(self, view: Moment) -> None:
        trace = view.trace
        focus: set[str] = set()
        if time.perf_counter() - self._judged >= JUDGE_SECONDS or self._urgent or self._closed:
            judged = trace if self._closed else trace.unfinished
            report = examine(judged, title=view.title) if len(trace.steps) or len(trace.loss.step) else None
            if report is not None:
                self._board.put("verdict", told(report))
                self._board.put("findings", [finding_told(each) | self._extra(each) for each in report.findings])
                focus = {name for each in report.findings if each.severity != "info" for name in each.where}
            if view.words is not None:
                self._board.put("words", view.words())
            self._judged = time.perf_counter()
        lines = view.lines() if self._turn or self._closed else {}  # counted once there is something to see
        beside = Beside(view.before, lines, walk=self._closed)
        drawn = {name: (draw, note) for name, draw, note in charts(trace, focus, beside)}
        names = [name for name in TEXTS if name in drawn]
        due = [*names, *view.more]
        self._board.put("pictures", due)
        if view.before is not self._before:
            self._before = view.before
            self._painted.clear()
        self._turn += 1
        fresh = [name for name in due if name not in self._painted]
        if not self._closed and not fresh:
            due = due[:1] + due[1:][self._turn % max(len(due) - 1, 1) :][:1]
        self._painted.update(due)
        for name in due if self._closed or not fresh else fresh:
            if name in drawn:
                title, reading = TEXTS[name]
                self._put(name, Figure(title, reading + drawn[name][1], drawn[name][0]()), view)
            else:
                self._put(name, view.more[name](), view)

    def _put(self, name: str, figure: Figure, view: Moment) -> None:
        chart = drawable(specification(figure.chart))
        frames = chart.pop("usermeta", {}).get("replay")
        ghosted = view.before is not None and not name.startswith("saturation")
        told = {"title": figure.title, "reading": figure.reading, "ghosted": ghosted, "frames": frames, "chart": chart}
        self._board.put(f"picture {name}", told)


def told(report: Report) -> dict[str, str]:
    """The verdict as the page wants it."""
    said = verdict(report)
    return {"tone": said.tone, "headline": said.headline, "detail": f"{said.detail} {watched(report.trace)}"}


def finding_told(finding: Finding) -> dict[str, Any]:
    """A finding as the page wants it."""
    return {
        "id": finding.id,
        "severity": finding.severity,
        "where": list(finding.where),
        "steps": list(finding.steps),
        "message": finding.message,
        "why": finding.why,
        "remedy": finding.remedy,
    }
