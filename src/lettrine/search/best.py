"""The end of a search: the best settings are trained with several networks, and kept if they beat the run that `lettrine train`
would make by more than noise; else that run is kept.
"""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from lettrine.errors import RunDamagedError
from lettrine.inference.language_model import LanguageModel
from lettrine.search.space import Space, Value
from lettrine.search.trial import TRIALS
from lettrine.text.windows import windows
from lettrine.text.words import WordList
from lettrine.training.diagnosis import load_health
from lettrine.training.folder import REPORT, describe, load_run, load_splits, read_description
from lettrine.training.interrupt import Requests
from lettrine.training.run import Run
from lettrine.training.session import Session
from lettrine.training.sizes import processors
from lettrine.training.storage import read_json, storage_error, write_json

BEST: Final = "best"
ENDING: Final = "ending"  # folder that the worker that trains the end holds locked
KEPT: Final = "kept.json"  # in it: of which trial the best run was made, and how
MOST: Final = 24  # networks: beyond these one more gains almost nothing
SAFETY: Final = 0.8  # share of the remaining time for training networks; their losses are measured in the rest
ERRORS: Final = 2.0
"""Standard errors by which a run must be better than that of `lettrine train`. The dev words that compare the two also chose the
best of the trials, which flatters it (Cawley and Talbot 2010, J. Mach. Learn. Res. 11). Of eight settings no better than those of
lettrine, if their errors were independent, the best would be ahead by one standard error with probability 1 - 0.84^8 = 0.75, and
by two with 1 - 0.977^8 = 0.17."""


def networks_within(seconds: float, one: float, least: int) -> int:
    """The number of networks for the remaining time, if the first is trained already. seconds: remaining, inf for no limit.
    one: seconds for one network.
    """
    if not math.isfinite(seconds):
        return least
    rounds = int(SAFETY * max(seconds, 0.0) / max(one, 1e-3))
    return min(max(least, 1 + rounds * processors()), MOST)


def grown(
    folder: Path, name: str, point: dict[str, Value], words: WordList, space: Space, networks: int, requests: Requests
) -> Run:
    """The run of a trial with more networks, in a new folder beside the others: bit for bit as if it had been trained with
    them from the beginning. A trial of another machine, whose folder is not here, is trained again.
    """
    target, trial = folder / f".{BEST}-{name}-{networks}", folder / TRIALS / name
    shutil.rmtree(target, ignore_errors=True)
    if _is_here(trial):
        try:
            shutil.copytree(trial, target, ignore=shutil.ignore_patterns(REPORT, "*.partial"))
        except shutil.Error as error:
            raise storage_error(target, OSError(None, str(error))) from error
        except OSError as error:
            raise storage_error(target, error) from error
        _, _, config, vocabulary, settings, data = read_description(target)
        engine = load_run(target).model.engine
        settings = replace(settings, networks=networks)
        describe(target, config, vocabulary, settings, data, engine, status="interrupted", results=None)
        with Session.resumed(target) as session:
            return session.finish(session.trainer.run(requests), requests)
    shape, settings = space.chosen(point)
    with Session(words, out=target, shape=shape, settings=replace(settings, networks=networks)) as session:
        return session.finish(session.trainer.run(requests), requests)


def better(run: Run, than: Run) -> bool:
    """Whether a run is better on its dev words by more than noise: more than ERRORS standard errors of the difference, over
    words.
    """
    first, second = (_dev_losses(each) for each in (run, than))
    gain = second - first  # (words,), nats
    error = float(gain.std(ddof=1) / np.sqrt(len(gain))) if len(gain) > 1 else 0.0
    return float(gain.mean()) > ERRORS * error


def keep(run: Run, folder: Path) -> Run:
    """Move the run to the folder of the best one and replace an earlier one."""
    target, old = folder / BEST, folder / f".{BEST}-old"
    try:
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            target.rename(old)
        Path(run.path or "").rename(target)
    except OSError as error:
        raise storage_error(target, error) from error
    shutil.rmtree(old, ignore_errors=True)
    return replace(run, path=target)


def remember(folder: Path, trial: str, networks: int, *, kept_default: bool) -> None:
    """Note what the best run was made of."""
    write_json(folder / ENDING / KEPT, {"trial": trial, "networks": networks, "kept_default": kept_default})


def kept_before(folder: Path, trial: str, networks: int) -> tuple[Run, bool] | None:
    """The best run and whether it is lettrine's own choice, where it was made of this trial with so many networks or more."""
    try:
        known = read_json(folder / ENDING / KEPT)
        if known.get("trial") != trial or not isinstance(known.get("networks"), int) or known["networks"] < networks:
            return None
        run = load_run(folder / BEST)
        watched = run.settings.health and run.status == "finished"
        return replace(run, health=load_health(folder / BEST) if watched else None), bool(known.get("kept_default"))
    except RunDamagedError:  # none yet, or taken away
        return None


def tidy(folder: Path) -> None:
    """Remove the remains of an end that was cut off."""
    for left in folder.glob(f".{BEST}-*"):
        if left.name == f".{BEST}-old" and not (folder / BEST).exists():
            os.rename(left, folder / BEST)  # noqa: PTH104 - repairs a kill between two renamings
        else:
            shutil.rmtree(left, ignore_errors=True)


def _is_here(trial: Path) -> bool:
    return (trial / "run.json").is_file() and read_description(trial)[1]["status"] == "finished"


def _dev_losses(run: Run) -> np.ndarray:
    """Nats of each dev word."""
    model: LanguageModel = run.model
    words = load_splits(run).dev
    dev = windows(words, model.vocabulary, model.config.context)
    losses = model.losses(dev.contexts, dev.targets)
    starts = np.cumsum([0, *(len(word) + 1 for word in words)])[:-1]
    return np.add.reduceat(losses, starts)
