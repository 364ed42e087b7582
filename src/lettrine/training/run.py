"""One training as a value: its words, results and model."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lettrine.arguments import checked
from lettrine.errors import ConfigError, HealthError
from lettrine.inference.language_model import LanguageModel
from lettrine.inference.sampling import MAX_LENGTH, Sampling
from lettrine.text.labels import MAX_NAME
from lettrine.training.settings import Settings

STATUSES: Final = ("training", "interrupted", "finished", "diverged")
MEANINGS: Final = {
    "expected_initial": "a uniform guess",
    "initial": "before training",
    "train": "training words",
    "dev": "held-out words (chose the weights)",
    "trigram_test": "held-out words (never looked at), counting three characters",
    "counts_test": "the same, counting well (Kneser-Ney)",
    "network_test": "the same, the network alone",
    "test": "held-out words (never looked at)",
}
"""What each of the losses of a run is the loss on; see `Run.meanings`."""
OF_TRAINING: Final = "training words, one network alone", "training words, each left out of the counts"
"""Where there is more than a network: counts have seen the training words and tell nothing of them. The second: counts alone."""

_PAGE: Final = "lettrine.tools.run_page"
"""The function that writes the page of a run, imported by name on demand: the room `training` imports no drawing."""


if TYPE_CHECKING:
    from lettrine.health.findings import Report


@dataclass(frozen=True)
class Data:
    """The words of a run. source: where they came from; digest: SHA-256 of the words; longest: characters of the longest.

    labels: those in front of the words, see `lettrine.text.labels`.
    """

    source: str
    digest: str
    words: int
    longest: int
    examples: Mapping[str, int]
    labels: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**vars(self), "examples": dict(self.examples), "labels": list(self.labels)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Data:
        """The inverse of `to_dict`. Raises KeyError, TypeError or ValueError for invalid values."""
        source, digest = values["source"], values["digest"]
        if not isinstance(source, str) or not isinstance(digest, str):
            raise TypeError("source and digest are not both text")
        examples = {str(name): _count(count) for name, count in values["examples"].items()}
        labels = values.get("labels", [])
        if not isinstance(labels, list) or not all(isinstance(label, str) and 0 < len(label) <= MAX_NAME for label in labels):
            raise TypeError("labels are not a list of names")
        return cls(source, digest, _count(values["words"]), _count(values["longest"]), examples, tuple(labels))


@dataclass(frozen=True)
class Results:
    """The results of a run.

    loss: expected_initial (ln V), initial (first batch), train, dev, test, in nats; NaN where not known.
    steps: optimiser steps taken; best_step: the step of the kept weights. seconds: wall time of training,
    evaluations included; steps_per_second: of the engine alone.
    """

    loss: Mapping[str, float]
    steps: int
    best_step: int
    seconds: float
    steps_per_second: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN becomes null."""
        loss = {name: value if np.isfinite(value) else None for name, value in self.loss.items()}
        speed = self.steps_per_second if np.isfinite(self.steps_per_second) else None
        return {**vars(self), "loss": loss, "steps_per_second": speed}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Results:
        """The inverse of `to_dict`. Raises KeyError, TypeError, ValueError or OverflowError for invalid values."""

        def number(value: Any) -> float:
            return float("nan") if value is None else float(value)

        loss = {str(name): number(value) for name, value in values["loss"].items()}
        speed = number(values["steps_per_second"])
        return cls(loss, _count(values["steps"]), _count(values["best_step"]), float(values["seconds"]), speed)


@checked
@dataclass(frozen=True)
class Run:
    """One training: its settings, its results, and the model.

    signal: number of the signal that interrupted it in this process, else 0. health: the health report, None if it was not
    made. words: reads the training words of a run that was opened; only `sample(new=True)` needs them. path: its folder, None
    for a run kept in memory. status: "training" (or killed), "interrupted", "finished" or "diverged".
    """

    path: Path | None
    status: str
    settings: Settings
    data: Data
    results: Results | None
    model: LanguageModel = field(repr=False)
    signal: int = field(default=0, repr=False)
    health: Report | None = field(default=None, repr=False)
    words: Callable[[], Collection[str]] | None = field(default=None, repr=False, compare=False)

    @property
    def size(self) -> str:
        """How large the model is, in words."""
        parts, model = [], self.model
        if model.parameters:
            many = f"{len(model.others) + 1} networks of " if model.others else ""
            parts.append(f"{many}{model.config.parameter_count():,} parameters")
        if model.prior is not None:
            counts = model.prior.counts
            parts.append(f"{len(counts.followers):,} counts of {counts.order} characters and fewer")
        return " and ".join(parts)

    @property
    def meanings(self) -> dict[str, str]:
        """What each of its losses is the loss on, in the order they are read."""
        if self.results is None:
            return {}
        one = self.model.prior is None and not self.model.others
        told = MEANINGS if one else {**MEANINGS, "train": OF_TRAINING[not self.model.parameters]}
        return {name: meaning for name, meaning in told.items() if name in self.results.loss}

    def summary(self) -> dict[str, Any]:
        """The run in plain values, as `lettrine train --json` prints it."""
        return {
            "run": None if self.path is None else str(self.path),
            "status": self.status,
            "engine": self.model.engine.name,
            "device": str(getattr(self.model.engine, "device", "cpu")),
            "parameters": self.model.config.parameter_count() * (len(self.model.others) + 1) if self.model.parameters else 0,
            "counts": 0 if self.model.prior is None else len(self.model.prior.counts.followers),
            "vocabulary_size": self.model.config.vocabulary_size,
            "words": self.data.words,
            "examples": dict(self.data.examples),
            **({} if self.results is None else self.results.to_dict()),
        }

    @checked
    def sample(self, count: int = 10, **how: Any) -> list[str]:
        """Draw new words, see `LanguageModel.sample`; by default shorter than twice the longest training word."""
        return list(chain.from_iterable(self.stream(count, **how)))

    @checked
    def stream(self, count: int = 10, **how: Any) -> Iterator[list[str]]:
        """The same in portions, each as soon as it is drawn."""
        longest = min(max(2 * self.data.longest - 1, how.get("min_length") or 1, 1), MAX_LENGTH)
        model, how = self.model, {"max_length": longest, **how}
        chosen = Sampling(**how)
        if self.words is not None and not model.known and (chosen.new or chosen.not_near):
            model = replace(model, known=self.words())
        return model.stream(count, **how)

    @property
    def judged(self) -> Report:
        """The health report. Raises HealthError if the training was not watched."""
        if self.health is None:
            raise HealthError("this run was not watched; train with health, and open the report of a kept run with load_health")
        return self.health

    @checked
    def save_page(self, path: str | Path | None = None) -> Path:
        """Write the report page: losses, new words, characters, findings and pictures. path: None for report.html in its folder.

        Raises ConfigError for a run kept in memory without a path, HealthError for one that was not watched, StorageError, and
        MissingExtraError without the extra `report`.
        """
        if path is None and self.path is None:
            raise ConfigError("save_page got no path, and this run has no folder; expected a path such as report.html")
        wanted = Path(path) if path is not None else Path(self.path or "") / "report.html"
        written: Path = importlib.import_module(_PAGE).write_run_page(wanted, self)
        return written

    def __repr__(self) -> str:
        loss = "" if self.results is None else f", dev loss {self.results.loss.get('dev', float('nan')):.4f}"
        return f"Run({str(self.path) if self.path else 'in memory'}, {self.status}, {self.data.words:,} words{loss})"


def _count(value: object) -> int:
    """A count from JSON."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise ValueError(f"{value!r} is no count")
    return value
