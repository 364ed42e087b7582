"""Sets of words as deterministic automata: each character leads to a state, and a state tells whether a word may end there.

Every condition on the spelling of a word (`lettrine.inference.conditions`) becomes one automaton; several at once are their
product. Characters that an automaton treats alike share a column, so a vocabulary of 20,000 costs no more than the few kinds
of character that a condition distinguishes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from lettrine.errors import ConfigError

State = TypeVar("State", bound=Hashable)

DEAD: Final = 0  # the state from which no word is accepted; every automaton has it first
MAX_STATES: Final = 20_000
MAX_CELLS: Final = 500_000  # states times kinds of character: about a second to fill
FAR: Final = np.iinfo(np.int32).max // 2  # characters still needed if no word can be accepted


@dataclass(frozen=True, eq=False)
class Automaton:
    """A set of words. State 0 is dead; `start` is where a word begins.

    kinds: column of each of the V characters of the vocabulary, (V,), that of the end token unused; table: next state (S, K);
    accepting: whether a word may end in a state, (S,); needed: how many more characters it takes at least, (S,), 0 where
    accepting, FAR where dead.
    """

    kinds: NDArray[np.int32]
    table: NDArray[np.int32]
    accepting: NDArray[np.bool_]
    start: int
    needed: NDArray[np.int32]

    @property
    def empty(self) -> bool:
        """Whether no word at all is accepted."""
        return bool(self.needed[self.start] >= FAR)

    def after(self, states: NDArray[Any], characters: NDArray[Any]) -> NDArray[np.int32]:
        """The states (N,) after one more character each (N,)."""
        following: NDArray[np.int32] = self.table[states, self.kinds[characters]]
        return following

    def run(self, states: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether each row (N, L), read from its state (N,) to its first 0, is accepted; a row without 0 is not."""
        states, accepted = np.array(states), np.zeros(len(rows), np.bool_)
        going = np.arange(len(rows))
        for place in range(rows.shape[1]):
            characters = rows[going, place]
            ended = characters == 0
            accepted[going[ended]] = self.accepting[states[going[ended]]]
            going = going[~ended]
            states[going] = self.after(states[going], characters[~ended])
            going = going[states[going] != DEAD]
            if not len(going):
                break
        return accepted


def explore(
    kinds: NDArray[np.int32],
    start: State,
    step: Callable[[State, int], State | None],
    accepts: Callable[[State], bool],
    what: str,
) -> Automaton:
    """The automaton of all states that can be reached from `start`. step: next state by kind of character, None for dead.

    Raises ConfigError if there are too many; `what` names the condition.
    """
    columns = int(kinds.max()) + 1
    numbers: dict[State, int] = {start: 1}
    found, rows = [start], [[DEAD] * columns]
    for state in found:  # grows on the way
        row = [DEAD] * columns
        for kind in range(columns):
            following = step(state, kind)
            if following is None:
                continue
            if following not in numbers:
                numbers[following] = len(found) + 1
                found.append(following)
            row[kind] = numbers[following]
        rows.append(row)
        if len(found) > MAX_STATES or len(found) * columns > MAX_CELLS:
            raise ConfigError(f"{what} is too complicated: more than {len(found) - 1:,} states; expected something simpler")
    table = np.array(rows, np.int32)
    accepting = np.array([False, *map(accepts, found)])
    return _trimmed(kinds, table, accepting, 1)


def product(automata: Sequence[Automaton], what: str = "these wishes together") -> Automaton:
    """The words that all of them accept."""
    if len(automata) == 1:
        return automata[0]
    together, inverse = np.unique(np.stack([each.kinds for each in automata]), axis=1, return_inverse=True)  # (A, K), (V,)
    tables = [each.table[:, columns].tolist() for each, columns in zip(automata, together, strict=True)]
    accepting = [each.accepting.tolist() for each in automata]

    def step(states: tuple[int, ...], kind: int) -> tuple[int, ...] | None:
        following = tuple(table[state][kind] for table, state in zip(tables, states, strict=True))
        return None if DEAD in following else following

    def accepts(states: tuple[int, ...]) -> bool:
        return all(each[state] for each, state in zip(accepting, states, strict=True))

    start = tuple(each.start for each in automata)
    if DEAD in start:
        return nothing(automata[0].kinds)
    return explore(inverse.reshape(-1).astype(np.int32), start, step, accepts, what)


def at_least(length: int, size: int) -> Automaton:
    """The words of at least this many characters, over V = `size` characters."""
    kinds = np.zeros(size, np.int32)
    return explore(kinds, 0, lambda state, _: min(state + 1, length), lambda state: state >= length, "min length")


def nothing(kinds: NDArray[np.int32]) -> Automaton:
    """The automaton that accepts no word."""
    return Automaton(kinds, np.zeros((1, int(kinds.max()) + 1), np.int32), np.zeros(1, np.bool_), DEAD, np.full(1, FAR, np.int32))


def _trimmed(kinds: NDArray[np.int32], table: NDArray[np.int32], accepting: NDArray[np.bool_], start: int) -> Automaton:
    """With `needed` filled in, and every state from which no word can be accepted replaced by the dead one."""
    size = len(table)
    edges = np.sort((table.astype(np.int64) * size + np.arange(size)[:, None]).reshape(-1))  # by where they lead, then begin
    sources, begin = edges % size, np.searchsorted(edges // size, np.arange(size + 1))
    needed = np.full(size, FAR, np.int32)
    frontier, away = np.flatnonzero(accepting), 0
    while len(frontier):  # a breadth-first search, backwards
        needed[frontier] = away
        lengths = begin[frontier + 1] - begin[frontier]
        steps = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        reached = np.zeros(size, np.bool_)
        reached[sources[np.repeat(begin[frontier], lengths) + steps]] = True
        frontier, away = np.flatnonzero(reached & (needed == FAR)), away + 1
    table = np.where(needed[table] >= FAR, DEAD, table)
    return Automaton(kinds, table.astype(np.int32), accepting, start if needed[start] < FAR else DEAD, needed)
