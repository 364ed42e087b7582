"""The reference engine against torch autograd, in float64, and against figures worked on paper."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lettrine.activations import TRAINABLE
from lettrine.engine.base import Optimiser, TrainState
from lettrine.engine.reference import ReferenceEngine, observe, probabilities
from lettrine.errors import EngineError
from lettrine.model.config import MLPConfig
from lettrine.model.initialisation import SCHEMES, initialise
from lettrine.model.parameters import copy_parameters, group_of
from lettrine.torch.model import CharMLP

SHAPES = {
    "plain": {},
    "norm": {"norm": "batch"},
    "deep-norm": {"hidden": (7, 5, 3), "norm": "batch", "output_norm": True, "hidden_bias": True},
    "deep": {"hidden": (7, 5, 3)},
    "direct": {"direct": True, "output_bias": False},
    "direct-norm": {"direct": True, "output_norm": True},
    "one-unit": {"hidden": (1,), "embedding": 1},
}


def network(seed: int = 0, dtype: type = np.float64, **shape):
    config = MLPConfig(**{"vocabulary_size": 11, "context": 4, "embedding": 3, "hidden": (9,), **shape})
    rng = np.random.default_rng(seed)
    # "naive" starts every bias away from zero, so that a forgotten bias cannot go unseen
    return config, initialise(config, SCHEMES["naive"], rng, dtype), rng


def batch(config: MLPConfig, rng: np.random.Generator, size: int = 6):
    contexts = rng.integers(0, config.vocabulary_size, (size, config.context), dtype=np.int32)
    return contexts, rng.integers(0, config.vocabulary_size, size, dtype=np.int32)


def close(ours: np.ndarray, theirs: torch.Tensor) -> None:
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("activation", TRAINABLE)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_gradient_equals_autograd(activation: str, shape: str) -> None:
    config, parameters, rng = network(activation=activation, **SHAPES[shape])
    contexts, targets = batch(config, rng)
    twin = CharMLP(config, parameters)
    outputs: dict[str, torch.Tensor] = {}
    for name, module in twin.named_modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Embedding | torch.nn.BatchNorm1d):
            module.register_forward_hook(lambda _m, _i, out, name=name: (out.retain_grad(), outputs.update({name: out}))[1])
    loss = torch.nn.functional.cross_entropy(twin(torch.from_numpy(contexts)), torch.from_numpy(targets).long())
    loss.backward()

    seen = observe(config, parameters, contexts, targets)
    assert seen.loss == pytest.approx(loss.item(), rel=1e-12)
    for name, parameter in twin.named_parameters():
        close(seen.gradients[name], parameter.grad)
    for name, output in outputs.items():
        close(seen.outputs[name], output)
        close(seen.output_gradients[name], output.grad)


@pytest.mark.parametrize(
    "optimiser",
    [
        Optimiser("sgd"),
        Optimiser("sgd", momentum=0.9, weight_decay=0.01, l2={"hidden": 0.02, "bias": 0.03}),
        Optimiser("adamw", weight_decay=0.1, beta2=0.95, l2={"embedding": 0.01, "norm": 0.02}),
    ],
    ids=lambda o: f"{o.kind}-{o.momentum}",
)
# No bias before batch norm here: its gradient is 0 but for rounding, which AdamW blows up to whole steps.
# torch refuses batch norm on a batch of one.
@pytest.mark.parametrize(("shape", "size"), [("plain", 1), ("plain", 33), ("norm", 5), ("direct", 33)])
def test_five_steps_equal_torch_optim(optimiser: Optimiser, shape: str, size: int) -> None:
    config, parameters, rng = network(**SHAPES[shape])
    contexts, targets = batch(config, rng, 40)
    indices, rates = rng.integers(0, 40, (5, size)), np.array([0.3, 0.1, 0.2, 0.05, 0.4])
    twin = CharMLP(config, parameters)
    groups = [{"params": [p], "weight_decay": optimiser.decay_of(name), "lr": 1.0} for name, p in twin.named_parameters()]
    theirs = (
        torch.optim.SGD(groups, momentum=optimiser.momentum)
        if optimiser.kind == "sgd"
        else torch.optim.AdamW(groups, betas=(optimiser.beta1, optimiser.beta2), eps=optimiser.eps)
    )
    expected = []
    for rows, rate in zip(indices, rates, strict=True):
        loss = torch.nn.functional.cross_entropy(twin(torch.from_numpy(contexts[rows])), torch.from_numpy(targets[rows]).long())
        penalty = sum(optimiser.l2.get(group_of(name), 0.0) * (p**2).sum() for name, p in twin.named_parameters())
        theirs.zero_grad()
        (loss + penalty).backward()
        for group in theirs.param_groups:
            group["lr"] = rate
        theirs.step()
        expected.append(loss.item())

    state = TrainState.fresh(config, parameters, optimiser)
    losses = ReferenceEngine().train(config, optimiser, state, contexts, targets, indices, rates)
    np.testing.assert_allclose(losses, expected, rtol=1e-10)
    assert state.step == 5
    for name, value in twin.to_parameters().items():
        np.testing.assert_allclose(state.parameters[name], value, rtol=1e-9, atol=1e-12, err_msg=name)


def test_steps_in_one_call_or_in_many_are_the_same_bits() -> None:
    config, parameters, rng = network(dtype=np.float32, norm="batch")
    contexts, targets = batch(config, rng, 50)
    indices, rates = rng.integers(0, 50, (6, 8)), np.full(6, 0.1)
    optimiser, engine = Optimiser("adamw"), ReferenceEngine()
    whole = TrainState.fresh(config, copy_parameters(parameters), optimiser)
    parts = TrainState.fresh(config, copy_parameters(parameters), optimiser)
    losses = engine.train(config, optimiser, whole, contexts, targets, indices, rates)
    pieces = [engine.train(config, optimiser, parts, contexts, targets, indices[k : k + 2], rates[k : k + 2]) for k in (0, 2, 4)]
    assert np.array_equal(losses, np.concatenate(pieces))
    assert all(np.array_equal(whole.parameters[name], parts.parameters[name]) for name in parameters)
    assert whole.parameters["layers.0.weight"].dtype == np.float32


def test_zero_output_weights_give_ln_v() -> None:
    config, parameters, rng = network()
    parameters["output.weight"][:] = 0.0
    parameters["output.bias"][:] = 0.0
    contexts, targets = batch(config, rng)
    losses = ReferenceEngine().negative_log_likelihood(config, parameters, contexts, targets)
    np.testing.assert_allclose(losses, math.log(11), rtol=1e-12)


def test_a_network_worked_on_paper() -> None:
    # V = 2, T = 1, E = 1, H = 1, identity: h = 3 * e + 1, logits = (0, 2h). For character 1: e = 0.5, h = 2.5, logits = (0, 5).
    config = MLPConfig(2, 1, 1, (1,), activation="identity")
    parameters = {
        "embedding.weight": np.array([[0.0], [0.5]]),
        "layers.0.weight": np.array([[3.0]]),
        "layers.0.bias": np.array([1.0]),
        "output.weight": np.array([[0.0], [2.0]]),
        "output.bias": np.array([0.0, 0.0]),
    }
    contexts, targets = np.array([[1], [1]], np.int32), np.array([0, 0], np.int32)
    seen = observe(config, parameters, contexts, targets)
    p1 = 1.0 / (1.0 + math.exp(-5.0))
    assert seen.loss == pytest.approx(-math.log(1.0 - p1))
    # d loss / d logit 1 = p1, so d loss / d h = 2 p1, d loss / d W1 = 2 p1 * e, and both examples agree: their mean is the same.
    assert seen.gradients["layers.0.weight"][0, 0] == pytest.approx(2.0 * p1 * 0.5)
    assert seen.gradients["embedding.weight"][1, 0] == pytest.approx(2.0 * p1 * 3.0)
    assert seen.gradients["embedding.weight"][0, 0] == 0.0


def test_a_step_that_is_not_finite_is_not_taken() -> None:
    config, parameters, rng = network()
    contexts, targets = batch(config, rng)
    optimiser = Optimiser("sgd")
    state = TrainState.fresh(config, parameters, optimiser)
    parameters["output.bias"][2] = np.inf
    before = copy_parameters(parameters)
    with np.errstate(invalid="ignore"):
        losses = ReferenceEngine().train(config, optimiser, state, contexts, targets, np.zeros((4, 2), np.int64), np.full(4, 0.1))
    assert len(losses) == 1
    assert not np.isfinite(losses[0])
    assert state.step == 0
    assert all(np.array_equal(before[name], parameters[name]) for name in before)


def test_running_statistics_are_those_of_torch() -> None:
    config, parameters, rng = network(norm="batch", output_norm=True)
    contexts, targets = batch(config, rng)
    twin = CharMLP(config, parameters)
    optimiser = Optimiser("sgd")
    state = TrainState.fresh(config, parameters, optimiser)
    rows = np.arange(6)[None, :]
    ReferenceEngine().train(config, optimiser, state, contexts, targets, rows, np.array([0.0]))
    twin(torch.from_numpy(contexts))
    for name in ("norms.0.running_mean", "norms.0.running_var", "output_norm.running_var"):
        close(parameters[name], dict(twin.named_buffers())[name])
    twin.eval()
    close(ReferenceEngine().logits(config, parameters, contexts), twin(torch.from_numpy(contexts)))


def test_probabilities_cut_and_renormalise() -> None:
    logits = np.log(np.array([[0.5, 0.2, 0.3]]))
    np.testing.assert_allclose(probabilities(logits), [[0.5, 0.2, 0.3]])
    np.testing.assert_allclose(probabilities(logits, top_k=2), [[0.625, 0.0, 0.375]])
    np.testing.assert_allclose(probabilities(logits, top_p=0.5), [[1.0, 0.0, 0.0]])
    np.testing.assert_allclose(probabilities(logits, top_p=0.51), [[0.625, 0.0, 0.375]])
    np.testing.assert_allclose(probabilities(logits, temperature=0.0), [[1.0, 0.0, 0.0]])
    squares = np.array([0.25, 0.04, 0.09])
    np.testing.assert_allclose(probabilities(logits, temperature=0.5), [squares / squares.sum()])


def test_sampling_follows_the_uniforms() -> None:
    # Logits do not depend on the context, so every character is drawn from (0.2, 0.5, 0.3).
    config, parameters, _ = network(vocabulary_size=3)
    parameters["output.weight"][:] = 0.0
    parameters["output.bias"][:] = np.log([0.2, 0.5, 0.3])
    start = np.zeros((3, config.context), np.int32)
    uniforms = np.array([[0.21, 0.69, 0.71, 0.19], [0.0, 0.9, 0.9, 0.9], [0.99, 0.99, 0.99, 0.99]])
    words = ReferenceEngine().drawer(config, [parameters])(start, uniforms)
    assert words.tolist() == [[1, 1, 2, 0], [0, 0, 0, 0], [2, 2, 2, 2]]


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda a: {"contexts": a["contexts"][:, :2]}, r"contexts have shape \(6, 2\); expected \(N, 4\)"),
        (lambda a: {"contexts": a["contexts"].astype(np.int64)}, "contexts are int64; expected int32"),
        (lambda a: {"targets": a["targets"] + np.int32(11)}, "targets hold characters"),
        (lambda a: {"targets": a["targets"][:3]}, r"targets have shape \(3,\)"),
        (lambda a: {"indices": a["indices"] + 6}, "indices run from"),
        (lambda a: {"indices": a["indices"].astype(np.int32)}, "indices are int32"),
        (lambda a: {"learning_rates": -a["learning_rates"]}, "negative"),
        (lambda a: {"learning_rates": a["learning_rates"][:1]}, "learning rates are"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_untouched(spoil, match: str) -> None:
    config, parameters, rng = network()
    contexts, targets = batch(config, rng)
    good = {"contexts": contexts, "targets": targets, "indices": rng.integers(0, 6, (3, 2)), "learning_rates": np.full(3, 0.1)}
    state, before = TrainState.fresh(config, parameters, Optimiser("sgd")), copy_parameters(parameters)
    with pytest.raises(EngineError, match=match):
        ReferenceEngine().train(config, Optimiser("sgd"), state, **{**good, **spoil(good)})
    assert all(np.array_equal(before[name], parameters[name]) for name in before)
