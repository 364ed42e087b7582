"""A page that shows a training from outside, and touches nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from lettrine.health.trace import Trace
from lettrine.live import PORT
from lettrine.live.board import Board
from lettrine.live.painter import Moment, Painter
from lettrine.live.server import Server


class Live:
    """A live page of one training, at `address` from the moment it is made.

    title: of the page. port: where it listens on this machine, or any free one where that is taken.
    Raises MissingExtraError without the extra `live`.
    """

    def __init__(self, title: str = "Training", *, port: int = PORT) -> None:
        self._board, self._title = Board(), title
        self._server = Server(self._board, title=title, port=port, or_any=True)
        self._painter = Painter(self._board)
        self._last: Callable[[], Trace] | None = None
        self._lines: Callable[[], Mapping[str, float]] = dict
        self.address = self._server.address
        print(f"lettrine: live at {self.address}", file=sys.stderr)  # noqa: T201  # whoever asked for it has to find it

    def offer(
        self,
        trace: Callable[[], Trace],
        facts: Mapping[str, Any] | None = None,
        lines: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        """Called by the training as often as it likes: costs next to nothing while nobody looks, and never waits.

        facts: step, steps, loss, dev, speed; what there is. lines: see `Moment`.
        """
        self._last, self._lines = trace, lines
        if facts is not None and self._board.watched:
            self._board.put("facts", dict(facts))
        self._painter.offer(lambda: Moment(trace(), title=self._title, lines=lines))

    def close(self) -> None:
        """Draw the end, tell the viewers, and stop listening."""
        if self._last is not None and self._board.watched:
            last = self._last()
            self._painter.offer(lambda: Moment(last, title=self._title, lines=self._lines), now=True)
        self._painter.close()
        self._server.close()
