"""The loss of the model beside those of guessing, counting one to three characters, and Kneser-Ney counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from lettrine.inference.counts import ORDERS, baselines
from lettrine.inference.evaluation import Loss
from lettrine.inference.language_model import LanguageModel
from lettrine.inference.scoring import UNKNOWN, character_losses
from lettrine.model.counting import count
from lettrine.text.windows import unknown_targets, windows

COUNTED: Final = "kneser-ney"  # the name of Kneser-Ney counts, in tables
ALONE: Final = "network alone"


def compare_with_counts(
    model: LanguageModel, train: Sequence[str], dev: Sequence[str], words: Sequence[str], threads: int = 1
) -> dict[str, Loss]:
    """Losses on `words`, from the simplest guess to the model.

    "uniform" (ln V); "unigram", "bigram", "trigram" counted on train and smoothed on dev; "kneser-ney", of the order best on dev;
    "network alone", if the model mixes networks with counts; and "model". A character outside the vocabulary costs each of
    them the same, `lettrine.inference.scoring.UNKNOWN` nats.
    """
    counted, held_out = (windows(part, model.vocabulary, 1).targets for part in (train, dev))
    simple = baselines(counted, held_out, model.vocabulary.size)
    well = model.prior.counts if model.prior is not None else count(counted, held_out, model.vocabulary.size)
    examples = windows(words, model.vocabulary, max(well.order - 1, 1), unknown=True)
    targets = examples.targets
    strange = unknown_targets(targets, words)
    losses = {"uniform": np.full(len(targets), np.log(model.vocabulary.size))}
    losses |= {order: simple.negative_log_likelihood(targets, order) for order in ORDERS}
    losses[COUNTED] = -np.log(well.probability(examples.contexts, targets))
    if model.prior is not None and model.parameters:
        losses[ALONE] = character_losses(replace(model, prior=None), words, threads)[0]
    losses["model"] = character_losses(model, words, threads)[0]
    return {name: Loss(float(np.where(strange, UNKNOWN, each).mean())) for name, each in losses.items()}
