"""What the native engine refuses, and what it promises beside its figures: threads, stopping, resuming, drawing words."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from lettrine.engine.base import Optimiser, TrainState
from lettrine.engine.reference import ReferenceEngine, probabilities
from lettrine.errors import EngineError
from lettrine.model import counting
from lettrine.model.config import MLPConfig
from lettrine.model.initialisation import SCHEMES, initialise
from lettrine.model.kinds import counted_kinds
from lettrine.model.parameters import copy_parameters
from lettrine.text.corpora import load_corpus
from lettrine.text.vocabulary import Vocabulary
from lettrine.text.windows import windows

native = pytest.importorskip("lettrine.engine.native")
from lettrine import _native  # noqa: E402

ISAS = _native.available_isas()
SGD, ADAMW = Optimiser("sgd"), Optimiser("adamw")


def setup(dtype: type = np.float32, examples: int = 60, scheme: str = "kaiming", **shape):
    config = MLPConfig(**{"vocabulary_size": 11, "context": 4, "embedding": 3, "hidden": (9,), **shape})
    rng = np.random.default_rng(0)
    contexts = rng.integers(0, config.vocabulary_size, (examples, config.context), dtype=np.int32)
    targets = rng.integers(0, config.vocabulary_size, examples, dtype=np.int32)
    return config, initialise(config, SCHEMES[scheme], rng, dtype), contexts, targets, rng


def bits(state: TrainState) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in {**state.parameters, **state.moments}.items()}


def swap(name: str, change):
    def apply(state: TrainState) -> None:
        arrays = state.moments if name in state.moments else state.parameters
        arrays[name] = change(arrays[name])

    return apply


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "spoil",
    [
        swap("layers.0.weight", lambda a: a[:-1]),
        swap("layers.0.weight", np.asfortranarray),
        swap("layers.0.weight", lambda a: a.astype(np.float64)),
        swap("output.bias", read_only),
        swap("output.bias", lambda a: np.repeat(a, 2)[::2]),
        swap("embedding.weight", lambda a: a.astype(np.float16)),
        swap("exp_avg.layers.0.weight", lambda a: a.T.copy()),
        swap("exp_avg.layers.0.weight", np.asfortranarray),
        swap("exp_avg_sq.output.bias", read_only),
        swap("exp_avg_sq.output.bias", lambda a: a.astype(np.float64)),
        lambda state: state.moments.pop("exp_avg.output.bias"),
        lambda state: state.parameters.pop("output.bias"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_untouched(spoil) -> None:
    config, parameters, contexts, targets, rng = setup()
    state = TrainState.fresh(config, parameters, ADAMW)
    spoil(state)
    before = bits(state)
    with pytest.raises(EngineError):
        native.NativeEngine().train(config, ADAMW, state, contexts, targets, rng.integers(0, 60, (3, 8)), np.full(3, 0.1))
    assert bits(state) == before
    assert state.step == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"contexts": lambda a: a + 11},
        {"contexts": lambda a: -a - 1},
        {"contexts": lambda a: a[:, :3]},
        {"contexts": lambda a: a.astype(np.int64)},
        {"targets": lambda a: np.where(np.arange(len(a)) == 59, 11, a).astype(np.int32)},
        {"targets": lambda a: a[:-1]},
        {"targets": lambda a: a.astype(np.float32)},
        {"indices": lambda a: np.where(a == a.max(), 60, a)},
        {"indices": lambda a: a - 60},
        {"indices": lambda a: a.astype(np.int32)},
        {"indices": lambda a: a.ravel()},
        {"indices": lambda a: a[:, :0]},
        {"learning_rates": lambda a: a[:-1]},
        {"learning_rates": lambda a: a.astype(np.float32)},
        {"learning_rates": lambda a: a * np.nan},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_examples_and_batches_that_do_not_fit_are_refused_untouched(wrong) -> None:
    config, parameters, contexts, targets, rng = setup()
    state = TrainState.fresh(config, parameters, SGD)
    given = {"contexts": contexts, "targets": targets, "indices": rng.integers(0, 60, (3, 8)), "learning_rates": np.full(3, 0.1)}
    for name, change in wrong.items():
        given[name] = change(given[name])
    before = bits(state)
    with pytest.raises(EngineError):
        native.NativeEngine().train(config, SGD, state, **given)
    assert bits(state) == before


def test_evaluation_and_sampling_refuse_what_does_not_fit() -> None:
    config, parameters, contexts, targets, rng = setup()
    engine = native.NativeEngine()
    with pytest.raises(EngineError, match="expected 0 to 10"):
        engine.logits(config, parameters, contexts + 11)
    with pytest.raises(EngineError, match="targets"):
        engine.negative_log_likelihood(config, parameters, contexts, targets[1:])
    with pytest.raises(EngineError, match="uniforms"):
        engine.drawer(config, [parameters])(contexts, rng.random((59, 5)))
    with pytest.raises(EngineError, match="uniforms"):
        engine.drawer(config, [parameters])(contexts, rng.random((60, 5)).astype(np.float32))


def test_inputs_may_be_slices_and_read_only() -> None:
    config, parameters, contexts, targets, rng = setup()
    wide = np.zeros((60, 8), np.int32)
    wide[:, ::2] = contexts
    rows, rates = rng.integers(0, 60, (3, 8)), np.full(3, 0.1)
    one, two = (TrainState.fresh(config, copy_parameters(parameters), SGD) for _ in range(2))
    expected = native.NativeEngine().train(config, SGD, one, contexts, targets, rows, rates)
    found = native.NativeEngine().train(
        config, SGD, two, wide[:, ::2], read_only(targets), np.asfortranarray(rows), read_only(rates)
    )
    assert np.array_equal(found, expected)
    assert bits(one) == bits(two)


@pytest.mark.parametrize("optimiser", [SGD, ADAMW], ids=["sgd", "adamw"])
@pytest.mark.parametrize(
    "shape",
    [
        {"hidden": (200,), "context": 8, "embedding": 24, "vocabulary_size": 27},  # the first layer by table
        {"hidden": (90, 150), "vocabulary_size": 400, "norm": "batch"},  # and plainly
        {"hidden": (200,), "context": 8, "embedding": 24, "direct": True, "output_norm": True},
    ],
    ids=["table", "deep", "direct"],
)
def test_threads_change_no_bit(shape, optimiser: Optimiser) -> None:
    config, parameters, contexts, targets, rng = setup(examples=400, **shape)
    rows, rates = rng.integers(0, 400, (20, 200)), np.full(20, 0.01)
    states = []
    for threads in (1, 2, 3, 2):
        states.append(TrainState.fresh(config, copy_parameters(parameters), optimiser))
        native.NativeEngine().train(config, optimiser, states[-1], contexts, targets, rows, rates, threads=threads)
    assert bits(states[0]) == bits(states[1]) == bits(states[2]) == bits(states[3])
    engine = native.NativeEngine()
    alone = engine.negative_log_likelihood(config, parameters, contexts, targets)
    assert np.array_equal(alone, engine.negative_log_likelihood(config, parameters, contexts, targets, threads=2))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("optimiser", [SGD, Optimiser("sgd", momentum=0.9), ADAMW], ids=["sgd", "momentum", "adamw"])
def test_steps_in_one_call_or_in_many_are_the_same_bits(optimiser: Optimiser, isa: str) -> None:
    config, parameters, contexts, targets, rng = setup(norm="batch", vocabulary_size=5, embedding=8)
    rows, rates = rng.integers(0, 60, (6, 20)), np.full(6, 0.1)
    whole, parts = (TrainState.fresh(config, copy_parameters(parameters), optimiser) for _ in range(2))
    engine = native.NativeEngine(isa)
    losses = engine.train(config, optimiser, whole, contexts, targets, rows, rates)
    pieces = [engine.train(config, optimiser, parts, contexts, targets, rows[k : k + 2], rates[k : k + 2]) for k in (0, 2, 4)]
    assert np.array_equal(losses, np.concatenate(pieces))
    assert bits(whole) == bits(parts)
    assert whole.step == parts.step == 6


def test_a_run_begun_on_one_engine_goes_on_on_the_other() -> None:
    config, parameters, contexts, targets, rng = setup(np.float64)
    rows, rates = rng.integers(0, 60, (8, 20)), np.full(8, 0.01)
    engines = (native.NativeEngine(), ReferenceEngine())
    finals = []
    for first, second in (engines, engines[::-1]):
        state = TrainState.fresh(config, copy_parameters(parameters), ADAMW)
        first.train(config, ADAMW, state, contexts, targets, rows[:4], rates[:4])
        second.train(config, ADAMW, state, contexts, targets, rows[4:], rates[4:])
        finals.append(state)
    for name, value in finals[0].parameters.items():
        np.testing.assert_allclose(value, finals[1].parameters[name], rtol=1e-8, atol=1e-11, err_msg=name)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu", "selu", "sigmoid"])
def test_a_loss_that_is_not_finite_stops_before_its_step(activation: str, isa: str) -> None:
    config, parameters, contexts, targets, rng = setup(norm="batch", activation=activation)
    state = TrainState.fresh(config, parameters, ADAMW)
    engine, rows = native.NativeEngine(isa), rng.integers(0, 60, (4, 8))
    assert len(engine.train(config, ADAMW, state, contexts, targets, rows, np.full(4, 0.01))) == 4
    for name in ("norms.0.weight", "output.bias"):
        broken = TrainState(copy_parameters(state.parameters), copy_parameters(state.moments), state.step)
        broken.parameters[name][3] = np.nan
        before = bits(broken)
        losses = engine.train(config, ADAMW, broken, contexts, targets, rows, np.full(4, 0.01))
        assert len(losses) == 1
        assert np.isnan(losses[0])
        assert bits(broken) == before
        assert broken.step == 4


@pytest.mark.parametrize("isa", ISAS)
def test_huge_and_tiny_logits_neither_overflow_nor_vanish(isa: str) -> None:
    config, parameters, contexts, targets, _ = setup()
    parameters["output.bias"][:] = np.linspace(-2000, 2000, 11)
    parameters["layers.0.weight"] *= 1e4  # saturates every unit
    ours = native.NativeEngine(isa).negative_log_likelihood(config, parameters, contexts, targets)
    theirs = ReferenceEngine().negative_log_likelihood(config, parameters, contexts, targets)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-3)


CHOICES = [
    {},
    {"temperature": 0.0},
    {"temperature": 0.5},
    {"temperature": 3.0, "top_k": 4},
    {"top_p": 0.7},
    {"top_k": 1},
    {"top_k": 5, "top_p": 0.5, "temperature": 1.3},
    {"top_k": 99},
    {"top_p": 1e-9},
]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_words_equal_the_reference(choice, isa: str) -> None:
    config, parameters, contexts, _, rng = setup(np.float64, examples=300, norm="batch", scheme="naive")
    for count in (1, 300):
        uniforms = rng.random((count, 12))
        uniforms[0, 0] = 0.0
        uniforms[-1, 1] = np.nextafter(1.0, 0.0)
        ours = native.NativeEngine(isa).drawer(config, [parameters], **choice)(contexts[:count], uniforms)
        theirs = ReferenceEngine().drawer(config, [parameters], **choice)(contexts[:count], uniforms)
        assert ours.dtype == np.int32
        assert np.array_equal(ours, theirs)


def test_ties_go_to_the_lower_character() -> None:
    config, parameters, contexts, _, rng = setup()
    parameters["output.weight"][:] = 0.0
    parameters["output.bias"][:] = [0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]
    for choice in ({"temperature": 0.0}, {"top_k": 1}, {"top_p": 0.01}):
        words = native.NativeEngine().drawer(config, [parameters], **choice)(contexts, rng.random((60, 3)))
        assert (words == 1).all()


def test_drawn_characters_follow_the_models_probabilities() -> None:
    config, parameters, contexts, _, rng = setup(scheme="naive")
    chance = probabilities(native.NativeEngine().logits(config, parameters, contexts[:1]), temperature=4.0)[0]
    starts = np.repeat(contexts[:1], 20_000, axis=0)
    drawn = native.NativeEngine().drawer(config, [parameters], temperature=4.0)(starts, rng.random((20_000, 1)))[:, 0]
    seen, expected = np.bincount(drawn, minlength=11), chance * 20_000
    assert expected.min() > 20
    # chi-square with 10 degrees of freedom passes 29.6 once in a thousand
    assert ((seen - expected) ** 2 / expected).sum() < 29.6


def test_empty_calls_do_nothing() -> None:
    config, parameters, contexts, targets, rng = setup()
    engine, state = native.NativeEngine(), TrainState.fresh(config, parameters, ADAMW)
    before = bits(state)
    assert engine.train(config, ADAMW, state, contexts, targets, np.zeros((0, 4), np.int64), np.zeros(0)).shape == (0,)
    assert engine.logits(config, parameters, contexts[:0]).shape == (0, 11)
    assert engine.drawer(config, [parameters])(contexts[:0], rng.random((0, 5))).shape == (0, 5)
    assert engine.drawer(config, [parameters])(contexts, rng.random((60, 0))).shape == (60, 0)
    assert bits(state) == before


def test_an_unknown_instruction_set_is_refused() -> None:
    with pytest.raises(EngineError, match=f"expected one of {ISAS[0]}"):
        native.NativeEngine("avx9000")


def test_the_environment_chooses_the_instruction_set() -> None:
    code = "from lettrine.engine.native import NativeEngine, describe; print(NativeEngine().isa, describe()['native'])"
    for isa in ISAS:
        run = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"LETTRINE_ISA": isa}, capture_output=True, text=True, check=True
        )
        assert run.stdout.split() == [isa, isa]
    run = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"LETTRINE_ISA": "sse9"}, capture_output=True, text=True, check=False
    )
    assert "EngineError" in run.stderr
    assert "'sse9' from the environment variable LETTRINE_ISA" in run.stderr


def test_the_stub_names_what_the_module_has() -> None:
    stub = (native.__file__ or "").replace("engine/native.py", "_native.pyi")
    with open(stub, encoding="utf-8") as file:  # noqa: PTH123 - one line, and gone
        found = (re.match(r"(?:def|class) (\w+)", line) for line in file)
        named = {match[1] for match in found if match}
    assert named == {name for name in dir(_native) if not name.startswith("_")}


def test_read_only_examples_are_looked_through_once_and_still_refused_where_they_do_not_fit() -> None:
    """Whatever was found within one vocabulary is not taken for granted in a smaller one, nor in another array."""
    config = MLPConfig(5, context=2, embedding=2, hidden=(3,))
    parameters = initialise(config, SCHEMES["kaiming"], np.random.default_rng(0))
    engine = native.NativeEngine()
    for highest, accepted in ((4, True), (5, False)):
        contexts, targets = np.full((3, 2), highest, np.int32), np.zeros(3, np.int32)
        contexts.flags.writeable = targets.flags.writeable = False
        for _ in range(2):
            if accepted:
                engine.negative_log_likelihood(config, parameters, contexts, targets)
            else:
                with pytest.raises(EngineError, match="hold characters"):
                    engine.negative_log_likelihood(config, parameters, contexts, targets)
    smaller = MLPConfig(4, context=2, embedding=2, hidden=(3,))
    fitting = np.full((3, 2), 4, np.int32)
    fitting.flags.writeable = False
    engine.negative_log_likelihood(config, parameters, fitting, np.zeros(3, np.int32))
    with pytest.raises(EngineError, match="hold characters"):
        engine.logits(smaller, initialise(smaller, SCHEMES["kaiming"], np.random.default_rng(0)), fitting)


def test_counted_words_are_as_likely_as_the_reference_says() -> None:
    words = load_corpus("first-names").words[:800]
    vocabulary = Vocabulary.from_words(words)
    targets = windows(words[:600], vocabulary, 1).targets
    for order in (2, 5, 10):
        counts = counting.count(targets, np.empty(0, np.int32), vocabulary.size, order)
        for context in (1, 4, 9):  # shorter and longer than what the counts see
            asked = windows([*words[600:], "", "zzzzzzzzzzzz"], vocabulary, context)
            ours = native.NativeEngine().count_probabilities(counts, asked.contexts)
            np.testing.assert_allclose(ours, counts.probabilities(asked.contexts), rtol=1e-12)
            one = native.NativeEngine().count_probabilities(counts, asked.contexts, asked.targets)
            np.testing.assert_allclose(one, counts.probability(asked.contexts, asked.targets), rtol=1e-12)


@pytest.mark.parametrize("how", [{}, {"temperature": 0.0}, {"temperature": 0.5, "top_k": 3}, {"top_p": 0.6}])
@pytest.mark.parametrize("networks", [0, 1, 2])
def test_networks_and_counts_together_draw_as_the_reference_does(networks: int, how: dict[str, float]) -> None:
    words = [word.title() for word in load_corpus("first-names").words[:800]]
    vocabulary = Vocabulary.from_words(words)
    config = MLPConfig(vocabulary.size, context=4, embedding=3, hidden=(7,))
    seen = windows(words, vocabulary, 2)
    counts = counting.count(seen.targets, np.empty(0, np.int32), vocabulary.size, 5)
    kinds = counted_kinds(vocabulary.characters, seen.contexts, seen.targets)
    assert kinds is not None
    kinds = replace(kinds, weight=0.7)
    each = [initialise(config, SCHEMES["naive"], np.random.default_rng(seed), np.float64) for seed in range(networks)]
    uniforms, starts = np.random.default_rng(3).random((700, 9)), np.zeros((700, 4), np.int32)
    ours = native.NativeEngine().drawer(config, each, counts, (0.3, 0.8), kinds, **how)
    theirs = ReferenceEngine().drawer(config, each, counts, (0.3, 0.8), kinds, **how)
    assert (ours(starts, uniforms) == theirs(starts, uniforms)).all()


def test_words_do_not_depend_on_what_was_drawn_before_nor_on_threads() -> None:
    words = load_corpus("first-names").words[:800]
    vocabulary = Vocabulary.from_words(words)
    config = MLPConfig(vocabulary.size, context=6, embedding=3, hidden=(20,))
    counts = counting.count(windows(words, vocabulary, 1).targets, np.empty(0, np.int32), vocabulary.size, 5)
    network = initialise(config, SCHEMES["kaiming"], np.random.default_rng(0), np.float32)
    # At this temperature more contexts are met than are kept, and few of them twice.
    make = functools.partial(native.NativeEngine().drawer, config, [network], counts, (0.5, 0.5), temperature=2.0)
    uniforms, starts = np.random.default_rng(4).random((12_000, 16)), np.zeros((12_000, 6), np.int32)
    whole = make()(starts, uniforms)
    assert (whole == make(threads=2)(starts, uniforms)).all()
    again = make()
    again(starts, uniforms[::-1])
    parts = [again(starts[at : at + 700], uniforms[at : at + 700]) for at in range(0, len(starts), 700)]
    assert (whole == np.concatenate(parts)).all()
    assert len(np.unique(whole[:, 4:8], axis=0)) > 2**12
