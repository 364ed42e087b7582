"""Dropout: masks by seed and step, gradients against autograd with the same masks, the engines against each other."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from lettrine.engine.base import Optimiser, TrainState
from lettrine.engine.choice import native_built
from lettrine.engine.dropout import dropout_mask, key_of, rows_of
from lettrine.engine.reference import ReferenceEngine, observe
from lettrine.model.config import MLPConfig
from lettrine.model.initialisation import SCHEMES, initialise
from lettrine.model.parameters import copy_parameters
from lettrine.torch.model import CharMLP

SHAPES = {
    "plain": {"hidden": (9,)},
    "deep": {"hidden": (33, 16, 17), "activation": "gelu"},
    "norm": {"hidden": (7, 5), "norm": "batch"},
    "wide": {"hidden": (70,), "vocabulary_size": 5, "embedding": 10, "activation": "gelu"},  # by table
}


def network(**shape):
    config = MLPConfig(**{"vocabulary_size": 11, "context": 3, "embedding": 3, "activation": "tanh", "dropout": 0.3, **shape})
    return config, initialise(config, SCHEMES["kaiming"], np.random.default_rng(0), np.float64)


def examples(config: MLPConfig, count: int = 60):
    rng = np.random.default_rng(1)
    contexts = rng.integers(0, min(config.vocabulary_size, 4), (count, config.context), dtype=np.int32)  # many are alike
    return contexts, rng.integers(0, config.vocabulary_size, count, dtype=np.int32)


def test_masks_keep_the_right_share_and_the_mean() -> None:
    mask = dropout_mask(0.3, key_of(7, 11, 0), np.arange(500), 400, np.float64)
    assert set(np.unique(mask)) == {0.0, 1 / 0.7}
    assert mask.mean() == pytest.approx(1.0, abs=5 * (0.3 / 0.7 / 200_000) ** 0.5)
    spread = (0.3 * 0.7) ** 0.5
    for axis, count in ((0, 500), (1, 400)):  # no row and no unit is favoured: within 5 standard errors
        assert abs((mask > 0).mean(axis=axis) - 0.7).max() < 5 * spread / count**0.5
    pairs = np.corrcoef((mask > 0).T.astype(float))  # units drop independently
    assert abs(pairs[~np.eye(400, dtype=bool)]).max() < 6 / 500**0.5


def test_masks_differ_by_seed_step_and_layer() -> None:
    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2**40, 0, 0), (0, 2**33, 0)]
    masks = [dropout_mask(0.5, key_of(*key), np.arange(20), 50, np.float32) for key in keys]
    for one, other in pairwise(masks):
        assert 0.4 < (one == other).mean() < 0.6


def test_examples_of_one_context_share_a_row_in_order_of_appearance() -> None:
    assert rows_of(np.array([[3, 1], [0, 2], [3, 1], [0, 0], [0, 2]], np.int32)).tolist() == [0, 1, 0, 2, 1]


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_equal_autograd_with_the_same_masks(shape: str) -> None:
    config, parameters = network(**SHAPES[shape])
    contexts, targets = examples(config)
    seen = observe(config, parameters, contexts, targets, seed=5, step=9)
    twin = CharMLP(config, copy_parameters(parameters))
    assert len(twin.dropouts) == len(config.hidden)
    for layer, width in enumerate(config.hidden):
        mask = torch.from_numpy(dropout_mask(0.3, key_of(5, 9, layer), rows_of(contexts), width, np.float64))
        twin.dropouts[layer].forward = lambda x, mask=mask: x * mask
    loss = torch.nn.functional.cross_entropy(twin(torch.from_numpy(contexts)), torch.from_numpy(targets).long())
    loss.backward()
    assert seen.loss == pytest.approx(loss.item(), rel=1e-12)
    for name, parameter in twin.named_parameters():
        np.testing.assert_allclose(seen.gradients[name], parameter.grad.numpy(), rtol=1e-9, atol=1e-13)
    assert [name for name in seen.output_gradients if name.startswith("dropouts")] == [
        f"dropouts.{layer}" for layer in range(len(config.hidden))
    ]


def test_nothing_is_dropped_outside_training() -> None:
    config, parameters = network()
    contexts, targets = examples(config)
    plain = MLPConfig(**{**vars(config), "dropout": 0.0})
    engine = ReferenceEngine()
    assert (engine.logits(config, parameters, contexts) == engine.logits(plain, parameters, contexts)).all()
    assert observe(config, parameters, contexts, targets).loss != observe(plain, parameters, contexts, targets).loss


@pytest.mark.skipif(not native_built(), reason="the native engine is not built")
@pytest.mark.parametrize(
    "optimiser", [Optimiser("sgd"), Optimiser("sgd", momentum=0.9), Optimiser("adamw")], ids=lambda o: o.kind
)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_native_engine_drops_the_same(shape: str, optimiser: Optimiser) -> None:
    from lettrine import _native  # noqa: PLC0415
    from lettrine.engine.native import NativeEngine  # noqa: PLC0415

    config, parameters = network(**SHAPES[shape])
    contexts, targets = examples(config)
    rows = np.random.default_rng(2).integers(0, len(targets), (6, 40))
    rates = np.full(6, 0.05 if optimiser.kind == "sgd" else 0.005)
    expected = TrainState.fresh(config, copy_parameters(parameters), optimiser)
    losses = ReferenceEngine().train(config, optimiser, expected, contexts, targets, rows, rates, seed=2**40 + 3)
    for isa in _native.available_isas():
        for threads in (1, 2):
            ours = TrainState.fresh(config, copy_parameters(parameters), optimiser)
            found = [
                NativeEngine(isa).train(
                    config, optimiser, ours, contexts, targets, rows[part], rates[part], threads=threads, seed=2**40 + 3
                )
                for part in (slice(0, 2), slice(2, 6))  # in two calls, as after a resume
            ]
            np.testing.assert_allclose(np.concatenate(found), losses, rtol=1e-9)
            for name, value in expected.parameters.items():
                np.testing.assert_allclose(ours.parameters[name], value, rtol=1e-7, atol=1e-9, err_msg=name)
