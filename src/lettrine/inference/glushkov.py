"""The automaton of a pattern, built from positions (Glushkov 1961, "The abstract theory of automata").

Each character of the pattern is a position. A state is the set of positions that the last character may have been, held as the
bits of a whole number. There is no backtracking: the cost of a pattern is that of its automaton, and that has a limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from lettrine.errors import ConfigError
from lettrine.inference.automaton import Automaton, explore
from lettrine.inference.patterns import Chain, Choice, Mask, Node, One, Repeat

MAX_POSITIONS: Final = 2_000
MAX_WORK: Final = 3_000_000  # positions visited while building the automaton: about a second


def automaton_of(node: Node, size: int, what: str) -> Automaton:
    """The automaton of a pattern's parts, over V = `size` characters.

    Raises ConfigError where it would grow too large; `what` names the condition.
    """
    if _size(node) > MAX_POSITIONS:
        raise ConfigError(
            f"{what} is too long: more than {MAX_POSITIONS:,} characters with its repetitions written out; expected fewer"
        )
    glushkov = _Glushkov()
    nullable, first, last = glushkov.add(node)
    masks = np.stack([*glushkov.masks, np.zeros(size, np.bool_)])  # (P + 1, V), the last of the word's beginning
    together, kinds = np.unique(np.packbits(masks, axis=0), axis=1, return_inverse=True)
    matched = np.packbits(np.unpackbits(together, axis=0, count=len(masks)).T, axis=1, bitorder="little")  # (K, P / 8)
    at = [int.from_bytes(row.tobytes(), "little") for row in matched]  # for each kind, the positions that it may match, as bits
    begin = 1 << len(glushkov.masks)
    follow, accepts = [*glushkov.follow, first], last | (begin if nullable else 0)
    work, following = 0, {}

    def step(state: int, kind: int) -> int | None:
        nonlocal work
        if state not in following:
            bits = list(_bits(state))
            work += len(bits)
            if work > MAX_WORK:
                raise ConfigError(f"{what} is too complicated; expected something simpler")
            joined = 0
            for bit in bits:
                joined |= follow[bit]
            following[state] = joined
        return following[state] & at[kind] or None

    return explore(kinds.reshape(-1).astype(np.int32), begin, step, lambda state: bool(state & accepts), what)


class _Glushkov:
    """Collects a pattern's positions and which may follow which; sets of positions are the bits of whole numbers."""

    def __init__(self) -> None:
        self.masks: list[Mask] = []
        self.follow: list[int] = []

    def add(self, node: Node) -> tuple[bool, int, int]:
        """Whether it matches the empty word, and the positions that it may begin and end with."""
        if isinstance(node, One):
            self.masks.append(node.mask)
            self.follow.append(0)
            bit = 1 << (len(self.masks) - 1)
            return False, bit, bit
        if isinstance(node, Chain):
            return self._chain(self.add(part) for part in node.parts)
        if isinstance(node, Choice):
            nullable, first, last = False, 0, 0
            for part in node.parts:
                empty, begins, ends = self.add(part)
                nullable, first, last = nullable or empty, first | begins, last | ends
            return nullable, first, last
        return self._chain(self._copies(node))

    def _copies(self, node: Repeat) -> Iterator[tuple[bool, int, int]]:
        for copy in range(node.least if node.most is None else node.most):
            empty, first, last = self.add(node.part)
            yield empty or copy >= node.least, first, last
        if node.most is None:
            _, first, last = self.add(node.part)
            self._join(last, first)
            yield True, first, last

    def _chain(self, parts: Iterator[tuple[bool, int, int]]) -> tuple[bool, int, int]:
        nullable, first, last = True, 0, 0
        for empty, begins, ends in parts:
            self._join(last, begins)
            first |= begins if nullable else 0
            last = ends | (last if empty else 0)
            nullable = nullable and empty
        return nullable, first, last

    def _join(self, last: int, first: int) -> None:
        for bit in _bits(last):
            self.follow[bit] |= first


def _bits(number: int) -> Iterator[int]:
    while number:
        low = number & -number
        yield low.bit_length() - 1
        number ^= low


def _size(node: Node) -> int:
    """The number of positions of a node with its repetitions written out."""
    if isinstance(node, One):
        return 1
    if isinstance(node, Repeat):
        return _size(node.part) * (node.least + 1 if node.most is None else node.most)
    return sum(map(_size, node.parts))
