"""One training from words to a run: its data, its trainer, and the saved results. Both `train` and the recipes use it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from lettrine.arguments import checked
from lettrine.engine.base import Engine
from lettrine.engine.choice import choose_engine
from lettrine.errors import ConfigError, RunDamagedError
from lettrine.health.trace import ALIKE
from lettrine.inference.language_model import LanguageModel
from lettrine.model.config import MLPConfig
from lettrine.model.parameters import Parameters, copy_parameters
from lettrine.text.corpora import load_corpus
from lettrine.text.labels import labelled
from lettrine.text.stored_windows import Examples, examples_of
from lettrine.text.vocabulary import Vocabulary
from lettrine.text.windows import Windows, windows
from lettrine.text.words import WordList, from_words, read_words, split
from lettrine.training.batches import Rows
from lettrine.training.beside import write_beside
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
from lettrine.training.interrupt import Requests
from lettrine.training.memory import check_memory
from lettrine.training.mixing import COUNTED, MEASURED, counted, losses_of, measured, prior_of
from lettrine.training.progress import Ending, Progress
from lettrine.training.run import Data, Results, Run
from lettrine.training.settings import Settings
from lettrine.training.several import other_networks
from lettrine.training.shape import Shape
from lettrine.training.sizes import Size, seconds_of_a_step, size_of, size_within
from lettrine.training.storage import locked, write_arrays
from lettrine.training.trainer import Trainer
from lettrine.training.verdict import conclusions, repeated_share
from lettrine.training.watch import EngineWatch, facts_of, trace_from_archive

DEFAULT_CORPUS = "first-names"
OnProgress: TypeAlias = Callable[[Progress], None]
Splits: TypeAlias = tuple[Examples, Windows, Windows]
Start: TypeAlias = Callable[[MLPConfig, Settings, Examples], tuple[Parameters, Rows]]


@checked
class Session:
    """A training that can be taken step by step.

        with Session("names.txt", out="my-run") as session:
            session.trainer.advance(1_000)
            session.trainer.change(learning_rate=0.003)
            session.trainer.advance(4_000)
        print(session.result.sample(10))

    words, out, shape, settings, on_progress: as for `lettrine.train`; shape may be a whole `MLPConfig`.
    every: sampled steps of the health watch, see `health.recorder.Schedule`. start: gives the initial weights and the rows of
    each batch, instead of the settings' scheme and seed. splits: examples for train, dev and test instead of those of the
    words. engine: instead of the one in the settings.

    An unfinished session can be resumed. Raises WordListError, ConfigError, RunExistsError, StorageError.
    """

    words: WordList
    vocabulary: Vocabulary
    config: MLPConfig
    settings: Settings
    splits: Splits
    data: Data
    engine: Engine
    trainer: Trainer
    result: Run

    def __init__(
        self,
        words: str | Path | Iterable[str] | WordList | None = None,
        *,
        out: str | Path | None = None,
        shape: Shape | MLPConfig | None = None,
        settings: Settings | None = None,
        on_progress: OnProgress = lambda _: None,
        every: int = 0,
        start: Start | None = None,
        splits: Splits | None = None,
        engine: Engine | None = None,
    ) -> None:
        self._prepare(as_word_list(words), shape or Shape(), settings or Settings(), engine)
        self._alike = splits is None
        self._own = start is None  # not a published experiment: it is repeated as it was, and not judged
        if splits is not None:
            self.splits = splits
        self._on_progress, self._every = on_progress, every
        self.folder = None if out is None else Path(out)
        with contextlib.ExitStack() as opened:
            if self.folder is not None:
                create_folder(self.folder)
                opened.enter_context(locked(self.folder))
                write_words(self.folder, self.words)
                self._describe(self.settings, "training", None)
            parameters, batches = (None, None) if start is None else start(self.config, self.settings, self.splits[0])
            self.trainer = self._trainer(None, parameters, batches)
            self._open = opened.pop_all()

    @classmethod
    @checked
    def resumed(cls, path: str | Path, *, on_progress: OnProgress = lambda _: None) -> Self:
        """A session that continues a run folder.

        Raises RunDamagedError, RunBusyError, and ConfigError for a run that is finished.
        """
        self = cls.__new__(cls)
        folder, *_ = read_description(path)
        self._on_progress, self._every, self._alike, self._own = on_progress, 0, True, True
        with contextlib.ExitStack() as opened:
            opened.enter_context(locked(folder))
            folder, description, config, vocabulary, settings, data = read_description(path)
            if description.get("status") == "finished":
                raise ConfigError(
                    f"{folder} is finished; train another with --like {folder}, or draw words with: lettrine sample {folder}"
                )
            self.folder = folder
            self._prepare(read_own_words(folder, data), config, settings, None)
            if self.vocabulary != vocabulary:
                raise RunDamagedError(
                    f"{folder / WORDS} holds other characters than {folder / RUN}; the run is damaged, train again"
                )
            self.trainer = self._trainer(Checkpoint.read(folder, config, self.settings), None, None)
            self._open = opened.pop_all()
        return self

    def finish(self, outcome: Ending | None = None, requests: Requests | None = None) -> Run:
        """Save the weights and return the run; without an `outcome` of `Trainer.run`, in its present state.

        A finished training continues with the networks beside the first, until `requests` holds a signal.
        """
        trainer = self.trainer
        if outcome is None:
            status = "diverged" if trainer.diverged else "finished" if trainer.ended else "interrupted"
            outcome = Ending(status, trainer.checkpoint())
            if self.folder is not None:
                outcome.checkpoint.write(self.folder)
        kept, checkpoint, settings = trainer.kept(), outcome.checkpoint, trainer.settings
        others, requests = self._others(outcome, requests or Requests()), requests or Requests()
        if requests.signal and outcome.status == "finished":
            outcome = replace(outcome, status="interrupted", signal=requests.signal)
        prior, (train, dev, test) = None, self.splits
        some = train.head(COUNTED)
        if settings.prior == "counts":
            prior = prior_of(self.config, self.engine, kept, others, some, dev, self.vocabulary)
        model = LanguageModel(
            self.config, self.vocabulary, kept, self.engine, self.words.words, prior, others, labels=self.words.labels
        )
        loss = {"expected_initial": math.log(self.config.vocabulary_size)}
        loss["initial"] = float(checkpoint.losses[0]) if len(checkpoint.losses) else math.nan
        loss["train"] = trainer.loss_of(train.head(MEASURED), kept)
        alone = self._own and settings.prior == "none" and outcome.status == "finished"
        beside = counted(self.config, some, dev) if alone else None
        loss |= losses_of(model, some, dev, test, settings.threads, beside=beside)
        if trainer.watch is not None:
            passes = {"passes": checkpoint.step * settings.batch / len(train)} if self._own else {}
            best = {"best_kept": float(settings.keep == "best")}
            trainer.watch.conclude({**conclusions(model, loss, dev), **passes, **best})
            checkpoint.health = trainer.watch.archive()
        best_step = checkpoint.best_step if settings.keep == "best" else checkpoint.step
        speed = checkpoint.step / checkpoint.seconds[0] if checkpoint.seconds[0] else math.nan
        results = Results(loss, checkpoint.step, best_step, checkpoint.seconds[1], speed)
        if self.folder is not None:
            write_beside(self.folder, prior, others)  # before the model: it cannot be opened without them
            write_arrays(self.folder / MODEL, kept)
            history = {"loss": checkpoint.losses, "dev_steps": checkpoint.dev_steps, "dev_loss": checkpoint.dev_losses}
            trace = {f"health/{name}": value for name, value in checkpoint.health[0].items()}
            write_arrays(self.folder / HISTORY, {**history, **trace}, {"health": checkpoint.health[1]})
            self._describe(settings, outcome.status, results)
        health = trainer.watch.examine() if trainer.watch is not None and checkpoint.step else None
        self.result = Run(self.folder, outcome.status, settings, self.data, results, model, outcome.signal, health)
        return self.result

    def _others(self, outcome: Ending, requests: Requests) -> tuple[Parameters, ...]:
        """The networks beside the first, once that is finished."""
        if outcome.status != "finished" or self.settings.networks < 2:
            return ()
        train, dev, _ = self.splits
        return tuple(other_networks(self.config, self.trainer.settings, self.engine, train, dev, requests))

    def close(self) -> None:
        """Release the run folder."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None and not hasattr(self, "result"):
                self.finish()
        finally:
            self.close()

    def _prepare(self, words: WordList, shape: Shape | MLPConfig, settings: Settings, engine: Engine | None) -> None:
        self.engine = engine or choose_engine(settings.engine, settings.device)
        parts = measured(split(words.words, fractions=settings.fractions, seed=settings.split_seed))
        vocabulary = Vocabulary.from_words(words.words)
        examples = sum(map(len, parts.train)) + len(parts.train)
        chosen = isinstance(shape, MLPConfig) or shape.hidden is not None
        size = self._size(shape, settings, vocabulary.size, examples)
        config = shape if isinstance(shape, MLPConfig) else shape.sized(size).config(vocabulary.size)
        train = examples_of(parts.train, vocabulary, config.context)
        dev, test = (windows(part, vocabulary, config.context) for part in (parts.dev, parts.test))
        settings = settings.resolved(examples, size, chosen=chosen)
        check_memory(config, settings)
        self.words, self.vocabulary, self.config, self.settings = words, vocabulary, config, settings
        self.splits, self._repeated = (train, dev, test), repeated_share(parts)
        counted = dict(zip(("train", "dev", "test"), map(len, self.splits), strict=True))
        longest = max(map(len, words)) - bool(words.labels)  # a label is no letter
        self.data = Data(words.source, words.digest, len(words), longest, counted, words.labels)

    def _size(self, shape: Shape | MLPConfig, settings: Settings, vocabulary_size: int, examples: int) -> Size:
        """The settings that the words choose, within the given time."""
        if not settings.seconds or settings.steps:
            return size_of(examples, settings.effort)
        engine = self.engine

        def step_seconds(size: Size) -> float:
            config = shape if isinstance(shape, MLPConfig) else shape.sized(size).config(vocabulary_size)
            return seconds_of_a_step(engine, config, settings.optimiser, settings.batch or size.batch)

        return size_within(settings.seconds, examples, step_seconds)

    def model_now(self) -> LanguageModel:
        """A copy of the network as it is now, without counts."""
        return LanguageModel(self.config, self.vocabulary, copy_parameters(self.trainer.state.parameters), self.engine)

    def _describe(self, settings: Settings, status: str, results: Results | None) -> None:
        if self.folder is not None:
            describe(self.folder, self.config, self.vocabulary, settings, self.data, self.engine, status=status, results=results)

    def _trainer(self, checkpoint: Checkpoint | None, parameters: Parameters | None, batches: Rows | None) -> Trainer:
        train, dev, _ = self.splits
        folder = self.folder
        return Trainer(
            self.config,
            self.settings,
            self.engine,
            train,
            dev,
            checkpoint=checkpoint,
            parameters=parameters,
            batches=batches,
            watch=self._watch(checkpoint) if self.settings.health else None,
            save=(lambda _: None) if folder is None else (lambda made: made.write(folder)),
            log=lambda settings: self._describe(settings, "training", None),
            on_progress=lambda now: self._on_progress(replace(now, model=self.model_now)),
        )

    def _watch(self, checkpoint: Checkpoint | None) -> EngineWatch:
        now = self.settings.after(0 if checkpoint is None else checkpoint.changes)
        facts = facts_of(self.config, now.optimiser, self.engine, now.batch, self.splits[0].head(COUNTED).targets)
        result = {"repeated": self._repeated}
        if now.draw == "epochs":
            result["shuffled_pass"] = len(self.splits[0]) / now.batch
        facts = replace(facts, result=result, notes={"held-out": ALIKE} if self._alike else {})
        earlier = None if checkpoint is None else trace_from_archive(checkpoint.health)
        start, last = 0 if checkpoint is None else checkpoint.step, now.steps - 1
        return EngineWatch(
            self.config, now.optimiser, facts, every=self._every, last=last, start=start, earlier=earlier, seed=now.seed
        )


def as_word_list(words: str | Path | Iterable[str] | WordList | None) -> WordList:
    """A word list from any form of `words`; see `train`."""
    if words is None:
        return load_corpus(DEFAULT_CORPUS)
    if isinstance(words, WordList):
        return words
    if isinstance(words, str | Path):
        return read_words(words)
    if isinstance(words, Mapping):
        return labelled({str(label): as_word_list(each) for label, each in words.items()})
    return from_words(words)
