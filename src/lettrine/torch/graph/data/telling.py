"""How well inputs predict their targets: by the nearest other input, by all covariances of features with targets, or as copies.

The first is right where similar inputs have similar targets (Cover & Hart 1967, Nearest neighbor pattern classification); the
second finds, for rows and pictures of targets, what holds place by place (Robert & Escoufier 1976, the RV coefficient). All are
compared with permuted targets. Of whole numbers, and of columns with few values, the pairs that are closest to each other are
compared too: where targets depend on several columns only together (parity, sums modulo a number), the targets of such pairs are
less alike than those of others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite, log, nan
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ROWS: Final = 64  # examples kept of one look
_WIDE: Final = 256  # numbers kept of each example
_LEAST: Final = 4  # examples
_PERMUTATIONS: Final = 24
_TABLE: Final = 2.0  # times the rows seen: so few are possible
_PAIRS: Final = 50  # pairs at the smallest distance
_VALUES: Final = 16  # different values in a column that has few
_CHANCE: Final = 4.0  # times 1 / sqrt(rows): columns drawn apart are not correlated more than that

Array = NDArray[Any]


class Likeness(NamedTuple):
    """How well inputs predict their targets.

    far: how far the agreement of inputs and targets is from chance, in standard deviations over permuted targets. closest: the
    same of the pairs of inputs closest to each other, below 0 if their targets are less alike than others; NaN unless inputs are
    whole numbers. rows: how many examples were compared. near: the distance of an input to the nearest other / that to any other,
    medians; of many features that vary by themselves it is near 1, and neighbours tell nothing. drawn: whether inputs are columns
    of few values that have nothing to do with each other, as only drawn ones are: targets may depend on all of them together.
    """

    far: float
    closest: float
    rows: int
    near: float = nan
    drawn: bool = False


def flat(tensor: Tensor, rows: int = ROWS) -> Array:
    """The first rows, at most _WIDE numbers of each."""
    kept = tensor.detach()[:rows]
    wide = kept.reshape(len(kept), -1)
    return np.asarray(wide[:, :: max(1, -(-wide.shape[1] // _WIDE))].cpu().to(torch.float64).numpy())


def told(inputs: Sequence[Array], targets: Sequence[Array], *, classes: bool) -> Likeness:
    """How well inputs predict targets. Each array holds rows of one batch. Equal rows count once. classes: whether targets are
    class numbers.
    """
    if not inputs or len({(a.shape[1], b.shape[1]) for a, b in zip(inputs, targets, strict=True)}) > 1:
        return Likeness(nan, nan, 0)
    given, places = np.unique(np.concatenate(inputs), axis=0, return_index=True)
    asked = np.concatenate(targets)[places]
    kept = np.isfinite(given).all(axis=1) & np.isfinite(asked).all(axis=1)
    raw, asked = given[kept], asked[kept]
    given = standard(raw)
    if len(asked) < _LEAST or np.ptp(asked, axis=0).max() == 0 or _is_table(given):
        return Likeness(nan, nan, 0)
    distances = distances_of(given)
    nearest = distances.argmin(axis=1)
    left, right = _closest(raw)
    least = distances.min(axis=1)
    if classes:
        rows = (asked == np.unique(asked)).astype(np.float32)  # (N, classes)
    else:
        if asked.shape[1] == 1:
            asked = asked.argsort(axis=0).argsort(axis=0).astype(np.float64)  # ranks: a few huge targets must not decide
        rows = standard(asked)
    centred = rows - rows.mean(axis=0)

    def nearby(order: Array) -> float:
        own = rows[order]
        return float((own * own[nearest]).sum() if classes else -np.abs(own - own[nearest]).sum())

    def linear(order: Array) -> float:
        return float(((given.T @ centred[order]) ** 2).sum())

    def beside(order: Array) -> float:
        own = rows[order]
        return float((own[left] * own[right]).sum() if classes else -np.abs(own[left] - own[right]).sum())

    generator = np.random.default_rng(0)
    orders = [generator.permutation(len(asked)) for _ in range(_PERMUTATIONS)]
    closest = from_chance(beside, orders) if len(left) >= _PAIRS else nan
    # A truth table read row by row: not alike, but far from chance.
    far = [abs(closest)] if isfinite(closest) else []
    near = float(np.sqrt(max(np.median(least), 0.0) / np.median(distances)))
    far += [from_chance(measure, orders) for measure in (nearby, linear)]
    return Likeness(max(far), closest, len(asked), near, _few(raw) and _apart(raw))


class Copies:
    """How many targets are the very value that one column of their inputs holds, or the input at their own place.

    column: the column that holds most of them, -1 for their own place. share: of the targets; NaN if none could be compared.
    """

    def __init__(self) -> None:
        self._equal: Array | None = None  # by column
        self._rows = 0

    def take(self, given: Tensor, target: Tensor) -> None:
        """Inputs and targets of one pass."""
        inputs, asked = given.detach(), target.detach().reshape(-1)
        if inputs.device != asked.device:
            return
        if inputs.ndim == 2 and len(inputs) == len(asked):
            equal = (inputs[:, :_WIDE] == asked[:, None]).sum(0)
        elif not inputs.is_floating_point() and inputs.numel() == len(asked):
            equal = (inputs.reshape(-1) == asked).sum()[None]
        else:
            return
        counts = equal.cpu().numpy()
        if self._equal is None or len(self._equal) != len(counts):
            self._equal, self._rows = np.zeros(len(counts)), 0
        self._equal += counts
        self._rows += len(asked)

    @property
    def share(self) -> float:
        """The largest share of any column."""
        return nan if self._equal is None or not self._rows else float(self._equal.max()) / self._rows

    @property
    def column(self) -> int:
        """The column it belongs to."""
        return -1 if self._equal is None or len(self._equal) == 1 else int(self._equal.argmax())


def distances_of(table: Array) -> Array:
    """Squared distances of all rows; infinite from a row to itself."""
    squares = (table**2).sum(axis=1)
    distances = np.asarray(squares[:, None] + squares - 2 * table @ table.T)
    np.fill_diagonal(distances, np.inf)
    return distances


def _few(raw: Array) -> bool:
    """Whether each column has few values."""
    values = np.sort(raw, axis=0)
    return bool(((values[1:] != values[:-1]).sum(axis=0) < _VALUES).all())


def _apart(raw: Array) -> bool:
    """Whether no column is correlated with another; of one column nothing is known. Columns of 0 and 1 of which never two are 1
    in one row are one number in one-hot form.
    """
    given = standard(raw)
    shared = np.abs(np.triu(given.T @ given, 1)) / len(given)
    shared[(raw.T @ raw == 0)] = 0.0
    return given.shape[1] > 1 and bool(shared.max() <= _CHANCE / np.sqrt(len(given)))


def _closest(raw: Array) -> tuple[Array, Array]:
    """Both ends of all pairs of rows at the smallest distance there is, of whole numbers; or of rows that differ in the fewest
    columns, where each column has few values. None of other numbers.
    """
    if _few(raw):
        marked = [column[:, None] == np.unique(column) for column in raw.T]  # (N, values of a column)
        alike = np.hstack(marked).astype(np.float32)
        distances = raw.shape[1] - alike @ alike.T
        np.fill_diagonal(distances, np.inf)
    elif (raw == np.rint(raw)).all():
        distances = distances_of(raw)
    else:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    left, right = np.nonzero(np.triu(distances == distances.min()))
    return left, right


def _is_table(inputs: Array) -> bool:
    """Whether most of all possible rows were seen, as of a truth table: what follows from one row may be unlike the next."""
    values = np.sort(inputs, axis=0)
    possible = float(np.log1p((values[1:] != values[:-1]).sum(axis=0)).sum())  # the logarithm of their number
    return possible < log(_TABLE * len(inputs))


def from_chance(measure: Callable[[Array], float], orders: list[Array]) -> float:
    """Of the rows in their own order, in standard deviations over permuted ones; NaN if those are all the same."""
    chance = [measure(order) for order in orders]
    noise = float(np.std(chance, ddof=1))
    return (measure(np.arange(len(orders[0]))) - float(np.mean(chance))) / noise if noise > 0 else nan


def standard(table: Array) -> Array:
    """Columns of mean 0 and standard deviation 1, or 0 throughout."""
    spread = table.std(axis=0)
    return np.asarray(((table - table.mean(axis=0)) / np.where(spread > 0, spread, 1)).astype(np.float32))
