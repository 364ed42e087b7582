"""The newest state of a training, for any number of viewers: old values that were not sent are dropped, never queued."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any


class Board:
    """Values by name, each with the version at which it was put up.

    One thread puts values up; viewers wait in another event loop. A slow viewer gets fewer values, only the newest of each
    name, so memory does not grow.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._version = 0
        self._values: dict[str, tuple[int, str]] = {}
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._closed = False
        self._first: Callable[[], None] | None = None

    @property
    def watched(self) -> bool:
        """Whether there are viewers."""
        return bool(self._waiting)

    def put(self, name: str, value: Any) -> None:
        """Show a value and replace the one of the same name. value: a JSON value; None removes the name."""
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
        with self._lock:
            if self._values.get(name, (0, ""))[1] == text:
                return
            self._version += 1
            self._values[name] = (self._version, text)
            self._wake()

    def close(self) -> None:
        """Tell viewers that there is nothing more to come."""
        with self._lock:
            self._closed = True
            self._wake()

    def when_watched(self, do: Callable[[], None]) -> None:
        """Call `do`, which must return at once, when somebody looks: now, or when the first one comes."""
        with self._lock:
            self._first = do
            self._greet()

    def news(self, since: int) -> tuple[int, dict[str, str]]:
        """The version now, and what was put up after `since`, as JSON by name in the order it was put up."""
        with self._lock:
            fresh = sorted((version, name) for name, (version, _) in self._values.items() if version > since)
            return self._version, {name: self._values[name][1] for _, name in fresh}

    async def follow(self) -> AsyncIterator[dict[str, str]]:
        """All values, then each time the new ones, until the board is closed."""
        mine = asyncio.get_running_loop(), asyncio.Event()
        with self._lock:
            self._waiting.add(mine)
            self._greet()
        try:
            version = 0
            while True:
                mine[1].clear()
                version, fresh = self.news(version)
                if fresh:
                    yield fresh
                elif self._closed:
                    return
                else:
                    await mine[1].wait()
        finally:
            with self._lock:
                self._waiting.discard(mine)

    def _greet(self) -> None:
        if self._first is not None and self._waiting:
            first, self._first = self._first, None
            first()

    def _wake(self) -> None:
        for loop, event in self._waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)
