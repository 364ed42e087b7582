"""Clusters that work for lettrine: opens the pool of workers at a URL."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, Final

from lettrine.errors import ConfigError, MissingExtraError, StorageError, quote
from lettrine.training.sizes import processors

DASK: Final = "dask://"
RAY: Final = "ray://"
SECONDS: Final = 10  # seconds for a scheduler to answer


@contextlib.contextmanager
def pool_at(where: str) -> Iterator[Executor]:
    """The workers of a cluster: dask://host:8786 or ray://host:10001; without a host one process per processor of this machine.
    If a worker dies, the cluster gives its work to another. Raises ConfigError for another URL, StorageError if nobody answers,
    MissingExtraError without Dask or Ray.
    """
    for scheme, opened in ((DASK, _dask), (RAY, _ray)):
        if where.startswith(scheme):
            with opened(where) as pool:
                yield pool
            return
    raise ConfigError(
        f"--on got {quote(where)}; expected dask://host:8786 or ray://host:10001, or one of them without a host for this machine"
    )


@contextlib.contextmanager
def _dask(where: str) -> Iterator[Executor]:
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


@contextlib.contextmanager
def _ray(where: str) -> Iterator[Executor]:
    try:
        import ray  # noqa: PLC0415 - an extra
    except ImportError:
        raise MissingExtraError("scoring on a Ray cluster", "ray") from None
    here = {"num_cpus": processors(), "include_dashboard": False, "log_to_driver": False} if where == RAY else {}
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # the error says the same
            ray.init("local" if here else where, logging_level="ERROR", **here)
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StorageError(
            f"no Ray cluster answers at {quote(where)} ({reason}); run ray start --head there, "
            "or export RAY_AUTH_MODE=token if it asks for a token"
        ) from None

    task = ray.remote(_called)

    class Workers(Executor):
        """Ray's workers as a pool. Ray does the work of a dead one again, three times at most."""

        def submit(self, work: Callable[..., Any], /, *what: Any, **how: Any) -> Future[Any]:
            done: Future[Any] = task.remote(work, *map(ray.put, what), **how).future()  # what is large travels as an object
            return done

    try:
        yield Workers()
    finally:
        ray.shutdown()


def _called(work: Callable[..., Any], /, *what: Any, **how: Any) -> Any:
    """What Ray runs: it takes functions alone, and none whose arguments are filled in already."""
    return work(*what, **how)
