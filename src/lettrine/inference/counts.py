"""Baselines by counting: uniform, unigram, bigram and trigram losses to compare a network with.

The bigram table is where makemore begins (part 1). Here every order is smoothed with the next lower one:

    p(c | h) = (count(h, c) + a * p(c | h')) / (count(h) + a)

with h' the history h without its first character, and 1 / V below the unigram. MacKay & Peto 1995, "A
hierarchical Dirichlet language model"; with p(c | h') = 1 / V and a = V it is the add-one of the lecture.
The strength a of each order is chosen on the dev words, so that the baselines are as good as possible.

Counts are kept as sorted keys, not tables: a vocabulary of 20,000 would need 8e12 cells for trigrams.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, log
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lettrine.errors import ConfigError, VocabularyError

Integers: TypeAlias = NDArray[np.integer[Any]]
Keys: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]

ORDERS: Final = ("unigram", "bigram", "trigram")
_MAX_VOCABULARY: Final = 0x110001  # all of Unicode and the end token; its cube fits in 64 bits
_STRENGTHS: Final = (1e-2, 1e7)  # search range of a; a lower value would give unseen characters an almost infinite loss
_GRID: Final = 19  # two for each factor of 10
_REFINEMENTS: Final = 20  # of golden-section search: a is then known to one part in 10,000


@dataclass(frozen=True)
class BaselineLosses:
    """Mean loss of each baseline on the same words, in nats per character (the end of a word counts as one)."""

    uniform: float
    unigram: float
    bigram: float
    trigram: float


@dataclass(frozen=True, repr=False)
class Baselines:
    """Character counts of training words, made by `baselines`.

    vocabulary_size: V; strengths: a of each order, in the order of ORDERS.
    """

    vocabulary_size: int
    strengths: tuple[float, ...]
    _counts: tuple[_Counts, ...]

    def losses(self, targets: Integers) -> BaselineLosses:
        """Mean losses on words given as `Windows.targets`, (N,). Raises VocabularyError as `baselines`."""
        values = (float(self.negative_log_likelihood(targets, name).mean()) for name in ORDERS)
        return BaselineLosses(log(self.vocabulary_size), *values)

    def negative_log_likelihood(self, targets: Integers, order: str = "trigram") -> Floats:
        """Loss of each character under "unigram", "bigram" or "trigram", (N,), in nats. Raises ConfigError for another order."""
        if order not in ORDERS:
            raise ConfigError(f"order got {order!r}; expected one of {', '.join(ORDERS)}")
        symbols = _checked(targets, self.vocabulary_size)
        probability = np.full(len(symbols), 1.0 / self.vocabulary_size)  # (N,)
        for counts, strength in zip(self._counts[: ORDERS.index(order) + 1], self.strengths, strict=False):
            probability = _smoothed(*counts.look_up(symbols), strength, probability)
        loss: Floats = -np.log(probability)
        return loss

    def __repr__(self) -> str:
        chosen = ", ".join(f"{name} {strength:.3g}" for name, strength in zip(ORDERS, self.strengths, strict=True))
        return f"Baselines(V={self.vocabulary_size}, strengths: {chosen})"


def baselines(train: Integers, dev: Integers, vocabulary_size: int) -> Baselines:
    """Count the training words and choose each order's smoothing on the dev words.

    train, dev: words as `Windows.targets` has them, (N,): every word's characters, each word closed by 0.
    Time is that of sorting N numbers, memory a few arrays of N, whatever V.

    Raises VocabularyError for targets that are empty, do not end with a whole word, or lie outside the vocabulary.
    """
    symbols, held_out = _checked(train, vocabulary_size), _checked(dev, vocabulary_size)
    probability = np.full(len(held_out), 1.0 / vocabulary_size)
    tables: list[_Counts] = []
    strengths: list[float] = []
    for order in range(len(ORDERS)):
        tables.append(_Counts.of(symbols, vocabulary_size, order))
        joint, history = tables[-1].look_up(held_out)

        def loss(strength: float, joint: Floats = joint, history: Floats = history, lower: Floats = probability) -> float:
            return -float(np.log(_smoothed(joint, history, strength, lower)).mean())

        strengths.append(_least(loss))
        probability = _smoothed(joint, history, strengths[-1], probability)
    return Baselines(vocabulary_size, tuple(strengths), tuple(tables))


@dataclass(frozen=True, eq=False)
class _Counts:
    """The counts of each history of `order` characters, and of each character after it."""

    vocabulary_size: int
    order: int
    histories: Keys  # sorted and distinct
    history_counts: Keys
    joints: Keys  # history * V + character, sorted and distinct
    joint_counts: Keys

    @classmethod
    def of(cls, symbols: Keys, vocabulary_size: int, order: int) -> _Counts:
        history = _history_keys(symbols, vocabulary_size, order)
        joints, joint_counts = np.unique(history * vocabulary_size + symbols, return_counts=True)
        histories, first = np.unique(joints // vocabulary_size, return_index=True)
        return cls(vocabulary_size, order, histories, np.add.reduceat(joint_counts, first), joints, joint_counts)

    def look_up(self, symbols: Keys) -> tuple[Floats, Floats]:
        """Count of each character after its history, and of that history, (N,) each; 0 if it was never seen."""
        history = _history_keys(symbols, self.vocabulary_size, self.order)
        joint = _look_up(history * self.vocabulary_size + symbols, self.joints, self.joint_counts)
        return joint, _look_up(history, self.histories, self.history_counts)


def _history_keys(symbols: Keys, vocabulary_size: int, order: int) -> Keys:
    """The `order` characters before each one as a single number; before the word begins they are 0.

    The character before a word's first is the end token of the word before it, which is that 0 already.
    """
    keys = np.zeros_like(symbols)
    alive = np.ones(len(symbols), dtype=np.bool_)
    for lag in range(1, order + 1):
        previous = np.zeros_like(symbols)
        previous[lag:] = symbols[:-lag]
        alive &= previous != 0
        keys += previous * alive * vocabulary_size ** (lag - 1)
    return keys


def _look_up(wanted: Keys, keys: Keys, counts: Keys) -> Floats:
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, counts[at], 0).astype(np.float64)


def _smoothed(joint: Floats, history: Floats, strength: float, lower: Floats) -> Floats:
    return (joint + strength * lower) / (history + strength)


def _least(loss: Callable[[float], float]) -> float:
    """The strength with the lowest loss: a logarithmic grid, then golden-section search around its best point."""
    grid = np.linspace(log(_STRENGTHS[0]), log(_STRENGTHS[1]), _GRID)
    best = int(np.argmin([loss(exp(point)) for point in grid]))
    low, high = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, _GRID - 1)])
    ratio = (5**0.5 - 1) / 2
    for _ in range(_REFINEMENTS):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if loss(exp(left)) <= loss(exp(right)):
            high = right
        else:
            low = left
    return exp((low + high) / 2)


def _checked(targets: Integers, vocabulary_size: int) -> Keys:
    symbols = np.asarray(targets)
    if symbols.ndim != 1 or symbols.dtype.kind not in "iu" or not symbols.size or symbols[-1] != 0:
        raise VocabularyError(
            f"counts got targets of shape {symbols.shape} and type {symbols.dtype}; "
            "expected the whole targets of one or more words, the last of them 0"
        )
    if not 2 <= vocabulary_size <= _MAX_VOCABULARY:
        raise VocabularyError(f"vocabulary size got {vocabulary_size}; expected 2 to {_MAX_VOCABULARY:,}")
    if symbols.min() < 0 or symbols.max() >= vocabulary_size:
        raise VocabularyError(f"counts got indices from {symbols.min()} to {symbols.max()}; expected 0 to {vocabulary_size - 1}")
    return symbols.astype(np.int64)
