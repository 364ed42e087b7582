"""Words of several kinds, such as the names of women and of men: a label stands before each word as one more character.

So a model learns the differences between the kinds, and what they have in common. It needs no code for labels: the label is
the first character of each word, and is drawn like any other. These characters are Unicode's noncharacters, which occur in no
text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Final

from lettrine.errors import ConfigError, WordListError, quote
from lettrine.text.files import read_columns, source_name
from lettrine.text.words import CONTROL, WordList, from_words, read_words

FIRST: Final = 0xFDD0
MOST: Final = 32  # consecutive noncharacters
MAX_NAME: Final = 60  # characters
_SIGNS: Final = re.compile(f"[{chr(FIRST)}-{chr(FIRST + MOST - 1)}]")


def sign_of(label: str, labels: Sequence[str]) -> str:
    """The character that stands for a label. Raises ConfigError for an unknown label."""
    if label not in labels or len(labels) > MOST:
        label_advice = (
            f"expected one of {', '.join(map(quote, labels))}" if labels else "leave it out: this run was trained without labels"
        )
        raise ConfigError(f"there is no label {quote(label)}; {label_advice}")
    return chr(FIRST + labels.index(label))


def signs(count: int) -> list[str]:
    """The characters that stand for this many labels."""
    return [chr(FIRST + index) for index in range(count)]


def is_sign(character: str) -> bool:
    """Whether a character stands for a label."""
    return _SIGNS.match(character) is not None


def without_sign(words: Iterable[str]) -> list[str]:
    """Words without the sign that stands before each of them."""
    return [word[1:] for word in words]


def labelled(lists: Mapping[str, WordList]) -> WordList:
    """One list made of several; each word follows the sign of its list's label.

    Raises WordListError for fewer than two labels, more than MOST, labels that cannot be printed, and words that hold such signs.
    """
    names = tuple(lists)
    if not 2 <= len(names) <= MOST:
        found = f": {', '.join(map(quote, names))}" if names else ""
        raise WordListError(f"got {len(names)} label{'s' * (len(names) != 1)}{found}; expected 2 to {MOST}")
    for name in names:
        if not name.strip() or len(name) > MAX_NAME or CONTROL.search(name) or "\n" in name:
            raise WordListError(f"got the label {quote(name)}; expected a name of 1 to {MAX_NAME} characters that can be printed")
    for each in lists.values():
        if _SIGNS.search("".join(each.words)):
            raise WordListError(
                f"{quote(each.source)} holds noncharacters (U+FDD0 to U+FDEF), which labels are made of; take them out"
            )
    words = tuple(sign + word for sign, each in zip(signs(len(names)), lists.values(), strict=True) for word in each.words)
    sources = ", ".join(dict.fromkeys(each.source for each in lists.values()))
    notes = tuple(dict.fromkeys(chain.from_iterable(each.notes for each in lists.values())))
    blank, repeated = (sum(getattr(each, name) for each in lists.values()) for name in ("blank", "repeated"))
    return WordList(words, sources, blank, repeated, notes, names)


def read_labelled(
    path: str | Path, column: str | int, labels: str | int, *, lower: bool = False, unique: bool = False
) -> WordList:
    """Words of one column of a CSV or TSV, labelled by another. Rows without a label are left out, with a note.

    Raises WordListError as `read_words` and `labelled`.
    """
    whole = read_words(path, column=column)  # reports a bad word with its row
    groups: dict[str, list[str]] = {}
    for _, rows in read_columns(path, (column, labels)):
        for word, label in rows:
            groups.setdefault(label.strip(), []).append(word)
            if len(groups) > MOST + 1:
                raise WordListError(
                    f"{source_name(path)} has more than {MOST} labels in the column {quote(labels)}; choose another"
                )
    missing = len(groups.pop("", []))
    source = whole.source
    parts = {
        label: from_words(words, source=source, lower=lower, unique=unique)
        for label, words in sorted(groups.items())
        if any(map(str.strip, words))
    }
    told = (f"{source_name(path)}: {missing:,} rows have no label and are left out",) if missing else ()
    return replace(labelled(parts), notes=whole.notes + told)


def read_lists(paths: Sequence[str], *, column: str | None = None, lower: bool = False, unique: bool = False) -> WordList:
    """Several files as one list, each word labelled with the name of its file. Raises WordListError as `read_words`."""
    names = [Path(path).stem for path in paths]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise WordListError(f"two lists are named {quote(twice)}; give files with names of their own: they become the labels")
    parts = (read_words(path, column=column, lower=lower, unique=unique) for path in paths)
    return labelled(dict(zip(names, parts, strict=True)))


def parse_shares(text: str, labels: Sequence[str]) -> dict[str, float]:
    """Labels and the share of each from their written form, "female" or "female=2,male=1"; the shares sum to 1.

    Raises ConfigError for an unknown label, and for shares that are not numbers above 0.
    """
    shares: dict[str, float] = {}
    for part in [text] if text in labels else text.split(","):
        label, equals, share = part.rpartition("=")
        label = (label if equals else part).strip()
        sign_of(label, labels)
        try:
            shares[label] = float(share) if equals else 1.0
        except ValueError:
            shares[label] = 0.0
        if not 0.0 < shares[label] < float("inf"):
            raise ConfigError(f"label got {quote(text)}; expected a label, or several with their shares, such as a=2,b=1")
    total = sum(shares.values())
    return {label: share / total for label, share in shares.items()}
