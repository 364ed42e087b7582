"""Counting as a model: interpolated modified Kneser-Ney over characters.

Kneser & Ney 1995, with the three discounts of Chen & Goodman 1999, "An empirical study of smoothing techniques for language
modeling". With h the last k characters and h' the same without the oldest of them:

    p(w | h) = (c(h w) - D(c(h w))) / c(h) + gamma(h) * p(w | h')        p(w | nothing) ends on 1 / V

In the longest histories, c counts how often w followed. In shorter ones, which are used if the longer are unseen, it counts
after how many different longer histories w followed. D is D1, D2 or D3 if c is 1, 2 or more, and gamma(h) gives the discounted
mass to the shorter history. A history that reaches the beginning of its word has no longer one: it keeps the plain counts.

Histories are nodes of a tree, the child of h with one character more at its old end, so the nodes that a context
walks through, nearest character first, are the histories it falls back on. Node 0 is the empty history; nodes are numbered by
depth, and within one by parent and character, so that all of them are found in one sorted array.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Keys: TypeAlias = NDArray[np.int64]
Integers: TypeAlias = NDArray[np.integer[Any]]
Floats: TypeAlias = NDArray[np.float64]

ORDERS: Final = (2, 10)  # least and most: an n-gram of order n sees n - 1 characters


@dataclass(frozen=True, eq=False, repr=False)
class Counts:
    """Smoothed counts of words; made by `count`.

    vocabulary_size: V. levels (K + 1,): first node of each depth 0 to K - 1, and how many nodes there are; K is the order.
    children (nodes - 1,): parent * V + character of each node but the first. begin (nodes + 1,): where a node's followers begin.
    followers, counts: which characters followed, ascending, and their counts. discounts (K, 3): D1, D2, D3 of each depth.
    """

    vocabulary_size: int
    levels: Keys
    children: Keys
    begin: Keys
    followers: NDArray[np.int32]
    counts: NDArray[np.int32]
    discounts: Floats

    @property
    def order(self) -> int:
        """How many characters an n-gram has; it sees one fewer."""
        return len(self.levels) - 1

    def probabilities(self, contexts: Integers) -> Floats:
        """Probabilities of every character after each context (N, T): (N, V). Rows sum to 1. Only the end of a longer context
        is used.
        """
        result = np.full((len(contexts), self.vocabulary_size), 1.0 / self.vocabulary_size)
        for rows, nodes in self._path(contexts):
            result[rows] *= self.passed_on[nodes, None]
            lengths = self.begin[nodes + 1] - self.begin[nodes]
            entries = np.repeat(self.begin[nodes] - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
            result[np.repeat(rows, lengths), self.followers[entries]] += self.shares[entries]
        return result

    def probability(self, contexts: Integers, targets: Integers) -> Floats:
        """Probability of the target (N,) after each context (N, T): (N,)."""
        result = np.full(len(targets), 1.0 / self.vocabulary_size)
        for rows, nodes in self._path(contexts):
            entry = self._entries(nodes, targets[rows])
            result[rows] = result[rows] * self.passed_on[nodes] + np.where(entry >= 0, self.shares[entry], 0.0)
        return result

    def chain(self, contexts: Integers, targets: Integers) -> Floats:
        """The counts that discounts apply to, for each depth and example: (K, N, 5).

        c(h w), c(h), and how many characters followed h once, twice, more often; all 0 for a history never seen.
        """
        found = np.zeros((self.order, len(targets), 5))
        for depth, (rows, nodes) in enumerate(self._path(contexts)):
            entry = self._entries(nodes, targets[rows])
            found[depth, rows, 0] = np.where(entry >= 0, self.counts[entry], 0)
            found[depth, rows, 1] = self.totals[nodes]
            found[depth, rows, 2:] = self.kinds[nodes]
        return found

    def with_discounts(self, discounts: Floats) -> Counts:
        """The same counts with other discounts."""
        return replace(self, discounts=discounts)

    @cached_property
    def totals(self) -> Floats:
        """c(h) of each node."""
        total: Floats = np.add.reduceat(self.counts.astype(np.float64), self.begin[:-1])
        return total

    @cached_property
    def kinds(self) -> Floats:
        """How many characters followed each node once, twice, and more often: (nodes, 3)."""
        return np.stack(
            [np.add.reduceat((np.minimum(self.counts, 3) == kind).astype(np.float64), self.begin[:-1]) for kind in (1, 2, 3)],
            axis=1,
        )

    @cached_property
    def shares(self) -> Floats:
        """(c(h w) - D) / c(h) of each follower."""
        node = np.repeat(np.arange(len(self.begin) - 1), np.diff(self.begin))
        taken = self.discounts[self.depths[node], np.minimum(self.counts, 3) - 1]
        result: Floats = (self.counts - taken) / self.totals[node]
        return result

    @cached_property
    def passed_on(self) -> Floats:
        """gamma(h) of each node."""
        result: Floats = (self.kinds * self.discounts[self.depths]).sum(axis=1) / self.totals
        return result

    @cached_property
    def depths(self) -> Keys:
        """How many characters each node's history has."""
        return np.repeat(np.arange(self.order), np.diff(self.levels))

    @cached_property
    def pairs(self) -> Keys:
        """Node * V + character of each follower, ascending."""
        node = np.repeat(np.arange(len(self.begin) - 1), np.diff(self.begin))
        pairs: Keys = node * self.vocabulary_size + self.followers
        return pairs

    def _entries(self, nodes: Keys, targets: Integers) -> Keys:
        """The index of each character among its node's followers, -1 if it never followed."""
        return find(self.pairs, nodes * self.vocabulary_size + targets)

    def _path(self, contexts: Integers) -> Iterator[tuple[Keys, Keys]]:
        """By depth, the rows whose history of that length was seen, and its node."""
        rows, nodes = np.arange(len(contexts)), np.zeros(len(contexts), np.int64)
        alive = np.ones(len(contexts), np.bool_)  # the history so far has not reached the beginning of the word
        for depth in range(self.order):
            yield rows, nodes
            if depth == min(self.order - 1, contexts.shape[1]):
                return
            rows, nodes = rows[alive], nodes[alive]
            oldest = contexts[rows, contexts.shape[1] - 1 - depth].astype(np.int64)
            below = find(self.children, nodes * self.vocabulary_size + oldest)
            seen = below >= 0
            rows, nodes, alive = rows[seen], below[seen] + 1, oldest[seen] != 0


def find(keys: Keys, wanted: Keys) -> Keys:
    """Index of each wanted number in ascending keys, -1 if it is missing."""
    if not len(keys):
        return np.full(len(wanted), -1)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, at, -1)
