"""Which part of an array is looked at: large ones are represented by a fixed, evenly spread part, so that a sampled step has a
bounded cost. `rows` picks whole examples of an output, `part` picks weights of a parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, gcd
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = NDArray[np.floating[Any]]

CAP: Final = 16_384  # values looked at in one array: the std of so many is known to 0.6 %
MIN_ROWS: Final = 64  # examples kept however wide the layer: fewer would call a unit dead that was only quiet
MAP_ROWS: Final = 64  # examples of a saturation map
MAP_UNITS: Final = 256  # units of a saturation map


def rows(values: Values, unit_axis: int = -1, cap: int = CAP) -> Values:
    """An output as (R, U): one row for each example and position, one column for each unit; at most about `cap` values.

    A larger one is represented by rows spread evenly over it and, only where MIN_ROWS of them would still be too many values,
    by units spread evenly as well. A scalar is (1, 1), a vector (R, 1).
    """
    if values.ndim < 2:
        table = values.reshape(-1, 1)
        return table if table.shape[0] <= cap else table[spread(table.shape[0], cap)]
    if values.ndim == 2 and unit_axis in (-1, 1) and values.size <= cap:
        return values
    axis = unit_axis % values.ndim
    units = values.shape[axis]
    behind = int(np.prod(values.shape[axis + 1 :], dtype=np.int64))
    blocks = values.reshape(-1, units, behind)
    examples = blocks.shape[0] * behind
    picked_rows, picked_units = picks(examples, units, cap)
    if picked_rows is None:
        return blocks[:, :, 0] if behind == 1 else np.moveaxis(blocks, 1, 2).reshape(-1, units)
    table = blocks[picked_rows // behind, :, picked_rows % behind]
    return table if picked_units is None else table[:, picked_units]


@lru_cache(maxsize=512)
def picks(examples: int, units: int, cap: int = CAP) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
    """Which rows and which columns of an (examples, units) table to look at; None means all of them."""
    if examples * units <= cap:
        return None, None
    kept = min(examples, max(MIN_ROWS, cap // max(units, 1)))
    width = max(1, cap // kept)
    return spread(examples, kept), (spread(units, width) if width < units else None)


def spread(size: int, count: int) -> NDArray[np.int64]:
    """`count` different places spread evenly over range(size)."""
    kept = min(count, size)
    return np.arange(kept, dtype=np.int64) * size // kept


def part(values: Values, cap: int = CAP) -> Values:
    """The array as it is, or every `stride`-th of its values in memory order if it has more than `cap`."""
    if values.size <= cap:
        return values
    return values.reshape(-1)[:: stride(values.shape, cap)]


def stride(shape: Sequence[int], cap: int = CAP) -> int:
    """Step that leaves at most `cap` of an array's values and does not keep to a few of its columns: prime to the last axis."""
    size = int(np.prod(shape, dtype=np.int64))
    step = max(1, ceil(size / cap))
    if step > 1:
        while gcd(step, shape[-1]) > 1:
            step += 1
    return step


def snapshot_of(table: Values) -> NDArray[np.float16]:
    """A map of an (R, U) table: at most MAP_ROWS examples by MAP_UNITS units, spread evenly."""
    kept = table
    if table.shape[0] > MAP_ROWS:
        kept = kept[spread(table.shape[0], MAP_ROWS)]
    if table.shape[1] > MAP_UNITS:
        kept = kept[:, spread(table.shape[1], MAP_UNITS)]
    with np.errstate(over="ignore"):  # beyond float16 is infinite
        return kept.astype(np.float16)
