"""Which part of an array is looked at: large ones are represented by a fixed, evenly spread part, so that a sampled step has a
bounded cost. `rows` picks whole examples of an output, `part` picks weights of a parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, gcd
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = NDArray[np.floating[Any]]

CAP: Final = 16_384  # values looked at in one array: the std of so many is known to 0.6 %
MIN_ROWS: Final = 64  # examples kept however wide the layer: fewer would call a unit dead that was only quiet
RUN: Final = 8  # neighbouring positions of an image: half a line of a processor's cache
FEW: Final = 8  # images none of which is left out
MAP_ROWS: Final = 64  # examples of a saturation map
MAP_UNITS: Final = 256  # units of a saturation map


def rows(values: Values, unit_axis: int = -1, cap: int = CAP) -> Values:
    """An output as (R, U): one row for each example and position, one column for each unit; at most about `cap` values.

    A larger one is represented by rows spread evenly over it and, only where MIN_ROWS of them would still be too many values,
    by units spread evenly as well. A scalar is (1, 1), a vector (R, 1).
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
    """Which examples and units of a large output are looked at, such that a strided view can pick them.

    An example is one image at one position, all positions of an image after each other. Of `images` images, every `image_gap`
    examples, `runs` runs of `length` positions are picked, every `run_gap` positions; of the units every `unit_step`-th.
    Neighbours share a line of memory. From image to image the runs wander, so that every place of the plane is met.
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
    """What is looked at of an output with its units along `axis` (not negative); None means all of it."""
    count, units, behind = (
        int(np.prod(sizes, dtype=np.int64)) for sizes in (shape[:axis], shape[axis : axis + 1], shape[axis + 1 :])
    )
    if count * units * behind <= cap:
        return None
    kept = min(count * behind, max(MIN_ROWS, cap // max(units, 1)))
    length = min(RUN, behind)
    while length < behind and (behind - length) * length < kept:
        length = min(2 * length, behind)  # a plane so small that shorter runs would not find room to wander
    step = ceil(count / max(1, min(count, kept // length)))
    if behind == 1 and axis > 1:
        step = coprime(step, shape[axis - 1])  # else the same few positions of every sequence would be met
    images = ceil(count / step)
    runs = max(1, min(behind // length, kept // (images * length)))
    run_gap = behind // runs
    if run_gap > length and gcd(run_gap, shape[-1]) in (run_gap, shape[-1]):
        run_gap -= 1  # from row to row of the plane, into other columns
    room, others = run_gap - length, max(1, images - 1)
    wander = room // others
    if images > FEW or not wander:  # all the room there is, if need be in fewer images
        wander = ceil(room / others)
        if wander >= shape[-1]:
            wander += (ceil(0.382 * shape[-1]) - wander) % shape[-1]  # from row to row of the plane, into other columns
        images = min(images, room // wander + 1) if wander else images
    return Pattern(images, step * behind + wander, runs, run_gap, length, max(1, ceil(units * images * runs * length / cap)))


class Picked(NamedTuple):
    """What is looked at of a tensor that lies in memory row by row, for those who read it there: a table (rows, units), every
    `row_step`-th row and `unit_step`-th unit of the `size` values in rows of `width`.
    """

    rows: int
    units: int
    row_step: int
    unit_step: int
    size: int
    width: int

    @property
    def looked_at(self) -> int:
        """How many values are looked at."""
        return self.rows * self.units

    @classmethod
    def of_output(cls, shape: Sequence[int]) -> Picked:
        """What `rows` picks of an output with its units along the last axis."""
        table = tuple(shape) if len(shape) > 1 else (int(np.prod(shape)), 1)
        pattern, width, size = picks(table, len(table) - 1), table[-1], int(np.prod(table, dtype=np.int64))
        if pattern is None:
            return cls(size // width, width, 1, 1, size, width)
        return cls(pattern.images, ceil(width / pattern.unit_step), pattern.image_gap, pattern.unit_step, size, width)

    @classmethod
    def of_parameter(cls, shape: Sequence[int]) -> Picked:
        """What `part` picks of a parameter."""
        size = int(np.prod(shape, dtype=np.int64))
        step = stride(shape) if size > CAP else 1
        return cls(ceil(size / step), 1, step, 1, size, 1)


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
