"""Words under a condition that the model rarely meets: a tree of the prefixes seen so far, each with a bound.

A word is drawn character by character, as always. A prefix that can no longer become an accepted word is refused at once, and
that is remembered: each prefix in the tree has a bound on the probability that a word with this beginning is accepted,

    bound(prefix) = sum over c of p(c | prefix) * bound(prefix c)       1 for a prefix not in the tree yet, 0 for a dead one,

The next draws choose c in proportion to p(c | prefix) * bound(prefix c), so that they avoid prefixes known to be dead. A
prefix that enters the tree had the bound 1 and now has a lower one. The draw that met it continues with that probability;
otherwise it is refused. Along any accepted word all bounds but the first cancel, so every word is drawn with probability
p(word) / bound(start). This is exactly the model's own distribution on the accepted words, whatever the tree contains. Fewer
draws are refused as the tree grows (adaptive rejection: Gilks & Wild 1992; for trees of words, Dymetman, Bouchard & Carter
2012, "The OS* algorithm").

The tree is bounded in size. Beyond its leaves a word is drawn to its end without the tree, and accepted or refused as a whole.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lettrine.engine.base import Doubles, Drawer, Integers
from lettrine.inference.automaton import DEAD, Automaton
from lettrine.inference.predictor import Cuts, Predictor, draw_on

CELLS: Final = 2**21  # prefixes times V: 12 bytes each, 25 MB
MET: Final = 2  # draws of one batch that must meet a prefix before it enters the tree …
NARROW: Final = 0.5  # … unless less than this share of its parent's probability can still be accepted


class PrefixTree:
    """Draws words that an automaton accepts, each with the model's own probability on them.

    draw: draws from the model under the same cuts.
    start: the context (T,) after the given prefix. room: how many characters may follow.
    """

    def __init__(self, model: Predictor, draw: Drawer, accepted: Automaton, cuts: Cuts, start: Integers, room: int) -> None:
        self._model, self._draw, self._accepted, self._cuts, self._room = model, draw, accepted, vars(cuts), room
        size = model.vocabulary.size
        most = max(CELLS // size, 1)
        self._weights = np.zeros((most, size))  # (P, V): p(c) times the bound of the child
        self._child = np.full((most, size), -1, np.int32)
        self._parent, self._by = np.zeros(most, np.int32), np.zeros(most, np.int32)  # the edge to each prefix …
        self._probability, self._depth = np.ones(most), np.zeros(most, np.int32)  # … p of it, and the prefix's length
        self._state = np.zeros(most, np.int32)
        self._open = np.ones(most)  # share of its probability that was not dead at the beginning
        self._context = np.zeros((most, len(start)), np.int32)
        self._size = 0
        self.characters = 0  # drawn so far, kept or not
        self._add(np.array([-1]), np.array([0]), start[None], np.array([accepted.start]), 0)

    @property
    def bound(self) -> float:
        """An upper bound on the share of the model's words that is accepted."""
        return float(self._weights[0].sum())

    def draw(self, count: int, generator: np.random.Generator) -> Integers:
        """Begin `count` words; returns the accepted ones (N, L), 0 after the end, N from 0 to `count`."""
        words = np.zeros((count, self._room + 1), np.int32)
        done, rows, at = np.zeros(count, np.bool_), np.arange(count), np.zeros(count, np.int64)
        before, outside = self._size, [np.zeros((4, 0), np.int64)]  # of words that left the tree: row, parent, character, place
        for place in range(self._room + 1):
            if not len(rows):
                break
            drawn = _choose(self._weights[at], generator.random(len(rows)))
            self.characters += len(rows)
            words[rows, place] = drawn
            ended = drawn == 0
            done[rows[ended]] = True
            rows, at, drawn = rows[~ended], at[~ended], drawn[~ended]
            following = self._child[at, drawn].astype(np.int64)
            fresh = following < 0
            if fresh.any():
                following[fresh] = self._grow(at[fresh], drawn[fresh], place + 1)
                left = following < 0
                outside.append(np.stack([rows[left], at[left], drawn[left], np.full(int(left.sum()), place + 1)]))
                # A prefix that was new to the tree had the bound 1: the draws that this bound was too high for are refused now.
                new = fresh & ~left
                refused = np.zeros(len(rows), np.bool_)
                refused[new] = generator.random(int(new.sum())) >= self._weights[following[new]].sum(axis=1)
                rows, following = rows[~left & ~refused], following[~left & ~refused]
            at = following
        self._finish(words, done, np.concatenate(outside, axis=1), generator)
        if self._size > before:
            self._tighten()
        return words[done]

    def _grow(self, parents: NDArray[Any], characters: NDArray[Any], depth: int) -> NDArray[np.int64]:
        """Take prefixes into the tree; their numbers, -1 for those left out."""
        if self._size == len(self._child):
            return np.full(len(parents), -1, np.int64)
        edges, which, met = np.unique(parents * self._child.shape[1] + characters, return_inverse=True, return_counts=True)
        parent, by = edges // self._child.shape[1], edges % self._child.shape[1]
        wanted = (met >= MET) | (self._open[parent] < NARROW)
        wanted &= np.cumsum(wanted) <= len(self._child) - self._size
        numbers = np.full(len(edges), -1, np.int64)
        if wanted.any():
            parent, by = parent[wanted], by[wanted]
            contexts = np.concatenate([self._context[parent, 1:], by[:, None].astype(np.int32)], axis=1)
            numbers[wanted] = self._add(parent, by, contexts, self._accepted.after(self._state[parent], by), depth)
        return numbers[which.reshape(-1)]

    def _add(
        self, parent: NDArray[Any], by: NDArray[Any], contexts: Integers, states: NDArray[Any], depth: int
    ) -> NDArray[np.int64]:
        accepted, new = self._accepted, np.arange(self._size, self._size + len(states))
        chances = self._model.probabilities(contexts, **self._cuts)  # (N, V)
        following = accepted.table[states][:, accepted.kinds]  # (N, V)
        alive = (following != DEAD) & (accepted.needed[following] < self._room - depth)
        alive[:, 0] = accepted.accepting[states]
        self._weights[new] = np.where(alive, chances, 0.0)
        self._open[new] = self._weights[new].sum(axis=1)
        self._state[new], self._depth[new], self._context[new] = states, depth, contexts
        self._parent[new], self._by[new] = parent, by
        if depth:
            self._probability[new] = self._weights[parent, by]
            self._child[parent, by] = new
        self._size += len(new)
        return new

    def _finish(
        self, words: Integers, done: NDArray[np.bool_], outside: NDArray[np.int64], generator: np.random.Generator
    ) -> None:
        """Draw the words that left the tree to their ends, all of a batch together, and accept or refuse each as a whole."""
        rows, parents, characters, places = outside
        if not len(rows):
            return
        contexts = np.concatenate([self._context[parents, 1:], characters[:, None].astype(np.int32)], axis=1)
        room = self._room + 1 - int(places.min())
        rest = draw_on(self._draw, contexts, room, lambda going, _, length: generator.random((len(going), length)))
        for place in np.unique(places).tolist():
            here = places == place
            some = rest[here, : self._room + 1 - place]  # without an end where the word is too long
            words[rows[here], place : place + some.shape[1]] = some
        self.characters += int(np.count_nonzero(rest)) + len(rows)
        done[rows] = self._accepted.run(np.full(len(rows), self._accepted.start), words[rows])

    def _tighten(self) -> None:
        """Bring every bound up to date, from the longest prefixes to the start."""
        depths = self._depth[: self._size]
        for depth in range(int(depths.max()), 0, -1):
            here = np.flatnonzero(depths == depth)
            bounds = self._weights[here].sum(axis=1)
            self._weights[self._parent[here], self._by[here]] = self._probability[here] * bounds


def _choose(weights: Doubles, uniforms: Doubles) -> NDArray[np.int64]:
    """Draw one place in each row (N, V), in proportion to the weights."""
    cumulated = np.cumsum(weights, axis=1)
    chosen: NDArray[np.int64] = (cumulated > uniforms[:, None] * cumulated[:, -1:]).argmax(axis=1)
    return chosen
