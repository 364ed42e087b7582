"""Dropout (Srivastava et al. 2014) whose masks are a function of seed and step alone.

A unit is dropped if a hash of seed, step, layer, row and unit is below the rate; the others are multiplied by 1 / (1 - rate).
There is no generator whose state must be kept: a resumed training drops the same units as an undisturbed one, and so does every
engine. The rows are the distinct contexts of a batch in order of appearance, so examples with the same context share a mask.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lettrine.engine.base import Integers
from lettrine.model.parameters import Array

Hashes: TypeAlias = NDArray[np.uint32]

_GOLDEN: Final = np.uint32(0x9E3779B9)  # 2**32 / golden ratio: neighbouring units start far apart
_WORD: Final = 0xFFFFFFFF


def mixed(x: Hashes) -> Hashes:
    """A bijection of 32 bits in which every bit depends on every other: Wellons 2018, "lowbias32"."""
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def key_of(seed: int, step: int, layer: int) -> Hashes:
    """The key of one layer's mask at one step."""
    key = np.zeros(1, np.uint32)
    for word in (seed & _WORD, seed >> 32 & _WORD, step & _WORD, step >> 32 & _WORD, layer):
        key = mixed(key ^ np.uint32(word))
    return key


def rows_of(contexts: Integers) -> NDArray[np.intp]:
    """For each context (B, T) of a batch, its place among the distinct ones in order of appearance: (B,)."""
    _, first, place = np.unique(contexts, axis=0, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.intp)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[place.reshape(-1)]


def dropout_mask(rate: float, key: Hashes, rows: NDArray[np.intp], width: int, dtype: Any) -> Array:
    """The factors for the outputs of a layer: 0 or 1 / (1 - rate), (B, H)."""
    row = mixed(key ^ mixed(rows.astype(np.uint32)))  # (B,)
    units = mixed(row[:, None] + np.arange(width, dtype=np.uint32) * _GOLDEN)  # (B, H)
    kept = units >= np.uint32(threshold(rate))
    result: Array = kept * np.dtype(dtype).type(1.0 / (1.0 - rate))
    return result


def threshold(rate: float) -> int:
    """A unit is dropped if its hash is below this."""
    return int(rate * 2.0**32)
