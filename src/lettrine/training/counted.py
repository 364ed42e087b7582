"""A run of counts alone: nothing to train, so it is made in one go."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Final

import numpy as np

from lettrine.engine.choice import choose_engine
from lettrine.inference.language_model import LanguageModel
from lettrine.inference.mixture import ALONE, Prior
from lettrine.model.config import MLPConfig
from lettrine.model.counting import count
from lettrine.model.counts import Counts
from lettrine.model.discounts import folded, left_out
from lettrine.text.stored_windows import examples_of
from lettrine.text.vocabulary import Vocabulary
from lettrine.text.windows import Windows
from lettrine.text.words import WordList, split
from lettrine.training.beside import write_beside
from lettrine.training.folder import create_folder, describe, write_words
from lettrine.training.mixing import COUNTED, losses_of, measured
from lettrine.training.run import Data, Results, Run
from lettrine.training.settings import Settings
from lettrine.training.storage import locked

_ROWS: Final = 1 << 16  # examples looked at together: some tens of megabytes


def count_words(words: WordList, settings: Settings, out: str | Path | None = None) -> Run:
    """Count a word list and return the run; `settings` say how it is split.

    Its train loss leaves each character out of the counts that predict it.
    Raises WordListError, RunExistsError, StorageError.
    """
    began = time.perf_counter()
    parts = measured(split(words.words, fractions=settings.fractions, seed=settings.split_seed))
    vocabulary = Vocabulary.from_words(words.words)
    counted, held_out = (examples_of(part, vocabulary, 1).head(COUNTED).targets for part in parts[:2])
    counts = count(counted, held_out, vocabulary.size)
    config = MLPConfig(vocabulary.size, context=max(counts.order - 1, 1), embedding=1, hidden=(1,))  # only the context is used
    engine = choose_engine(settings.engine, settings.device)
    model = LanguageModel(config, vocabulary, {}, engine, words.words, Prior(counts, ALONE), labels=words.labels)
    train, dev, test = (examples_of(part, vocabulary, config.context).head(COUNTED) for part in parts)
    learned = left_out_loss(counts, train)
    loss = {"expected_initial": math.log(vocabulary.size), "train": learned, **losses_of(model, train, dev, test)}
    results = Results(loss, 0, 0, time.perf_counter() - began, math.nan)
    examples = {"train": len(train), "dev": len(dev), "test": len(test)}
    longest = max(map(len, words)) - bool(words.labels)  # a label is not a letter
    data = Data(words.source, words.digest, len(words), longest, examples, words.labels)
    folder = None if out is None else Path(out)
    if folder is not None:
        create_folder(folder)
        with locked(folder):
            write_words(folder, words)
            write_beside(folder, model.prior, ())
            describe(folder, config, vocabulary, settings, data, engine, status="finished", results=results)
    return Run(folder, "finished", settings, data, results, model)


def left_out_loss(counts: Counts, train: Windows) -> float:
    """Mean loss of the examples that were counted, in nats, each with itself left out."""
    distinct, total = train.distinct, 0.0
    contexts, targets = distinct.examples.contexts, distinct.examples.targets
    for start in range(0, len(targets), _ROWS):
        some = slice(start, start + _ROWS)
        p = folded(left_out(counts.chain(contexts[some], targets[some])), counts.discounts, 1.0 / counts.vocabulary_size)
        total -= float(np.log(p) @ distinct.times[some])
    return total / len(train)
