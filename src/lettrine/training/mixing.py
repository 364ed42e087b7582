"""Counts beside the networks: how they are made, and the loss of each part alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from lettrine.engine.base import Engine
from lettrine.inference.counts import baselines
from lettrine.inference.evaluation import mean_loss
from lettrine.inference.language_model import LanguageModel
from lettrine.inference.mixture import ALONE, Mixture, Prior, fitted
from lettrine.model.config import MLPConfig
from lettrine.model.counting import count
from lettrine.model.counts import ORDERS, Counts
from lettrine.model.kinds import counted_kinds
from lettrine.model.parameters import Array, Parameters
from lettrine.text.vocabulary import Vocabulary
from lettrine.text.windows import Windows
from lettrine.text.words import Split

COUNTED: Final = 1 << 23  # training examples that are counted at most: counting takes about 110 bytes of memory for each
MEASURED: Final = 1 << 22  # examples that a loss is measured on at most: a mean of so many is known to 0.001 nats


def measured(parts: Split) -> Split:
    """The words with no more held-out ones than MEASURED examples, one of each part at least."""
    return Split(parts.train, _first(parts.dev), _first(parts.test))


def _first(words: Sequence[str]) -> Sequence[str]:
    words = words[:MEASURED]
    ends = np.cumsum(np.fromiter(map(len, words), np.int64, len(words)) + 1)
    return words[: max(1, int(np.searchsorted(ends, MEASURED, side="right")))]


def prior_of(
    config: MLPConfig,
    engine: Engine,
    parameters: Mapping[str, Array],
    others: Sequence[Parameters],
    train: Windows,
    dev: Windows,
    vocabulary: Vocabulary,
) -> Prior:
    """The training words counted, and the weights of networks, counts and kinds of characters fitted on the dev words."""
    counts = counted(config, train, dev)
    prior = Prior(counts, kinds=counted_kinds(vocabulary.characters, train.contexts, train.targets))
    return fitted(Mixture(engine, prior, tuple(others)), config, parameters, dev.contexts, dev.targets) or prior


def counted(config: MLPConfig, train: Windows, dev: Windows) -> Counts:
    """The counts of the training words, with the context of the network."""
    return count(train.targets, dev.targets, config.vocabulary_size, min(config.context + 1, ORDERS[1]))


def simple_losses(config: MLPConfig, train: Windows, dev: Windows) -> dict[str, float]:
    """Losses on the dev words, in nats, of two simple models: counted pairs of characters, and counts with the network's whole
    context, with Kneser-Ney smoothing. Empty without dev words.
    """
    if not len(dev):
        return {}
    pairs = baselines(train.targets, dev.targets, config.vocabulary_size).losses(dev.targets).bigram
    counts = counted(config, train, dev)
    return {"pairs counted": pairs, "Kneser-Ney": float(-np.log(counts.probability(dev.contexts, dev.targets)).mean())}


def losses_of(
    model: LanguageModel, train: Windows, dev: Windows, test: Windows, threads: int = 1, *, beside: Counts | None = None
) -> dict[str, float]:
    """Mean losses on the held-out words, in nats: of the model, and, if there are counts, of its parts alone.

    beside: counts to compare with a network that has none in it. Named "dev" and "test"; "network_dev" and so on for the
    networks, "counts_dev" and so on for the counts, and "unigram_test" to "trigram_test" for plain counting, whose smoothing is
    chosen on dev.
    """
    parts, counts = {"": model}, beside if model.prior is None else model.prior.counts
    if model.prior is not None and model.parameters:
        parts["network_"] = replace(model, prior=None)
    if counts is not None and model.parameters:
        parts["counts_"] = replace(model, prior=Prior(counts, ALONE), others=())
    plain = {} if counts is None else vars(baselines(train.targets, dev.targets, model.vocabulary.size).losses(test.targets))
    return {f"{name}_test": loss for name, loss in plain.items() if name != "uniform"} | {
        f"{part}{name}": mean_loss(asked.mixture, asked.config, asked.parameters, examples, threads)
        for name, examples in (("dev", dev), ("test", test))
        for part, asked in parts.items()
    }
