"""From words to `Counts`: counting every history at once, and choosing order and discounts on held-out words."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from lettrine.model.counts import ORDERS, Counts, Integers, Keys
from lettrine.model.discounts import estimated, scaled_on

_ROOM: Final = 2**62  # of a number that several characters are packed into
_FIT: Final = 12_000  # held-out characters used: enough to know a loss to 0.01 nats and to choose a few numbers
_PART: Final = 1 << 18  # examples, about, that are worth a thread
WORTH: Final = 5e-4  # nats that a longer history must gain to be worth its memory


@dataclass(frozen=True, eq=False)
class _Level:
    """The histories of one length: their parents, their oldest characters, and what followed them.

    plain: how often; widely: after how many longer histories, if there are any.
    """

    parents: Keys
    oldest: Keys
    nodes: Keys  # (entries,) ascending
    followers: Keys
    plain: Keys
    widely: Keys


def histories(targets: Integers, most: int) -> Integers:
    """The `most` characters before each one, nearest first, 0 from the beginning of the word on: (N, most), of their type."""
    symbols = np.asarray(targets)
    result, alive = np.zeros((most, len(symbols)), symbols.dtype), np.ones(len(symbols), np.bool_)
    for lag in range(1, min(most, len(symbols) - 1) + 1):
        result[lag - 1, lag:] = symbols[:-lag]
        result[lag - 1] *= alive
        alive = result[lag - 1] != 0
    return result.T


def count(train: Integers, dev: Integers, vocabulary_size: int, most: int = ORDERS[1]) -> Counts:
    """Count the training words; order (at most `most`) and discounts minimise the loss on the dev words.

    train, dev: words as `Windows.targets` has them, (N,): every word's characters, each word closed by 0. Without dev words the
    discounts stay as estimated and the order is `most`.
    """
    levels = _levels(np.asarray(train), vocabulary_size, most)
    if not len(dev):
        return _assemble(levels, vocabulary_size)
    fit = slice(_whole_words(dev, _FIT))
    contexts = histories(dev[fit], most - 1)[:, ::-1]
    best, least = _assemble(levels[:1], vocabulary_size), np.inf
    for order in range(min(ORDERS[0], most), most + 1):
        counts = _assemble(levels[:order], vocabulary_size)
        chain = counts.chain(contexts, dev[fit])
        with threadpool_limits(1):  # products of three numbers each: threads would only wait for one another
            discounts, loss = scaled_on(chain, counts.discounts, 1.0 / vocabulary_size)
        if loss > least - WORTH:
            break
        best, least = counts.with_discounts(discounts), loss
    return best


def _whole_words(targets: Integers, most: int) -> int:
    """The number of targets, at most `most`, that end with a whole word; at least one word."""
    ends = np.flatnonzero(np.asarray(targets) == 0) + 1
    return int(ends[max(int(np.searchsorted(ends, most, side="right")) - 1, 0)])


def _levels(symbols: Integers, vocabulary_size: int, most: int) -> list[_Level]:
    """Every history of 0 to most - 1 characters.

    Histories that end with different characters have only the empty one in common. So many examples are counted in parts by that
    character, in threads; the parts together are the same as the whole.
    """
    before = histories(symbols, most - 1)  # (N, K - 1)
    if most == 1 or len(symbols) < 2 * _PART:
        return _part(before, symbols, vocabulary_size, most)
    nearest = before[:, 0]
    ends = np.cumsum(np.bincount(nearest))
    cuts = np.unique(ends[np.searchsorted(ends, np.arange(_PART, len(symbols), _PART))])
    places = [rows for rows in np.split(np.argsort(nearest, kind="stable"), cuts) if len(rows)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return _joined(list(pool.map(lambda rows: _part(before[rows], symbols[rows], vocabulary_size, most), places)))


def _part(before: Integers, symbols: Integers, vocabulary_size: int, most: int) -> list[_Level]:
    """The histories of some examples: of what stands before each, (N, K - 1) nearest first, and of itself, (N,)."""
    key = np.zeros(len(symbols), np.int64)
    room = _ROOM
    size = 1
    for column in [*before.T, symbols]:
        if size > room // vocabulary_size:
            distinct, key = np.unique(key, return_inverse=True)
            size = len(distinct)
        key = key * vocabulary_size + column
        size *= vocabulary_size
    order = np.argsort(key)
    first = np.flatnonzero(np.diff(key[order], prepend=-1))
    times = np.diff(first, append=len(order))
    rows, followers = before[order[first]], symbols[order[first]].astype(np.int64)  # distinct n-grams, histories ascending
    depth = np.minimum((rows != 0).sum(axis=1) + 1, most - 1)  # of the longest history of each
    ids = np.zeros((most, len(rows)), np.int64)  # its node at each depth
    parents, oldest = [np.zeros(1, np.int64)], [np.zeros(1, np.int64)]
    changed = np.zeros(len(rows), np.bool_)
    changed[0] = True
    for k in range(1, most):
        changed[1:] |= rows[1:, k - 1] != rows[:-1, k - 1]
        new = np.flatnonzero(changed & (depth >= k))
        ids[k] = np.cumsum(changed & (depth >= k)) - 1
        parents.append(ids[k - 1][new])
        oldest.append(rows[new, k - 1].astype(np.int64))
    levels: list[_Level] = []
    nodes, chars, plain, widely = (np.empty(0, np.int64) for _ in range(4))
    for k in range(most - 1, -1, -1):
        own = np.flatnonzero(depth == k) if k else np.empty(0, np.int64)
        nodes = np.concatenate([nodes, ids[k][own]])
        chars = np.concatenate([chars, followers[own]])
        plain = np.concatenate([plain, times[own]])
        # A history that reaches the beginning of its word, or has the greatest length, has no longer one.
        widely = np.concatenate([np.ones(len(widely), np.int64), times[own]])
        pair = nodes * vocabulary_size + chars
        place = np.argsort(pair)
        start = np.flatnonzero(np.diff(pair[place], prepend=-1))
        distinct = pair[place[start]]
        nodes, chars = np.divmod(distinct, vocabulary_size)
        plain, widely = np.add.reduceat(plain[place], start), np.add.reduceat(widely[place], start)
        levels.append(_Level(parents[k], oldest[k], nodes, chars, plain, widely))
        nodes = parents[k][nodes]
    return levels[::-1]


def _joined(parts: list[list[_Level]]) -> list[_Level]:
    """The levels of all parts in their order; only the empty history is in several of them."""
    empty = [part[0] for part in parts]
    followers, place = np.unique(np.concatenate([level.followers for level in empty]), return_inverse=True)
    plain, widely = np.zeros((2, len(followers)), np.int64)
    np.add.at(plain, place, np.concatenate([level.plain for level in empty]))
    np.add.at(widely, place, np.concatenate([level.widely for level in empty]))
    levels = [_Level(np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros_like(followers), followers, plain, widely)]
    above = [0] * len(parts)  # number of the first history that is a part's own, one character shorter
    for each in zip(*(part[1:] for part in parts), strict=True):
        own = np.cumsum([0, *(len(level.parents) for level in each)])
        levels.append(
            _Level(
                np.concatenate([level.parents + start for level, start in zip(each, above, strict=True)]),
                np.concatenate([level.oldest for level in each]),
                np.concatenate([level.nodes + start for level, start in zip(each, own, strict=False)]),
                *(np.concatenate([getattr(level, name) for level in each]) for name in ("followers", "plain", "widely")),
            )
        )
        above = own[:-1].tolist()
    return levels


def _assemble(levels: list[_Level], vocabulary_size: int) -> Counts:
    """The counts of one order: plain ones in the longest histories, wide ones below."""
    sizes = np.array([len(level.parents) for level in levels])
    starts = np.concatenate([[0], np.cumsum(sizes)])
    children = [(level.parents + starts[k - 1]) * vocabulary_size + level.oldest for k, level in enumerate(levels) if k > 0]
    used = [level.plain if k == len(levels) - 1 else level.widely for k, level in enumerate(levels)]
    nodes = np.concatenate([level.nodes + start for level, start in zip(levels, starts, strict=False)])
    begin = np.searchsorted(nodes, np.arange(starts[-1] + 1))
    discounts = np.array([estimated(each) for each in used])
    return Counts(
        vocabulary_size,
        starts.astype(np.int64),
        np.concatenate([np.empty(0, np.int64), *children]),
        begin.astype(np.int64),
        np.concatenate([level.followers for level in levels]).astype(np.int32),
        np.concatenate(used).astype(np.int32),
        discounts,
    )
