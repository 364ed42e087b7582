"""One trial: an ordinary run in its own folder, begun or continued, and reported to Optuna on the way."""

from __future__ import annotations

import math
import shutil
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lettrine.errors import RunBusyError, RunDamagedError
from lettrine.search.space import Space
from lettrine.search.workers import RUN, SURPLUS, WORKER, is_surplus, name_of
from lettrine.text.words import WordList
from lettrine.training.diagnosis import load_health
from lettrine.training.folder import describe, read_description, results_of
from lettrine.training.interrupt import Requests
from lettrine.training.run import Results
from lettrine.training.session import OnProgress, Session

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import Trial

TRIALS: Final = "trials"  # folder of the runs
CRITICAL: Final = "critical"  # constraint: number of critical findings of the health check
DEV, SECONDS, STEPS = "dev", "seconds", "steps"  # results that a finished trial stores


class CutOffError(Exception):
    """The trial was stopped before its end; it can be continued."""


class SurplusError(Exception):
    """The trial is one too many, or already done."""


@dataclass(frozen=True)
class Work:
    """What every trial of a study is made from.

    folder: of the whole search. stopped: whether to stop, called several times a second. wanted: trials in all, 0 for no
    limit. healthy: whether a trial with a critical finding is excluded.
    """

    words: WordList
    space: Space
    folder: Path
    worker: str
    stopped: Callable[[], bool]
    wanted: int = 0
    healthy: bool = False


def run_trial(work: Work, study: Study, trial: Trial) -> float:
    """Train the point that Optuna suggests and return the loss of network and counts together on the dev words.

    Raises TrialPruned if it is not worth continuing, or the loss stopped being finite; CutOffError, SurplusError.
    """
    trials = study.get_trials(deepcopy=False)
    mine = trials[trial.number]
    name, done = name_of(mine), {"COMPLETE", "PRUNED"}
    twin = any(name_of(each) == name and each.state.name in done for each in trials)
    if twin or is_surplus(mine, trials, work.wanted):
        trial.set_user_attr(SURPLUS, True)
        raise SurplusError
    trial.set_user_attr(WORKER, work.worker)
    trial.set_user_attr(RUN, name)
    point = work.space.suggest(trial)
    own_choice = point == work.space.default
    folder, results = _trained(work, trial, name, point, max(mine.intermediate_values, default=0), spared=own_choice)
    if work.healthy:
        report = load_health(folder)
        trial.set_constraint(CRITICAL, sum(finding.severity == "critical" for finding in report.findings))
    for key, value in {SECONDS: results.seconds, STEPS: results.steps}.items():
        trial.set_user_attr(key, value)
    return results.loss[DEV]


def _trained(
    work: Work, trial: Trial, name: str, point: Mapping[str, float], reported: int, *, spared: bool
) -> tuple[Path, Results]:
    """Train the run to its end. Returns its folder and results.

    reported: evaluations that Optuna knows already. spared: not to be pruned.
    """
    from optuna import TrialPruned  # noqa: PLC0415 - an extra

    folder, requests, pruned = work.folder / TRIALS / name, Requests(), False

    def listen(progress: object) -> None:
        nonlocal reported, pruned
        if work.stopped():
            requests.signal = signal.SIGTERM
            return
        trainer = session.trainer
        place, dev = trainer.step // trainer.now.eval_every, getattr(progress, "dev", math.nan)
        if place <= reported or not math.isfinite(dev):
            return
        reported = place
        trial.report(dev, place)
        if not spared and trial.should_prune():
            pruned, requests.signal = True, signal.SIGTERM

    if (known := _finished(folder)) is not None:  # its worker died before it could report
        return folder, known
    session = _opened(work, folder, point, listen)
    try:
        ending = session.trainer.run(requests)
        if ending.status == "interrupted":
            _describe(session, session.folder or folder)
            raise TrialPruned if pruned else CutOffError
        run = session.finish(ending)
    finally:
        session.close()
    if run.status != "finished" or run.results is None or not math.isfinite(run.results.loss[DEV]):
        raise TrialPruned(f"the loss stopped being finite in {folder}")
    return session.folder or folder, run.results


def _describe(session: Session, folder: Path) -> None:
    """Mark a run as interrupted; its weights so far are in its checkpoint."""
    settings, engine = session.trainer.settings, session.engine
    describe(folder, session.config, session.vocabulary, settings, session.data, engine, status="interrupted", results=None)


def _finished(folder: Path) -> Results | None:
    """The results of a finished run, None if there is no finished run."""
    try:
        _, description, *_ = read_description(folder)
    except RunDamagedError:
        return None
    return results_of(description) if description["status"] == "finished" else None


def _opened(work: Work, folder: Path, point: Mapping[str, float], listen: OnProgress) -> Session:
    """A session that continues the run in the folder, or a new one."""
    try:
        return Session.resumed(folder, on_progress=listen)
    except RunDamagedError:  # none yet, or killed before its first checkpoint
        shutil.rmtree(folder, ignore_errors=True)
    except RunBusyError:  # a worker that counted as dead still trains in it: leave that alone
        folder = folder.with_name(f"{folder.name}-{work.worker}")
    shape, settings = work.space.chosen(point)
    return Session(work.words, out=folder, shape=shape, settings=settings, on_progress=listen)
