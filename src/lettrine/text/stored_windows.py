"""Examples on disk: the characters of a big list, one after the other, from which contexts are read when they are wanted.

A word's characters and its end are a byte or two each. An example is its target's place in that file; its context are the
characters before it, back to the end of the word before. So a list needs no more room than its text, whatever the context.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lettrine.text.stored import PORTION, NumberWriter, StoredWords
from lettrine.text.vocabulary import END, Indices, Integers, Vocabulary
from lettrine.text.windows import Windows, contexts_of, symbol_type, whole_words, windows

_THREADS: Final = 2  # of which one writes what the other has encoded


@dataclass(frozen=True, eq=False, repr=False)
class StoredWindows:
    """The examples of a list on disk; see `Windows`, which it stands for in a training.

    stream: T end tokens, then the targets, (T + N,), of the narrowest of SYMBOLS that holds the vocabulary. context: T.
    """

    stream: Integers
    context: int

    def __len__(self) -> int:
        return len(self.stream) - self.context

    def __repr__(self) -> str:
        return f"StoredWindows(N={len(self):,} examples, T={self.context})"

    def frozen(self) -> StoredWindows:
        """The same: nobody writes to these."""
        return self

    def batch(self, rows: Indices) -> tuple[Integers, Integers, Indices]:
        """As `Windows.batch`: contexts and targets of these examples alone, and each one's place among them."""
        read = sliding_window_view(self.stream, self.context + 1)[rows.reshape(-1)]  # (n, T + 1)
        alive = np.ones(len(read), np.bool_)  # the walk back has not met the end of the word before
        for lag in range(self.context - 1, -1, -1):
            alive &= read[:, lag] != END
            read[:, lag] *= alive
        return read[:, :-1], read[:, -1], np.arange(len(read)).reshape(rows.shape)

    def head(self, most: int) -> Windows:
        """As `Windows.head`: the first examples, in memory."""
        stop = self.context + whole_words(self.stream[self.context :], most)
        return Windows(*contexts_of(np.array(self.stream[:stop]), self.context))


Examples: TypeAlias = Windows | StoredWindows


def examples_of(words: Sequence[str], vocabulary: Vocabulary, context: int) -> Examples:
    """The examples of some words, where the words are: in memory or on disk. Raises what `windows` raises, and StorageError."""
    if not isinstance(words, StoredWords):
        return windows(words, vocabulary, context)
    kept = NumberWriter(symbol_type(vocabulary.size))
    kept.add(np.full(context, END))
    for symbols in _encoded(words, vocabulary):
        kept.add(symbols)
    return StoredWindows(kept.mapped(), context)


def _encoded(words: StoredWords, vocabulary: Vocabulary) -> Iterator[Integers]:
    """The words' indices with their ends, a portion at a time; the next ones are encoded while one is written."""

    def encoded(start: int) -> Integers:
        return vocabulary.encode_lines(words.lines(start, start + PORTION))

    starts = iter(range(0, len(words), PORTION))
    with ThreadPoolExecutor(_THREADS) as pool:
        ahead = deque(pool.submit(encoded, start) for start in islice(starts, _THREADS))
        while ahead:
            done = ahead.popleft().result()
            ahead.extend(pool.submit(encoded, start) for start in islice(starts, 1))
            yield done
