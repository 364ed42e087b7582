"""Cards in two columns that end at about the same height."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import ceil
from typing import Final

import numpy as np

MOST: Final = 16  # cards; so many have 32,768 ways to be laid in two columns
ALIKE: Final = 0.01  # of the whole height: a gap that nobody sees
HOLE: Final = 0.4  # of a card: one that is seen
LETTERS: Final = 56  # on a line below a picture
LINE: Final = 24  # its height in pixels
AROUND: Final = 106  # pixels of a card that are neither picture nor words: its title, its edges, and the gap below it
WIDE: Final = 460  # pixels of a picture


def card_height(svg: str, words: str) -> float:
    """About how many pixels high a card with this picture and these words is."""
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    return AROUND + (WIDE * float(box[2]) / float(box[1]) if box else 0.0) + LINE * ceil(len(words) / LETTERS)


def half_empty(heights: Sequence[float]) -> bool:
    """Whether one card would be nearly half empty beside its neighbour, if they were laid in rows of two."""
    return any(min(pair) < (1 - HOLE) * max(pair) for pair in zip(heights[::2], heights[1::2], strict=False))


def in_two_columns(heights: Sequence[float]) -> list[int]:
    """The cards of the first column, then those of the second, so that a page that breaks them in the middle has no hole.

    The first card stays first, and each column keeps the order. Of ways that are about as good, that with the earliest cards in
    the first column.
    """
    count = len(heights)
    if not 2 < count <= MOST:
        return list(range(count))
    left = np.arange(2 ** (count - 1))[:, None] >> np.arange(count - 1) & 1
    left = np.hstack([np.ones((len(left), 1), dtype=left.dtype), left])  # (ways, cards)
    whole = float(sum(heights))
    higher = np.maximum(first := left @ np.asarray(heights, dtype=float), whole - first)
    good = np.flatnonzero(higher <= higher.min() + ALIKE * whole)
    way = left[good[np.argmin(left[good] @ np.arange(count))]]
    return [*np.flatnonzero(way).tolist(), *np.flatnonzero(1 - way).tolist()]
