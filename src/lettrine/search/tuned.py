"""The result and the progress of a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lettrine.search.workers import Census
from lettrine.training.run import Run

if TYPE_CHECKING:
    from optuna.study import Study


@dataclass(frozen=True)
class Standing:
    """The progress of a search. wanted: trials in all, 0 if time decides. best, default: dev losses, NaN if there is none yet.
    seconds: remaining, inf if the number of trials decides. ending: whether the networks of the best settings are trained now.
    """

    census: Census
    wanted: int
    best: float
    default: float
    seconds: float
    ending: bool = False


@dataclass(frozen=True)
class Tuned:
    """A search: its best run, and the study it comes from.

    run: the best run, in `folder`/best; None if the search was stopped before the best was trained. name, storage: of the study.
    trial: number of the best trial; point: its choices. default: dev loss of lettrine's own choice, trained in the same way.
    kept_default: whether its settings were kept, because no others were better by more than noise. signal: the one that stopped
    it in this process, else 0.
    """

    folder: Path
    name: str
    storage: str
    census: Census
    run: Run | None
    trial: int
    point: Mapping[str, float]
    best: float
    default: float
    kept_default: bool = False
    signal: int = 0
    study: Study | None = field(default=None, repr=False, compare=False)

    def summary(self) -> dict[str, Any]:
        """The search in plain values, as `lettrine tune --json` prints it."""
        census = self.census
        return {
            "study": self.name,
            "storage": self.storage,
            "folder": str(self.folder),
            "trials": {name: getattr(census, name) for name in ("finished", "pruned", "running", "waiting")},
            "best": {"trial": self.trial, "dev": self.best, "choices": dict(self.point)},
            "default": {"dev": self.default},
            "kept": "default" if self.kept_default else "best",
            "run": None if self.run is None else self.run.summary(),
        }
