"""A run is a folder: everything of one training, readable without lettrine.

    run.json             configuration, vocabulary, settings, versions, digest of the words, results
    words.txt            the words as they were read, one a line
    model.safetensors    the weights to use: best on the development split unless told otherwise
    trainer.safetensors  the checkpoint: weights, optimiser memory, best weights, losses so far, health trace
    history.safetensors  loss of every step, development losses, health trace
    report.html          the health report

The checkpoint is one file replaced in one step, so a kill at any instant leaves the last whole one; the other files are
written from it and can be written again.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import lettrine
from lettrine.engine.base import Engine, Losses
from lettrine.engine.choice import choose_engine
from lettrine.errors import ConfigError, EngineError, HealthError, RunDamagedError, RunExistsError, VocabularyError
from lettrine.health.checks import examine
from lettrine.health.findings import Report
from lettrine.inference.language_model import LanguageModel
from lettrine.model.config import MLPConfig
from lettrine.model.parameters import Parameters, check_parameters
from lettrine.text.vocabulary import Vocabulary
from lettrine.text.words import Split, WordList, read_words, split
from lettrine.training.settings import Settings
from lettrine.training.storage import read_arrays, read_json, storage_error, write_arrays, write_bytes, write_json
from lettrine.training.watch import TITLE, trace_from_archive

FORMAT: Final = 1  # of run.json; a reader refuses a higher one
RUN, WORDS, MODEL, TRAINER, HISTORY, REPORT = (
    "run.json",
    "words.txt",
    "model.safetensors",
    "trainer.safetensors",
    "history.safetensors",
    "report.html",
)


@dataclass(frozen=True)
class Data:
    """The words of a run. source: where they came from; digest: SHA-256 of the words; longest: characters of the longest."""

    source: str
    digest: str
    words: int
    longest: int
    examples: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**vars(self), "examples": dict(self.examples)}


@dataclass(frozen=True)
class Results:
    """What came out of a run.

    loss: expected_initial (ln V), initial (first batch), train, dev, test, in nats; NaN where not known.
    steps: optimiser steps taken; best_step: after which the kept weights were taken. seconds: wall time of training,
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
        return {**vars(self), "loss": loss}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Results:
        """The inverse of `to_dict`."""
        loss = {str(name): float("nan") if value is None else float(value) for name, value in values["loss"].items()}
        return cls(
            loss,
            int(values["steps"]),
            int(values["best_step"]),
            float(values["seconds"]),
            float(values["steps_per_second"]),
        )


@dataclass(frozen=True)
class Run:
    """One training: what it was told, what came out, and the model.

    signal: number of the signal that interrupted it in this process, else 0. health: what the health check says, None if
    it was not asked.
    path: its folder, None for a run kept in memory. status: "training" (or killed), "interrupted", "finished" or "diverged".
    """

    path: Path | None
    status: str
    settings: Settings
    data: Data
    results: Results | None
    model: LanguageModel = field(repr=False)
    signal: int = field(default=0, repr=False)
    health: Report | None = field(default=None, repr=False)

    def summary(self) -> dict[str, Any]:
        """The run in plain values, as `lettrine train --json` prints it."""
        return {
            "run": None if self.path is None else str(self.path),
            "status": self.status,
            "engine": self.model.engine.name,
            "device": "cpu",
            "parameters": self.model.config.parameter_count(),
            "vocabulary_size": self.model.config.vocabulary_size,
            "words": self.data.words,
            "examples": dict(self.data.examples),
            **({} if self.results is None else self.results.to_dict()),
        }

    def sample(self, count: int = 10, **how: Any) -> list[str]:
        """Draw new words, see `LanguageModel.sample`; words are at most twice as long as the longest trained on."""
        return self.model.sample(count, **{"max_length": 2 * self.data.longest, **how})

    def __repr__(self) -> str:
        loss = "" if self.results is None else f", dev loss {self.results.loss.get('dev', float('nan')):.4f}"
        return f"Run({str(self.path) if self.path else 'in memory'}, {self.status}, {self.data.words:,} words{loss})"


