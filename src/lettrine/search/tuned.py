"""What a search has found, and how far it is."""

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
    """How far a search is. wanted: trials in all, 0 where time decides. best, default: dev losses, NaN where there is none yet.

    seconds: left, inf where trials decide. ending: whether the networks of the best settings are trained now.
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
    trial: number of the best trial; point: what it chose. default: dev loss of lettrine's own choice, trained alike.
    kept_default: whether that was kept, since nothing was better beyond noise. signal: that stopped it in this process, else 0.
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
