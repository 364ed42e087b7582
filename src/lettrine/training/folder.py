"""A run is a folder: everything of one training, readable without lettrine.

    run.json             configuration, vocabulary, settings, versions, digest of the words, results
    words.txt            the words as they were read, one a line
    model.safetensors    the weights to use: best on the development split unless told otherwise
    trainer.safetensors  the checkpoint: weights, optimiser memory, best weights, losses so far, health trace
    history.safetensors  loss of every step, development losses, health trace
    report.html          the health report

The checkpoint is one file that is replaced in one step, so a kill at any instant leaves the last complete one. The other files
are made from it and can be written again.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

import lettrine
from lettrine.arguments import checked
from lettrine.engine.base import Engine
from lettrine.engine.choice import choose_engine
from lettrine.errors import ConfigError, EngineError, RunDamagedError, RunExistsError, VocabularyError
from lettrine.inference.language_model import LanguageModel
from lettrine.model.config import MLPConfig
from lettrine.model.parameters import Parameters, check_parameters
from lettrine.text.labels import is_sign, signs
from lettrine.text.stored import portions
from lettrine.text.vocabulary import Vocabulary
from lettrine.text.words import CONTROL, Split, WordList, read_words, split
from lettrine.training.beside import read_beside
from lettrine.training.run import STATUSES, Data, Results, Run
from lettrine.training.settings import Settings
from lettrine.training.storage import check_file, read_arrays, read_json, storage_error, write_bytes, write_json

FORMAT: Final = 1  # of run.json; a reader refuses a higher one
RUN, WORDS, MODEL, HISTORY, REPORT = "run.json", "words.txt", "model.safetensors", "history.safetensors", "report.html"
ENTRIES: Final = ("format", "status", "config", "vocabulary", "settings", "data", "engine", "versions", "results")  # of run.json


def create_folder(folder: Path) -> None:
    """Make the folder of a new run.

    Raises RunExistsError if it holds a run or foreign files, StorageError if it cannot be made.
    """
    try:
        if (folder / RUN).exists():
            raise RunExistsError(f"{folder} already holds a run; choose another --out, or go on with it: --resume {folder}")
        if folder.exists() and not folder.is_dir():
            raise RunExistsError(f"{folder} is a file; expected a new or empty folder for --out")
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
            "versions": {
                "lettrine": lettrine.__version__,
                "python": platform.python_version(),
                "numpy": np.__version__,
                "system": f"{platform.system()} {platform.machine()}",
            },
            "results": None if results is None else results.to_dict(),
        },
    )


def engine_facts(engine: Engine) -> dict[str, str]:
    """What computed: the engine, its instruction set where it has one, the device."""
    return {"name": engine.name, "isa": str(getattr(engine, "isa", "")), "device": str(getattr(engine, "device", "cpu"))}


def write_words(folder: Path, words: WordList) -> None:
    """Write words.txt."""
    write_bytes(folder / WORDS, ("".join(f"{word}\n" for word in some).encode() for some in portions(words.words)))


@checked
def load_run(path: str | Path, *, engine: str = "auto") -> Run:
    """Open a run folder. The training words are read only when they are needed, by `sample(new=True)`.

    Raises RunDamagedError for a folder that is not a whole run, is damaged, or comes from a newer version.
    """
    folder, description, config, vocabulary, settings, data = read_description(path)
    arrays = {} if settings.model == "counts" else read_arrays(folder / MODEL)[0]
    parameters: Parameters = {name: np.array(value) for name, value in arrays.items()}  # writeable copies
    try:
        if settings.model != "counts":
            check_parameters(config, parameters)
    except EngineError as error:
        raise RunDamagedError(f"{folder / MODEL} does not fit {RUN} ({error}); the run is damaged, train again") from None
    if broken := [name for name, value in parameters.items() if not np.isfinite(value).all()]:
        raise RunDamagedError(
            f"{folder / MODEL} holds values that are not finite, in {broken[0]}; train again, with a lower learning rate"
        )
    prior, others = read_beside(folder, config, settings)
    model = LanguageModel(config, vocabulary, parameters, choose_engine(engine), prior=prior, others=others, labels=data.labels)
    results, status = results_of(description), description["status"]
    return Run(folder, status, settings, data, results, model, words=lambda: read_own_words(folder, data).words)


def read_description(path: str | Path) -> tuple[Path, dict[str, Any], MLPConfig, Vocabulary, Settings, Data]:
    """run.json of a folder, checked. Raises RunDamagedError."""
    folder = _existing(path)
    description = read_json(folder / RUN)
    version = description.get("format")
    if not isinstance(version, int) or version < 1:
        raise RunDamagedError(f"{folder / RUN} has format {version!r}; expected {FORMAT}; the run is damaged, train again")
    if version > FORMAT:
        raise RunDamagedError(f"{folder} was written by a newer lettrine (format {version}, expected {FORMAT}); upgrade lettrine")
    if unknown := sorted(set(description) - set(ENTRIES)):
        raise RunDamagedError(
            f"{folder / RUN} has unknown entries {', '.join(unknown)}; expected {', '.join(ENTRIES)}; take them out"
        )
    try:
        config = MLPConfig.from_dict(description["config"])
        vocabulary = Vocabulary.from_list(description["vocabulary"])
        if bad := re.search(f"{CONTROL.pattern}|\n", "".join(vocabulary.characters)):
            raise VocabularyError(f"the vocabulary holds the control character U+{ord(bad[0]):04X}; expected none")  # noqa: TRY301
        settings = Settings.from_dict(description["settings"])
        data = Data.from_dict(description["data"])
        results_of(description)
        if data.labels and signs(len(data.labels)) != [c for c in vocabulary.characters if is_sign(c)]:
            raise ValueError("labels that are not those of the vocabulary")  # noqa: TRY301
        if description["status"] not in STATUSES:
            raise ValueError(f"status {description['status']!r}")  # noqa: TRY301 - told on in our own words below
        if not isinstance(description["engine"]["name"], str):
            raise TypeError("the engine has no name")  # noqa: TRY301
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, ConfigError, VocabularyError) as error:
        raise RunDamagedError(f"{folder / RUN} cannot be read ({error}); the run is damaged, train again") from None
    if vocabulary.size != config.vocabulary_size:
        raise RunDamagedError(
            f"{folder / RUN} has {vocabulary.size} characters but a network for {config.vocabulary_size}; the run is damaged"
        )
    return folder, description, config, vocabulary, settings, data


def _existing(path: str | Path) -> Path:
    folder = Path(path)
    try:
        there = folder.exists()
    except OSError as error:  # in a folder that may not be looked into
        raise RunDamagedError(f"cannot read {folder}: {error.strerror}; expected a run folder that you may read") from None
    if not there:
        raise RunDamagedError(f"{folder} does not exist; expected a run folder written by lettrine train")
    if not folder.is_dir():
        raise RunDamagedError(f"{folder} is a file; expected a run folder written by lettrine train")
    return folder


def results_of(description: Mapping[str, Any]) -> Results | None:
    """The results in a run.json, None if it has none yet."""
    return None if description.get("results") is None else Results.from_dict(description["results"])


def read_own_words(folder: Path, data: Data) -> WordList:
    """words.txt of a run. Raises RunDamagedError unless they are exactly the words it was trained on."""
    check_file(folder / WORDS, "the run is damaged, train again")
    words = replace(read_words(folder / WORDS), source=data.source, labels=data.labels)
    if words.digest != data.digest:
        raise RunDamagedError(f"{folder / WORDS} was changed since training began; put the words back, or train again")
    return words


@checked
def load_splits(run: Run) -> Split:
    """The words of a run folder, split as they were for training. Raises RunDamagedError, WordListError."""
    if run.path is None:
        raise RunDamagedError("a run kept in memory has no folder to read its words from; train with out=")
    return split(read_own_words(run.path, run.data).words, fractions=run.settings.fractions, seed=run.settings.split_seed)
