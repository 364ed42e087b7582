"""The characters of a word list and their indices.

A character is a Unicode code point. A combining accent, or the joiner inside an emoji, is a separate character: words are
restored exactly, and the network learns what follows what.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lettrine.arguments import checked
from lettrine.errors import VocabularyError, quote
from lettrine.text.stored import StoredWords

Integers: TypeAlias = NDArray[np.integer[Any]]
Indices: TypeAlias = NDArray[np.int64]

END: Final = 0  # index of the end-of-word token, which also pads contexts
_END_SIGNS: Final = ".·␃"  # how it is shown: the first sign that does not occur in the words
_CODE_POINTS: Final = 0x110000


@checked
@dataclass(frozen=True, repr=False)
class Vocabulary:
    """Sorted characters; index 0 is the end-of-word token, characters[i - 1] has index i.

    Raises VocabularyError unless `characters` are two or more single characters in ascending order.
    """

    characters: tuple[str, ...]

    def __post_init__(self) -> None:
        for character in self.characters:
            if len(character) != 1:
                raise VocabularyError(f"vocabulary got the entry {quote(character)}; expected single characters")
        if any(a >= b for a, b in zip(self.characters, self.characters[1:], strict=False)):
            raise VocabularyError("vocabulary got characters that are repeated or out of order; expected them sorted")
        if len(self.characters) < 2:
            what = f"of the one character {quote(self.characters[0])}" if self.characters else "without characters"
            raise VocabularyError(f"a vocabulary {what} leaves nothing to learn; expected words of two characters or more")

    @classmethod
    @checked
    def from_words(cls, words: Iterable[str]) -> Vocabulary:
        """The vocabulary of all characters in the words."""
        if isinstance(words, StoredWords):
            return cls(tuple(sorted(words.characters)))
        try:
            return cls(tuple(sorted(set("".join(words)))))
        except TypeError as error:
            raise VocabularyError(f"vocabulary got words that are not all strings ({error}); expected strings") from None

    @property
    def size(self) -> int:
        """V: the characters and the end-of-word token."""
        return len(self.characters) + 1

    @cached_property
    def end_sign(self) -> str:
        """How the end-of-word token is shown: '.', or '·' and so on if the words contain a '.'."""
        taken = set(self.characters)
        return next(sign for sign in chain(_END_SIGNS, map(chr, range(0x2460, _CODE_POINTS))) if sign not in taken)

    @checked
    def show(self, index: int) -> str:
        """The character of an index, or the end sign for 0. Raises VocabularyError for an index outside."""
        self._check_indices(int(index), int(index))
        return self.characters[index - 1] if index else self.end_sign

    def encode(self, word: str) -> list[int]:
        """Indices of a word's characters, without the end token. Raises VocabularyError for an unknown character."""
        try:
            return [self._index[character] for character in word]
        except KeyError:
            raise self._unknown(word) from None

    @checked
    def encode_all(self, words: Sequence[str], *, unknown: bool = False) -> tuple[Integers, Indices]:
        """Indices of all characters of all words, end to end, without end tokens, and where each word begins.

        Word i is symbols[offsets[i]:offsets[i + 1]]; symbols (C,), offsets (W + 1,).
        Raises VocabularyError for the first unknown character; with unknown=True it has the index 0 instead.
        """
        offsets = np.zeros(len(words) + 1, dtype=np.int64)
        np.cumsum(np.fromiter(map(len, words), dtype=np.int64, count=len(words)), out=offsets[1:])
        points = np.frombuffer("".join(words).encode("utf-32-le", "surrogatepass"), dtype="<u4")
        symbols = self._table.take(points, mode="clip")
        if symbols.size and not unknown and symbols.min() == 0:
            at = int(symbols.argmin())
            raise self._unknown(words[int(np.searchsorted(offsets, at, side="right")) - 1])
        return symbols, offsets

    def encode_lines(self, lines: str) -> Integers:
        """Indices of words that are closed by line feeds, with the end token in the place of these: (characters,).

        Raises VocabularyError as `encode_all`.
        """
        points = np.frombuffer(lines.encode("utf-32-le"), dtype="<u4")
        symbols = self._table.take(points, mode="clip")
        if np.count_nonzero(symbols) + lines.count("\n") < len(symbols):
            self.encode_all(lines.split("\n"))  # says what is unknown
        return symbols

    def decode(self, indices: Iterable[int]) -> str:
        """The word of some indices, up to the first 0. Raises VocabularyError for an index outside."""
        return self.decode_all(np.fromiter(indices, dtype=np.int64)[None, :])[0]

    def decode_all(self, rows: NDArray[np.integer[Any]]) -> list[str]:
        """The words of rows of indices (W, L), each up to its first 0. Raises VocabularyError for an index outside."""
        rows = np.asarray(rows)
        if rows.ndim != 2 or rows.dtype.kind not in "iu":
            raise VocabularyError(f"indices got shape {rows.shape} and type {rows.dtype}; expected whole numbers (words, length)")
        if rows.size:
            self._check_indices(int(rows.min()), int(rows.max()))
        inside = np.logical_and.accumulate(rows != END, axis=1)  # (W, L)
        text = self._points[rows[inside] - 1].astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
        ends = np.cumsum(inside.sum(axis=1)).tolist()
        return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def to_list(self) -> list[str]:
        """The characters, for JSON."""
        return list(self.characters)

    @classmethod
    def from_list(cls, characters: object) -> Vocabulary:
        """The inverse of `to_list`. Raises VocabularyError for anything else."""
        if not isinstance(characters, list) or not all(isinstance(character, str) for character in characters):
            raise VocabularyError(f"vocabulary got {quote(characters)}; expected a list of characters")
        if len(characters) >= _CODE_POINTS:
            raise VocabularyError(f"vocabulary got {len(characters):,} entries; expected fewer than there are characters")
        return cls(tuple(characters))

    def __contains__(self, character: object) -> bool:
        return character in self._index

    def __repr__(self) -> str:
        shown = "".join(self.characters[:60]) + ("…" if len(self.characters) > 60 else "")
        return f"Vocabulary(V={self.size}: {quote(shown, limit=61)} and the end token {quote(self.end_sign)})"

    @cached_property
    def _index(self) -> dict[str, int]:
        return {character: index for index, character in enumerate(self.characters, start=1)}

    @cached_property
    def _table(self) -> NDArray[np.int32]:
        """Index of each code point up to the highest, and 0 for whatever lies above: no vocabulary holds the last entry's."""
        table = np.zeros(ord(self.characters[-1]) + 2, dtype=np.int32)
        table[self._points] = np.arange(1, self.size, dtype=np.int32)
        return table

    @cached_property
    def _points(self) -> NDArray[np.int64]:
        return np.array([ord(character) for character in self.characters], dtype=np.int64)

    def _check_indices(self, least: int, most: int) -> None:
        if least < 0 or most >= self.size:
            raise VocabularyError(f"index {least if least < 0 else most} is not in the vocabulary; expected 0 to {self.size - 1}")

    def _unknown(self, word: str) -> VocabularyError:
        character = next(character for character in word if character not in self._index)
        known = quote("".join(self.characters))
        return VocabularyError(
            f"the character {quote(character)} (U+{ord(character):04X}) of {quote(word)} is not in the vocabulary; "
            f"expected only {known}"
        )
