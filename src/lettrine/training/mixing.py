"""What stands beside a run's first network: counts and other networks; how they are made, kept and read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lettrine.engine.base import Engine
from lettrine.errors import EngineError, RunDamagedError
from lettrine.inference.counts import baselines
from lettrine.inference.evaluation import mean_loss
from lettrine.inference.language_model import LanguageModel
from lettrine.inference.mixture import ALONE, MOST, Mixture, Prior, fitted
from lettrine.model.config import MLPConfig
from lettrine.model.counting import count
from lettrine.model.counts import ORDERS, Counts
from lettrine.model.kinds import counted_kinds, kinds_from_arrays, kinds_to_arrays
from lettrine.model.parameters import Array, Parameters, check_parameters
from lettrine.model.stored_counts import counts_from_arrays, counts_to_arrays
from lettrine.text.vocabulary import Vocabulary
from lettrine.text.windows import Windows
from lettrine.training.settings import Settings
from lettrine.training.storage import read_arrays, write_arrays

COUNTS: Final = "counts.safetensors"  # the prior of a run, where it has one
NETWORKS: Final = "networks.safetensors"  # the networks beside the first, where there are any


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
    """The training words counted; no more characters are seen than the network sees."""
    return count(train.targets, dev.targets, config.vocabulary_size, min(config.context + 1, ORDERS[1]))


def losses_of(
    model: LanguageModel, train: Windows, dev: Windows, test: Windows, threads: int = 1, *, beside: Counts | None = None
) -> dict[str, float]:
    """Mean losses on the held-out words, in nats: of the model, and, where there are counts, of its parts alone.

    beside: counts to hold a network against that has none in it. Named "dev" and "test"; "network_dev" and so on for the
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
        f"{part}{name}": mean_loss(asked.mixture, asked.config, asked.parameters, examples.contexts, examples.targets, threads)
        for name, examples in (("dev", dev), ("test", test))
        for part, asked in parts.items()
    }


def write_beside(folder: Path, prior: Prior | None, others: Sequence[Mapping[str, Array]]) -> None:
    """Write counts and other networks into a run folder, what there is of them."""
    if prior is not None:
        known = {} if prior.kinds is None else kinds_to_arrays(prior.kinds)
        write_arrays(folder / COUNTS, {**counts_to_arrays(prior.counts), "weights": np.array(prior.weights), **known})
    if others:
        write_arrays(folder / NETWORKS, {f"{i}/{name}": value for i, one in enumerate(others, 1) for name, value in one.items()})


def read_beside(folder: Path, config: MLPConfig, settings: Settings) -> tuple[Prior | None, tuple[Parameters, ...]]:
    """The counts and other networks of a run folder. Raises RunDamagedError."""
    prior: Prior | None = None
    others: tuple[Parameters, ...] = ()
    if settings.model == "counts" or settings.prior == "counts":
        prior = _read_prior(folder / COUNTS, config)
    if settings.networks > 1 and settings.model != "counts" and (folder / NETWORKS).exists():
        others = _read_networks(folder / NETWORKS, config)
    return prior, others


def _read_prior(path: Path, config: MLPConfig) -> Prior:
    arrays, _ = read_arrays(path)
    try:
        weights = _finite(arrays["weights"], "weights")
        if weights.shape != (2,) or (weights < 0).any() or (weights > MOST).any():
            raise EngineError(f"the weights are {weights.tolist()}; expected two numbers from 0 to {MOST:g}")  # noqa: TRY301
        counts = counts_from_arrays(arrays)
        if counts.vocabulary_size != config.vocabulary_size or counts.order > config.context + 1:
            raise EngineError(  # noqa: TRY301
                f"the counts are of {counts.vocabulary_size} characters, {counts.order} in a row; "
                f"expected {config.vocabulary_size}, at most {config.context + 1}"
            )
        kinds = kinds_from_arrays(arrays, config.vocabulary_size)
    except (EngineError, KeyError) as error:
        raise RunDamagedError(f"{path} holds no counts of this run ({error}); the run is damaged, train again") from None
    return Prior(counts, (float(weights[0]), float(weights[1])), kinds)


def _read_networks(path: Path, config: MLPConfig) -> tuple[Parameters, ...]:
    arrays, _ = read_arrays(path)
    networks: dict[str, Parameters] = {}
    for name, value in arrays.items():
        number, _, rest = name.partition("/")
        networks.setdefault(number, {})[rest] = np.array(value)
    try:
        for one in networks.values():
            check_parameters(config, one)
            for name, value in one.items():
                _finite(value, name)
    except EngineError as error:
        raise RunDamagedError(f"{path} holds no networks of this run ({error}); the run is damaged, train again") from None
    return tuple(networks[number] for number in sorted(networks, key=lambda text: (len(text), text)))


def _finite(array: NDArray[Any], name: str) -> NDArray[Any]:
    if array.dtype.kind != "f" or not np.isfinite(array).all():
        raise EngineError(f"{name} holds values that are not finite; expected finite numbers")
    return array
