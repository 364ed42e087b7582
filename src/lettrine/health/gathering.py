"""What a recorder keeps figures in: each bounded in size however much is put in, and nothing rare is lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf, isfinite, nan
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from lettrine.health.live import UnitTotals
from lettrine.health.measure import OutputMeasure
from lettrine.health.trace import Curve, Units

BUCKETS: Final = 2_048  # points of a curve
HEAD: Final = 16  # records never thinned at the start
T = TypeVar("T")


class Thinned(Generic[T]):
    """A list of bounded length: its first HEAD and its last entries whole, and of the middle every n-th, n doubling as needed."""

    def __init__(self) -> None:
        self._kept: list[tuple[int, T]] = []
        self._count = 0
        self._every = 1

    def append(self, entry: T, *, limit: int) -> None:
        """One more entry, after which at most `limit` are kept."""
        if len(self._kept) >= limit:
            head, tail = min(HEAD, limit // 4), limit // 4
            while len(self._kept) > limit - tail:
                middle = [pair for pair in self._kept[head:-tail] if pair[0] % self._every == 0]
                self._kept = self._kept[:head] + middle + self._kept[-tail:]
                if len(self._kept) > limit - tail:
                    self._every *= 2
        self._kept.append((self._count, entry))
        self._count += 1

    def __iter__(self) -> Iterator[T]:
        return (entry for _, entry in self._kept)


class UnitSums:
    """Flags of one module's units, summed over the sampled steps; a few steps at a time, which is quicker."""

    FOLD = 32

    def __init__(self, units: int) -> None:
        self._waiting: list[OutputMeasure] = []
        self._width = units
        self._steps = 0
        self._rows = 0
        self._dead, self._saturated, self._streak = np.zeros(units), np.zeros(units), np.zeros(units)
        self._last_dead = np.full(units, nan)

    def add(self, measure: OutputMeasure) -> None:
        """The flags of one more sampled step."""
        if units_of(measure) != self._width:
            return  # the module now gives outputs of another width: its first form is the one judged
        self._waiting.append(measure)
        if len(self._waiting) >= self.FOLD:
            self._fold()

    def add_steps(self, totals: UnitTotals) -> None:
        """Those of several more steps at once."""
        if totals.units != self._width:
            return
        self._fold()
        if totals.dead is None or totals.streak is None:
            self._dead += nan
            self._streak += nan
            self._last_dead += nan
        else:
            self._streak = np.where(totals.streak < totals.steps, totals.streak, self._streak + totals.steps)
            self._dead += totals.dead
            self._last_dead = (totals.streak > 0).astype(np.float64)
        self._saturated += nan if totals.saturated is None else totals.saturated
        self._rows += totals.rows
        self._steps += totals.steps

    def units(self) -> Units:
        """What the steps so far add up to."""
        self._fold()
        saturated = self._saturated / max(self._rows, 1)
        return Units(self._steps, self._rows, self._dead / self._steps, saturated, self._last_dead.copy(), self._streak.copy())

    def _fold(self) -> None:
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        dead = [measure.dead for measure in waiting if measure.dead is not None]
        saturated = [measure.saturated * measure.rows for measure in waiting if measure.saturated is not None]
        totals = UnitTotals(self._width, len(waiting), sum(measure.rows for measure in waiting))
        if len(dead) == len(waiting):
            alive = ~np.array(dead)[::-1]
            streak = np.where(alive.any(axis=0), alive.argmax(axis=0), len(alive))
            totals = totals._replace(dead=np.sum(dead, axis=0), streak=streak)
        if len(saturated) == len(waiting):
            totals = totals._replace(saturated=np.sum(saturated, axis=0))
        self.add_steps(totals)


def units_of(measure: OutputMeasure) -> int:
    """How many units an output has flags of."""
    flags = measure.dead if measure.dead is not None else measure.saturated
    return 0 if flags is None else len(flags)


LEAST_RUN: Final = 8  # values that are worth an array


