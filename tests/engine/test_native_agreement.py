"""The native engine against autograd and torch.optim in float64, and against the reference, on every instruction set."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from lettrine.activations import TRAINABLE
from lettrine.engine.base import Optimiser, TrainState
from lettrine.engine.reference import ReferenceEngine
from lettrine.model.config import MLPConfig
from lettrine.model.initialisation import SCHEMES, initialise
from lettrine.model.parameters import Parameters, copy_parameters
from lettrine.torch.model import CharMLP

native = pytest.importorskip("lettrine.engine.native")
from lettrine import _native  # noqa: E402

ISAS = _native.available_isas()

# Widths around the vector lengths (2 to 16) and their doubles; batches on both sides of where the first layer turns to a table.
SHAPES = {
    "plain": {},
    "norm": {"norm": "batch"},
    "deep-norm": {"hidden": (7, 5, 3), "norm": "batch", "output_norm": True, "hidden_bias": True},
    "deep": {"hidden": (33, 16, 17)},
    "direct": {"direct": True, "output_bias": False},
    "direct-norm": {"direct": True, "output_norm": True},
    "one-unit": {"hidden": (1,), "embedding": 1},
    "two-characters": {"vocabulary_size": 2, "embedding": 9},
    "wide": {"hidden": (70,), "vocabulary_size": 37, "embedding": 10, "context": 3},
}
SGD = Optimiser("sgd")
PULLED = Optimiser("sgd", weight_decay=0.01, l2={"embedding": 0.1, "hidden": 0.02, "bias": 0.03, "output": 0.01, "norm": 0.2})
MOMENTUM = Optimiser("sgd", momentum=0.9, weight_decay=0.01, l2={"hidden": 0.02, "bias": 0.03})
ADAMW = Optimiser("adamw", weight_decay=0.1, beta2=0.95, l2={"embedding": 0.01, "norm": 0.02})


def network(seed: int = 0, dtype: type = np.float64, scheme: str = "naive", **shape):
    config = MLPConfig(**{"vocabulary_size": 11, "context": 4, "embedding": 3, "hidden": (9,), **shape})
    rng = np.random.default_rng(seed)
    return config, initialise(config, SCHEMES[scheme], rng, dtype), rng


def examples(config: MLPConfig, rng: np.random.Generator, size: int = 50):
    contexts = rng.integers(0, config.vocabulary_size, (size, config.context), dtype=np.int32)
    return contexts, rng.integers(0, config.vocabulary_size, size, dtype=np.int32)


def same(ours: Parameters, theirs: Parameters, rtol: float, atol: float) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=rtol, atol=atol, err_msg=name)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("activation", TRAINABLE)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_gradient_equals_autograd(shape: str, activation: str, isa: str) -> None:
    config, parameters, rng = network(activation=activation, **SHAPES[shape])
    contexts, targets = examples(config, rng)
    normed = any(name.startswith(("norms", "output_norm")) for name in parameters)
    for size in (2, 7, 33) if normed else (1, 7, 33):
        rows = rng.integers(0, len(targets), (1, size))
        twin = CharMLP(config, copy_parameters(parameters))
        loss = torch.nn.functional.cross_entropy(
            twin(torch.from_numpy(contexts[rows[0]])), torch.from_numpy(targets[rows[0]]).long()
        )
        loss.backward()
        # One step of plain SGD at rate 1 moves every parameter by its gradient.
        state = TrainState.fresh(config, copy_parameters(parameters), SGD)
        (ours,) = native.NativeEngine(isa).train(config, SGD, state, contexts, targets, rows, np.ones(1))
        assert ours == pytest.approx(loss.item(), rel=1e-12)
        for name, parameter in twin.named_parameters():
            gradient = parameters[name] - state.parameters[name]
            np.testing.assert_allclose(
                gradient, parameter.grad.numpy(), rtol=1e-10, atol=1e-13 * max(1, abs(parameters[name]).max()) * 20
            )
        for name, buffer in twin.named_buffers():
            if "running" in name:
                np.testing.assert_allclose(state.parameters[name], buffer.numpy(), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("optimiser", [SGD, PULLED, MOMENTUM, ADAMW], ids=["sgd", "pulled", "momentum", "adamw"])
@pytest.mark.parametrize("shape", SHAPES)
def test_steps_equal_the_reference(shape: str, optimiser: Optimiser, isa: str) -> None:
    # tanh, since an activation with a kink turns a difference of rounding into a difference of weights;
    # and no bias before a norm: its gradient is 0 but for rounding, which AdamW blows up to whole steps.
    plain = {"hidden_bias": False, "output_bias": False} if "norm" in shape else {}
    config, parameters, rng = network(scheme="kaiming", **{**SHAPES[shape], **plain})
    contexts, targets = examples(config, rng)
    rates = np.array([0.3, 0.1, 0.2, 0.05, 0.4]) * (0.1 if optimiser.kind == "adamw" else 1.0)
    for size in (5, 33):
        rows = rng.integers(0, len(targets), (5, size))
        ours, theirs = (TrainState.fresh(config, copy_parameters(parameters), optimiser) for _ in range(2))
        found = native.NativeEngine(isa).train(config, optimiser, ours, contexts, targets, rows, rates)
        expected = ReferenceEngine().train(config, optimiser, theirs, contexts, targets, rows, rates)
        np.testing.assert_allclose(found, expected, rtol=1e-9)
        same(ours.parameters, theirs.parameters, 1e-7, 1e-10)
        same(ours.moments, theirs.moments, 1e-6, 1e-10)
        assert ours.step == theirs.step == 5


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("shape", ["plain", "norm", "deep", "wide"])
@pytest.mark.parametrize("optimiser", [SGD, ADAMW], ids=["sgd", "adamw"])
def test_a_hundred_float32_losses_equal_the_reference(shape: str, optimiser: Optimiser, isa: str) -> None:
    config, parameters, rng = network(dtype=np.float32, scheme="kaiming", **SHAPES[shape])
    contexts, targets = examples(config, rng, 500)
    rows, rates = rng.integers(0, 500, (100, 32)), np.full(100, 0.1 if optimiser is SGD else 0.003)
    ours, theirs = (TrainState.fresh(config, copy_parameters(parameters), optimiser) for _ in range(2))
    found = native.NativeEngine(isa).train(config, optimiser, ours, contexts, targets, rows, rates)
    expected = ReferenceEngine().train(config, optimiser, theirs, contexts, targets, rows, rates)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert ours.parameters["layers.0.weight"].dtype == np.float32


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", TRAINABLE)
def test_every_activation_over_its_whole_range(activation: str, dtype: type, isa: str) -> None:
    # One unit: the embedding holds the arguments, and the first logit is the activation itself.
    edges = [0.0, 1e-30, 1e-6, 7.87, 7.874, 7.875, 7.8751, 8.0, 9.0, 10.0, 20.0, 87.0, 89.0, 1e4, 1e30]
    x = np.concatenate([np.linspace(-12, 12, 900), edges, np.negative(edges)])
    config = MLPConfig(len(x), 1, 1, (1,), activation=activation)
    parameters = {
        "embedding.weight": x[:, None].astype(dtype),
        "layers.0.weight": np.ones((1, 1), dtype),
        "layers.0.bias": np.zeros(1, dtype),
        "output.weight": np.zeros((len(x), 1), dtype),
        "output.bias": np.zeros(len(x), dtype),
    }
    parameters["output.weight"][0] = 1.0
    contexts = np.arange(len(x), dtype=np.int32)[:, None]
    exact = {name: value.astype(np.float64) for name, value in parameters.items()}
    expected = ReferenceEngine().logits(config, exact, contexts)[:, 0]
    found = native.NativeEngine(isa).logits(config, parameters, contexts)[:, 0]
    # gelu and silu take 1 + tanh times x: what rounding leaves of the sum grows with x.
    wide = 12.0 if activation in ("gelu", "silu") else 1.0
    rtol, atol = (6e-7, 3e-7 * wide) if dtype is np.float32 else (1e-14, 1e-15 * wide)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)
    # Without allowance near 0, where a wrong series would hide.
    near = np.abs(x) < 1e-5
    np.testing.assert_allclose(found[near], expected[near], rtol=1e-6)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("activation", TRAINABLE)
@pytest.mark.parametrize("shape", SHAPES)
def test_evaluation_equals_the_reference(shape: str, activation: str, isa: str) -> None:
    config, parameters, rng = network(activation=activation, **SHAPES[shape])
    for name in parameters:
        if "running" in name:
            parameters[name][:] = rng.uniform(0.5, 2.0, parameters[name].shape)
    engine, reference = native.NativeEngine(isa), ReferenceEngine()
    for size in (0, 1, 10, 300):  # by table or not, whole chunks or not
        contexts, targets = examples(config, rng, size)
        losses = engine.negative_log_likelihood(config, parameters, contexts, targets)
        expected = reference.negative_log_likelihood(config, parameters, contexts, targets)
        np.testing.assert_allclose(losses, expected, rtol=1e-9, atol=1e-12)
        logits = engine.logits(config, parameters, contexts)
        assert logits.dtype == np.float64
        np.testing.assert_allclose(logits, reference.logits(config, parameters, contexts), rtol=1e-9, atol=1e-10)


def test_the_torch_twins_own_parameters_are_trained_in_place() -> None:
    config, parameters, rng = network(dtype=np.float32, norm="batch")
    contexts, targets = examples(config, rng)
    twin = CharMLP(config, parameters, shared=True)
    before = twin.layers[0].weight.detach().clone()
    state = TrainState.fresh(config, parameters, ADAMW)
    native.NativeEngine().train(config, ADAMW, state, contexts, targets, rng.integers(0, 50, (10, 16)), np.full(10, 0.01))
    assert not torch.equal(twin.layers[0].weight, before)
    logits = twin.eval()(torch.from_numpy(contexts)).detach().numpy()
    np.testing.assert_allclose(native.NativeEngine().logits(config, parameters, contexts), logits, rtol=1e-4, atol=1e-5)


def test_a_torch_module_hands_over_its_parameters_and_gets_them_back_trained() -> None:
    config, _, rng = network(hidden=(9, 5), norm="batch", direct=True)
    contexts, targets = examples(config, rng)
    rows, rates = rng.integers(0, 50, (10, 16)), np.linspace(0.05, 0.01, 10)
    torch.manual_seed(3)
    module = CharMLP(config).double()
    twin = copy.deepcopy(module)
    places = {name: tensor.data_ptr() for name, tensor in module.state_dict().items()}
    state = TrainState.fresh(config, module.to_parameters(), ADAMW)
    losses = native.NativeEngine().train(config, ADAMW, state, contexts, targets, rows, rates)
    assert {name: tensor.data_ptr() for name, tensor in module.state_dict().items()} == places, "nothing was copied"

    bare = [p for p in twin.parameters() if p.ndim < 2]
    weights = [p for p in twin.parameters() if p.ndim == 2]
    optimizer = torch.optim.AdamW(
        [{"params": weights}, {"params": bare, "weight_decay": 0.0}], weight_decay=ADAMW.decay, betas=(0.9, 0.95)
    )
    for batch, rate, ours in zip(rows, rates, losses, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(twin(torch.from_numpy(contexts[batch])), torch.from_numpy(targets[batch]).long())
        penalty = 0.01 * twin.embedding.weight.square().sum() + 0.02 * sum(p.square().sum() for p in twin.norms.parameters())
        (loss + penalty).backward()
        optimizer.step()
        assert ours == pytest.approx(loss.item(), rel=1e-9)
    for (name, ours), theirs in zip(module.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-10, msg=name)
    for norm, other in zip(module.norms, twin.norms, strict=True):
        torch.testing.assert_close(norm.running_var, other.running_var)
    module(torch.from_numpy(contexts)).sum().backward()  # and it is a module like any other


@pytest.mark.slow
@pytest.mark.needs_names
def test_a_whole_run_ends_where_the_references_does(names: Path) -> None:
    """The published net: final loss on held-out names within 0.005 nats of the reference's, over five seeds."""
    words = np.random.default_rng(9).permutation(names.read_text().split())
    letters = sorted(set("".join(words)))
    rows, nexts = [], []
    for word in words:
        window = [0, 0, 0]
        for character in [*(letters.index(c) + 1 for c in word), 0]:
            rows.append(window)
            nexts.append(character)
            window = [*window[1:], character]
    contexts, targets = np.array(rows, np.int32), np.array(nexts, np.int32)
    cut = int(0.9 * len(targets))
    config = MLPConfig(27, 3, 10, (200,), activation="tanh")
    gaps = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        start = initialise(config, SCHEMES["kaiming"], rng, np.float32)
        indices, rates = rng.integers(0, cut, (10_000, 32)), np.repeat([0.1, 0.01], 5_000)
        ends = []
        for engine in (native.NativeEngine(), ReferenceEngine()):
            state = TrainState.fresh(config, copy_parameters(start), SGD)
            engine.train(config, SGD, state, contexts, targets, indices, rates)
            ends.append(engine.negative_log_likelihood(config, state.parameters, contexts[cut:], targets[cut:]).mean())
        gaps.append(abs(ends[0] - ends[1]))
        assert ends[0] < 2.3
    assert max(gaps) < 0.005
