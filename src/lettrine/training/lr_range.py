"""The learning-rate range test of lettrine's own network: fresh, or from the state of a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from lettrine.arguments import checked
from lettrine.engine.base import TrainState
from lettrine.engine.choice import choose_engine
from lettrine.health.range_test import HIGH, LOW, STEPS, RangeTest, sweep
from lettrine.model.config import MLPConfig
from lettrine.text.stored_windows import examples_of
from lettrine.text.vocabulary import Vocabulary
from lettrine.text.windows import Windows
from lettrine.text.words import WordList, read_words, split
from lettrine.training.api import Shape, as_word_list
from lettrine.training.batches import Batches
from lettrine.training.checkpoint import Checkpoint
from lettrine.training.folder import WORDS, load_run, read_description
from lettrine.training.mixing import COUNTED
from lettrine.training.settings import Settings
from lettrine.training.sizes import size_of
from lettrine.training.start import starting_parameters


@checked
def lr_range(
    words: str | Path | Iterable[str] | WordList | None = None,
    *,
    shape: Shape | None = None,
    settings: Settings | None = None,
    low: float = LOW,
    high: float = HIGH,
    steps: int = STEPS,
) -> RangeTest:
    """Sweep the learning rate of a fresh network on some words; see `health.range_test.sweep`.

    It uses the optimiser, batch size, initialisation, seeds, engine and threads of the settings, but not schedule and steps.
    Raises WordListError, ConfigError, HealthError.
    """
    word_list, settings = as_word_list(words), settings or Settings()
    vocabulary = Vocabulary.from_words(word_list.words)
    words_of_train = split(word_list.words, fractions=settings.fractions, seed=settings.split_seed).train
    size = size_of(sum(map(len, words_of_train)) + len(words_of_train), settings.effort)
    config = (shape or Shape()).sized(size).config(vocabulary.size)
    train = examples_of(words_of_train, vocabulary, config.context).head(COUNTED)
    settings = settings.resolved(len(train))
    state = TrainState.fresh(config, starting_parameters(config, settings, train), settings.optimiser)
    return _sweep(config, settings, state, train, low, high, steps)


@checked
def lr_range_of_run(
    path: str | Path, *, engine: str = "auto", low: float = LOW, high: float = HIGH, steps: int = STEPS
) -> RangeTest:
    """The same from the state of a run's training, with its optimiser's memory. The run folder is only read.

    Raises RunDamagedError, HealthError.
    """
    folder, _, config, vocabulary, settings, _ = read_description(path)
    settings = replace(settings, engine=engine)
    words = read_words(folder / WORDS).words
    words_of_train = split(words, fractions=settings.fractions, seed=settings.split_seed).train
    train = examples_of(words_of_train, vocabulary, config.context).head(COUNTED)
    checkpoint = Checkpoint.read(folder, config, settings)
    if checkpoint is not None:
        state = TrainState(checkpoint.parameters, checkpoint.moments, checkpoint.step)
    else:
        state = TrainState.fresh(config, dict(load_run(folder).model.parameters), settings.optimiser)
    return _sweep(config, settings, state, train, low, high, steps)


def _sweep(
    config: MLPConfig, settings: Settings, state: TrainState, train: Windows, low: float, high: float, steps: int
) -> RangeTest:
    engine, batches = choose_engine(settings.engine, settings.device), Batches(settings.seed, len(train), settings.batch)
    taken = iter(range(steps))

    def step(rate: float) -> float:
        rows = batches.rows(place := next(taken), place + 1)
        losses = engine.train(
            config,
            settings.optimiser,
            state,
            train.contexts,
            train.targets,
            rows,
            np.array([rate]),
            threads=settings.threads,
        )
        return float(losses[0])

    with threadpool_limits(settings.threads), np.errstate(all="ignore"):
        return sweep(step, low=low, high=high, steps=steps)
