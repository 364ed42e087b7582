"""What the model buys: its loss beside guessing, counting one to three characters, and counting well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lettrine.inference.counts import baselines
from lettrine.inference.evaluation import Loss, mean_loss
from lettrine.inference.language_model import LanguageModel
from lettrine.model.counting import count
from lettrine.text.windows import windows

COUNTED = "kneser-ney"  # the name of counting well, in tables
ALONE = "network alone"


def compare_with_counts(model: LanguageModel, train: Sequence[str], dev: Sequence[str], words: Sequence[str]) -> dict[str, Loss]:
    """Losses on `words`, from the simplest guess to the model.

    "uniform" (ln V); "unigram", "bigram", "trigram" counted on train and smoothed on dev; "kneser-ney", of the order best on dev;
    "network alone", where the model mixes networks with counts; and "model".
    """
    counted, held_out = (windows(part, model.vocabulary, 1).targets for part in (train, dev))
    examples = windows(words, model.vocabulary, model.config.context)
    losses = {
        name: Loss(nats)
        for name, nats in vars(baselines(counted, held_out, model.vocabulary.size).losses(examples.targets)).items()
    }
    counts = model.prior.counts if model.prior is not None else count(counted, held_out, model.vocabulary.size)
    contexts = (
        examples.contexts
        if counts.order <= model.config.context + 1
        else windows(words, model.vocabulary, counts.order - 1).contexts
    )
    losses[COUNTED] = Loss(float(-np.log(counts.probability(contexts, examples.targets)).mean()))

    def of(asked: LanguageModel) -> Loss:
        return Loss(mean_loss(asked.mixture, asked.config, asked.parameters, examples.contexts, examples.targets))

    if model.prior is not None and model.parameters:
        losses[ALONE] = of(replace(model, prior=None))
    return losses | {"model": of(model)}
