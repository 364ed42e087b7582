"""Who works on a study, which trials were cut off, and how they are taken up again.

A trial that was cut off is failed and put back into the queue with the name of its run folder, from whose checkpoint it goes
on. So one *trial of ours* may be several of Optuna's, which share the name of the folder: it is counted by that name, and
there is no way to count it twice. Of several workers that find the same dead trial, the storage lets one fail it.

Dead workers are known in a database by Optuna's heartbeat; beside a journal, each worker holds a file of its own locked, and
the system lets go of the lock when the process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lettrine.search import storage as storages
from lettrine.training.storage import storage_error

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]

RUN: Final = "run"  # what the trial's run folder is called
WORKER: Final = "worker"
SURPLUS: Final = "surplus"  # of a trial that turned out to be one too many, and was not begun


def name_of(trial: FrozenTrial) -> str:
    """What the trial's run folder is called; trials that are the same one, taken up again, have the same."""
    return str(trial.user_attrs.get(RUN, f"{trial.number:04d}"))


@dataclass(frozen=True)
class Census:
    """How many trials there are: finished (pruned ones among them), being worked on, waiting."""

    finished: int
    pruned: int
    running: int
    waiting: int


def census(trials: list[FrozenTrial]) -> Census:
    """The trials counted, each once, however often it was taken up."""
    by_state: dict[str, set[str]] = {}
    for trial in trials:
        by_state.setdefault(trial.state.name, set()).add(name_of(trial))
    complete, pruned = by_state.get("COMPLETE", set()), by_state.get("PRUNED", set())
    done = complete | pruned
    running = by_state.get("RUNNING", set()) - done
    return Census(len(done), len(pruned - complete), len(running), len(by_state.get("WAITING", set()) - done - running))


def is_surplus(trial: FrozenTrial, trials: list[FrozenTrial], wanted: int) -> bool:
    """Whether so many trials are there without this one: several workers may ask for the last at the same time.

    Numbers are given out one by one by the storage, so they all agree on who is too late.
    """
    earlier = {name_of(each) for each in trials if each.number < trial.number and SURPLUS not in each.user_attrs}
    return bool(wanted) and name_of(trial) not in earlier and len(earlier) >= wanted


def put_back(study: Study, trial: FrozenTrial) -> None:
    """Queue a trial that was cut off, with what it was given and what it has shown."""
    from optuna.trial import TrialState, create_trial  # noqa: PLC0415 - an extra

    study.add_trial(
        create_trial(
            state=TrialState.WAITING,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs={RUN: name_of(trial)},
            system_attrs=trial.system_attrs,
            intermediate_values=trial.intermediate_values,
        )
    )


def take_up(study: Study, trial: FrozenTrial) -> bool:
    """Fail a trial whose worker is dead and put it back; whether we are the one who did."""
    from optuna.exceptions import UpdateFinishedTrialError  # noqa: PLC0415 - an extra
    from optuna.trial import TrialState  # noqa: PLC0415

    try:
        study.tell(trial.number, state=TrialState.FAIL)
    except (UpdateFinishedTrialError, ValueError):  # another was quicker
        return False
    put_back(study, trial)
    return True


def mend(study: Study) -> None:
    """Put back what was failed by a worker that died before it could put it back itself."""
    trials = study.get_trials(deepcopy=False)
    cared_for = {name_of(trial) for trial in trials if trial.state.name != "FAIL" or SURPLUS in trial.user_attrs}
    for name in sorted({name_of(trial) for trial in trials} - cared_for):
        put_back(study, [trial for trial in trials if name_of(trial) == name][-1])


@dataclass
class Worker:
    """This process among those that work on a study. folder: where each holds a file of its own; shared beside a journal."""

    folder: Path
    name: str = field(default_factory=lambda: f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    _seen: dict[int, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Hold our file locked. Raises StorageError where it cannot be written."""
        path = self.folder / self.name
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise storage_error(path, error) from error
        try:
            if fcntl is not None:
                with contextlib.suppress(OSError):  # a file system without locks
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            path.unlink(missing_ok=True)
            os.close(descriptor)

    def take_up_dead(self, study: Study, *, journal: bool) -> None:
        """Take up the trials whose workers are dead. journal: whether their files tell; in a database, Optuna's heartbeat does.

        A worker that died before it could put its name to its trial is waited for as long as one without a heartbeat.
        """
        now, here = time.monotonic(), set()
        for trial in study.get_trials(deepcopy=False):
            if trial.state.name != "RUNNING":
                continue
            name = trial.user_attrs.get(WORKER)
            if name is None:
                here.add(trial.number)
                if now - self._seen.setdefault(trial.number, now) > storages.GRACE:
                    take_up(study, trial)
            elif journal and self._is_dead(str(name)):
                take_up(study, trial)
        self._seen = {number: since for number, since in self._seen.items() if number in here}

    def _is_dead(self, name: str) -> bool:
        """Whether nobody holds the file of that worker."""
        if name == self.name or fcntl is None:
            return False
        try:
            descriptor = os.open(self.folder / name, os.O_RDWR)
        except FileNotFoundError:  # it went home; its trial should be ended, unless it was killed on the way
            return True
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        else:
            (self.folder / name).unlink(missing_ok=True)
            return True
        finally:
            os.close(descriptor)
