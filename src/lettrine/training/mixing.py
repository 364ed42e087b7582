"""Counts beside the networks: how they are made, and what the parts lose alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lettrine.engine.base import Engine
from lettrine.inference.counts import baselines
from lettrine.inference.evaluation import mean_loss
from lettrine.inference.language_model import LanguageModel
from lettrine.inference.mixture import Mixture, Prior, fitted_weights
from lettrine.model.config import MLPConfig
from lettrine.model.counting import count
from lettrine.model.counts import ORDERS
from lettrine.model.parameters import Array, Parameters
from lettrine.text.windows import Windows


def prior_of(
    config: MLPConfig, engine: Engine, parameters: Mapping[str, Array], others: Sequence[Parameters], train: Windows, dev: Windows
) -> Prior:
    """The training words counted, and the weights of networks and counts fitted on the dev words.

    The counts see no more characters than the network does.
    """
    counts = count(train.targets, dev.targets, config.vocabulary_size, min(config.context + 1, ORDERS[1]))
    mixture = Mixture(engine, Prior(counts), tuple(others))
    return Prior(counts, fitted_weights(mixture, config, parameters, dev.contexts, dev.targets))


def losses_of(model: LanguageModel, train: Windows, dev: Windows, test: Windows, threads: int = 1) -> dict[str, float]:
    """Mean losses on the held-out words, in nats: of the model, and, where there are counts, of its parts alone.

    Named "dev" and "test"; "network_dev" and so on for the networks, "counts_dev" and so on for the counts, and "unigram_test" to
    "trigram_test" for plain counting, whose smoothing is chosen on dev.
    """
    parts = {"": model}
    if model.prior is not None and model.parameters:
        counts = Prior(model.prior.counts, (0.0, 1.0))
        parts |= {"network_": replace(model, prior=None), "counts_": replace(model, prior=counts, others=())}
    plain = {} if model.prior is None else vars(baselines(train.targets, dev.targets, model.vocabulary.size).losses(test.targets))
    return {f"{name}_test": loss for name, loss in plain.items() if name != "uniform"} | {
        f"{part}{name}": mean_loss(asked.mixture, asked.config, asked.parameters, examples.contexts, examples.targets, threads)
        for name, examples in (("dev", dev), ("test", test))
        for part, asked in parts.items()
    }
