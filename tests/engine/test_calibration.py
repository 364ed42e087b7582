"""Calibration of the engines' own network: known answers, and what it is for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lettrine.engine.calibration import LOGIT_STD, calibrate
from lettrine.engine.reference import observe
from lettrine.errors import EngineError
from lettrine.model.config import MLPConfig
from lettrine.model.initialisation import NAIVE, SCHEMES, Initialisation, initialise
from lettrine.model.parameters import copy_parameters
from lettrine.training.api import Shape, train
from lettrine.training.settings import Settings

SHAPES = {
    "plain": {"activation": "tanh"},
    "relu": {"activation": "relu"},
    "direct": {"activation": "gelu", "direct": True},
    "norm": {"activation": "tanh", "norm": "batch"},
    "output norm": {"activation": "tanh", "norm": "batch", "output_norm": True, "output_bias": False},
}


def examples(config: MLPConfig, count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(5)
    contexts = random.integers(0, config.vocabulary_size, (count, config.context)).astype(np.int32)
    return contexts, random.integers(0, config.vocabulary_size, count).astype(np.int32)


@pytest.mark.parametrize("scheme", [NAIVE, SCHEMES["deep"], Initialisation(hidden=3.0), Initialisation(hidden=0.01)])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_layer_has_unit_spread_and_the_loss_is_that_of_a_guess(shape: str, scheme: Initialisation) -> None:
    config = MLPConfig(13, context=4, embedding=6, hidden=(40, 30, 20), **SHAPES[shape])
    parameters = initialise(config, scheme, np.random.default_rng(0), np.float64)
    untouched = copy_parameters(parameters)
    contexts, targets = examples(config)
    made = calibrate(config, parameters, contexts, targets)
    seen = observe(config, made.parameters, contexts, targets)
    for layer in range(3):
        assert seen.outputs[f"layers.{layer}"].std() == pytest.approx(1.0)
    logits = seen.outputs["output_norm" if config.output_norm else "output"] + seen.outputs.get("direct", 0.0)
    assert logits.std() == pytest.approx(LOGIT_STD)
    assert made.uniform == pytest.approx(math.log(13))
    assert made.loss[1] == pytest.approx(made.uniform, abs=0.02)
    assert made.loss[0] == pytest.approx(observe(config, untouched, contexts, targets).loss)
    last = ["output_norm"] if config.output_norm else ["output", "direct"] if config.direct else ["output"]
    assert [layer.name for layer in made.layers] == ["layers.0", "layers.1", "layers.2", *last]
    for name, value in untouched.items():
        np.testing.assert_array_equal(parameters[name], value)
    np.testing.assert_array_equal(made.parameters["embedding.weight"], untouched["embedding.weight"])


def test_the_factor_is_one_over_the_spread_and_the_bias_goes_with_the_weight() -> None:
    config = MLPConfig(5, context=2, embedding=3, hidden=(4,), activation="tanh")
    parameters = initialise(config, NAIVE, np.random.default_rng(1), np.float64)
    contexts, targets = examples(config, 50)
    before = observe(config, parameters, contexts, targets).outputs["layers.0"].std()
    made = calibrate(config, parameters, contexts, targets, std=2.0)
    assert made.layers[0].factor == pytest.approx(2.0 / before)
    np.testing.assert_allclose(made.parameters["layers.0.bias"], parameters["layers.0.bias"] * 2.0 / before)
    np.testing.assert_allclose(made.parameters["layers.0.weight"], parameters["layers.0.weight"] * 2.0 / before)


def test_zeros_cannot_be_scaled() -> None:
    config = MLPConfig(5, context=2, embedding=3, hidden=(4,), activation="tanh")
    parameters = initialise(config, Initialisation(hidden=0.0), np.random.default_rng(1))
    with pytest.raises(EngineError, match=r"outputs of layers\.0 have a standard deviation of 0"):
        calibrate(config, parameters, *examples(config))
    with pytest.raises(EngineError, match="std got 0"):
        calibrate(config, parameters, *examples(config), std=0.0)


def test_a_training_can_start_calibrated(few_words: list[str]) -> None:
    shape = Shape(context=3, embedding=8, hidden=(30,) * 4, activation="tanh")
    bad = Initialisation(hidden=5.0, hidden_fan_in=False, output_fan_in=False, calibrated=True)
    run = train(few_words, shape=shape, settings=Settings(init=bad, steps=30, batch=64))
    assert run.results is not None
    assert run.health is not None
    assert run.results.loss["initial"] == pytest.approx(math.log(run.model.config.vocabulary_size), abs=0.1)
    stds = [run.health.trace.output(f"layers.{layer}", "std")[0] for layer in range(4)]
    assert stds == pytest.approx([1.0] * 4, rel=0.15)  # another batch than the one it was scaled on
    assert not {finding.id for finding in run.health.findings} & {"saturation", "initial-loss", "activation-scale"}
    assert "calibrated" in SCHEMES
    again = train(few_words, shape=shape, settings=Settings(init=bad, steps=30, batch=64))
    np.testing.assert_array_equal(run.model.parameters["output.weight"], again.model.parameters["output.weight"])
