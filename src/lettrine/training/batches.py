"""Which examples form each batch: epochs shuffled without replacement, or draws with replacement as in the published runs."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np

from lettrine.engine.base import Indices
from lettrine.errors import ConfigError

DRAWS: Final = ("epochs", "replacement")
BLOCK: Final = 1 << 24  # examples shuffled at once: 128 MiB of row numbers
INITIALISATION, BATCHES, CALIBRATION, EPOCHS, BLOCKS = range(5)  # streams of random numbers, so that one never moves the other


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

    The examples are shuffled anew for each epoch, by a generator of its own, and the epochs are laid end to end:
    a batch that reaches over the end of one goes on with the next. More than BLOCK of them are shuffled block by block, and
    the blocks among each other: a big list's words stand in random order already, and its file is read in one place at a time.
    """

    def __init__(self, seed: int, examples: int, batch: int) -> None:
        self._seed, self._examples, self._batch = seed, examples, batch
        self._blocks = -(-examples // BLOCK)  # of an epoch
        self._block, self._first, self._rows = -1, 0, np.empty((0, batch), np.int64)
        self._order: tuple[int, Indices] = (-1, np.empty(0, np.int64))  # of an epoch's blocks, and which epoch
        self._ahead: dict[int, Indices] = {}  # blocks shuffled before their turn

    def rows(self, start: int, stop: int) -> Indices:
        """Batches of steps start to stop, clipped at the last that begins in the block in which start begins: (S, B)."""
        block = self._block_at(start * self._batch)
        if block != self._block:
            self._begin(block)
        return self._rows[start - self._first : stop - self._first]

    def _begin(self, block: int) -> None:
        """The batches that begin in this block; the last one may need the beginning of the next."""
        batch, begin, end = self._batch, self._start_of(block), self._start_of(block + 1)
        first, stop = -(-begin // batch), -(-end // batch)
        shuffled = {each: self._shuffled(each) for each in range(block, self._block_at(stop * batch - 1) + 1)}
        rows = np.concatenate(list(shuffled.values()))[first * batch - begin : stop * batch - begin]
        self._block, self._first, self._rows = block, first, rows.reshape(-1, batch)
        self._ahead = {each: order for each, order in shuffled.items() if each > block}

    def _block_at(self, place: int) -> int:
        """The block, counted on through all epochs, in which the example at this place comes."""
        epoch, within = divmod(place, self._examples)
        return epoch * self._blocks + int(np.searchsorted(np.cumsum(self._sizes(epoch)), within, side="right"))

    def _start_of(self, block: int) -> int:
        epoch, before = divmod(block, self._blocks)
        return epoch * self._examples + int(self._sizes(epoch)[:before].sum())

    def _sizes(self, epoch: int) -> Indices:
        """How many examples each block of an epoch has, in the order in which they come."""
        return np.minimum(BLOCK, self._examples - BLOCK * self._ordered(epoch))

    def _ordered(self, epoch: int) -> Indices:
        if self._blocks == 1:
            return np.zeros(1, np.int64)
        if self._order[0] != epoch:
            self._order = epoch, stream(self._seed, BLOCKS, epoch).permutation(self._blocks)
        return self._order[1]

    def _shuffled(self, block: int) -> Indices:
        if block in self._ahead:
            return self._ahead[block]
        epoch, place = divmod(block, self._blocks)
        which = int(self._ordered(epoch)[place])
        purpose = (EPOCHS, epoch) if self._blocks == 1 else (EPOCHS, epoch, which)
        size = min(BLOCK, self._examples - BLOCK * which)
        return stream(self._seed, *purpose).permutation(size) + BLOCK * which
