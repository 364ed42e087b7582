"""Clusters that work for lettrine: opens the pool of workers at a URL."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from logging import CRITICAL
from multiprocessing import get_context
from typing import Any, Final

from lettrine.errors import ConfigError, MissingExtraError, StorageError, quote
from lettrine.training.sizes import processors

DASK: Final = "dask://"
RAY: Final = "ray://"
SECONDS: Final = 10  # seconds for a scheduler to answer
TRIES: Final = 4  # of a Ray head that answers; it gives each of them 30 seconds (ray.util.client.server.proxier)
KEEPING: Final = {"distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None}
"""Dask's workers give memory back to the system at every chance. Each portion needs the same again: a third more time."""


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
        from dask import config  # noqa: PLC0415 - an extra
        from distributed import Client, LocalCluster  # noqa: PLC0415
        from distributed.utils import silence_logging_cmgr  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError("scoring on a cluster", "dask") from None
    address = where.removeprefix(DASK)
    with silence_logging_cmgr(CRITICAL), contextlib.ExitStack() as opened:
        try:
            if address:
                client = opened.enter_context(Client(f"tcp://{address}", timeout=SECONDS))
            else:
                with config.set(KEEPING):
                    cluster = LocalCluster(
                        n_workers=processors(), threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=CRITICAL
                    )
                here = opened.enter_context(cluster)
                client = opened.enter_context(Client(here))
        except (OSError, ValueError) as error:
            raise StorageError(f"no Dask scheduler answers at {quote(where)} ({error}); run one with: dask scheduler") from None
        try:
            client.wait_for_workers(1, timeout=SECONDS)
        except TimeoutError:
            raise StorageError(f"the Dask scheduler at {quote(where)} has no workers; run some with: dask worker") from None

        class Workers(Executor):
            """Dask's workers as a pool. Dask's own waits for ever if the scheduler dies while it sends a result."""

            def submit(self, work: Callable[..., Any], /, *what: Any, **how: Any) -> Future[Any]:
                done: Future[Any] = client.submit(work, *what, retries=3, pure=False, **how)
                return done

        yield Workers()


@contextlib.contextmanager
def _ray(where: str) -> Iterator[Executor]:
    """Ray ends the process that it runs in when its node on this machine dies, with a file of ours half written, and prints about
    it. So it runs in a process of its own.
    """
    try:
        from ray import cloudpickle  # noqa: PLC0415 - an extra
    except ImportError:
        raise MissingExtraError("scoring on a Ray cluster", "ray") from None
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as apart:

        def asked(work: Callable[..., Any], *what: Any) -> Any:
            try:
                return apart.submit(work, *what).result()
            except BrokenProcessPool:
                raise StorageError(
                    f"the cluster at {quote(where)} was lost: Ray has ended its own process; type the same command again"
                ) from None

        class Begun(Future[Any]):
            """Work that Ray has. It is asked for again and again, so that Ctrl-C is heard."""

            def __init__(self, place: int) -> None:
                super().__init__()
                self._place = place

            def result(self, timeout: float | None = None) -> Any:  # noqa: ARG002 - nobody here sets one
                while not (found := asked(_found_by_ray, self._place)):
                    pass
                return found[0]

        class Workers(Executor):
            """Ray's workers as a pool. Ray does the work of a dead one again, three times at most."""

            def submit(self, work: Callable[..., Any], /, *what: Any, **how: Any) -> Future[Any]:
                return Begun(asked(_start_on_ray, cloudpickle.dumps((work, what, how))))

        asked(_hush)
        asked(begin_ray, where, processors())
        asked(signal.signal, signal.SIGINT, signal.SIG_IGN)  # from now on Ctrl-C is for the process that asked
        try:
            yield Workers()
        finally:
            with contextlib.suppress(StorageError):
                asked(_end_ray)


_begun: Final[dict[int, Future[Any]]] = {}  # what Ray has, in the process that it runs in


def _hush() -> None:
    """Nothing that Ray prints is seen: our own error says it in a line."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nothing, stream)


def begin_ray(where: str, workers: int) -> None:
    """Connects this process to the cluster, or to one of its own with so many workers. Raises StorageError if nobody answers."""
    import ray  # noqa: PLC0415 - an extra

    here = {"num_cpus": workers, "include_dashboard": False, "log_to_driver": False} if where == RAY else {}

    def begin() -> None:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # the error says the same
            ray.init("local" if here else where, logging_level="ERROR", **here)

    try:
        _patiently(begin)
    except ConnectionAbortedError as error:
        raise StorageError(
            f"the Ray cluster at {quote(where)} answers, but starts nothing for us ({_reason(error)}); see the logs of its head"
        ) from None
    except Exception as error:  # noqa: BLE001 - Ray raises a bare one where a node does not start in time
        raise StorageError(
            f"no Ray cluster answers at {quote(where)} ({_reason(error)}); run ray start --head there, "
            "or export RAY_AUTH_MODE=token if it asks for a token"
        ) from None


def _start_on_ray(pickled: bytes) -> int:
    """Gives work to Ray. Returns a number to ask for it with."""
    import ray  # noqa: PLC0415 - an extra

    work, what, how = ray.cloudpickle.loads(pickled)
    number = max(_begun, default=-1) + 1
    _begun[number] = ray.remote(_called).remote(work, *map(ray.put, what), **how).future()  # what is large travels as an object
    return number


def _found_by_ray(number: int) -> tuple[Any] | None:
    """What the work gave, or None while it is under way. Raises its own error, and ConnectionError for an error of Ray."""
    try:
        found = _begun[number].result(timeout=0.2)
    except TimeoutError:
        return None
    except Exception as error:  # noqa: BLE001 - Ray wraps what was raised in the worker
        raise getattr(error, "cause", None) or ConnectionError(_reason(error)) from None
    del _begun[number]
    return (found,)


def _end_ray() -> None:
    import ray  # noqa: PLC0415 - an extra

    ray.shutdown()


def _patiently(begin: Callable[[], None]) -> None:
    """Begins, and again while the head answers but gives up on the server that it starts for each client: ConnectionAbortedError.
    Where nobody listens, that is another ConnectionError, and Ray has waited for it already.
    """
    for _ in range(TRIES - 1):
        with contextlib.suppress(ConnectionAbortedError):
            return begin()
        time.sleep(1)
    return begin()


def _reason(error: Exception) -> str:
    """What went wrong, in one line: the last of a traceback, which a head sends as it is, else the first."""
    lines = str(error).split("\n")
    return next(filter(None, reversed(lines) if "Traceback (most recent call last):" in lines else lines), type(error).__name__)


def _called(work: Callable[..., Any], /, *what: Any, **how: Any) -> Any:
    """What Ray runs: it takes functions alone, and none whose arguments are filled in already."""
    return work(*what, **how)
