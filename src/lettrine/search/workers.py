"""The workers of a study, and how trials that were cut off are continued.

A trial that was cut off is marked as failed and queued again with the name of its run folder; it continues from the checkpoint
there. So one of our trials may be several trials of Optuna that share the name of the folder. Trials are counted by that name,
so none is counted twice. If several workers find the same dead trial, the storage lets only one mark it as failed. In a
database, dead workers are known by Optuna's heartbeat. With a journal, each worker locks its own file, and the system releases
the lock when the process ends, however it ends.
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

RUN: Final = "run"  # name of the trial's run folder
WORKER: Final = "worker"
SURPLUS: Final = "surplus"  # of a trial that was one too many and was not begun


def name_of(trial: FrozenTrial) -> str:
    """Name of the trial's run folder; a trial that is continued has the same name as before."""
    return str(trial.user_attrs.get(RUN, f"{trial.number:04d}"))


@dataclass(frozen=True)
class Census:
    """The number of trials that are finished (including pruned ones), running, and waiting."""

    finished: int
    pruned: int
    running: int
    waiting: int


def census(trials: list[FrozenTrial]) -> Census:
    """Count the trials, each once, however often it was continued."""
    by_state: dict[str, set[str]] = {}
    for trial in trials:
        by_state.setdefault(trial.state.name, set()).add(name_of(trial))
    complete, pruned = by_state.get("COMPLETE", set()), by_state.get("PRUNED", set())
    done = complete | pruned
    running = by_state.get("RUNNING", set()) - done
    return Census(len(done), len(pruned - complete), len(running), len(by_state.get("WAITING", set()) - done - running))


def is_surplus(trial: FrozenTrial, trials: list[FrozenTrial], wanted: int) -> bool:
    """Whether there are enough trials without this one: several workers may ask for the last one at the same time.

    The storage numbers the trials one by one, so all workers agree which one is too late.
    """
    earlier = {name_of(each) for each in trials if each.number < trial.number and SURPLUS not in each.user_attrs}
    return bool(wanted) and name_of(trial) not in earlier and len(earlier) >= wanted


def put_back(study: Study, trial: FrozenTrial) -> None:
    """Queue a trial that was cut off, with its parameters and its results so far."""
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
    """Mark a trial whose worker is dead as failed and queue it again. Returns whether this worker did it."""
    from optuna.exceptions import UpdateFinishedTrialError  # noqa: PLC0415 - an extra
    from optuna.trial import TrialState  # noqa: PLC0415

    try:
        study.tell(trial.number, state=TrialState.FAIL)
    except (UpdateFinishedTrialError, ValueError):  # another was quicker
        return False
    put_back(study, trial)
    return True


def mend(study: Study) -> None:
    """Queue the trials that were marked as failed by a worker that died before it could queue them again."""
    trials = study.get_trials(deepcopy=False)
    cared_for = {name_of(trial) for trial in trials if trial.state.name != "FAIL" or SURPLUS in trial.user_attrs}
    for name in sorted({name_of(trial) for trial in trials} - cared_for):
        put_back(study, [trial for trial in trials if name_of(trial) == name][-1])


@dataclass
class Worker:
    """This process as one of the workers of a study. folder: of the files that the workers lock; shared if the storage is a
    journal.
    """

    folder: Path
    name: str = field(default_factory=lambda: f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    _seen: dict[int, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Lock our file. Raises StorageError if it cannot be written."""
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
        """Queue the trials whose workers are dead. journal: whether lock files show this; in a database, Optuna's heartbeat does.

        For a worker that died before it could sign its trial, the waiting time is as long as without a heartbeat.
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
        """Whether the file of that worker is not locked."""
        if name == self.name or fcntl is None:
            return False
        try:
            descriptor = os.open(self.folder / name, os.O_RDWR)
        except FileNotFoundError:  # the worker ended; its trial should be finished, unless it was killed at the end
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
