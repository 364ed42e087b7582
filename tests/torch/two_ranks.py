"""Processes that train together: this one is rank 0, the others live as long as the module of tests that asks for them."""

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
    """Calls a function of the rank and more on all ranks at once, and returns what it gave on each."""

    def __call__(self, function: Callable[..., Any], *args: Any) -> tuple[Any, ...]: ...


def _join(rank: int, size: int, store: Path) -> None:
    torch.set_num_threads(1)
    wait = timedelta(seconds=60)
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size, timeout=wait)


def _another(rank: int, size: int, store: Path, pipe: Any) -> None:
    """What another process does."""
    _join(rank, size, store)
    while (job := pipe.recv()) is not None:
        function, args = job
        try:
            pipe.send((function(rank, *args), ""))
        except BaseException:  # noqa: BLE001  told by the first process
            pipe.send((None, traceback.format_exc()))
    distributed.destroy_process_group()


@contextmanager
def two_ranks(folder: Path, size: int = 2) -> Iterator[Both]:
    """Processes over gloo, two unless more are asked for."""
    context = multiprocessing.get_context("spawn")
    pipes, others = [], []
    for rank in range(1, size):
        near, far = context.Pipe()
        pipes.append(near)
        others.append(context.Process(target=_another, args=(rank, size, folder / "store", far), daemon=True))
        others[-1].start()
    threads = torch.get_num_threads()
    _join(0, size, folder / "store")

    def both(function: Callable[..., Any], *args: Any) -> tuple[Any, ...]:
        for pipe in pipes:
            pipe.send((function, args))
        first = function(0, *args)
        told = [pipe.recv() for pipe in pipes]
        assert not any(error for _, error in told), [error for _, error in told]
        return first, *(result for result, _ in told)

    try:
        yield both
    finally:
        for pipe in pipes:
            pipe.send(None)
        distributed.destroy_process_group()
        torch.set_num_threads(threads)
        for other in others:
            other.join(10)
            other.kill()
