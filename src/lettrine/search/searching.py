"""A worker's part of a search: parallel trials until time or trials are used up, then a good training of the best settings."""

from __future__ import annotations

import contextlib
import math
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from lettrine.errors import RunBusyError
from lettrine.search.best import ENDING, better, grown, keep, kept_before, networks_within, remember, tidy
from lettrine.search.space import Space
from lettrine.search.trial import CRITICAL, SECONDS, CutOffError, SurplusError, Work, run_trial
from lettrine.search.tuned import Standing, Tuned
from lettrine.search.workers import Worker, census, mend, name_of, put_back
from lettrine.text.words import WordList
from lettrine.training.interrupt import Requests
from lettrine.training.run import Run
from lettrine.training.sizes import size_of
from lettrine.training.storage import locked

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

SEARCHING: Final = 0.5  # share of the time; the rest trains the best settings with several networks
LOOK: Final = 0.3  # seconds between two checks of a study while others train the last trials
OnStanding: TypeAlias = Callable[[Standing], None]


class Search:
    """This worker's part of a search."""

    def __init__(
        self,
        study: Study,
        space: Space,
        words: WordList,
        folder: Path,
        worker: Worker,
        journal: bool,
        wanted: int,
        healthy: bool,
        requests: Requests,
    ) -> None:
        self.study, self.space, self.words, self.folder = study, space, words, folder
        self.worker, self.journal, self.wanted, self.requests = worker, journal, wanted, requests
        self.work = Work(words, space, folder, worker.name, self.over, wanted, healthy)
        self.told: OnStanding = lambda _: None
        self._deadline = self._end = math.inf  # end of the search, and of everything
        self._asking, self._failed = threading.Lock(), threading.Event()

    def over(self) -> bool:
        """Whether this worker should stop searching."""
        return bool(self.requests.signal) or self._failed.is_set() or time.monotonic() >= self._deadline

    def run(self, jobs: int, seconds: float) -> None:
        """Search for that time, or until there are enough trials."""
        began = time.monotonic()
        self._deadline, self._end = began + SEARCHING * seconds, began + seconds
        mend(self.study)
        # Every trainer sets a limit on numpy's threads. A limit around all of them restores the original one at the end.
        with threadpool_limits(1), np.errstate(all="ignore"), ThreadPoolExecutor(jobs) as pool:
            loops = [pool.submit(self._loop) for _ in range(jobs)]
            try:
                while wait(loops, timeout=LOOK).not_done:
                    self.told(self.standing())
            except BaseException:  # a second Ctrl-C
                self._failed.set()
                raise
        for loop in loops:
            loop.result()

    def _loop(self) -> None:
        try:
            while not self.over() and self._more():
                self._one()
        except BaseException:
            self._failed.set()
            raise

    def _more(self) -> bool:
        """Whether there is a trial to begin; waits while others train the last ones, in case they die."""
        while not self.over():
            with self._asking:
                self.worker.take_up_dead(self.study, journal=self.journal)
                now = census(self.study.get_trials(deepcopy=False))
            if self.wanted and now.finished >= self.wanted:
                return False
            if not self.wanted or now.waiting or now.finished + now.running < self.wanted:
                return True
            if not self.journal:
                self._take_up_stale()
            time.sleep(LOOK)
        return False

    def _take_up_stale(self) -> None:
        """Optuna's work before each trial, done while there is none to begin."""
        from optuna.exceptions import ExperimentalWarning  # noqa: PLC0415
        from optuna.storages import fail_stale_trials  # noqa: PLC0415

        with self._asking, warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            fail_stale_trials(self.study)

    def _one(self) -> None:
        """One trial. Optuna chooses it, keeps up the heartbeat and stores the result."""
        from optuna.exceptions import UpdateFinishedTrialError  # noqa: PLC0415

        taken: list[int] = []

        def objective(trial: object) -> float:
            taken.append(trial.number)  # type: ignore[attr-defined]
            return run_trial(self.work, self.study, trial)  # type: ignore[arg-type]

        try:
            self.study.optimize(objective, n_trials=1)
        except (SurplusError, UpdateFinishedTrialError):
            return
        except BaseException as error:
            if taken and self._put_back(taken[0]):
                return  # this worker counted as dead, and another continues the trial
            if not isinstance(error, CutOffError):
                raise

    def _put_back(self, number: int) -> bool:
        """Queue one of our trials that was cut off. Returns whether another worker has done so."""
        with contextlib.suppress(Exception):  # the storage itself may have failed; then the next worker finds the trial
            trials = self.study.get_trials(deepcopy=False)
            if any(each.number > number and name_of(each) == name_of(trials[number]) for each in trials):
                return True
            if trials[number].state.name == "FAIL":
                put_back(self.study, trials[number])
        return False

    def standing(self, *, ending: bool = False) -> Standing:
        """Its progress."""
        trials = self.study.get_trials(deepcopy=False)
        best, default = self.best(trials), self.default(trials)
        left = (self._end if ending else self._deadline) - time.monotonic()
        return Standing(census(trials), self.wanted, _loss(best), _loss(default), left, ending)

    def best(self, trials: list[FrozenTrial]) -> FrozenTrial | None:
        """The trial with the lowest dev loss; with `healthy`, among those without a critical finding."""
        whole = [each for each in trials if each.state.name == "COMPLETE" and each.constraints.get(CRITICAL, 0) <= 0]
        return min(whole, key=lambda each: (each.value, each.number), default=None)

    def default(self, trials: list[FrozenTrial]) -> FrozenTrial | None:
        """The trial of lettrine's own choice."""
        own = self.space.default
        return next((each for each in trials if each.state.name == "COMPLETE" and each.params == own), None)

    def end(self, name: str, where: str) -> Tuned:
        """Train the best settings with several networks; keep them if they beat the run that `lettrine train` would make by more
        than noise, else that very run.
        """
        trials = self.study.get_trials(deepcopy=False)
        best, default = self.best(trials), self.default(trials)
        number, point = (-1, {}) if best is None else (best.number, best.params)
        found = Tuned(
            self.folder, name, where, census(trials), None, number, point, _loss(best), _loss(default), study=self.study
        )
        if self.requests.signal or best is None:
            return replace(found, signal=self.requests.signal)
        self.told(self.standing(ending=True))
        with ending(self.folder) as ours:
            if not ours:  # another worker that uses this folder does it
                return found
            trial = name_of(best)
            if (before := kept_before(self.folder, trial, self._networks(best))) is not None:
                return replace(found, run=before[0], kept_default=before[1])
            plain = self._plain(trials)
            networks = self._networks(best)  # in the time that is left now
            same = plain is not None and best is default and networks == self.space.networks
            run = plain if plain is not None and same else self._grown(best, networks)
            found = replace(found, signal=self.requests.signal)
            if "interrupted" not in {each.status for each in (plain, run) if each is not None}:
                kept = run if plain is None or (run is not plain and better(run, plain)) else plain
                found = replace(found, kept_default=kept is plain or best is default)
                if kept.status == "finished":
                    found = replace(found, run=keep(kept, self.folder))
                    remember(self.folder, trial, networks, kept_default=found.kept_default)
            tidy(self.folder)
        return found

    def _plain(self, trials: list[FrozenTrial]) -> Run | None:
        """The run that `lettrine train` would make, bit for bit; None where it failed, or is sick and `healthy` excludes it."""
        own = [each for each in trials if each.params == self.space.default]
        done = self.default(trials)
        if done is None and any(each.state.name == "PRUNED" for each in own):  # it is never pruned unless its loss is not finite
            return None
        name = "default" if done is None else name_of(done)  # where another worker still trains it, it is trained here too
        run = grown(self.folder, name, self.space.default, self.words, self.space, self.space.networks, self.requests)
        findings = () if run.health is None else run.health.findings
        sick = self.work.healthy and any(finding.severity == "critical" for finding in findings)
        return None if sick or run.status == "diverged" else run

    def _networks(self, best: FrozenTrial) -> int:
        """With how many networks there is time to train the best settings."""
        one = float(best.user_attrs.get(SECONDS, math.inf))
        least = size_of(self.space.examples, "best").networks if math.isinf(self._end) else self.space.networks
        return networks_within(self._end - time.monotonic(), one, least)

    def _grown(self, trial: FrozenTrial, networks: int) -> Run:
        return grown(self.folder, name_of(trial), trial.params, self.words, self.space, networks, self.requests)


def _loss(trial: FrozenTrial | None) -> float:
    """Dev loss in nats, NaN if there is none."""
    return math.nan if trial is None or trial.value is None else trial.value


@contextlib.contextmanager
def ending(folder: Path) -> Iterator[bool]:
    """Whether this worker trains the end; of the workers that share a folder only one does."""
    place = folder / ENDING
    place.mkdir(exist_ok=True)
    try:
        with locked(place):
            tidy(folder)
            yield True
    except RunBusyError:
        yield False
