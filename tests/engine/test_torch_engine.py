"""The torch engine against the reference in float64, and in ordinary runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lettrine
from lettrine.engine.base import Optimiser, TrainState
from lettrine.engine.choice import choose_engine
from lettrine.engine.reference import ReferenceEngine
from lettrine.errors import ConfigError, EngineError
from lettrine.model.config import MLPConfig
from lettrine.model.initialisation import SCHEMES, initialise
from lettrine.model.parameters import copy_parameters
from lettrine.torch.engine import TorchEngine
from lettrine.training.folder import load_run
from lettrine.training.interrupt import Requests
from lettrine.training.session import Session

SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "norm": {"hidden": (7, 5), "norm": "batch", "output_norm": True},
    "direct": {"direct": True, "output_bias": False, "activation": "tanh"},
    "dropout": {"hidden": (9, 6), "dropout": 0.4},
}
OPTIMISERS = {
    "sgd": Optimiser("sgd", weight_decay=0.01, l2={"embedding": 0.1, "hidden": 0.02, "bias": 0.03}),
    "momentum": Optimiser("sgd", momentum=0.9),
    "adamw": Optimiser("adamw", weight_decay=0.1, beta2=0.95, l2={"embedding": 0.01}),
}


@pytest.mark.parametrize("optimiser", OPTIMISERS.values(), ids=OPTIMISERS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_it_takes_the_reference_s_steps(shape: dict[str, Any], optimiser: Optimiser) -> None:
    config = MLPConfig(**{"vocabulary_size": 11, "context": 4, "embedding": 3, "hidden": (9,), **shape})
    rng = np.random.default_rng(0)
    start = initialise(config, SCHEMES["naive"], rng, np.float64)
    contexts, targets = rng.integers(0, 3, (50, 4)).astype(np.uint8), rng.integers(0, 11, 50).astype(np.uint8)
    rates, found = np.linspace(0.1, 0.02, 6), []
    for engine in (ReferenceEngine(), TorchEngine()):
        state = TrainState.fresh(config, copy_parameters(start), optimiser)
        losses = [
            engine.train(config, optimiser, state, contexts, targets, rng_rows[some], rates[some], seed=5)
            for rng_rows in [np.random.default_rng(1).integers(0, 50, (6, 17))]
            for some in (slice(0, 2), slice(2, 6))  # the second call goes on where the first ended
        ]
        likelihood = engine.negative_log_likelihood(config, state.parameters, contexts, targets)
        found.append((state, np.concatenate(losses), likelihood, engine.logits(config, state.parameters, contexts)))
    (theirs, *those), (ours, *these) = found
    assert ours.step == 6
    for mine, other in zip(these, those, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6, atol=1e-8)
    for mine, other in ((ours.parameters, theirs.parameters), (ours.moments, theirs.moments)):
        assert mine.keys() == other.keys()
        for name, value in other.items():
            np.testing.assert_allclose(mine[name], value, rtol=1e-6, atol=1e-8, err_msg=name)


def test_it_stops_where_the_loss_is_not_finite_and_leaves_torch_as_it_was() -> None:
    config = MLPConfig(vocabulary_size=5, context=2, embedding=2, hidden=(3,), norm="batch")
    optimiser, results = Optimiser("sgd"), []
    start = initialise(config, SCHEMES["naive"], np.random.default_rng(0), np.float32)
    threads, drawn = torch.get_num_threads(), torch.get_rng_state()
    for engine in (ReferenceEngine(), TorchEngine()):
        state = TrainState.fresh(config, copy_parameters(start), optimiser)
        contexts, rows = np.arange(8, dtype=np.int32).reshape(4, 2) % 5, np.tile(np.arange(4), (5, 1))
        with np.errstate(all="ignore"):
            losses = engine.train(config, optimiser, state, contexts, contexts[:, 0], rows, np.array([0.1, 1e30, 1e30, 0.1, 0.1]))
        results.append((len(losses), state.step, bool(np.isfinite(losses[-1]))))
    assert results[0] == results[1]
    assert results[0][2] is False
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), drawn)


def test_an_ordinary_run(few_words: list[str], tmp_path: Path) -> None:
    """Stopped, gone on with, opened by whatever is there."""
    shape = lettrine.Shape(hidden=(16,), embedding=4, dropout=0.2)
    runs = []
    for engine in ("torch", "reference"):
        settings = lettrine.Settings(steps=40, batch=32, engine=engine, prior="none")
        with Session(few_words, out=tmp_path / engine, shape=shape, settings=settings) as session:
            session.trainer.advance(20)
        with Session.resumed(tmp_path / engine) as session:
            session.finish(session.trainer.run(Requests()))
        runs.append(load_run(tmp_path / engine))
    torchs, own = runs
    assert (torchs.settings.engine, torchs.settings.device, torchs.status) == ("torch", "cpu", "finished")
    assert torchs.results is not None
    assert own.results is not None
    assert torchs.results.loss["test"] == pytest.approx(own.results.loss["test"], rel=1e-4)
    assert torchs.sample(5) == own.sample(5)


def test_what_is_not_there_is_told() -> None:
    with pytest.raises(ConfigError, match="--engine torch"):
        choose_engine("native", "cuda")
    with pytest.raises(ConfigError, match="expected one of cpu, cuda"):
        choose_engine("torch", "tpu")
    if not torch.cuda.is_available():
        with pytest.raises(EngineError, match="take --device cpu"):
            choose_engine("torch", "cuda")
