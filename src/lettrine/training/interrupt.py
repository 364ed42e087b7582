"""Requests to a running training: to stop, to pause, to change. They are noted at once and carried out between two steps."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from lettrine.errors import LettrineError


@dataclass
class Requests:
    """The requests to a running training, from a signal handler or another thread.

    signal: number of the signal that requested a stop, 0 for none. paused: take no step while it is set.
    """

    signal: int = 0
    paused: bool = False
    changes: deque[tuple[dict[str, Any], Future[None]]] = field(default_factory=deque)

    def change(self, **values: Any) -> Future[None]:
        """Ask for a change, see `Change`. The future is done once it is made, or holds the error if it cannot be."""
        made = Future[None]()
        self.changes.append((values, made))
        return made

    def make_changes(self, change: Callable[..., None]) -> None:
        """Make the changes asked for, by this function, and give those who asked the results or errors."""
        while self.changes:
            values, made = self.changes.popleft()
            try:
                change(**values)
            except LettrineError as error:
                made.set_exception(error)
            else:
                made.set_result(None)


@contextlib.contextmanager
def deferred_signals() -> Iterator[Requests]:
    """Note the first SIGINT or SIGTERM instead of raising; a second one has its usual effect.

    Outside the main thread nothing is changed, since Python delivers signals only there.
    """
    requests = Requests()
    if threading.current_thread() is not threading.main_thread():
        yield requests
        return
    # An ignored signal stays ignored: shells start background jobs this way, and Ctrl-C is not meant for them.
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    previous = {number: handler for number, handler in handlers.items() if handler is not signal.SIG_IGN}

    def note(number: int, _frame: FrameType | None) -> None:
        requests.signal = number
        restore()

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    for number in previous:
        signal.signal(number, note)
    try:
        yield requests
    finally:
        restore()
