"""Units that are copies of each other. Zero initialisation makes them, and gradient descent keeps them equal."""

from __future__ import annotations

from functools import lru_cache
from math import isfinite, nan, sqrt
from typing import Final

import numpy as np

from lettrine.health.parts import CAP, Values
from lettrine.health.trace import Floats

SAME: Final = 1e-5  # units whose weights differ by less, relative to the matrix's rms, count as identical


def duplicates(matrix: Values) -> float:
    """Share of units (rows) whose incoming weights equal those of another unit to within SAME of the matrix's rms.

    NaN for fewer than two rows or a vector. Rows are compared with their neighbours in the order of one fixed projection, so the
    cost is that of reading the matrix; beyond CAP values only the first rows are read.
    """
    if matrix.ndim < 2 or matrix.shape[0] < 2:
        return nan
    table = matrix.reshape(matrix.shape[0], -1)
    if table.shape[1] < 2:
        return nan
    table = table[: max(2, 16 * CAP // table.shape[1]), :]
    with np.errstate(all="ignore"):  # weights that are not finite give no answer here
        projected = (table @ _direction(table.shape[1]).astype(table.dtype)).astype(np.float64)
        squares = float(table.ravel() @ table.ravel())
    if not np.isfinite(projected).all() or not isfinite(squares):
        return nan
    order = np.argsort(projected, kind="stable")
    limit = SAME * sqrt(squares / table.size)
    # Equal rows have equal projections, so only neighbours in this order need be compared value by value.
    near = np.flatnonzero(np.diff(projected[order]) <= limit * table.shape[1])
    if not near.size:
        return 0.0
    first, second = order[near], order[near + 1]
    same = np.abs(table[first] - table[second]).max(axis=1, initial=0.0) <= limit
    return len(set(first[same].tolist()) | set(second[same].tolist())) / table.shape[0]


@lru_cache(maxsize=64)
def _direction(size: int) -> Floats:
    return np.random.default_rng(0).standard_normal(size)