@dataclass
class Checkpoint:
    """The whole state of a training between two steps, enough to go on as if nothing had happened.

    losses: of every step so far, (S,). dev_steps, dev_losses: development losses so far, (D,).
    seconds: spent in the engine, and in all.
    health: arrays and text of the health recorder, see `lettrine.health.trace`.
    """

    step: int
    parameters: Parameters
    moments: Parameters
    best: Parameters
    best_step: int
    best_dev: float
    losses: Losses
    dev_steps: NDArray[np.int64]
    dev_losses: Losses
    seconds: tuple[float, float]
    health: tuple[Mapping[str, NDArray[Any]], str] = field(default_factory=lambda: ({}, ""))

    def write(self, folder: Path) -> None:
        """Replace the checkpoint in one step."""
        arrays: dict[str, NDArray[Any]] = {
            "losses": self.losses,
            "dev_steps": self.dev_steps,
            "dev_losses": self.dev_losses,
            "numbers": np.array([self.step, self.best_step, self.best_dev, *self.seconds], np.float64),
        }
        groups = {"parameters": self.parameters, "moments": self.moments, "best": self.best, "health": self.health[0]}
        for group, values in groups.items():
            arrays |= {f"{group}/{name}": value for name, value in values.items()}
        write_arrays(folder / TRAINER, arrays, {"health": self.health[1]})

    @classmethod
    def read(cls, folder: Path, config: MLPConfig) -> Checkpoint | None:
        """The checkpoint of a run folder, None if it was killed before its first. Raises RunDamagedError."""
        path = folder / TRAINER
        if not path.exists():
            return None
        arrays, about = read_arrays(path)
        groups: dict[str, dict[str, NDArray[Any]]] = {"parameters": {}, "moments": {}, "best": {}, "health": {}}
        for name, value in arrays.items():
            group, slash, rest = name.partition("/")
            if slash and group in groups:
                groups[group][rest] = np.array(value)  # a writeable copy; the file's own memory is not
        try:
            step, best_step, best_dev, engine_seconds, seconds = arrays["numbers"].tolist()
            check_parameters(config, groups["parameters"])
            check_parameters(config, groups["best"])
            losses = np.array(arrays["losses"], np.float64)
            if len(losses) != step:
                raise ValueError(f"{len(losses)} losses for {step:.0f} steps")  # noqa: TRY301 - told on in our own words below
            return cls(
                int(step),
                groups["parameters"],
                groups["moments"],
                groups["best"],
                int(best_step),
                best_dev,
                losses,
                np.array(arrays["dev_steps"], np.int64),
                np.array(arrays["dev_losses"], np.float64),
                (engine_seconds, seconds),
                (groups["health"], about.get("health", "")),
            )
        except (KeyError, ValueError, TypeError, EngineError) as error:
            raise RunDamagedError(f"{path} is not a checkpoint of this run ({error}); the run is damaged, train again") from None


