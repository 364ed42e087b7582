"""Two processes that train together: this one is rank 0, the other lives as long as the module of tests that asks for it."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import distributed


class Both(Protocol):
    """Calls a function of the rank and more on both ranks at once, and returns what it gave on rank 0 and on rank 1."""

    def __call__(self, function: Callable[..., Any], *args: Any) -> tuple[Any, Any]: ...


def _join(rank: int, store: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2, timeout=timedelta(seconds=60))


def _second(store: Path, pipe: Any) -> None:
    """What the other process does."""
    _join(1, store)
    while (job := pipe.recv()) is not None:
        function, args = job
        try:
            pipe.send((function(1, *args), ""))
        except BaseException:  # noqa: BLE001  told by the first process
            pipe.send((None, traceback.format_exc()))
    distributed.destroy_process_group()


@contextmanager
def two_ranks(folder: Path) -> Iterator[Both]:
    """Two processes over gloo."""
    context = multiprocessing.get_context("spawn")
    near, far = context.Pipe()
    other = context.Process(target=_second, args=(folder / "store", far), daemon=True)
    other.start()
    threads = torch.get_num_threads()
    _join(0, folder / "store")

    def both(function: Callable[..., Any], *args: Any) -> tuple[Any, Any]:
        near.send((function, args))
        first = function(0, *args)
        second, error = near.recv()
        assert not error, error
        return first, second

    try:
        yield both
    finally:
        near.send(None)
        distributed.destroy_process_group()
        torch.set_num_threads(threads)
        other.join(10)
        other.kill()
