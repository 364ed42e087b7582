"""The native module on networks of any shape and numbers of any kind: it agrees with its twin, or at least harms nothing.

Run under AddressSanitizer and UndefinedBehaviorSanitizer this is a fuzzer of the kernels: every edge of a vector register, odd
widths, batches of one, and values that are NaN, infinite, denormal or the largest there are.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lettrine.activations import TRAINABLE
from lettrine.engine.base import Optimiser, TrainState
from lettrine.engine.reference import ReferenceEngine
from lettrine.health import measure, moments
from lettrine.model.config import NORMS, MLPConfig
from lettrine.model.initialisation import SCHEMES, initialise
from lettrine.model.parameters import copy_parameters

native = pytest.importorskip("lettrine.engine.native")
module = pytest.importorskip("lettrine._native")

bounded = settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
WIDTHS = st.sampled_from([1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65])
configs = st.builds(
    MLPConfig,
    vocabulary_size=st.sampled_from([2, 3, 8, 16, 17, 27, 33, 65]),
    context=st.integers(1, 9),
    embedding=st.sampled_from([1, 2, 3, 8, 10, 17]),
    hidden=st.lists(WIDTHS, min_size=1, max_size=3).map(tuple),
    activation=st.sampled_from(TRAINABLE),
    norm=st.sampled_from(NORMS),
    output_bias=st.booleans(),
    output_norm=st.booleans(),
    direct=st.booleans(),
)
optimisers = st.sampled_from(
    [
        Optimiser("sgd"),
        Optimiser("sgd", momentum=0.9, weight_decay=0.01),
        Optimiser("adamw"),
        Optimiser("adamw", l2={"bias": 0.1}),
    ]
)
ODD = (np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324, 1e-40, -1e-310, 3e38, -3e38, 1e308, -1e308, 1.0)


@st.composite
def problems(draw):
    """A network, its optimiser, and some batches for it, with sane numbers; a generator for more."""
    config, optimiser = draw(configs), draw(optimisers)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    parameters = initialise(config, SCHEMES["kaiming"], rng, dtype)
    examples, batch, steps = draw(st.integers(1, 70)), draw(st.integers(1, 40)), draw(st.integers(0, 4))
    contexts = rng.integers(0, config.vocabulary_size, (examples, config.context), dtype=np.int32)
    targets = rng.integers(0, config.vocabulary_size, examples, dtype=np.int32)
    indices = rng.integers(0, examples, (steps, batch))
    engine = native.NativeEngine(draw(st.sampled_from(module.available_isas())))
    return config, optimiser, parameters, contexts, targets, indices, engine, draw(st.integers(1, 3)), rng


def spoil(draw, rng: np.random.Generator, arrays, odd=ODD) -> None:
    """Put odd values into some places of some arrays."""
    for value in arrays:
        if draw(st.booleans()):
            flat = value.reshape(-1)
            with np.errstate(over="ignore", under="ignore"):
                flat[rng.integers(0, flat.size, draw(st.integers(1, 5)))] = rng.choice(odd)


@bounded
@given(problems())
def test_networks_of_any_shape_agree_with_the_reference(problem) -> None:
    config, optimiser, parameters, contexts, targets, indices, engine, threads, rng = problem
    parameters = copy_parameters(parameters, np.float64)
    reference = ReferenceEngine()
    np.testing.assert_allclose(
        engine.logits(config, parameters, contexts), reference.logits(config, parameters, contexts), rtol=1e-8, atol=1e-9
    )
    np.testing.assert_allclose(
        engine.negative_log_likelihood(config, parameters, contexts, targets, threads=threads),
        reference.negative_log_likelihood(config, parameters, contexts, targets),
        rtol=1e-8,
        atol=1e-9,
    )
    starts, uniforms = contexts[:5], rng.random((min(len(contexts), 5), 6))
    choice = {"temperature": 0.8, "top_k": 3, "top_p": 0.95}
    np.testing.assert_array_equal(
        engine.drawer(config, [parameters], **choice)(starts, uniforms),
        reference.drawer(config, [parameters], **choice)(starts, uniforms),
    )
    ours, theirs = (TrainState.fresh(config, copy_parameters(parameters), optimiser) for _ in range(2))
    rates = np.full(len(indices), 0.01)
    with np.errstate(all="ignore"):
        found = engine.train(config, optimiser, ours, contexts, targets, indices, rates, threads=threads)
        expected = reference.train(config, optimiser, theirs, contexts, targets, indices, rates)
    # Where a batch norm sees one example, or equal ones, rounding decides; there only the shapes are held.
    kinked = config.activation in ("relu", "leaky-relu", "selu", "elu", "softsign")
    sharp = config.norm == "batch" or config.output_norm or kinked
    assert len(found) == len(expected)
    if not sharp:
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    elif len(found):
        assert found[0] == pytest.approx(expected[0], rel=1e-4, abs=1e-4)


@bounded
@given(problems(), st.data())
def test_numbers_of_any_kind_harm_nothing(problem, data) -> None:
    config, optimiser, parameters, contexts, targets, indices, engine, threads, rng = problem
    spoil(data.draw, rng, parameters.values())
    assert engine.logits(config, parameters, contexts).shape == (len(contexts), config.vocabulary_size)
    assert engine.negative_log_likelihood(config, parameters, contexts, targets, threads=threads).shape == targets.shape
    uniforms = rng.random((len(contexts), 4))
    draw = engine.drawer(
        config,
        [parameters],
        temperature=data.draw(st.sampled_from([0.0, 1e-300, 1.0, 1000.0])),
        top_k=data.draw(st.sampled_from([0, 1, 2, 1000])),
        top_p=data.draw(st.sampled_from([1e-300, 0.5, 1.0])),
        threads=threads,
    )
    words = draw(contexts, uniforms)
    assert words.min(initial=0) >= 0
    assert words.max(initial=0) < config.vocabulary_size
    state = TrainState.fresh(config, parameters, optimiser)
    spoil(data.draw, rng, state.moments.values())
    state.step = data.draw(st.sampled_from([0, 1, 10**6, 2**31 - 1]))
    before = {name: value.shape for name, value in parameters.items()}
    began = state.step
    rates = np.full(len(indices), data.draw(st.sampled_from([0.0, 5e-324, 0.1, 1e300])))
    losses = engine.train(config, optimiser, state, contexts, targets, indices, rates, threads=threads)
    assert len(losses) <= len(indices)
    assert np.isfinite(losses[:-1]).all(), "it stops at the first loss that is not finite"
    assert state.step - began == int(np.isfinite(losses).sum())
    assert {name: value.shape for name, value in parameters.items()} == before


@bounded
@given(st.data())
def test_figures_of_any_array_equal_those_of_numpy(data) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    arrays = []
    for _ in range(data.draw(st.integers(1, 3))):
        shape = (data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40)))
        value = rng.standard_normal(shape).astype(data.draw(st.sampled_from([np.float32, np.float64])))
        spoil(data.draw, rng, [value], [x for x in ODD if not 1e100 < abs(x) < np.inf])  # sums of those overflow, each in its way
        arrays.append(value)
    items = [measure.OutputArrays(value, -1, data.draw(st.sampled_from(["tanh", "relu", "sigmoid", ""]))) for value in arrays]
    with np.errstate(all="ignore"), pytest.MonkeyPatch.context() as patch:
        found = measure.outputs(items, detail=True)
        patch.setattr(moments, "native", None)
        expected = measure.outputs(items, detail=True)
    for ours, theirs in zip(found, expected, strict=True):
        rms = np.nan_to_num(theirs.row[2])  # where values cancel, their mean has fewer digits than they have
        np.testing.assert_allclose(ours.row, theirs.row, rtol=1e-5, atol=1e-7 * rms)
        for name in ("dead", "saturated"):
            assert (getattr(ours, name) is None) == (getattr(theirs, name) is None)
            if getattr(ours, name) is not None:
                np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
        assert (ours.histogram is None) == (theirs.histogram is None)
        if ours.histogram is not None:
            assert int(np.sum(ours.histogram.counts)) == int(np.sum(theirs.histogram.counts))


@bounded
@given(st.data())
def test_histograms_of_the_largest_numbers_harm_nothing(data) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    value = rng.standard_normal((data.draw(st.integers(1, 20)), data.draw(st.integers(1, 20))))
    spoil(data.draw, rng, [value])
    if data.draw(st.booleans()):
        value[:] = rng.choice(ODD)
    with np.errstate(all="ignore"):
        found = measure.outputs([measure.OutputArrays(value, -1, "tanh")], detail=True)[0]
    if found.histogram is not None:
        assert found.histogram.low < found.histogram.high
        assert int(np.sum(found.histogram.counts)) == int(np.isfinite(value).sum())
