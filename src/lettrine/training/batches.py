"""Which examples form each batch: drawn uniformly with replacement, as the published runs draw them."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from lettrine.engine.base import Indices

INITIALISATION, BATCHES, CALIBRATION = 0, 1, 2  # streams of random numbers, so that one never moves the other


def stream(seed: int, *which: int) -> np.random.Generator:
    """A generator of its own for one purpose of one seed."""
    return np.random.default_rng([seed, *which])


class Rows(Protocol):
    """Where the row numbers of each step's batch come from; asked for steps in order."""

    def rows(self, start: int, stop: int) -> Indices:
        """Batches of steps from start on, at most up to stop: (S, B), S at least 1."""
        ...


class Batches:
    """Row numbers of every step's batch, a function of the seed and the step alone.

    Rows are drawn block by block, each block from a generator of its own, so that resuming at any step needs no
    generator state and gives the very batches that an undisturbed run would have seen.
    """

    def __init__(self, seed: int, examples: int, batch: int) -> None:
        self._seed, self._examples, self._batch = seed, examples, batch
        self._block_steps = max(1, min(1024, 2**20 // batch))  # at most 8 MiB a block
        self._block, self._rows = -1, np.empty((0, batch), np.int64)

    def rows(self, start: int, stop: int) -> Indices:
        """Batches of steps start to stop, clipped at the end of start's block: (S, B), S at least 1."""
        block, first = divmod(start, self._block_steps)
        if block != self._block:
            generator = stream(self._seed, BATCHES, block)
            self._rows = generator.integers(0, self._examples, (self._block_steps, self._batch))
            self._block = block
        return self._rows[first : first + stop - start]
