"""`lettrine.train`: words in, a run out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lettrine.arguments import checked
from lettrine.engine.choice import choose_engine
from lettrine.errors import ConfigError, DivergedError, RunDamagedError
from lettrine.inference.language_model import LanguageModel
from lettrine.model.config import MLPConfig
from lettrine.text.corpora import load_corpus
from lettrine.text.labels import labelled
from lettrine.text.vocabulary import Vocabulary
from lettrine.text.windows import Windows, windows
from lettrine.text.words import Split, WordList, from_words, read_words, split
from lettrine.training.checkpoint import Checkpoint
from lettrine.training.folder import (
    HISTORY,
    MODEL,
    RUN,
    WORDS,
    create_folder,
    describe,
    read_description,
    read_own_words,
    write_words,
)
from lettrine.training.interrupt import Requests, deferred_signals
from lettrine.training.run import Data, Results, Run
from lettrine.training.settings import Settings
from lettrine.training.storage import locked, write_arrays
from lettrine.training.trainer import Outcome, Progress, Trainer, check_memory
from lettrine.training.watch import EngineWatch, facts_of, trace_from_archive

DEFAULT_CORPUS = "first-names"
Listener = Callable[[Progress], None]


@checked
@dataclass(frozen=True)
class Shape:
    """The part of a network's shape that is chosen; the vocabulary's size comes from the words. See `MLPConfig`."""

    context: int = 8
    embedding: int = 24
    hidden: tuple[int, ...] = (200,)
    activation: str = "gelu"
    norm: str = "none"
    direct: bool = False
    hidden_bias: bool | None = None
    output_bias: bool = True
    output_norm: bool = False
    norm_momentum: float = 0.1

    def config(self, vocabulary_size: int) -> MLPConfig:
        """The whole shape."""
        return MLPConfig(vocabulary_size, **vars(self))


@checked
def train(
    words: str | Path | Iterable[str] | WordList | None = None,
    *,
    out: str | Path | None = None,
    shape: Shape | None = None,
    settings: Settings | None = None,
    report: Listener = lambda _: None,
) -> Run:
    """Train a network on a word list and return the run.

    words: a file of one word a line ("-" for standard input), an iterable of words, several of them by label, such as
    {"women": "women.txt", "men": "men.txt"}, or None for the shipped list of first names.
    out: folder to keep the run in, with checkpoints as it goes; None keeps it in memory. report: called as training proceeds.

    Ctrl-C and SIGTERM stop between two steps: what was learned is kept and the run returned, its status "interrupted".
    Raises WordListError, ConfigError, RunExistsError, StorageError, and DivergedError if the loss stops being finite
    (the last good weights are then in the run folder).
    """
    word_list = as_word_list(words)
    job = _Job.of(word_list, shape or Shape(), settings or Settings())
    with deferred_signals() as requests:
        if out is None:
            return job.run(requests, None, report)
        folder = Path(out)
        create_folder(folder)
        with locked(folder):
            write_words(folder, word_list)
            job.describe(folder, "training", None)
            return job.run(requests, folder, report)


@checked
def resume(path: str | Path, *, report: Listener = lambda _: None) -> Run:
    """Go on with a run that was interrupted or killed: it ends with the same weights, bit for bit, as if it had not been.

    Raises RunDamagedError, RunBusyError, ConfigError for a run that is finished, and what `train` raises.
    """
    folder, description, config, vocabulary, settings, data = read_description(path)
    with deferred_signals() as requests, locked(folder):
        if description.get("status") == "finished":
            raise ConfigError(
                f"{folder} is finished; train another with --like {folder}, or draw words with: lettrine sample {folder}"
            )
        job = _Job.of(read_own_words(folder, data), config, settings)
        if job.vocabulary != vocabulary:
            raise RunDamagedError(f"{folder / WORDS} holds other characters than {folder / RUN}; the run is damaged, train again")
        return job.run(requests, folder, report, Checkpoint.read(folder, config, job.settings))


def as_word_list(words: str | Path | Iterable[str] | WordList | None) -> WordList:
    """A word list from whatever was given; see `train`."""
    if words is None:
        return load_corpus(DEFAULT_CORPUS)
    if isinstance(words, WordList):
        return words
    if isinstance(words, str | Path):
        return read_words(words)
    if isinstance(words, Mapping):
        return labelled({str(label): as_word_list(each) for label, each in words.items()})
    return from_words(words)


@dataclass(frozen=True)
class _Job:
    """All that one training works on."""

    words: WordList
    vocabulary: Vocabulary
    config: MLPConfig
    settings: Settings
    data: Data
    splits: tuple[Windows, Windows, Windows]

    @classmethod
    def of(cls, words: WordList, shape: Shape | MLPConfig, settings: Settings) -> _Job:
        parts: Split = split(words.words, fractions=settings.fractions, seed=settings.split_seed)
        vocabulary = Vocabulary.from_words(words.words)
        config = shape if isinstance(shape, MLPConfig) else shape.config(vocabulary.size)
        made = tuple(windows(part, vocabulary, config.context) for part in (parts.train, parts.dev, parts.test))
        settings = settings.resolved(len(made[0]))
        check_memory(config, settings)
        examples = dict(zip(("train", "dev", "test"), (len(part.targets) for part in made), strict=True))
        data = Data(words.source, words.digest, len(words), max(map(len, words)) - bool(words.labels), examples, words.labels)
        return cls(words, vocabulary, config, settings, data, (made[0], made[1], made[2]))

    def describe(self, folder: Path, status: str, results: Results | None) -> None:
        engine = choose_engine(self.settings.engine)
        describe(folder, self.config, self.vocabulary, self.settings, self.data, engine, status=status, results=results)

    def run(self, requests: Requests, folder: Path | None, report: Listener, checkpoint: Checkpoint | None = None) -> Run:
        engine = choose_engine(self.settings.engine)
        train, dev, _ = self.splits
        watch = self._watch(engine.name, checkpoint) if self.settings.health else None
        trainer = Trainer(
            self.config,
            self.settings,
            engine,
            train,
            dev,
            checkpoint=checkpoint,
            watch=watch,
            save=(lambda _: None) if folder is None else (lambda made: made.write(folder)),
            report=report,
        )
        return self._finish(folder, trainer, trainer.run(requests))

    def _watch(self, engine_name: str, checkpoint: Checkpoint | None) -> EngineWatch:
        engine = choose_engine(engine_name)
        facts = facts_of(self.config, self.settings.optimiser, engine, self.settings.batch, self.splits[0].targets)
        earlier = None if checkpoint is None else trace_from_archive(checkpoint.health)
        start = 0 if checkpoint is None else checkpoint.step
        last = self.settings.steps - 1
        return EngineWatch(self.config, self.settings.optimiser, facts, last=last, start=start, earlier=earlier)

    def _finish(self, folder: Path | None, trainer: Trainer, outcome: Outcome) -> Run:
        kept, checkpoint = trainer.kept(), outcome.checkpoint
        loss = {"expected_initial": math.log(self.config.vocabulary_size)}
        loss["initial"] = float(checkpoint.losses[0]) if len(checkpoint.losses) else math.nan
        for name, part in zip(("train", "dev", "test"), self.splits, strict=True):
            loss[name] = trainer.loss_of(part, kept)
        best_step = checkpoint.best_step if self.settings.keep == "best" else checkpoint.step
        speed = checkpoint.step / checkpoint.seconds[0] if checkpoint.seconds[0] else math.nan
        results = Results(loss, checkpoint.step, best_step, checkpoint.seconds[1], speed)
        if folder is not None:
            write_arrays(folder / MODEL, kept)
            history = {"loss": checkpoint.losses, "dev_steps": checkpoint.dev_steps, "dev_loss": checkpoint.dev_losses}
            trace = {f"health/{name}": value for name, value in checkpoint.health[0].items()}
            write_arrays(folder / HISTORY, {**history, **trace}, {"health": checkpoint.health[1]})
            self.describe(folder, outcome.status, results)
        model = LanguageModel(self.config, self.vocabulary, kept, trainer.engine, self.words.words, labels=self.words.labels)
        health = trainer.watch.examine() if trainer.watch is not None and checkpoint.step else None
        run = Run(folder, outcome.status, self.settings, self.data, results, model, outcome.signal, health)
        if outcome.status == "diverged":
            where = "kept in memory only" if folder is None else f"in {folder}"
            raise DivergedError(
                f"the loss stopped being finite at step {checkpoint.step}; the last good weights are {where}; "
                f"lower the learning rate (it was {self.settings.peak:g}) and train again"
            )
        return run
