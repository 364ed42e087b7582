"""Word lists: reading, cleaning rules, splitting.

A word is the text of a line, normalised to NFC, without the white space around it. Spaces, apostrophes and
hyphens inside, and any script, are part of it; control characters are not, since words are later printed
on terminals. Blank lines are dropped and counted. Repeated words are kept by default: a frequent word should be learned as
frequent.
"""

from __future__ import annotations

import hashlib
import random
import re
import unicodedata
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby, islice
from math import ceil, isfinite
from pathlib import Path
from typing import Final, NamedTuple, overload

import numpy as np

from lettrine.arguments import checked
from lettrine.errors import ConfigError, WordListError, quote
from lettrine.text.files import CELLS, read_blocks, read_column, source_name
from lettrine.text.oddities import Oddities, refuse_table
from lettrine.text.stored import MOST, StoredWords, WordWriter, portions

MAX_WORD: Final = 1_000_000  # characters; with a longer line a file is not a list of words
MAX_WORDS: Final = 20_000_000  # lines of a file, rows of a table; about 1.5 GB as Python strings
BIG: Final = 1 << 26  # bytes of a file from which on its words are kept on disk; as Python strings they take eight times as much
MAX_CHARACTERS: Final = 400_000_000  # of all words together
MAX_MARKS: Final = 100  # combining marks in a row: normalising takes time quadratic in their number

