"""The curves of losses: bounded in size for runs of any length. The highest loss is never lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from math import inf, isfinite, nan
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lettrine.health.trace import RECENT, Curve

BUCKETS: Final = 2_048  # points of a curve
RUN: Final = 2**16  # at most so many losses wait until they are added to the curve together
LEAST_RUN: Final = 8  # fewer values are added one by one, which is faster


class Buckets:
    """A curve in at most BUCKETS points: runs of equal length in steps, doubled whenever there are too many."""

    def __init__(self) -> None:
        self._width = 1
        # Of each run: first step, sum and count of finite values, highest value and its step.
        self._runs: list[list[float]] = []

    def add(self, points: Iterable[tuple[int, float]]) -> None:
        """Add values (step, value), each at the step of the last one or later."""
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
        """The same for finite values of consecutive steps from `first` on. Sums are made in the same order, so that they are
        bit-equal.
        """
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
        """Join the runs in pairs, to twice their width."""
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


class LossCurve:
    """The training losses of a run: a curve of them all, and the last RECENT of them one by one."""

    def __init__(self) -> None:
        self._all = Buckets()
        self._recent: deque[tuple[int, float]] = deque(maxlen=RECENT)
        self._run: list[NDArray[np.float64]] = []  # losses of steps that follow one another, not yet in the curve
        self._begun = self._waiting = 0  # the first of these steps, and how many they are

    def add(self, losses: Sequence[tuple[int, float]]) -> None:
        """More losses (step, loss), in the order of the steps."""
        self._gather()
        self._all.add(losses)
        self._recent.extend(losses)

    def add_run(self, first: int, losses: NDArray[np.float64]) -> None:
        """The finite losses of steps that follow one another from `first` on."""
        if first != self._begun + self._waiting or self._waiting > RUN:
            self._gather()
        if not self._run:
            self._begun = first
        self._run.append(losses)
        self._waiting += len(losses)

    def _gather(self) -> None:
        """Add the waiting losses to the curve: many at once take a fraction of the time."""
        if not self._run:
            return
        losses, first = np.concatenate(self._run), self._begun
        self._run, self._waiting = [], 0
        self._all.add_run(first, losses)
        late = max(len(losses) - RECENT, 0)
        self._recent.extend(enumerate(losses[late:].tolist(), first + late))

    def curve(self) -> Curve:
        """All losses so far."""
        self._gather()
        return self._all.curve()

    def recent(self) -> Curve:
        """The last losses, one point a step."""
        self._gather()
        table = np.array(self._recent, dtype=np.float64).reshape(-1, 2)
        finite = np.isfinite(table[:, 1])
        return Curve(
            table[:, 0].copy(), np.where(finite, table[:, 1], nan), np.where(finite, table[:, 1], inf), table[:, 0].copy()
        )
