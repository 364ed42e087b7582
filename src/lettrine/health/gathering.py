"""Two containers of a recorder that stay bounded in size: a list that is thinned, and sums of the flags of units."""

from __future__ import annotations

from collections.abc import Iterator
from math import nan
from typing import Final, Generic, TypeVar

import numpy as np

from lettrine.health.live import UnitTotals
from lettrine.health.measure import OutputMeasure
from lettrine.health.trace import Units

HEAD: Final = 16  # records never thinned at the start
T = TypeVar("T")


class Thinned(Generic[T]):
    """A bounded list. It keeps the first HEAD and the last entries, and every n-th of the middle; n doubles as needed."""

    def __init__(self) -> None:
        self._kept: list[tuple[int, T]] = []
        self._count = 0
        self._every = 1

    def append(self, entry: T, *, limit: int) -> None:
        """Add an entry; then at most `limit` are kept."""
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
    """Flags of one module's units, summed over the sampled steps. Several steps are added at a time, which is faster."""

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
            return  # the module's outputs have another width now: only those of the first width are judged
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
        """The sums over the steps so far."""
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