class Buckets:
    """A curve in at most BUCKETS points: runs of equal length in steps, doubled whenever there are too many."""

    def __init__(self) -> None:
        self._width = 1
        # Of each run: first step, sum and count of finite values, highest value and its step.
        self._runs: list[list[float]] = []

    def add(self, points: Iterable[tuple[int, float]]) -> None:
        """More values (step, value), each at the step of the last one or a later one."""
        runs, width = self._runs, self._width
        for step, value in points:
            high = value if isfinite(value) else inf
            if runs and runs[-1][0] // width == step // width:
                run = runs[-1]
                if high < inf:
                    run[1] += value
                    run[2] += 1.0
                if high > run[3]:
                    run[3:] = high, step
            else:
                runs.append([step, value, 1.0, high, step] if high < inf else [step, 0.0, 0.0, high, step])
                while len(runs) > BUCKETS:
                    width *= 2
                    runs = self._halved(runs, width)
        self._runs, self._width = runs, width

    def add_run(self, first: int, values: NDArray[np.float64]) -> None:
        """The same for finite values of steps that follow one another from `first` on, to the same bits: sums go step by step."""
        at = 0
        while at < len(values):
            step, width = first + at, self._width
            count = min(len(values) - at, width - step % width)
            runs, some = self._runs, values[at : at + count]
            if not runs or runs[-1][0] // width != step // width:
                whole = min((len(values) - at) // width, BUCKETS - len(runs)) if count == width else 0
                if whole > 1:
                    count = whole * width
                    runs += _runs_of(step, values[at : at + count].reshape(whole, width))
                else:
                    count = 1
                    self.add([(step, float(values[at]))])
            elif count < LEAST_RUN:
                self.add(zip(range(step, step + count), some.tolist(), strict=True))
            else:
                run = runs[-1]
                run[1] = float(np.add.accumulate(np.concatenate([[run[1]], some]))[-1])
                run[2] += float(count)
                place = int(some.argmax())
                if some[place] > run[3]:
                    run[3:] = float(some[place]), step + place
            at += count

    @staticmethod
    def _halved(runs: list[list[float]], width: int) -> list[list[float]]:
        """Runs of twice the width before, each of one or two."""
        table = np.array(runs)
        first = np.flatnonzero(np.diff(table[:, 0] // width, prepend=-1.0))
        last = np.append(first[1:], len(table)) - 1
        table[first, 1:3] = np.add.reduceat(table[:, 1:3], first, axis=0)
        table[first, 3:] = table[np.where(table[last, 3] > table[first, 3], last, first), 3:]
        kept: list[list[float]] = table[first].tolist()
        return kept

    def curve(self) -> Curve:
        """The points so far."""
        table = np.array(self._runs, dtype=np.float64).reshape(len(self._runs), 5)
        with np.errstate(invalid="ignore"):
            mean = np.where(table[:, 2] > 0, table[:, 1] / np.maximum(table[:, 2], 1), nan)
        return Curve(table[:, 0].copy(), mean, table[:, 3].copy(), table[:, 4].copy())


def _runs_of(first: int, values: NDArray[np.float64]) -> list[list[float]]:
    """The runs of consecutive steps from `first` on, one a row of values (R, width)."""
    steps = first + values.shape[1] * np.arange(len(values))
    sums = np.add.accumulate(values, axis=1)[:, -1]
    places = values.argmax(axis=1)
    counts = np.full(len(values), float(values.shape[1]))
    runs: list[list[float]] = np.stack([steps, sums, counts, values.max(axis=1), steps + places], axis=1).tolist()
    return runs


def recent_curve(recent: Iterable[tuple[int, float]]) -> Curve:
    """Steps and losses as a curve of one point a step."""
    table = np.array(list(recent), dtype=np.float64).reshape(-1, 2)
    finite = np.isfinite(table[:, 1])
    return Curve(table[:, 0].copy(), np.where(finite, table[:, 1], nan), np.where(finite, table[:, 1], inf), table[:, 0].copy())
