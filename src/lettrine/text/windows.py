"""Contexts and targets: what the network sees, and what it has to predict.

Every character of a word is once the target, and so is the end of the word. Its context is the T characters
before it; if there are fewer, the context begins with end tokens:

    '...' -> 'a'    '..a' -> 'n'    '.an' -> 'n'    'ann' -> 'a'    'nna' -> '.'
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lettrine.arguments import checked
from lettrine.errors import ConfigError
from lettrine.text.vocabulary import END, Indices, Integers, Vocabulary

SYMBOLS: Final = (np.uint8, np.uint16, np.int32)  # types of indices, narrowest first
_ROWS: Final = 1 << 15  # filled at a time, so that the columns being written stay in the cache
_ROOM: Final = 2**62  # of a number that several characters are packed into


@dataclass(frozen=True, eq=False, repr=False)
class Windows:
    """The examples of a list of words, word after word.

    contexts: (N, T) indices, the nearest character last; targets: (N,) indices, with the end token (0) closing each word; both of
    the narrowest of SYMBOLS that holds the vocabulary. N is the number of characters plus the number of words.
    """

    contexts: Integers
    targets: Integers

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def context(self) -> int:
        """T, the number of characters seen."""
        return int(self.contexts.shape[1])

    def frozen(self) -> Windows:
        """The same examples as read-only arrays: an engine then checks them once, not at every call."""
        arrays = self.contexts.view(), self.targets.view()
        for array in arrays:
            array.flags.writeable = False
        return Windows(*arrays)

    def batch(self, rows: Indices) -> tuple[Integers, Integers, Indices]:
        """Contexts, targets, and rows of them (S, B): what an engine is handed to take these examples."""
        return self.contexts, self.targets, rows

    def head(self, most: int) -> Windows:
        """The first `most` examples at most, of whole words; those of the first word at least."""
        stop = whole_words(self.targets, most)
        return self if stop == len(self) else Windows(self.contexts[:stop], self.targets[:stop])

    @cached_property
    def distinct(self) -> Distinct:
        """Each example once. Words share beginnings, so there are fewer: a fifth in a big dictionary."""
        size = _ROOM if not len(self) else 1 + max(int(self.contexts.max()), int(self.targets.max()))
        key, most = self.targets.astype(np.int64), size
        for column in self.contexts.T[::-1]:  # (N,), the nearest first
            if not column.any():
                continue  # before the beginning of every word
            if most > _ROOM // size:
                found, key = np.unique(key, return_inverse=True)
                most = len(found)
            key, most = key * size + column, most * size
        _, first, times = np.unique(key, return_index=True, return_counts=True)
        return Distinct(Windows(self.contexts[first], self.targets[first]).frozen(), times)

    def show(self, vocabulary: Vocabulary, count: int = 10) -> str:
        """The first examples as text, one a line, such as '..a' -> 'n'."""
        return "\n".join(
            f"'{''.join(map(vocabulary.show, context))}' -> '{vocabulary.show(target)}'"
            for context, target in zip(self.contexts[:count].tolist(), self.targets[:count].tolist(), strict=True)
        )

    def __repr__(self) -> str:
        return f"Windows(N={len(self):,} examples, T={self.context})"


@dataclass(frozen=True, eq=False)
class Distinct:
    """Examples without repetition, and the count of each, (M,)."""

    examples: Windows
    times: NDArray[np.int64]


def whole_words(targets: Integers, most: int) -> int:
    """How many of the first `most` targets are of whole words; all of the first word's where it is longer."""
    if len(targets) <= most:
        return len(targets)
    ends = np.flatnonzero(targets[:most] == END)
    return int(ends[-1] if len(ends) else np.argmax(targets == END)) + 1


def symbol_type(vocabulary_size: int) -> np.dtype[Any]:
    """The narrowest of SYMBOLS that holds every index of a vocabulary: less memory to read is less time."""
    return next(np.dtype(kind) for kind in SYMBOLS if vocabulary_size - 1 <= np.iinfo(kind).max)


@checked
def windows(words: Sequence[str], vocabulary: Vocabulary, context: int, *, unknown: bool = False) -> Windows:
    """The contexts (N, T) and targets (N,) of some words.

    unknown: take characters outside the vocabulary too. Their target is 0, and the context starts again after them, as at the
    beginning of a word; `unknown_targets` tells them from the ends of words.

    Memory beyond the arrays returned is about 12 bytes for each character, whatever T.

    Raises VocabularyError for a character outside the vocabulary; ConfigError for a context below 1, or one so
    long that the contexts cannot fit in this machine's memory.
    """
    if context < 1:
        raise ConfigError(f"context got {context!r}; expected a whole number from 1")
    symbols, offsets = vocabulary.encode_all(words, unknown=unknown)
    count = len(symbols) + len(words)  # N
    _check_memory(count, context, symbol_type(vocabulary.size).itemsize)
    kind = symbol_type(vocabulary.size)
    # T end tokens come before the first word, so that every lag below stays inside the array.
    stream = np.zeros(context + count, dtype=kind)
    inside = np.ones(count, dtype=np.bool_)
    inside[offsets[1:] + np.arange(len(words))] = False
    stream[context:][inside] = symbols
    del symbols, inside
    return Windows(*contexts_of(stream, context))


def contexts_of(stream: Integers, context: int) -> tuple[Integers, Integers]:
    """Contexts (N, T) and targets (N,) of a stream (T + N,) of T end tokens and then the targets."""
    kind, targets = stream.dtype, stream[context:]
    count = len(targets)  # N
    contexts = np.empty((count, context), dtype=kind)  # (N, T)
    for start in range(0, count, _ROWS):
        rows = contexts[start : start + _ROWS]
        alive = np.ones(len(rows), dtype=kind)  # 1 until the walk back has met an end token, then 0
        for lag in range(1, context + 1):
            at = context + start - lag
            previous = stream[at : at + len(rows)]
            alive &= previous != END
            np.multiply(previous, alive, out=rows[:, context - lag])
            if not alive.any():
                rows[:, : context - lag] = END
                break
    return contexts, targets


def unknown_targets(targets: Integers, words: Sequence[str]) -> NDArray[np.bool_]:
    """Which targets (N,) of `windows(words, …, unknown=True)` stand for characters outside the vocabulary."""
    ends = np.cumsum(np.fromiter(map(len, words), np.int64, len(words)) + 1) - 1
    found: NDArray[np.bool_] = targets == END
    found[ends] = False
    return found


def _check_memory(count: int, context: int, size: int) -> None:
    needed = size * count * (context + 1)
    if needed > installed_memory():
        raise ConfigError(
            f"{count:,} examples with a context of {context:,} take {needed / 1e9:,.0f} GB, more than this machine has; "
            "lower the context or take fewer words"
        )


def installed_memory() -> int:
    """Bytes of memory this machine has."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not a POSIX system
        return 1 << 36
