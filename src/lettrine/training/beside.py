"""Writes and reads the counts and the other networks of a run folder, which stand beside the first network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lettrine.errors import EngineError, RunDamagedError
from lettrine.inference.mixture import MOST, Prior
from lettrine.model.config import MLPConfig
from lettrine.model.kinds import kinds_from_arrays, kinds_to_arrays
from lettrine.model.parameters import Array, Parameters, check_parameters
from lettrine.model.stored_counts import counts_from_arrays, counts_to_arrays
from lettrine.training.settings import Settings
from lettrine.training.storage import read_arrays, write_arrays

COUNTS: Final = "counts.safetensors"  # the prior of a run, if it has one
NETWORKS: Final = "networks.safetensors"  # the networks beside the first, if there are any


def write_beside(folder: Path, prior: Prior | None, others: Sequence[Mapping[str, Array]]) -> None:
    """Write the counts and the other networks into a run folder, if there are any."""
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
