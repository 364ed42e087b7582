"""What the network buys: its loss beside guessing, and beside counting one, two and three characters."""

from __future__ import annotations

from collections.abc import Sequence

from lettrine.inference.counts import baselines
from lettrine.inference.evaluation import Loss, mean_loss
from lettrine.inference.language_model import LanguageModel
from lettrine.text.windows import windows


def compare_with_counts(model: LanguageModel, train: Sequence[str], dev: Sequence[str], words: Sequence[str]) -> dict[str, Loss]:
    """Losses on `words`: "uniform" (ln V), "unigram", "bigram", "trigram" counted on train and smoothed on dev, and "model"."""
    counted, held_out = (windows(part, model.vocabulary, 1).targets for part in (train, dev))
    examples = windows(words, model.vocabulary, model.config.context)
    losses = vars(baselines(counted, held_out, model.vocabulary.size).losses(examples.targets))
    ours = mean_loss(model.engine, model.config, model.parameters, examples.contexts, examples.targets)
    return {name: Loss(nats) for name, nats in losses.items()} | {"model": Loss(ours)}
