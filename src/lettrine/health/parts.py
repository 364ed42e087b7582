"""Which part of an array is measured. Of a large one it is a fixed, evenly spaced part, so that the cost of a sampled step is
bounded. `rows` picks whole examples of an output, `part` picks weights of a parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, gcd
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = NDArray[np.floating[Any]]

CAP: Final = 16_384  # values measured in one array: the std of so many is exact to 0.6 %
MIN_ROWS: Final = 64  # examples kept even for a wide layer: with fewer, a quiet unit would count as dead
RUN: Final = 8  # neighbouring positions of an image: half a line of a processor's cache
FEW: Final = 8  # up to so many images, none is left out
MAP_ROWS: Final = 64  # examples of a saturation map
MAP_UNITS: Final = 256  # units of a saturation map


def rows(values: Values, unit_axis: int = -1, cap: int = CAP) -> Values:
    """An output as (R, U): one row for each example and position, one column for each unit; at most about `cap` values.

    Of a larger one, evenly spaced rows are picked. If even MIN_ROWS of them have too many values, evenly spaced units are picked
    as well. A scalar is (1, 1), a vector (R, 1).
    """
    if values.ndim < 2:
        values, unit_axis = values.reshape(-1, 1), -1
    if values.ndim == 2 and unit_axis in (-1, 1) and values.size <= cap:
        return values
    axis = unit_axis % values.ndim
    pattern = picks(values.shape, axis, cap)
    units, behind = values.shape[axis], int(np.prod(values.shape[axis + 1 :], dtype=np.int64))
    blocks = values.reshape(-1, units, behind)
    if pattern is None:
        return blocks[:, :, 0] if behind == 1 else np.moveaxis(blocks, 1, 2).reshape(-1, units)
    examples = pattern.examples()
    return blocks[examples // behind, :, examples % behind][:, :: pattern.unit_step]


class Pattern(NamedTuple):
    """Which examples and units of a large output are measured. A strided view can pick them.

    An example is one image at one position; the positions of an image follow each other. Of `images` images, every `image_gap`
    examples, `runs` runs of `length` positions are picked, every `run_gap` positions; of the units every `unit_step`-th.
    Neighbours share a cache line. The runs move from image to image, so that every place of the plane is measured.
    """

    images: int
    image_gap: int
    runs: int
    run_gap: int
    length: int
    unit_step: int

    def examples(self) -> NDArray[np.int64]:
        """Their numbers, in order."""
        image, run, place = np.ogrid[: self.images, : self.runs, : self.length]
        numbers: NDArray[np.int64] = image * self.image_gap + run * self.run_gap + place
        return numbers.ravel()


@lru_cache(maxsize=512)
def picks(shape: Sequence[int], axis: int, cap: int = CAP) -> Pattern | None:
    """The measured part of an output whose units are along `axis` (not negative); None means all of it."""
    count, units, behind = (
        int(np.prod(sizes, dtype=np.int64)) for sizes in (shape[:axis], shape[axis : axis + 1], shape[axis + 1 :])
    )
    if count * units * behind <= cap:
        return None
    kept = min(count * behind, max(MIN_ROWS, cap // max(units, 1)))
    length = min(RUN, behind)
    while length < behind and (behind - length) * length < kept:
        length = min(2 * length, behind)  # the plane is so small that shorter runs could not move
    step = ceil(count / max(1, min(count, kept // length)))
    if behind == 1 and axis > 1:
        step = coprime(step, shape[axis - 1])  # else the same few positions of every sequence would be measured
    images = ceil(count / step)
    runs = max(1, min(behind // length, kept // (images * length)))
    run_gap = behind // runs
    if run_gap > length and gcd(run_gap, shape[-1]) in (run_gap, shape[-1]):
        run_gap -= 1  # from row to row of the plane, into other columns
    room, others = run_gap - length, max(1, images - 1)
    wander = room // others
    if images > FEW or not wander:  # as many as fit, in fewer images if necessary
        wander = ceil(room / others)
        if wander >= shape[-1]:
            wander += (ceil(0.382 * shape[-1]) - wander) % shape[-1]  # from row to row of the plane, into other columns
        images = min(images, room // wander + 1) if wander else images
    return Pattern(images, step * behind + wander, runs, run_gap, length, max(1, ceil(units * images * runs * length / cap)))


class Picked(NamedTuple):
    """The measured part of a tensor that is read in place: a table (rows, units), every `row_step`-th row and `unit_step`-th
    unit of `size` values in rows of `width`.
    """

    rows: int
    units: int
    row_step: int
    unit_step: int
    size: int
    width: int

    @property
    def looked_at(self) -> int:
        """The number of measured values."""
        return self.rows * self.units

    @classmethod
    def of_output(cls, shape: Sequence[int]) -> Picked:
        """The part that `rows` picks of an output whose units are along the last axis."""
        table = tuple(shape) if len(shape) > 1 else (int(np.prod(shape)), 1)
        pattern, width, size = picks(table, len(table) - 1), table[-1], int(np.prod(table, dtype=np.int64))
        if pattern is None:
            return cls(size // width, width, 1, 1, size, width)
        return cls(pattern.images, ceil(width / pattern.unit_step), pattern.image_gap, pattern.unit_step, size, width)

    @classmethod
    def of_parameter(cls, shape: Sequence[int]) -> Picked:
        """The part that `part` picks of a parameter."""
        size = int(np.prod(shape, dtype=np.int64))
        step = stride(shape) if size > CAP else 1
        return cls(ceil(size / step), 1, step, 1, size, 1)


def spread(size: int, count: int) -> NDArray[np.int64]:
    """`count` different places, evenly spaced in range(size)."""
    kept = min(count, size)
    return np.arange(kept, dtype=np.int64) * size // kept


def part(values: Values, cap: int = CAP) -> Values:
    """The array as it is, or every `stride`-th of its values in memory order if it has more than `cap`."""
    if values.size <= cap:
        return values
    return values.reshape(-1)[:: stride(values.shape, cap)]


def stride(shape: Sequence[int], cap: int = CAP) -> int:
    """The step that picks at most `cap` values of an array. It is coprime to the last axis, so that all columns are met."""
    size = int(np.prod(shape, dtype=np.int64))
    return coprime(max(1, ceil(size / cap)), shape[-1])


def coprime(step: int, other: int) -> int:
    """The first number from `step` on that has no divisor in common with `other`; 1 stays 1."""
    while step > 1 and gcd(step, other) > 1:
        step += 1
    return step


def snapshot_of(table: Values) -> NDArray[np.float16]:
    """A map of an (R, U) table: at most MAP_ROWS examples by MAP_UNITS units, spread evenly."""
    kept = table
    if table.shape[0] > MAP_ROWS:
        kept = kept[spread(table.shape[0], MAP_ROWS)]
    if table.shape[1] > MAP_UNITS:
        kept = kept[:, spread(table.shape[1], MAP_UNITS)]
    if kept.dtype == np.float16:
        return kept.copy()
    with np.errstate(over="ignore"):  # beyond float16 is infinite
        return kept.astype(np.float16)
