"""Many processes: each rank records its own trace, and rank 0 joins the traces of all.

No collective is used: a rank that is late, gone or not watched blocks nobody. When its watch closes, each rank puts its trace
into the store by which the processes found each other. Rank 0 reads the traces from there when it is asked for a report.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
import zlib
from collections import Counter
from typing import Any, Final

import torch
from safetensors.numpy import load, save
from torch import nn

from lettrine.errors import HealthError
from lettrine.health.archive import trace_from_arrays, trace_to_arrays
from lettrine.health.observers import LOGGER
from lettrine.health.schedule import Schedule
from lettrine.health.trace import Trace
from lettrine.health.uniting import united
from lettrine.torch.capture import replicas as _replicas  # noqa: F401  the import registers a reader
from lettrine.torch.capture.catalogue import clean_name, kind_of
from lettrine.torch.capture.sharding import many_processes
from lettrine.torch.private import default_store

WAIT: Final = 60.0  # seconds that rank 0 waits for a rank whose watch is not closed yet;
HURRIED: Final = 5.0  # the same if rank 0 ended with an exception: the others may never come
_PAUSE: Final = 0.01  # seconds between two looks
_CHUNK: Final = 2**20  # bytes of one entry; a store takes at most 8 MiB

_begun: Counter[str] = Counter()  # watches begun in this process, by what they watch


class Ranks:
    """All watches of one model, on all ranks, as one rank sees them. `Ranks.of` gives None if one process trains alone.

    rank: of this process. gathered: whether `tell` was called.
    """

    def __init__(self, store: Any, model: nn.Module, rank: int, count: int) -> None:
        names = [kind_of(model), *(clean_name(name) for name, _ in model.named_parameters())]
        watched = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
        self._store, self.rank, self._count = store, rank, count
        self._key = f"lettrine/{watched}/{_begun[watched]}"
        _begun[watched] += 1
        self._round = 0
        self._others: list[Trace | None] = []
        self._lost: set[int] = set()  # ranks that were watched and gave no trace
        self._waited = False
        self.hurried = False
        self._looks_at, self._wants, self._stops = 0, False, False  # the step at which to read again whether a rank wants to stop
        store.set(f"{self._key}/{rank}", b"begun")

    @classmethod
    def of(cls, model: nn.Module) -> Ranks | None:
        """The ranks of this training; None for one process, or for processes without a common store."""
        store = default_store() if many_processes() else None
        return None if store is None else cls(store, model, torch.distributed.get_rank(), torch.distributed.get_world_size())

    @property
    def gathered(self) -> bool:
        """Whether `tell` was called."""
        return self._round > 0

    def tell(self, trace: Trace | None) -> None:
        """Hand over the trace of this rank, None if there is none. Each rank must call it the same number of times."""
        self._round += 1
        self._waited = False
        if not self.rank:
            return
        data = b"" if trace is None else _packed(trace)
        chunks = [data[place : place + _CHUNK] for place in range(0, len(data), _CHUNK)]
        for number, chunk in enumerate(chunks):
            self._store.set(f"{self._key}/{self.rank}/{self._round}/{number}", chunk)
        self._store.set(f"{self._key}/{self.rank}/{self._round}", str(len(chunks)).encode())

    def united(self, own: Trace) -> Trace:
        """On rank 0, after `tell`: one trace of all ranks. It waits for those that have begun. On other ranks: `own`."""
        if self.rank or not self._round:
            return own
        if not self._waited:
            self._waited = True
            until = time.monotonic() + (HURRIED if self.hurried else WAIT)
            self._lost.clear()
            self._others = [self._received(rank, until) for rank in range(1, self._count)]
        return united([own, *self._others], self._lost)

    def agreed(self, step: int, schedule: Schedule, *, wanted: bool) -> bool:
        """Whether all ranks stop after this many steps. wanted: whether this rank wants to stop.

        Call it at the same steps on every rank. No rank waits. A rank that wants to stop writes so into the store, and all ranks
        read it at the next sampled step. By then each has exchanged gradients with that rank, so all read the same.
        """
        if self._stops:
            return True
        try:
            if step >= self._looks_at:
                self._looks_at = schedule.after(step)
                self._stops = self._store.check([f"{self._key}/stop"]) and int(self._store.get(f"{self._key}/stop")) < step
            if wanted and not self._wants:
                self._wants = True
                self._store.compare_set(f"{self._key}/stop", "", str(step))  # the first rank that wanted to stop is kept
        except (RuntimeError, ValueError) as error:
            LOGGER.warning("the ranks could not agree to stop, and go on: %s", error)
            self._looks_at = sys.maxsize
        return self._stops

    def _received(self, rank: int, until: float) -> Trace | None:
        """The last trace of another rank; None if it was not watched, or gave none in time."""
        key = f"{self._key}/{rank}"
        try:
            if not self._store.check([key]):
                return None
            self._lost.add(rank)
            while not self._store.check([f"{key}/{self._round}"]):  # polling does not block others who use the store
                if time.monotonic() > until:
                    LOGGER.warning("rank %d has not closed its watch: the report is without it", rank)
                    return None
                time.sleep(_PAUSE)
            count = int(self._store.get(f"{key}/{self._round}"))
            data = b"".join(self._store.get(f"{key}/{self._round}/{number}") for number in range(count))
            found = _unpacked(data) if data else None
        except (RuntimeError, ValueError, HealthError, zlib.error) as error:
            LOGGER.warning("the trace of rank %d could not be read: %s", rank, error)
            return None
        self._lost.discard(rank)
        return found


def _packed(trace: Trace) -> bytes:
    arrays, values = trace_to_arrays(trace)
    told = json.dumps(values).encode()
    return zlib.compress(len(told).to_bytes(8, "little") + told + save(arrays), 1)


def _unpacked(data: bytes) -> Trace:
    data = zlib.decompress(data)
    end = 8 + int.from_bytes(data[:8], "little")
    return trace_from_arrays(load(data[end:]), json.loads(data[8:end]))
