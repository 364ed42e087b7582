"""The storage of a study: a journal file on a disk, or a database that Optuna knows by its URL."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator
from json import JSONDecodeError
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from lettrine.errors import ConfigError, LettrineError, MissingExtraError, StorageError, quote

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.storages.journal import JournalFileSymlinkLock
    from optuna.study import Study
    from optuna.trial import FrozenTrial

JOURNAL: Final = "study.journal"
HEARTBEAT: Final = 5  # seconds between two signs of life that a trial leaves in a database
GRACE: Final = 30  # seconds without one after which its worker counts as dead
WAIT: Final = 10  # seconds for a database to answer the first time
TAIL: Final = 1 << 20  # bytes read at the end of a journal, more than any line has
TRIES: Final = 4
AGAIN: Final = 0.5  # seconds between two attempts
CONNECTIONS: Final = 10  # connections beside those of the trials
SECRET: Final = r"(://[^:/@]*):[^@]*@"  # noqa: S105 - the place of a password in a URL
BEGINNING: Final = b'{"op_code"'  # of a journal
DRIVERS: Final = {"postgresql://": "postgresql+psycopg://", "postgres://": "postgresql+psycopg://"}

OnStale: TypeAlias = "Callable[[Study, FrozenTrial], None]"


def optuna() -> ModuleType:
    """Optuna; otherwise an error with the line that installs it."""
    try:
        return importlib.import_module("optuna")
    except ImportError:
        raise MissingExtraError("a search", "tune") from None


def shown(storage: str) -> str:
    """A URL without its password, for printing."""
    return re.sub(SECRET, r"\1:***@", storage)


def open_storage(storage: str, jobs: int, on_stale: OnStale) -> BaseStorage:
    """The storage at a path of a journal or a URL. on_stale: called with a trial whose worker gave no sign of life for GRACE.

    Raises ConfigError for an invalid URL, StorageError if it cannot be reached.
    """
    engine = optuna()
    with told(storage):
        if is_journal(storage):
            path = Path(storage)
            path.parent.mkdir(parents=True, exist_ok=True)
            _refuse_other(path)
            backend = engine.storages.journal.JournalFileBackend(str(path), _lock(path))
            return engine.storages.JournalStorage(backend)  # type: ignore[no-any-return]
        url = next((new + storage.removeprefix(old) for old, new in DRIVERS.items() if storage.startswith(old)), storage)
        options: dict[str, Any] = {"pool_size": jobs + CONNECTIONS, "pool_pre_ping": True}
        if url.startswith("postgresql"):
            options["connect_args"] = {"connect_timeout": WAIT}
        elif url.startswith("sqlite"):
            options["connect_args"] = {"timeout": 2 * GRACE}  # one at a time may write
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", engine.exceptions.ExperimentalWarning)  # of the heartbeat
            made = _patiently(
                lambda: engine.storages.RDBStorage(
                    url,
                    engine_kwargs=options,
                    heartbeat_interval=HEARTBEAT,
                    grace_period=GRACE,
                    heartbeat_stale_trial_callback=on_stale,
                )
            )
        if url.startswith("sqlite"):
            _one_at_a_time(made)
        return made


def _refuse_other(path: Path) -> None:
    """Raise ConfigError for a file that is no journal: Optuna would write into it, and the lock cut off its last line."""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        if not BEGINNING.startswith(file.read(len(BEGINNING))):
            raise ConfigError(f"--storage got {quote(str(path), 200)}, which holds no study that can be read; choose another")


def _one_at_a_time(storage: Any) -> None:
    """Make SQLite lock before it reads: otherwise two workers see the same waiting trial, and both take it."""
    from sqlalchemy import event  # noqa: PLC0415 - an extra

    @event.listens_for(storage.engine, "connect")
    def by_hand(connection: Any, _: object) -> None:
        connection.isolation_level = None  # Python's own module begins no transaction then

    @event.listens_for(storage.engine, "begin")
    def lock(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    close(storage)


def _lock(path: Path) -> JournalFileSymlinkLock:
    """The lock of a journal. It also removes an incomplete last line, which a full disk or a kill can leave."""
    from optuna.storages.journal import JournalFileSymlinkLock  # noqa: PLC0415 - an extra

    class Mending(JournalFileSymlinkLock):
        def acquire(self) -> bool:
            held = super().acquire()
            with path.open("r+b") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(end - TAIL, 0))
                tail = file.read()
                if tail and not tail.endswith(b"\n"):
                    file.truncate(end - len(tail) + tail.rfind(b"\n") + 1)
            return held

    return Mending(str(path))


def _patiently(make: Callable[[], BaseStorage]) -> BaseStorage:
    """The storage, with a few attempts: if workers begin at once on an empty database, only one can make the tables."""
    from sqlalchemy.exc import DatabaseError  # noqa: PLC0415 - an extra

    for _ in range(TRIES - 1):
        try:
            return make()
        except DatabaseError:
            time.sleep(AGAIN)
    return make()


def close(storage: BaseStorage) -> None:
    """Close the connections to a database; later requests open them again."""
    if (engine := getattr(storage, "engine", None)) is not None:
        storage.remove_session()
        engine.dispose()


def is_journal(storage: str) -> bool:
    """Whether it is a file on a disk that workers share, not a database."""
    return "://" not in storage


@contextlib.contextmanager
def told(storage: str) -> Iterator[None]:
    """An error of the storage as one line of our own."""
    from optuna.exceptions import StorageInternalError  # noqa: PLC0415 - an extra
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError  # noqa: PLC0415

    where = quote(shown(storage), 200)
    try:
        try:
            yield
        except AssertionError as error:  # Optuna's own error, if it could not write the result of a trial
            raise (_beneath(error, (OSError, SQLAlchemyError, StorageInternalError)) or error) from None
    except LettrineError:
        raise
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise ConfigError(
            f"--storage got {where} ({_first_line(error)}); "
            "expected a path such as study.journal, or a URL such as sqlite:///study.db or postgresql://user@host/database"
        ) from None
    except (SQLAlchemyError, StorageInternalError, ImportError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
        raise StorageError(
            f"the study at {where} cannot be reached ({_first_line(cause)}); see that it runs, then type the same command again"
        ) from None
    except OSError as error:
        raise StorageError(
            f"cannot write the study at {where}: {error.strerror or error}; free some space, or choose another --storage"
        ) from error
    except (JSONDecodeError, KeyError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--storage got {where}, which holds no study that can be read ({_first_line(error)}); choose another"
        ) from None


def _beneath(error: BaseException, kinds: tuple[type[BaseException], ...]) -> BaseException | None:
    """The first error of these kinds among this one and its causes."""
    before = error.__context__
    while before is not None and not isinstance(before, kinds):
        before = before.__context__
    return before


def _first_line(error: BaseException) -> str:
    """The message of the driver, without its class, its SQL and its links."""
    text = str(getattr(error, "orig", None) or error).strip()
    return text.splitlines()[0] if text else type(error).__name__
