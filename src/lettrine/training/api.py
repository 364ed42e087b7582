"""`lettrine.train`: words in, a run out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from lettrine.arguments import checked
from lettrine.errors import DivergedError, MissingExtraError
from lettrine.text.words import WordList
from lettrine.training.counted import count_words
from lettrine.training.interrupt import deferred_signals
from lettrine.training.run import Run
from lettrine.training.session import DEFAULT_CORPUS, OnProgress, Session, as_word_list
from lettrine.training.settings import Settings
from lettrine.training.shape import Shape

__all__ = ["DEFAULT_CORPUS", "OnProgress", "Shape", "as_word_list", "resume", "train"]


@checked
def train(
    words: str | Path | Iterable[str] | WordList | None = None,
    *,
    out: str | Path | None = None,
    shape: Shape | None = None,
    settings: Settings | None = None,
    on_progress: OnProgress = lambda _: None,
    page: bool = True,
) -> Run:
    """Train a network on a word list and return the run. To take it step by step, use `lettrine.Session`.

    words: a file of one word a line ("-" for standard input), an iterable of words, several of them by label, such as
    {"women": "women.txt", "men": "men.txt"}, or None for the shipped list of first names.
    out: folder to keep the run in, with checkpoints as it goes; None keeps it in memory.
    on_progress: called with a `Progress` as training proceeds.
    page: write report.html into the folder too, where the extra `report` is installed and the training is watched.

    Ctrl-C and SIGTERM stop between two steps: the weights so far are kept and the run is returned with status "interrupted".
    Raises WordListError, ConfigError, RunExistsError, StorageError, and DivergedError if the loss stops being finite
    (the last good weights are then in the run folder).
    """
    word_list, settings = as_word_list(words), settings or Settings()
    if settings.model == "counts":
        return count_words(word_list, settings, out)
    with (
        deferred_signals() as requests,
        Session(word_list, out=out, shape=shape, settings=settings, on_progress=on_progress) as session,
    ):
        return _whole(session.finish(session.trainer.run(requests), requests), page=page)


@checked
def resume(path: str | Path, *, on_progress: OnProgress = lambda _: None, page: bool = True) -> Run:
    """Resume a run that was interrupted or killed: it ends with the same weights, bit for bit, as without the interruption.

    Raises RunDamagedError, RunBusyError, ConfigError for a run that is finished, and what `train` raises.
    """
    with deferred_signals() as requests, Session.resumed(path, on_progress=on_progress) as session:
        return _whole(session.finish(session.trainer.run(requests), requests), page=page)


def _whole(run: Run, *, page: bool) -> Run:
    """Write the page and return the run; raises DivergedError if its loss stopped being finite."""
    if run.status == "diverged":
        where = "kept in memory only" if run.path is None else f"in {run.path}"
        steps = 0 if run.results is None else run.results.steps
        rate = run.settings.after(len(run.settings.changes)).peak
        raise DivergedError(
            f"the loss stopped being finite at step {steps}; the last good weights are {where}; "
            f"lower the learning rate (it was {rate:g}) and train again"
        )
    if page and run.path is not None and run.health is not None:
        with contextlib.suppress(MissingExtraError):  # the page is optional
            run.save_page()
    return run
