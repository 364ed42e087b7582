r"""Regular expressions over a vocabulary: the part of the usual syntax that describes sets of words.

    abc  .  [a-z]  [^aeiou]  \d \w \s  (…)  |  *  +  ?  {3}  {2,}  {2,5}  and a backslash before a sign

A pattern must match the whole word. Syntax that goes beyond sets of words (back references, lookahead) is refused.
`lettrine.inference.glushkov` makes an automaton of a parsed pattern.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lettrine.errors import ConfigError, quote
from lettrine.text.vocabulary import Vocabulary

Mask: TypeAlias = NDArray[np.bool_]  # (V,): which characters

MAX_PATTERN: Final = 1_000  # characters
MAX_DEPTH: Final = 50  # of nested brackets
_REPEATS: Final = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_CLASSES: Final[dict[str, Callable[[str], bool]]] = {
    "d": str.isdecimal,
    "w": lambda c: c.isalnum() or c == "_",
    "s": str.isspace,
}


@dataclass(frozen=True, eq=False)
class One:
    """One character out of a set."""

    mask: Mask


@dataclass(frozen=True)
class Chain:
    """Parts one after the other; without parts it is the empty word."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Choice:
    """One of several."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Repeat:
    """A part several times. most: None for without end."""

    part: Node
    least: int
    most: int | None


Node: TypeAlias = One | Chain | Choice | Repeat


def parse(pattern: str, vocabulary: Vocabulary, letter: One) -> Node:
    """The parts of a pattern; `letter` is the set of characters that its dot matches.

    Raises ConfigError for a text that is not a pattern of the syntax above.
    """
    if len(pattern) > MAX_PATTERN:
        raise ConfigError(f"match got a pattern of {len(pattern):,} characters; expected at most {MAX_PATTERN:,}")
    return _Parser(pattern, vocabulary, letter).whole()


def literal(text: str, vocabulary: Vocabulary) -> Chain:
    """Exactly that text. Raises VocabularyError for an unknown character."""
    return Chain(tuple(One(np.arange(vocabulary.size) == index) for index in vocabulary.encode(text)))


class _Parser:
    def __init__(self, pattern: str, vocabulary: Vocabulary, letter: One) -> None:
        self.letter = letter
        self.pattern, self.vocabulary, self.place, self.depth = pattern, vocabulary, 0, 0

    def whole(self) -> Node:
        self._take("^")
        node = self._choice()
        if self.place < len(self.pattern):
            raise self._wrong("a bracket closed that was not opened")
        return node

    def _choice(self) -> Node:
        parts = [self._sequence()]
        while self._take("|"):
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def _sequence(self) -> Node:
        parts: list[Node] = []
        while (sign := self._peek()) and sign not in "|)":
            if sign == "$" and self.place == len(self.pattern) - 1:
                self.place += 1
                break
            parts.append(self._repeated(self._atom()))
        return parts[0] if len(parts) == 1 else Chain(tuple(parts))

    def _repeated(self, node: Node) -> Node:
        if not (sign := self._peek()) or sign not in "*+?{":
            return node
        self.place += 1
        least, most = self._counts() if sign == "{" else _REPEATS[sign]
        self._take("?")  # "as few as possible" describes the same set of words
        if (sign := self._peek()) and sign in "*+?{":
            raise self._wrong("two signs of repetition together; write (…) around what is repeated twice")
        return Repeat(node, least, most)

    def _counts(self) -> tuple[int, int | None]:
        end = self.pattern.find("}", self.place)
        low, comma, high = self.pattern[self.place : end].partition(",") if end >= 0 else ("", "", "")
        if not (low or comma) or not all(part.isascii() and part.isdecimal() and len(part) < 6 for part in (low, high) if part):
            raise self._wrong("a curly bracket that is no count such as {2,5}; write \\{ for the sign itself", back=1)
        least, most = int(low or 0), (int(high) if high else None) if comma else int(low)
        if (most is not None and most < least) or not (low or high):
            raise self._wrong("a count whose first number is above its second", back=1)
        self.place = end + 1
        return least, most

    def _atom(self) -> Node:
        sign = self.pattern[self.place]
        self.place += 1
        if sign == "(":
            return self._group()
        if sign == "[":
            return One(self._class())
        if sign == ".":
            return self.letter
        if sign == "\\":
            return One(self._escape())
        if sign in "*+?{":
            raise self._wrong("a sign of repetition with nothing before it", back=1)
        if sign in "^$":
            raise self._wrong("a mark of the word's edge in its middle; a pattern matches the whole word", back=1)
        return One(self._between(sign, sign))

    def _group(self) -> Node:
        if self._take("?") and not self._take(":"):
            raise self._wrong("a group with lookaround, a name or flags; expected (…) or (?:…)", back=2)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self._wrong(f"more than {MAX_DEPTH} brackets in one another")
        node = self._choice()
        self.depth -= 1
        if not self._take(")"):
            raise self._wrong("a bracket left open")
        return node

    def _class(self) -> Mask:
        negated, mask, first = self._take("^"), np.zeros(self.vocabulary.size, np.bool_), True
        while (sign := self._peek()) != "]" or first:
            first = False
            if not sign:
                raise self._wrong("a square bracket left open")
            self.place += 1
            low = sign
            if sign == "\\":
                low = self._peek()
                found = self._escape()
                if low in "dDwWsS":
                    mask |= found
                    continue
            if self._peek() == "-" and self.pattern[self.place + 1 : self.place + 2] not in ("]", ""):
                self.place += 1
                high = self.pattern[self.place]
                self.place += 1
                if high == "\\":
                    high = self._peek()
                    self._escape()
                if high < low:
                    raise self._wrong(f"a range from {low!r} down to {high!r}", back=3)
                mask |= self._between(low, high)
            else:
                mask |= self._between(low, low)
        self.place += 1
        return self.letter.mask & ~mask if negated else mask

    def _escape(self) -> Mask:
        sign = self._peek()
        self.place += 1
        if sign.lower() in _CLASSES and sign:
            mask = self._those(_CLASSES[sign.lower()])
            return mask if sign.islower() else self.letter.mask & ~mask
        if not sign or sign.isalnum():
            raise self._wrong("a backslash before a letter or number without meaning here; it knows \\d \\w \\s", back=2)
        return self._between(sign, sign)

    def _those(self, wanted: Callable[[str], bool]) -> Mask:
        return np.array([False, *(wanted(c) for c in self.vocabulary.characters)])

    def _between(self, low: str, high: str) -> Mask:
        return self._those(lambda c: low <= c <= high)

    def _peek(self) -> str:
        return self.pattern[self.place : self.place + 1]

    def _take(self, sign: str) -> bool:
        taken = self._peek() == sign
        self.place += taken
        return taken

    def _wrong(self, what: str, back: int = 0) -> ConfigError:
        return ConfigError(
            f"match got {quote(self.pattern)}, which has {what}, at place {max(self.place - back, 0) + 1}; "
            r"expected a pattern such as [aeiou].*a, of . [a-z] \d (…) | * + ? {2,5}"
        )
