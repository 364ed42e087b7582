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

from lettrine.health.checks.reference import guess_of  # noqa: E402
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
    assert guess_of(trace) == pytest.approx(np.log(4), rel=0.05)  # Keras guards its mean against 0 / 0
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


def quadrants(count: int, seed: int, *, first: bool = False) -> tuple[Any, Any]:
    """Images of which one quarter is brighter: which one is asked for. first: channels first."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 4, count)
    x = 0.3 * generator.standard_normal((count, 12, 12, 1)).astype("float32")
    for place, quarter in enumerate(y):
        x[place, quarter // 2 * 6 :, quarter % 2 * 6 :][:6, :6] += 1
    return (x.transpose(0, 3, 1, 2) if first else x), y


def seen(*layers: Any, first: bool = False, epochs: int = 4) -> Any:
    """The report of a training on images."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((1, 12, 12) if first else (12, 12, 1)), *layers, keras.layers.Dense(4, name="head")])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(3e-3), loss=loss)
    check = HealthCheck(show=False)
    model.fit(*quadrants(512, 0, first=first), SIZE, epochs=epochs, callbacks=[check], verbose=0)
    return check.report


def test_layers_with_an_activation_of_their_own_and_batch_norms_are_measured() -> None:
    layers = keras.layers
    report = seen(
        layers.Conv2D(8, 3, activation="relu", name="conv"),
        layers.BatchNormalization(momentum=0.9, name="norm"),
        layers.Conv2D(6, 3, name="other"),
        layers.ReLU(name="relu"),
        layers.Flatten(),
        layers.Dense(16, "tanh", name="dense"),
        epochs=14,
    )
    trace = report.trace
    told = {each.name: (each.role, each.activation, each.units) for each in trace.modules}
    assert told["conv"] == ("linear", "relu", 8)
    assert told["norm"] == ("norm", "", 8)
    assert (told["other"], told["relu"]) == (("linear", "", 6), ("activation", "relu", 6))
    assert told["dense"] == ("linear", "tanh", 16)
    assert np.isfinite(trace.output("conv", "dead")).all()
    assert np.isfinite(trace.output("dense", "saturated")).all()
    assert np.isfinite(trace.norm("norm", "variance_ratio")).all()
    assert 0.5 < trace.norm("norm", "variance_ratio")[-1] < 2
    assert trace.facts.norm_momentum == pytest.approx(0.1)
    assert trace.facts.notes["momentum"] == "kept"
    assert {each.check: each.status for each in report.outcomes}["norm-statistics"] == "passed"
    assert trace.facts.errors == ()


def test_channels_may_come_first() -> None:
    layers = keras.layers
    conv = layers.Conv2D(8, 3, data_format="channels_first", activation="relu", name="conv")
    trace = seen(conv, layers.BatchNormalization(axis=1, name="norm"), layers.Flatten(), first=True, epochs=1).trace
    assert {each.name: each.units for each in trace.modules if each.name in ("conv", "norm")} == {"conv": 8, "norm": 8}
    assert trace.norms["norm"].shape[1] == 2


def test_a_layer_that_is_dead_is_named() -> None:
    layers = keras.layers
    dead = layers.Conv2D(8, 3, activation="relu", bias_initializer=keras.initializers.Constant(-100.0), name="dead")
    report = seen(layers.Conv2D(8, 3, activation="relu", name="conv"), dead, layers.Flatten(), layers.Dense(9, "tanh"))
    finding = report.findings[0]
    assert (finding.id, finding.severity, finding.where) == ("dead-units", "critical", ("dead",))
    assert "start dead.bias at 0, draw dead.kernel anew" in finding.remedy


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
    assert check.report.trace.loss.step.tolist() == list(range(2 * STEPS + 4)), "one training"


def test_stops_when_the_loss_is_no_number() -> None:
    class Spoilt(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
            if batch == 10:
                self.model.layers[0].kernel.value.data.fill_(torch.nan)

    check = HealthCheck(stop_on="critical", show=False)
    model = fit(sequential, check, Spoilt())
    assert 10 < int(model.optimizer.iterations) < STEPS
    assert check.report.worst == "critical"
