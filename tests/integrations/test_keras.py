from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_trainings import SIZE, examples

os.environ["KERAS_BACKEND"] = "torch"
keras = pytest.importorskip("keras")

from lettrine.integrations.keras import HealthCheck  # noqa: E402  Keras reads its backend when it is imported

pytestmark = pytest.mark.filterwarnings("ignore")  # Keras warns of what is torch's
STEPS = 16  # of an epoch


def sequential() -> Any:
    layers = keras.layers
    return keras.Sequential([layers.Input((12,)), layers.Dense(24, "relu"), layers.BatchNormalization(), layers.Dense(4)])


def functional() -> Any:
    inputs = keras.Input((12,))
    hidden = keras.Sequential([keras.layers.Dense(24), keras.layers.ReLU()], name="trunk")(inputs)
    return keras.Model(inputs, keras.layers.Dense(4, name="head")(hidden))


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = keras.layers.Dense(24, "tanh", name="first"), keras.layers.Dense(4, name="second")

    def call(self, x: Any) -> Any:
        return self.second(self.first(x))


class Losses(keras.callbacks.Callback):
    """The loss of each batch, out of Keras's running means."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        before = sum(self.seen[len(self.seen) - batch :])
        self.seen.append(logs["loss"] * (batch + 1) - before)


def fit(make: Any, *callbacks: Any, epochs: int = 2, optimizer: Any = None, **options: Any) -> Any:
    keras.utils.set_random_seed(0)
    model = make()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=optimizer or keras.optimizers.Adam(3e-3), loss=loss)
    (x, y), held_out = examples(SIZE * STEPS), tuple(each.numpy() for each in examples(128, 1))
    model.fit(
        x.numpy(), y.numpy(), SIZE, epochs=epochs, validation_data=held_out, callbacks=list(callbacks), verbose=0, **options
    )
    return model


@pytest.mark.parametrize("make", [sequential, functional, Subclassed])
def test_watching_changes_nothing_and_losses_are_those_of_the_steps(make: Any) -> None:
    check, losses = HealthCheck(show=False), Losses()
    watched = fit(make, check, losses)
    plain = fit(make)
    assert all(np.array_equal(a, b) for a, b in zip(watched.get_weights(), plain.get_weights(), strict=True))
    trace = check.report.trace
    assert trace.facts.errors == ()
    assert not [each for each in check.report.outcomes if each.status == "failed"]
    np.testing.assert_allclose(trace.loss.mean, losses.seen, rtol=1e-3)  # a running mean has lost digits
    assert (trace.facts.optimiser, trace.facts.momentum, trace.facts.classes) == ("Adam", 0.9, 4)
    assert trace.step_stats["learning_rate"].tolist() == pytest.approx([3e-3] * len(trace.steps))
    assert (trace.facts.batch_size, trace.step_stats["training"][0]) == (SIZE, 1.0)
    assert trace.dev.step.tolist() == [STEPS, 2 * STEPS]
    assert trace.dev.mean[-1] == pytest.approx(watched.history.history["val_loss"][-1])
    numbered = {re.sub(r"_\d+$", "", name) for name in trace.outputs}  # Keras counts the layers of a process
    assert {sequential: {"dense", "batch_normalization"}, functional: {"trunk/dense", "re_lu", "head"}}.get(
        make, {"first", "second"}
    ) == numbered
    kernels = [name for name in trace.parameter_stats if name.endswith(".kernel")]
    assert len(kernels) == 2
    assert all(trace.parameter(name, "update_data")[0] > 0 for name in kernels)
    assert not {"apply", "scale_loss"} & set(vars(watched.optimizer))
    assert sum(len(each._forward_hooks) for each in watched._flatten_layers()) == 0


def test_a_schedule_a_checkpoint_and_a_second_fit(tmp_path: Path) -> None:
    rates = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.9)
    check = HealthCheck(folder=tmp_path, show=False)
    saved = keras.callbacks.ModelCheckpoint(tmp_path / "kept.keras")
    model = fit(sequential, check, saved, optimizer=keras.optimizers.SGD(rates, momentum=0.5))
    stats = check.report.trace.step_stats["learning_rate"]
    assert stats[:3].tolist() == pytest.approx([0.1, 0.09, 0.081])
    assert check.report.trace.facts.momentum == 0.5
    assert keras.models.load_model(tmp_path / "kept.keras").optimizer.iterations == 2 * STEPS
    assert (tmp_path / "health.html").exists()
    x, y = examples(SIZE * 4)
    model.fit(x.numpy(), y.numpy(), SIZE, callbacks=[check], verbose=0)
    assert check.report.trace.loss.step.tolist() == list(range(2 * STEPS, 2 * STEPS + 4))


def test_stops_when_the_loss_is_no_number() -> None:
    class Spoilt(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
            if batch == 10:
                self.model.layers[0].kernel.value.data.fill_(torch.nan)

    check = HealthCheck(stop_on="critical", show=False)
    model = fit(sequential, check, Spoilt())
    assert 10 < int(model.optimizer.iterations) < STEPS
    assert check.report.worst == "critical"
