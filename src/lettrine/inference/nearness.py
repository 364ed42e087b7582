"""Which words are within a few edits of a list of words.

An edit inserts, deletes or replaces a character (Levenshtein 1966). The list becomes a tree of
prefixes. A word walks down the tree, with one row of the table of edit distances for each prefix that is still near enough.
All words of a batch walk in parallel. So with a list of 30,000 words, each word visits some hundred prefixes instead of
filling 30,000 tables.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

ROWS: Final = 2**18  # prefixes visited in parallel


def near_words(known: Collection[str], distance: int) -> Callable[[Sequence[str]], NDArray[np.bool_]]:
    """A function that tells for each word whether a known word is at most `distance` edits away."""
    tree = _Tree(known)
    return lambda words: tree.near(words, distance)


class _Tree:
    """The prefixes of a list, the shorter ones first; number 0 is the empty one.

    The prefixes that are one character longer than a prefix are first … last - 1; character: the one a prefix ends with;
    whole: it is a word of the list.
    """

    def __init__(self, words: Collection[str]) -> None:
        points, lengths = _points(sorted(set(words)))  # (W, L)
        characters, wholes = [np.zeros(1, np.int64)], [np.array([bool((lengths == 0).any())])]
        firsts: list[NDArray[np.int64]] = []
        lasts: list[NDArray[np.int64]] = []
        group, total = np.zeros(len(lengths), np.int64), 1  # for each word its prefix, numbered within this length
        for depth in range(points.shape[1] + 1):
            going, parents = lengths > depth, np.arange(len(characters[-1]))
            points, lengths, group = points[going], lengths[going], group[going]
            here = points[:, depth] if len(lengths) else lengths
            begins = np.ones(len(here), np.bool_)
            begins[1:] = (here[1:] != here[:-1]) | (group[1:] != group[:-1])
            owner = group[begins]
            firsts.append(total + np.searchsorted(owner, parents))
            lasts.append(total + np.searchsorted(owner, parents, side="right"))
            characters.append(here[begins])
            group, total = np.cumsum(begins) - 1, total + len(owner)
            whole = np.zeros(len(owner), np.bool_)
            whole[group[lengths == depth + 1]] = True
            wholes.append(whole)
        self.characters, self.wholes = np.concatenate(characters), np.concatenate(wholes)
        self.firsts, self.lasts = np.concatenate(firsts), np.concatenate(lasts)

    def near(self, words: Sequence[str], distance: int) -> NDArray[np.bool_]:
        points, lengths = _points(words)
        result = np.zeros(len(words), np.bool_)
        each = max(1, ROWS // (64 * 8**distance))
        for start in range(0, len(words), each):
            some = slice(start, start + each)
            result[some] = self._near(points[some], lengths[some], distance)
        return result

    def _near(self, points: NDArray[np.int64], lengths: NDArray[np.int64], most: int) -> NDArray[np.bool_]:
        """The same for words as code points (W, L). Entries outside a band around the diagonal of the table are too far away:

        the row of a prefix of d characters holds its distances to the word's first d - most … d + most characters.
        """
        found = np.zeros(len(points), np.bool_)
        band = np.arange(-most, most + 1)
        padded = np.pad(points, ((0, 0), (most + 1, 2 * most + 2)), constant_values=-1)
        owner, prefix = np.arange(len(points)), np.zeros(len(points), np.int64)
        rows = np.repeat(np.where(band >= 0, band, most + 1)[None], len(points), axis=0)  # (F, 2 * most + 1)
        for depth in range(int(lengths.max(initial=0)) + most + 1):
            at = lengths[owner] - depth + most  # position of the whole word in the row
            fits = (at >= 0) & (at <= 2 * most) & self.wholes[prefix]
            hit = np.flatnonzero(fits)
            found[owner[hit[rows[hit, at[hit]] <= most]]] = True
            going = ~found[owner] & (rows.min(axis=1) <= most)
            owner, prefix, rows = owner[going], prefix[going], rows[going]
            children = self.lasts[prefix] - self.firsts[prefix]
            if not children.sum():
                break
            steps = np.arange(children.sum()) - np.repeat(np.cumsum(children) - children, children)
            prefix = np.repeat(self.firsts[prefix], children) + steps
            owner, above = np.repeat(owner, children), np.repeat(rows, children, axis=0)
            # The word's character at places depth - most + 1 … depth + most + 1, counted from 1.
            letters = padded[owner[:, None], depth + 1 + np.arange(2 * most + 1)]
            rows = above + (letters != self.characters[prefix][:, None])
            rows[:, :-1] = np.minimum(rows[:, :-1], above[:, 1:] + 1)
            for place in range(1, 2 * most + 1):
                rows[:, place] = np.minimum(rows[:, place], rows[:, place - 1] + 1)
            rows = np.minimum(rows, most + 1)
        return found


def _points(words: Sequence[str]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Code points (W, L), -1 past the end, and lengths (W,)."""
    lengths = np.array([len(word) for word in words], np.int64)
    points = np.full((len(words), int(lengths.max(initial=0))), -1, np.int64)
    text = np.frombuffer("".join(words).encode("utf-32-le", "surrogatepass"), "<u4")
    points[np.arange(points.shape[1]) < lengths[:, None]] = text
    return points, lengths
