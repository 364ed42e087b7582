"""Detects input that is not a list of words: tables, which are refused, and lines of HTML or garbled text, which get a note."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Final

from lettrine.errors import WordListError, quote

TABLE_SUFFIXES: Final = (".csv", ".tsv", ".tab")
SEPARATORS: Final = {"\t": "tabs", ";": "semicolons", ",": "commas"}
LOOKED_AT: Final = 200  # lines at the beginning of a file
ROWS: Final = 5  # lines that must agree before a file without a table's name is taken for a table

_HTML: Final = re.compile(r"<(?:!doctype\b|!--|/?[a-z][a-z0-9]*(?:\s[^<>\n]*)?/?>)|&(?:[a-z]{2,8}|#[0-9]{2,6});", re.IGNORECASE)
# The first byte of a two- or three-byte character of UTF-8 and the next one, both read as cp1252. If the second sign is a letter,
# the pair may also be part of a word, but not after A with tilde, circumflex, ring or diaeresis, which begin nearly all such
# pairs.
_CONTINUED: Final = (
    "\u0080-\u00bf\u20ac\u201a-\u201e\u2026\u2020\u2021\u02c6\u2030\u2039\u2018-\u201d\u2022\u2013\u2014\u02dc\u2122\u203a"
)
_GARBLED: Final = re.compile(
    f"[\u00c2-\u00c5\u00e2][{_CONTINUED}\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192]|[\u00c6-\u00df][{_CONTINUED}]"
)


def refuse_table(path: str | Path, name: str, text: str) -> None:
    """Raise WordListError if a file begins like a table with several columns.

    A file with a table's name (.csv, .tsv) is taken for a table. Another file must have the same separators on each of its
    first lines, and none of them followed by a space, as in "Smith, John".
    """
    lines = [line for line in text.split("\n", LOOKED_AT)[:LOOKED_AT] if line.strip()]
    called = Path(str(path)).suffix.lower() in TABLE_SUFFIXES
    for separator, noun in SEPARATORS.items():
        counts = Counter(line.count(separator) for line in lines)
        if not counts or not lines[0].count(separator):
            continue
        alike = len(counts) == 1 and len(lines) >= ROWS and not any(separator + " " in line for line in lines)
        if called or alike:
            columns = [cell.strip().strip('"') for cell in lines[0].split(separator)]
            shown = ", ".join(quote(cell, limit=30) for cell in columns[:10]) + (", …" if len(columns) > 10 else "")
            raise WordListError(
                f"{name} is a table of {len(columns)} columns with {noun} between them: {shown}; "
                "choose one with --column, by its name or its number from 1, or --column 0 for whole lines"
            )


class Oddities:
    """Counts lines that look like HTML, and lines whose UTF-8 was once read as another encoding."""

    def __init__(self, name: str, noun: str) -> None:
        self._name, self._noun = name, noun
        self._html: list[tuple[int, str]] = []
        self._garbled: list[tuple[int, str]] = []
        self._counts = [0, 0]

    def look(self, text: str, first: int) -> None:
        """Look at a block of lines; `first` is the number of its first."""
        for place, (pattern, kept) in enumerate(((_HTML, self._html), (_GARBLED, self._garbled))):
            if pattern.search(text) is None:
                continue
            for number, line in enumerate(text.split("\n"), first):
                if pattern.search(line) and (pattern is _HTML or _mended(line)):
                    self._counts[place] += 1
                    if not kept:
                        kept.append((number, line))

    def notes(self) -> tuple[str, ...]:
        """A sentence for each kind that was found."""
        found = []
        for number, line in self._html:
            found.append(f"{self._told(0)} like HTML, first {self._noun} {number}: {quote(line)}; take the tags out of the list")
        for number, line in self._garbled:
            mended = f"{quote(line)}, which may have been {quote(_mended(line))}"
            found.append(
                f"{self._told(1)} garbled, first {self._noun} {number}: {mended}; save the list as UTF-8 where it comes from"
            )
        return tuple(found)

    def _told(self, place: int) -> str:
        count = self._counts[place]
        return f"{self._name}: {count:,} {self._noun}{' looks' if count == 1 else 's look'}"


def _mended(line: str) -> str:
    """The line before its UTF-8 was read as cp1252; empty if it was not."""
    raw = bytearray()
    for character in line:
        try:
            raw += character.encode("cp1252")
        except UnicodeEncodeError:
            if ord(character) > 0xFF:
                return ""
            raw.append(ord(character))  # five bytes that cp1252 leaves undefined
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return ""
