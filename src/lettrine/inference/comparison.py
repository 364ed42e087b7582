"""What the network buys: its loss beside guessing, and beside counting one, two and three characters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lettrine.inference.counts import ORDERS, baselines
from lettrine.inference.evaluation import Loss
from lettrine.inference.language_model import LanguageModel
from lettrine.inference.scoring import UNKNOWN, character_losses
from lettrine.text.windows import unknown_targets, windows


def compare_with_counts(
    model: LanguageModel, train: Sequence[str], dev: Sequence[str], words: Sequence[str], threads: int = 1
) -> dict[str, Loss]:
    """Losses on `words`: "uniform" (ln V), "unigram", "bigram", "trigram" counted on train and smoothed on dev, and "model".

    A character outside the vocabulary costs each of them the same, `lettrine.inference.scoring.UNKNOWN` nats.
    """
    counted, held_out = (windows(part, model.vocabulary, 1).targets for part in (train, dev))
    counts = baselines(counted, held_out, model.vocabulary.size)
    targets = windows(words, model.vocabulary, 1, unknown=True).targets
    strange = unknown_targets(targets, words)
    losses = {"uniform": np.full(len(targets), np.log(model.vocabulary.size))}
    losses |= {order: counts.negative_log_likelihood(targets, order) for order in ORDERS}
    losses["model"] = character_losses(model, words, threads)[0]
    return {name: Loss(float(np.where(strange, UNKNOWN, each).mean())) for name, each in losses.items()}
