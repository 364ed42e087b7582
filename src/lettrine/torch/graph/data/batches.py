"""Batches beside each other: whether they are the same, come again, or differ more than chance allows."""

from __future__ import annotations

from itertools import combinations
from math import gcd, nan
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MARK: Final = 64  # numbers at each end that make the fingerprint of a batch
_RETURNS: Final = 3  # pairs of looks with the same batch

Array = NDArray[Any]


def mark(given: Tensor | None) -> int:
    """A fingerprint that tells two batches apart."""
    if given is None:
        return 0
    flat = given.detach().reshape(-1)
    ends = torch.cat([flat[:MARK], flat[-MARK:]]).cpu().to(torch.float64).numpy()
    return hash((tuple(given.shape), ends.tobytes()))


def scatter(batches: list[Array]) -> float:
    """Fisher's F of batches (R, columns), mean over the columns: variance of their means * R / variance within them."""
    rows = min(map(len, batches), default=0)
    if len(batches) < 2 or rows < 2 or len({each.shape[1] for each in batches}) > 1:
        return nan
    table = np.stack([each[:rows] for each in batches])  # (batches, R, columns)
    within = table.var(axis=1, ddof=1).mean(axis=0)
    between = rows * table.mean(axis=1).var(axis=0, ddof=1)
    known = np.isfinite(within) & (within > 0)
    return float((between[known] / within[known]).mean()) if known.any() else nan


def period(steps: list[int], marks: list[int]) -> float:
    """The period of repeated batches: batches this many steps apart are the same, and no others are."""
    pairs = [(b - a, x == y) for (a, x), (b, y) in combinations(zip(steps, marks, strict=True), 2)]
    period = gcd(*(distance for distance, same in pairs if same))
    returned = sum(same for _, same in pairs)
    told = returned >= _RETURNS and all(same == (distance % period == 0) for distance, same in pairs)
    return float(period) if told else nan
