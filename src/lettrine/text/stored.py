"""Words on disk: a list too big for memory, as UTF-8 with one word a line, in a file that is mapped into memory.

The files lie in the system's folder for temporary ones, which TMPDIR names, and are gone when the process ends, however it ends.
They are written first and then mapped: a full disk is an error of ours, and no fault of the memory.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, overload

import numpy as np
from numpy.typing import NDArray

from lettrine.errors import StorageError

PORTION: Final = 1 << 16  # words in memory at a time
MOST: Final = 2**31 - 1  # words: their order is kept in four bytes each
_LINE_FEED: Final = ord("\n")


class NumberWriter:
    """Numbers of one type, written one array after the other into a file without a name."""

    def __init__(self, kind: Any) -> None:
        self.kind, self.count = np.dtype(kind), 0
        self._file = _told(tempfile.TemporaryFile)
        weakref.finalize(self, self._file.close)  # where what was to be written turned out to be wrong

    def add(self, values: NDArray[Any]) -> None:
        """Write some more. Raises StorageError where the disk refuses."""
        _told(lambda: self._file.write(np.ascontiguousarray(values, self.kind).data))
        self.count += len(values)

    def mapped(self) -> NDArray[Any]:
        """All of them, (N,), not to be written to."""
        _told(self._file.flush)
        with self._file:  # what is mapped stays
            return np.memmap(self._file, self.kind, "r") if self.count else np.empty(0, self.kind)


def _told(work: Any) -> Any:
    try:
        return work()
    except OSError as error:
        raise StorageError(
            f"cannot write to {tempfile.gettempdir()}: {error.strerror or error}; "
            "free some space there, or let TMPDIR name a folder on another disk"
        ) from error


class WordWriter:
    """Takes words, one by one in their order, and gives the `StoredWords` they are."""

    def __init__(self) -> None:
        self._text, self._begins = NumberWriter(np.uint8), NumberWriter(np.int64)
        self._begins.add(np.zeros(1, np.int64))

    def __len__(self) -> int:
        return self._begins.count - 1

    def extend(self, words: Iterable[str]) -> None:
        """Take some words, none of which holds a line feed. Raises StorageError."""
        text = np.frombuffer("".join([f"{word}\n" for word in words]).encode(), np.uint8)
        self._begins.add(np.flatnonzero(text == _LINE_FEED) + 1 + self._text.count)
        self._text.add(text)

    def finished(self) -> StoredWords:
        """All words, once none is to come."""
        return StoredWords(self._text.mapped(), self._begins.mapped())


@dataclass(frozen=True, eq=False, repr=False)
class StoredWords(Sequence[str]):
    """A sequence of words on disk; a slice of it is in memory.

    text: their UTF-8, each word closed by a line feed, (bytes,). begins: of each word in it, and its end, (W + 1,).
    order: which words these are, in their order, None for all of them as they stand.
    """

    text: NDArray[np.uint8]
    begins: NDArray[np.int64]
    order: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.begins) - 1 if self.order is None else len(self.order)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            return self.lines(start, stop).split("\n")[:-1:step] if step > 0 else list(self[:])[index]
        place = range(len(self))[index]
        return self.lines(place, place + 1)[:-1]

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), PORTION):
            yield from self[start : start + PORTION]

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and bool(self.holds([word])[0])

    def lines(self, start: int, stop: int) -> str:
        """Words from `start` up to `stop`, each with a line feed behind it."""
        stop = min(stop, len(self))
        if stop <= start:
            return ""
        if self.order is None:
            return bytes(self.text[self.begins[start] : self.begins[stop]]).decode()
        words = self.order[start:stop].astype(np.int64)
        first = self.begins[words]
        lengths = self.begins[words + 1] - first
        ends = np.cumsum(lengths)
        return bytes(self.text[np.arange(ends[-1]) + np.repeat(first - ends + lengths, lengths)]).decode()

    def chosen(self, order: NDArray[np.int32]) -> StoredWords:
        """Some of all words, in this order."""
        return replace(self, order=order)

    def holds(self, words: Sequence[str]) -> NDArray[np.bool_]:
        """Which of these words are among ours, (n,)."""
        wanted = _hashes(words)
        at = np.minimum(np.searchsorted(self.hashes, wanted), len(self.hashes) - 1)
        found: NDArray[np.bool_] = self.hashes[at] == wanted
        return found

    @cached_property
    def hashes(self) -> NDArray[np.int64]:
        """The words as numbers of 64 bits, ascending, (W,): two of a hundred million are alike by chance once in 4,000 lists."""
        made = np.empty(len(self), np.int64)
        for start in range(0, len(self), PORTION):
            made[start : start + PORTION] = _hashes(self[start : start + PORTION])
        made.sort()
        kept = NumberWriter(np.int64)
        kept.add(made)
        return kept.mapped()

    @property
    def distinct(self) -> int:
        """How many words there are without repetition."""
        return 1 + int(np.count_nonzero(self.hashes[1:] != self.hashes[:-1]))

    @cached_property
    def characters(self) -> frozenset[str]:
        """Every character of the words."""
        found: set[str] = set()
        for start in range(0, len(self), PORTION):
            found.update(self.lines(start, start + PORTION))
        return frozenset(found - {"\n"})


def _hashes(words: Sequence[str]) -> NDArray[np.int64]:
    return np.fromiter(map(hash, words), np.int64, len(words))


def portions(words: Sequence[str]) -> Iterator[Sequence[str]]:
    """Words of any sequence, some at a time."""
    return (words[start : start + PORTION] for start in range(0, len(words), PORTION))
