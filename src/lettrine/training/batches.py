"""Which examples form each batch: epochs shuffled without replacement, or draws with replacement as in the published runs."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np

from lettrine.engine.base import Indices
from lettrine.errors import ConfigError

DRAWS: Final = ("epochs", "replacement")
# separate streams of random numbers: drawing from one does not change the others
INITIALISATION, BATCHES, CALIBRATION, EPOCHS = 0, 1, 2, 3


def stream(seed: int, *which: int) -> np.random.Generator:
    """The generator for one purpose and one seed."""
    return np.random.default_rng([seed, *which])


class Rows(Protocol):
    """The source of the row numbers of each step's batch; called for steps in order."""

    def rows(self, start: int, stop: int) -> Indices:
        """Batches of steps from start on, at most up to stop: (S, B), S at least 1."""
        ...


def batches(draw: str, seed: int, examples: int, batch: int) -> Rows:
    """The rows of each batch by one of DRAWS. Raises ConfigError for another."""
    if draw not in DRAWS:
        raise ConfigError(f"draw got {draw!r}; expected one of {', '.join(DRAWS)}")
    return Epochs(seed, examples, batch) if draw == "epochs" else Batches(seed, examples, batch)


class Batches:
    """Row numbers of every step's batch drawn uniformly with replacement, a function of the seed and the step alone.

    Rows are drawn block by block, each block from its own generator. So a run can be resumed at any step without the state
    of a generator, and sees the same batches as an undisturbed one.
    """

    def __init__(self, seed: int, examples: int, batch: int) -> None:
        self._seed, self._examples, self._batch = seed, examples, batch
        self._block_steps = max(1, min(1024, 2**20 // batch))  # at most 8 MiB a block
        self._block, self._rows = -1, np.empty((0, batch), np.int64)

    def rows(self, start: int, stop: int) -> Indices:
        """Batches of steps start to stop: (S, B)."""
        size, blocks = self._block_steps, range(start // self._block_steps, -(-stop // self._block_steps))
        parts = [self._drawn(block)[max(start - block * size, 0) : stop - block * size] for block in blocks]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _drawn(self, block: int) -> Indices:
        if block != self._block:
            generator = stream(self._seed, BATCHES, block)
            self._rows = generator.integers(0, self._examples, (self._block_steps, self._batch))
            self._block = block
        return self._rows


class Epochs:
    """Row numbers of every step's batch, every example once before any comes again; a function of seed and step alone.

    The examples are shuffled anew for each epoch, by its own generator, and the epochs are concatenated:
    a batch that reaches the end of one continues with the next.
    """

    def __init__(self, seed: int, examples: int, batch: int) -> None:
        self._seed, self._examples, self._batch = seed, examples, batch
        self._epoch, self._first, self._rows = -1, 0, np.empty((0, batch), np.int64)
        self._ahead: dict[int, Indices] = {}  # shuffled epochs that are kept ready

    def rows(self, start: int, stop: int) -> Indices:
        """Batches of steps start to stop, but only those that begin in the same epoch as start: (S, B)."""
        epoch = start * self._batch // self._examples
        if epoch != self._epoch:
            self._begin(epoch)
        return self._rows[start - self._first : stop - self._first]

    def _begin(self, epoch: int) -> None:
        """The batches that begin in this epoch; the last one may need the beginning of the next."""
        size, batch = self._examples, self._batch
        first, stop = -(-epoch * size // batch), -(-(epoch + 1) * size // batch)
        shuffled = {each: self._shuffled(each) for each in range(epoch, (stop * batch - 1) // size + 1)}
        rows = np.concatenate(list(shuffled.values()))[first * batch - epoch * size : stop * batch - epoch * size]
        self._epoch, self._first, self._rows = epoch, first, rows.reshape(-1, batch)
        self._ahead = {each: order for each, order in shuffled.items() if each > epoch}

    def _shuffled(self, epoch: int) -> Indices:
        if epoch in self._ahead:
            return self._ahead[epoch]
        return stream(self._seed, EPOCHS, epoch).permutation(self._examples)
