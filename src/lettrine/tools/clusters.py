"""Clusters that work for lettrine: opens the pool of workers at a URL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Final

from lettrine.errors import ConfigError, MissingExtraError, StorageError, quote
from lettrine.training.sizes import processors

DASK: Final = "dask://"
SECONDS: Final = 10  # seconds for a scheduler to answer


@contextlib.contextmanager
def pool_at(where: str) -> Iterator[Executor]:
    """The workers of a cluster: dask://host:8786, or dask:// for one process per processor of this machine. If a worker dies,
    Dask gives its work to another. Raises ConfigError for another URL, StorageError if no scheduler answers, MissingExtraError
    without Dask.
    """
    if not where.startswith(DASK):
        raise ConfigError(f"--on got {quote(where)}; expected dask://host:8786, or dask:// for processes on this machine")
    try:
        from distributed import Client, LocalCluster  # noqa: PLC0415 - an extra
    except ImportError:
        raise MissingExtraError("scoring on a cluster", "dask") from None
    address = where.removeprefix(DASK)
    with contextlib.ExitStack() as opened:
        try:
            if address:
                client = opened.enter_context(Client(f"tcp://{address}", timeout=SECONDS))
            else:
                here = opened.enter_context(LocalCluster(n_workers=processors(), threads_per_worker=1, dashboard_address=None))
                client = opened.enter_context(Client(here))
        except (OSError, ValueError) as error:
            raise StorageError(f"no Dask scheduler answers at {quote(where)} ({error}); run one with: dask scheduler") from None
        yield client.get_executor(retries=3, pure=False)
