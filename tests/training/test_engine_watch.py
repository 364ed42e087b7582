"""The engines' watch and the torch probe see the same thing: one network, one set of batches, two traces."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lettrine
from lettrine import health
from lettrine.engine.base import Optimiser, TrainState
from lettrine.engine.choice import choose_engine
from lettrine.health import measure
from lettrine.model.config import MLPConfig
from lettrine.model.initialisation import SCHEMES, initialise
from lettrine.model.parameters import copy_parameters
from lettrine.text.windows import Windows
from lettrine.torch.model import CharMLP
from lettrine.training.api import Shape
from lettrine.training.settings import Settings
from lettrine.training.watch import EngineWatch, facts_of

STEPS, BATCH, RATE = 6, 16, 0.2
CONFIGS = {
    "tanh": MLPConfig(11, 3, 4, (8, 6), activation="tanh"),
    "norm": MLPConfig(11, 3, 4, (8, 6), activation="tanh", norm="batch", output_norm=True),
    "relu-direct": MLPConfig(11, 3, 4, (8, 6), activation="relu", direct=True),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_two_traces_of_one_training(name: str) -> None:
    config = CONFIGS[name]
    rng = np.random.default_rng(0)
    parameters = initialise(config, SCHEMES["naive"], rng)
    examples = Windows(rng.integers(0, 11, (200, 3), dtype=np.int32), rng.integers(0, 11, 200, dtype=np.int32))
    rows = rng.integers(0, 200, (STEPS, BATCH))

    engine, optimiser = choose_engine("auto"), Optimiser("sgd", momentum=0.9)
    state = TrainState.fresh(config, copy_parameters(parameters), optimiser)
    ours = EngineWatch(config, optimiser, facts_of(config, optimiser, engine, BATCH, examples.targets), every=1)
    for step in range(STEPS):
        ours.losses(step, ours.step(engine, state, examples, rows[step : step + 1], RATE, 1))

    twin = CharMLP(config, parameters)
    torch_optimiser = torch.optim.SGD(twin.parameters(), lr=RATE, momentum=0.9)
    with health.watch(twin, torch_optimiser, every=1) as theirs:
        for batch in rows:
            torch_optimiser.zero_grad()
            logits = twin(torch.from_numpy(examples.contexts[batch]))
            loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(examples.targets[batch]).long())
            loss.backward()
            torch_optimiser.step()
            theirs.loss(loss)

    a, b = ours.trace(), theirs.report().trace
    assert a.steps.tolist() == b.steps.tolist() == list(range(STEPS))
    np.testing.assert_allclose(a.loss.mean, b.loss.mean, rtol=1e-4)
    assert [m.name for m in a.modules] == [m.name for m in b.modules if m.name in a.outputs]
    close = {"rtol": 2e-3, "atol": 1e-5}
    for module in a.modules:
        np.testing.assert_allclose(a.outputs[module.name], b.outputs[module.name], err_msg=module.name, **close)
        np.testing.assert_allclose(a.gradients[module.name], b.gradients[module.name], err_msg=module.name, **close)
    for parameter in a.parameters:
        np.testing.assert_allclose(
            a.parameter_stats[parameter.name], b.parameter_stats[parameter.name], err_msg=parameter.name, **close
        )
    assert set(a.norms) == set(b.norms)
    for norm in a.norms:
        np.testing.assert_allclose(a.norms[norm], b.norms[norm], err_msg=norm, **close)
    for stat in ("loss", "learning_rate", "gradient_norm", "leftover_gradient", "training"):
        np.testing.assert_allclose(a.step_stats[stat], b.step_stats[stat], err_msg=stat, **close)
    same = ["kind", "activation", "units", "bias", "fed_by"]
    if not config.direct:  # with direct connections no module's output is the logits; the engines still know which layer is last
        same.append("role")
    infos = {m.name: m for m in b.modules}
    for module in a.modules:
        assert {key: getattr(module, key) for key in same} == {key: getattr(infos[module.name], key) for key in same}
    assert (a.facts.classes, a.facts.batch_size, a.facts.optimiser, a.facts.momentum) == (
        b.facts.classes,
        b.facts.batch_size,
        b.facts.optimiser,
        b.facts.momentum,
    )


def test_a_defect_of_the_health_check_is_shown_and_ends_no_training(few_words, monkeypatch) -> None:
    settings = Settings(steps=20, batch=8, engine="reference")
    shape = Shape(context=2, embedding=3, hidden=(6,))
    whole = lettrine.train(few_words, shape=shape, settings=settings)

    gradients, calls = measure.gradients, []

    def broken(*args, **kwargs):
        calls.append(1)
        if len(calls) > 2:
            raise ZeroDivisionError("a defect")
        return gradients(*args, **kwargs)

    monkeypatch.setattr(measure, "gradients", broken)
    run = lettrine.train(few_words, shape=shape, settings=settings)
    assert any("ZeroDivisionError: a defect" in error for error in run.health.trace.facts.errors)
    assert len(run.health.trace.facts.errors) == 1
    for name, value in whole.model.parameters.items():
        np.testing.assert_array_equal(run.model.parameters[name], value)
