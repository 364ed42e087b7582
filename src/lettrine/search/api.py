"""`lettrine.tune`: words in, the best of many trainings out."""

from __future__ import annotations

import contextlib
import importlib
import logging
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from lettrine.arguments import checked
from lettrine.errors import ConfigError, MissingExtraError, RunExistsError, quote
from lettrine.search import storage as storages
from lettrine.search.searching import OnStanding, Search, ending
from lettrine.search.space import Space
from lettrine.search.study import join, name_for
from lettrine.search.tuned import Tuned
from lettrine.search.workers import Worker, put_back
from lettrine.text.words import WordList
from lettrine.training.api import as_word_list
from lettrine.training.folder import REPORT
from lettrine.training.interrupt import deferred_signals
from lettrine.training.settings import Settings
from lettrine.training.shape import Shape
from lettrine.training.sizes import processors
from lettrine.training.storage import read_json, storage_error, write_json

MINUTES: Final = 5.0  # if neither minutes nor trials are given
MOST_MINUTES: Final = 1e6
MOST_TRIALS: Final = 10**6
MOST_JOBS: Final = 1024
ABOUT: Final = "tune.json"  # tells which search the folder holds
WORKERS: Final = "workers"  # folder of their locks
_PAGE: Final = "lettrine.tools.study_page"
"""The function that writes the page of a search, bound by name: the room `search` imports no drawing."""


@checked
def tune(
    words: str | Path | Iterable[str] | WordList | None = None,
    *,
    out: str | Path | None = None,
    minutes: float | None = None,
    trials: int | None = None,
    storage: str | None = None,
    study: str | None = None,
    jobs: int | None = None,
    healthy: bool = False,
    shape: Shape | None = None,
    settings: Settings | None = None,
    on_progress: OnStanding = lambda _: None,
    page: bool = True,
) -> Tuned:
    """Search for the network and training that fit a word list best, and keep the best run in `out`/best.

    words: as for `lettrine.train`. out: folder of the search; None for runs/NAME-tune. A second call with the same words
    continues it. minutes: time for this call, MINUTES if neither is given; trials: total number, of this call and others
    together. storage: path of a journal, or URL of a database that Optuna knows; None for a journal in `out`. All calls with
    the same one work on the same study. study: its name, if not the one made from the words. jobs: parallel trials; None for
    one per processor. healthy: a run with a critical finding of the health check cannot become the best. shape, settings:
    values given there are not searched. on_progress: called with a `Standing`. page: write report.html.

    Ctrl-C and SIGTERM stop it; the next call continues trials that were cut off.
    Raises what `train` raises, ConfigError for a study of other words or options, StorageError if it cannot be reached, and
    MissingExtraError without the extra `tune`.
    """
    engine = storages.optuna()
    word_list, settings = as_word_list(words), settings or Settings()
    if minutes is None and trials is None:
        minutes = MINUTES
    if minutes is not None and not 0.0 < minutes <= MOST_MINUTES:
        raise ConfigError(f"minutes got {minutes}; expected more than 0, and {MOST_MINUTES:,.0f} at most")
    for what, count, most in (("trials", trials, MOST_TRIALS), ("jobs", jobs, MOST_JOBS)):
        if count is not None and not 1 <= count <= most:
            raise ConfigError(f"{what} got {count}; expected a whole number from 1 to {most:,}")
    if storage is not None and not storage.isprintable():
        raise ConfigError(f"storage got {quote(storage)}; expected an address or a file, in characters that can be printed")
    jobs = jobs or processors()
    if settings.model != "network" or settings.seconds or settings.networks:
        raise ConfigError(
            "tune got model, seconds or networks; expected none of them: it trains networks in the time that minutes give"
        )
    if healthy and not settings.health:
        raise ConfigError("tune got healthy and settings without health; expected one or the other")
    name = study or name_for(word_list)
    folder = Path(out) if out is not None else Path("runs") / f"{name_for(word_list).rpartition('-')[0]}-tune"
    where = storage or str(folder / storages.JOURNAL)
    space = Space.around(word_list, shape or Shape(), settings)
    worker = Worker((Path(where).parent if storages.is_journal(where) else folder) / WORKERS)
    with (
        _claimed(folder, name, word_list, worker.name),
        deferred_signals() as requests,
        worker.at_work(),
        _quiet(engine.logging),
        contextlib.ExitStack() as opened,
    ):
        with storages.told(where):
            stored = storages.open_storage(where, jobs, put_back)
            opened.callback(storages.close, stored)
            joined = join(stored, name, word_list, space)
            search = Search(joined, space, word_list, folder, worker, storages.is_journal(where), trials or 0, healthy, requests)
            search.told = on_progress
            search.run(jobs, math.inf if minutes is None else 60.0 * minutes)
        found = search.end(name, storages.shown(where))
        if page and found.trial >= 0:
            with ending(folder) as ours:
                if ours:
                    _write_pages(found)
    return found


def _write_pages(found: Tuned) -> None:
    """The page of the search, and that of its best run; none without the extra."""
    with contextlib.suppress(MissingExtraError):
        importlib.import_module(_PAGE).write_study_page(found.folder / REPORT, found)
        if found.run is not None and found.run.health is not None:
            found.run.save_page()


def _claim(folder: Path, name: str, words: WordList, worker: str) -> bool:
    """Check that the folder is new or holds this same search; several workers may do so at once. Returns whether it is new.

    Raises RunExistsError.
    """
    path = folder / ABOUT
    try:
        folder.mkdir(parents=True, exist_ok=True)
        foreign = [each.name for each in folder.iterdir() if not each.name.startswith(ABOUT)]
    except OSError as error:
        raise storage_error(folder, error) from error
    if path.exists():  # read after the folder was listed: a worker writes this file before any other
        known = read_json(path)
        if known.get("words") != words.digest or known.get("study") != name:
            raise RunExistsError(
                f"{folder} holds the search {known.get('study')} of other words or of another name; choose another --out"
            )
        return False
    if foreign:
        raise RunExistsError(f"{folder} is not empty ({foreign[0]}); expected a new or empty folder, or one of an earlier tune")
    own = path.with_name(f"{ABOUT}.{worker}")
    write_json(own, {"study": name, "words": words.digest, "source": words.source})
    own.replace(path)
    return True


@contextlib.contextmanager
def _claimed(folder: Path, name: str, words: WordList, worker: str) -> Iterator[None]:
    """As `_claim`. A new folder in which nothing was begun is removed: the study may be joined under another name then."""
    new = _claim(folder, name, words, worker)
    try:
        yield
    finally:
        if new and {each.name for each in folder.iterdir()} <= {ABOUT, WORKERS}:
            with contextlib.suppress(OSError):  # another worker is in it
                (folder / WORKERS).rmdir()
            if not (folder / WORKERS).exists():
                (folder / ABOUT).unlink()
                folder.rmdir()


@contextlib.contextmanager
def _quiet(loggers: object) -> Iterator[None]:
    """Silence Optuna's messages on single trials: the progress line and the page tell of them."""
    before = loggers.get_verbosity()  # type: ignore[attr-defined]
    loggers.set_verbosity(logging.ERROR)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        loggers.set_verbosity(before)  # type: ignore[attr-defined]