# Characters that act on a terminal or break lines, and the halves of surrogate pairs, which no encoding can write.
CONTROL: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, repr=False)
class WordList(Sequence[str]):
    """Clean words in their order, made by `read_words` or `from_words`.

    words: the words, in memory or on disk; source: where they came from, for messages and records;
    blank: how many blank lines were dropped; repeated: how many words had stood there before
    (still in `words`, unless they were to be unique); notes: what looks odd in them, a sentence each.
    labels: where each word begins with the sign of a label, those labels, see `lettrine.text.labels`.
    """

    words: Sequence[str]
    source: str
    blank: int = 0
    repeated: int = 0
    notes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of the words in UTF-8 with a line feed between them: what a run is repeated from."""
        made = hashlib.sha256()
        for place, some in enumerate(portions(self.words)):
            made.update(("\n" * bool(place) + "\n".join(some)).encode())
        return made.hexdigest()

    def __len__(self) -> int:
        return len(self.words)

    def __iter__(self) -> Iterator[str]:
        return iter(self.words)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self.words[index]

    def __repr__(self) -> str:
        shown = ", ".join(quote(word, limit=20) for word in self.words[:3])
        more = ", …" if len(self.words) > 3 else ""
        return f"WordList({len(self.words):,} words from {quote(self.source, limit=120)}: {shown}{more})"


class Split(NamedTuple):
    """The words for training, for choosing settings, and for the reported loss."""

    train: Sequence[str]
    dev: Sequence[str]
    test: Sequence[str]

    def __repr__(self) -> str:
        return f"Split(train={len(self.train):,} words, dev={len(self.dev):,}, test={len(self.test):,})"


@checked
def read_words(path: str | Path, *, column: str | int | None = None, lower: bool = False, unique: bool = False) -> WordList:
    """Read a word list from a file, or from standard input as "-".

    A file of BIG bytes or more is kept on disk while it is used, see `lettrine.text.stored`; what is made of it is the same.

    column: read this column of a CSV or TSV, by the name in its first row or by its number from 1
        (a number takes the first row for a word too); 0 reads whole lines even where they look like a table.
    lower: turn words into lower case. unique: keep only the first of equal words.

    Raises WordListError for what cannot be read, is not UTF-8, is a table without `column`, holds control characters or holds
    no word.
    """
    name = source_name(path)
    whole = column in (None, 0, "0")
    kept: list[str] | WordWriter = WordWriter() if not unique and _is_big(path) else []
    gather = _Gatherer(name, lower, "line" if whole else "row", kept)
    if whole or column is None:
        for first, text in read_blocks(path):
            if first == 1 and column is None:
                refuse_table(path, name, text)
            gather.add(text.removesuffix("\n").split("\n"), first)
    else:
        for first, cells in read_column(path, column):
            gather.add(cells, first)
    # A file name may hold bytes that are not text, but the source is recorded in text files.
    return gather.finish("standard input" if str(path) == "-" else str(path).encode(errors="backslashreplace").decode(), unique)


def _is_big(path: str | Path) -> bool:
    """Whether a file is one to be kept on disk. What cannot be asked, standard input among it, is not."""
    try:
        return Path(path).stat().st_size >= BIG
    except (OSError, ValueError):
        return False


@checked
def from_words(words: Iterable[str], *, source: str = "memory", lower: bool = False, unique: bool = False) -> WordList:
    """Clean words that are already in Python, by the rules of `read_words`.

    Raises WordListError as `read_words`, and for a word that is not a string.
    """
    gather, first, stream = _Gatherer(quote(source, limit=120), lower, "word"), 1, iter(words)
    while batch := list(islice(stream, CELLS)):
        for position, word in enumerate(batch, start=first):
            if not isinstance(word, str):
                raise WordListError(f"word {position} of {gather.name} is of type {type(word).__name__}; expected a string")
        gather.add(batch, first)
        first += len(batch)
    return gather.finish(source, unique)


@checked
def split(words: Sequence[str], *, fractions: tuple[float, float] = (0.8, 0.1), seed: int = 42) -> Split:
    """Shuffle a copy of the words and cut it into train, dev and test parts, by word.

    With n words the cuts are at int(f0 * n) and int((f0 + f1) * n). The shuffle is that of
    random.Random(seed), so the default is the published split of makemore's lecture.

    Raises ConfigError for fractions that leave a part empty, WordListError for too few words.
    """
    train, dev = fractions
    until = round(train + dev, 12)  # 0.7 + 0.1 is slightly less than 0.8, and int() would cut one word too early
    if not (isfinite(until) and min(train, dev, 1 - until) * MAX_WORDS >= 1):
        raise ConfigError(
            f"split fractions got {train:g} and {dev:g}; expected two above 0 with a sum below 1, the rest is the test"
        )
    count = len(words)
    first, second = int(train * count), int(until * count)
    if not 0 < first < second < count:
        few = "1 word is" if count == 1 else f"{count} words are"
        enough = ceil(round(1 / min(train, dev, 1 - until), 6))
        raise WordListError(
            f"{few} too few to split into train, dev and test ({first}, {second - first} and {count - second}); "
            f"expected {enough} or more"
        )
    generator = random.Random(seed)  # noqa: S311  a shuffle anyone can repeat, not a secret
    if isinstance(words, StoredWords):
        places = array("i", range(count))
        generator.shuffle(places)
        order = np.frombuffer(places, np.int32)
        return Split(words.chosen(order[:first]), words.chosen(order[first:second]), words.chosen(order[second:]))
    shuffled = list(words)
    generator.shuffle(shuffled)
    return Split(tuple(shuffled[:first]), tuple(shuffled[first:second]), tuple(shuffled[second:]))


@dataclass
class _Gatherer:
    """Collects clean words batch by batch, so that no more than one batch is held twice."""

    name: str  # as messages call the source
    lower: bool
    noun: str  # what the source is counted in
    words: list[str] | WordWriter = field(default_factory=list)
    given: int = 0
    characters: int = 0

    def __post_init__(self) -> None:
        self.odd = Oddities(self.name, self.noun)

    def add(self, raw: list[str], first: int) -> None:
        """Clean one batch; `first` is the number of its first line, row or word."""
        clean = [word.strip() for word in raw]
        self._check_lengths(clean, first)
        text = "\n".join(clean)
        if text.count("\n") >= len(clean) or CONTROL.search(text):
            self._refuse_control(clean, first)
        self.odd.look(text, first)
        changed = text.lower() if self.lower else text
        changed = unicodedata.normalize("NFC", changed)  # returns the same string if nothing has to change
        if changed is not text:
            clean = changed.split("\n")
        self.given += len(clean)
        self.characters += len(changed)
        self.words.extend(filter(None, clean))
        stored = isinstance(self.words, WordWriter)
        if self.given > (most := MOST if stored else MAX_WORDS):
            raise WordListError(f"{self.name} has more than {most:,} {self.noun}s; train on a part of it")
        if self.characters > MAX_CHARACTERS and not stored:
            raise WordListError(f"{self.name} has more than {MAX_CHARACTERS:,} characters; train on a part of it")

    def finish(self, source: str, unique: bool) -> WordList:
        blank = self.given - len(self.words)
        if not self.words:
            none = "has no word in that column" if self.noun == "row" else "is empty"
            what = f"holds only blank {self.noun}s ({blank:,})" if blank else none
            raise WordListError(f"{self.name} {what}; expected one word a line")
        if isinstance(self.words, WordWriter):
            stored = self.words.finished()
            return WordList(stored, source, blank, len(stored) - stored.distinct, self.odd.notes())
        distinct = dict.fromkeys(self.words) if unique else set(self.words)
        repeated = len(self.words) - len(distinct)
        return WordList(tuple(distinct if unique else self.words), source, blank, repeated, self.odd.notes())

    def _check_lengths(self, words: list[str], first: int) -> None:
        if max(map(len, words), default=0) <= MAX_MARKS:
            return
        for number, word in enumerate(words, first):
            if len(word) > MAX_WORD:
                raise WordListError(
                    f"{self.name} has {len(word):,} characters on {self.noun} {number}; expected at most {MAX_WORD:,}"
                )
            if len(word) > MAX_MARKS and not word.isascii():
                runs = groupby(word, lambda c: unicodedata.category(c)[0] == "M")
                if any(mark and sum(1 for _ in run) > MAX_MARKS for mark, run in runs):
                    raise WordListError(
                        f"{self.name} has more than {MAX_MARKS} combining marks in a row on {self.noun} {number}; expected a word"
                    )

    def _refuse_control(self, words: list[str], first: int) -> None:
        for number, word in enumerate(words, first):
            if found := CONTROL.search(word) or re.search("\n", word):
                code = f"U+{ord(found[0]):04X}"
                if found[0] == "\t":
                    raise WordListError(f"{self.name} has a tab inside {self.noun} {number}; choose a column if it is a table")
                raise WordListError(f"{self.name} has the control character {code} on {self.noun} {number}; take it out")
