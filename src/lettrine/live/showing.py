"""A page that shows a training without changing it."""

from __future__ import annotations

import atexit
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from lettrine.health.trace import Trace
from lettrine.live import PORT
from lettrine.live.board import Board
from lettrine.live.painter import Moment, Painter
from lettrine.live.server import Server


class Live:
    """A live page of one training, at `address` from the moment it is made.

    title: of the page. port: where it listens on this machine, or any free one if that is taken.
    Raises MissingExtraError without the extra `live`.
    """

    _ended: ClassVar[Live | None] = None
    """The page that stays for who comes after the end: the newest one, so that a day of trainings keeps one."""

    def __init__(self, title: str = "Training", *, port: int = PORT) -> None:
        Live._leave()
        self._board, self._title = Board(), title
        self._server = Server(self._board, title=title, port=port, or_any=True)
        self._painter = Painter(self._board)
        self._last: Callable[[], Moment] | None = None
        self.address = self._server.address
        print(f"lettrine: live at {self.address}", file=sys.stderr)  # noqa: T201  # the user needs the address

    def offer(
        self,
        trace: Callable[[], Trace],
        facts: Mapping[str, Any] | None = None,
        own: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        """Called by the training as often as it likes: costs almost nothing without viewers, and never waits.

        facts: step, steps, loss, dev, speed; what there is. own: what else a `Moment` may have, by name.
        """
        self._last = lambda: Moment(trace(), title=self._title, **own())
        if facts is not None and self._board.watched:
            self._board.put("facts", dict(facts))
        self._painter.offer(self._last)

    def close(self) -> None:
        """Draw the end and tell the viewers, or the first one who comes.

        The page stays until the next one begins or Python ends; one that was never offered anything goes at once.
        """
        if self._last is None:
            self._end()
            self._server.close()
            return
        Live._ended = self
        if self._board.watched:
            self._end()
        else:
            self._board.when_watched(threading.Thread(target=self._end, name="lettrine-end", daemon=True).start)

    def _end(self) -> None:
        if self._last is not None:
            self._painter.offer(self._last, now=True)
        self._painter.close()
        self._board.close()

    @staticmethod
    def _leave() -> None:
        """Stop listening on the page of a training that has ended."""
        ended, Live._ended = Live._ended, None
        if ended is not None:
            ended._painter.close()  # noqa: SLF001  # our own
            ended._server.close()  # noqa: SLF001


atexit.register(Live._leave)  # noqa: SLF001