def create_folder(folder: Path) -> None:
    """Make the folder of a new run.

    Raises RunExistsError if it holds a run or foreign files, StorageError if it cannot be made.
    """
    if (folder / RUN).exists():
        raise RunExistsError(f"{folder} already holds a run; choose another --out, or go on with it: --resume {folder}")
    if folder.exists() and not folder.is_dir():
        raise RunExistsError(f"{folder} is a file; expected a new or empty folder for --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        foreign = [entry.name for entry in folder.iterdir() if not entry.name.startswith((WORDS, RUN))]
    except OSError as error:
        raise storage_error(folder, error) from error
    if foreign:
        raise RunExistsError(f"{folder} is not empty ({foreign[0]}); expected a new or empty folder for --out")


def describe(
    folder: Path,
    config: MLPConfig,
    vocabulary: Vocabulary,
    settings: Settings,
    data: Data,
    engine: Engine,
    *,
    status: str,
    results: Results | None,
) -> None:
    """Write run.json."""
    write_json(
        folder / RUN,
        {
            "format": FORMAT,
            "status": status,
            "config": config.to_dict(),
            "vocabulary": vocabulary.to_list(),
            "settings": settings.to_dict(),
            "data": data.to_dict(),
            "engine": engine_facts(engine),
            "versions": {"lettrine": lettrine.__version__, "python": platform.python_version(), "numpy": np.__version__},
            "results": None if results is None else results.to_dict(),
        },
    )


def engine_facts(engine: Engine) -> dict[str, str]:
    """What computed: the engine, its instruction set where it has one, the device."""
    return {"name": engine.name, "isa": str(getattr(engine, "isa", "")), "device": "cpu"}


def write_words(folder: Path, words: WordList) -> None:
    """Write words.txt."""
    write_bytes(folder / WORDS, "".join(f"{word}\n" for word in words).encode())


def load_run(path: str | Path, *, engine: str = "auto", known: bool = False) -> Run:
    """Open a run folder. known: also read the training words, for `sample(new=True)`.

    Raises RunDamagedError for a folder that is not a whole run, is damaged, or comes from a newer version.
    """
    folder, description, config, vocabulary, settings, data = read_description(path)
    arrays, _ = read_arrays(folder / MODEL)
    parameters: Parameters = {name: np.array(value) for name, value in arrays.items()}  # writeable copies
    try:
        check_parameters(config, parameters)
    except EngineError as error:
        raise RunDamagedError(f"{folder / MODEL} does not fit {RUN} ({error}); the run is damaged, train again") from None
    try:
        results = None if description.get("results") is None else Results.from_dict(description["results"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunDamagedError(f"{folder / RUN} holds results that cannot be read ({error!r}); the run is damaged") from None
    words = frozenset(read_words(folder / WORDS)) if known else frozenset()
    model = LanguageModel(config, vocabulary, parameters, choose_engine(engine), words)
    return Run(folder, str(description.get("status", "")), settings, data, results, model)


def read_description(path: str | Path) -> tuple[Path, dict[str, Any], MLPConfig, Vocabulary, Settings, Data]:
    """run.json of a folder, checked. Raises RunDamagedError."""
    folder = Path(path)
    if not folder.exists():
        raise RunDamagedError(f"{folder} does not exist; expected a run folder written by lettrine train")
    if not folder.is_dir():
        raise RunDamagedError(f"{folder} is a file; expected a run folder written by lettrine train")
    description = read_json(folder / RUN)
    version = description.get("format")
    if not isinstance(version, int) or version < 1:
        raise RunDamagedError(f"{folder / RUN} has format {version!r}; expected {FORMAT}; the run is damaged, train again")
    if version > FORMAT:
        raise RunDamagedError(f"{folder} was written by a newer lettrine (format {version}, expected {FORMAT}); upgrade lettrine")
    try:
        config = MLPConfig.from_dict(description["config"])
        vocabulary = Vocabulary.from_list(description["vocabulary"])
        settings = Settings.from_dict(description["settings"])
        known = description["data"]
        examples = {str(name): int(count) for name, count in known["examples"].items()}
        data = Data(str(known["source"]), str(known["digest"]), int(known["words"]), int(known["longest"]), examples)
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError, VocabularyError) as error:
        raise RunDamagedError(f"{folder / RUN} cannot be read ({error}); the run is damaged, train again") from None
    if vocabulary.size != config.vocabulary_size:
        raise RunDamagedError(
            f"{folder / RUN} has {vocabulary.size} characters but a network for {config.vocabulary_size}; the run is damaged"
        )
    return folder, description, config, vocabulary, settings, data


def load_splits(run: Run) -> Split:
    """The words of a run folder, split as they were for training. Raises RunDamagedError, WordListError."""
    if run.path is None:
        raise RunDamagedError("a run kept in memory has no folder to read its words from; train with out=")
    return split(read_words(run.path / WORDS).words, fractions=run.settings.fractions, seed=run.settings.split_seed)


def load_health(path: str | Path) -> Report:
    """What the health check says of a run, judged anew from the trace in its folder.

    Raises RunDamagedError if the trace cannot be read, HealthError if the run was not watched.
    """
    folder, *_ = read_description(path)
    arrays, about = read_arrays(folder / HISTORY)
    prefix = "health/"
    stored = {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
    trace = trace_from_archive((stored, about.get("health", "")))
    if trace is None:
        raise HealthError(f"{folder} was trained with --no-health, so nothing is known of its health; train again without it")
    return examine(trace, title=TITLE)
