"""Accelerate, skorch, Ignite and fastai."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from small_trainings import SIZE, assert_watched, examples, hooks_on, network, same_weights
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lettrine.integrations.watching import Watching

pytestmark = pytest.mark.filterwarnings("ignore")  # frameworks warn of what small trainings lack
STEPS = 16  # of an epoch


def loader(count: int = SIZE * STEPS, seed: int = 0) -> DataLoader:
    torch.manual_seed(1)
    return DataLoader(TensorDataset(*examples(count, seed)), SIZE, shuffle=not seed)


class Spoilt(nn.CrossEntropyLoss):
    """A loss that is no number from the tenth call on."""

    calls = 0

    def forward(self, *args: Tensor) -> Tensor:
        type(self).calls += 1
        return super().forward(*args) * (torch.nan if self.calls == 10 else 1)


@pytest.fixture(autouse=True)
def unspoilt() -> Iterator[None]:
    Spoilt.calls = 0
    return


# Accelerate


@pytest.mark.parametrize(("parts", "precision"), [(1, "no"), (4, "no"), (2, "bf16")])
def test_accelerate(parts: int, precision: str) -> None:
    pytest.importorskip("accelerate")
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    from lettrine.integrations.accelerate import watch

    def train(*, watched: bool) -> tuple[nn.Module, Any, list[float]]:
        AcceleratorState._reset_state(True)
        accelerator = Accelerator(cpu=True, gradient_accumulation_steps=parts, mixed_precision=precision)
        model, losses = network(), []
        optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
        model, optimiser, data = accelerator.prepare(model, optimiser, loader())
        seen = watch(accelerator, model, optimiser) if watched else None
        if seen is not None:
            seen.start()
        for x, y in data:
            with accelerator.accumulate(model):
                loss = functional.cross_entropy(model(x), y)
                losses.append(loss.item())
                accelerator.backward(loss)
                optimiser.step()
                optimiser.zero_grad()
        if seen is not None:
            seen.close()
            assert "backward" not in vars(accelerator)
        return accelerator.unwrap_model(model), seen, losses

    model, seen, losses = train(watched=True)
    assert same_weights(model, train(watched=False)[0])
    assert_watched(seen.report(), losses, STEPS // parts, per_step=parts)
    assert seen.report().trace.facts.classes == 4
    assert hooks_on(model) == 0


def steps_told(watching: Any, model: nn.Module, begun: int) -> list[int]:
    """The steps in the report of a training of two more steps."""
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    watching.begin(model, optimiser, {"step": begun})
    for _ in range(2):
        loss = nn.functional.cross_entropy(model(torch.randn(4, 3)), torch.tensor([0, 1, 0, 1]))
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        watching.watch.loss(loss)
    watching.end()
    return watching.report.trace.loss.step.tolist()  # type: ignore[no-any-return]


def test_a_training_that_goes_on_is_judged_whole() -> None:
    watching, model = Watching(show=False), nn.Linear(3, 2)
    assert steps_told(watching, model, 0) == [0, 1]
    assert steps_told(watching, model, 2) == [0, 1, 2, 3]
    assert steps_told(watching, nn.Linear(3, 2), 4) == [4, 5], "another network"
    assert steps_told(watching, model, 4) == [4, 5], "not the last one"
    assert steps_told(watching, model, 5) == [5, 6], "not where it ended"
    assert steps_told(watching, model, 0) == [0, 1]


# skorch


def net(*callbacks: Any, **options: Any) -> Any:
    skorch = pytest.importorskip("skorch")
    torch.manual_seed(1)
    settings = {
        "criterion": nn.CrossEntropyLoss,
        "optimizer": torch.optim.Adam,
        "lr": 3e-3,
        "batch_size": SIZE,
        "max_epochs": 2,
        **options,
    }
    made = skorch.NeuralNetClassifier(network, **settings, verbose=0, callbacks=list(callbacks))
    x, y = examples(SIZE * STEPS)
    return made.fit(x.numpy(), y.numpy())


def skorch_losses(trained: Any) -> list[float]:
    return [batch["train_loss"] for row in trained.history for batch in row["batches"] if "train_loss" in batch]


def test_skorch() -> None:
    pytest.importorskip("skorch")
    from lettrine.integrations.skorch import HealthCheck

    check = HealthCheck(show=False)
    watched, plain = net(check), net()
    assert same_weights(watched.module_, plain.module_)
    told = skorch_losses(watched)
    assert_watched(check.report, told, len(told))
    assert check.report.trace.facts.classes == 4
    assert check.report.trace.dev.mean.tolist() == pytest.approx(watched.history[:, "valid_loss"])
    assert not any(check.report.trace.step_stats["leftover_gradient"][:3])
    assert hooks_on(watched.module_, watched.optimizer_) == 0
    assert pickle.loads(pickle.dumps(watched)).history == watched.history
    x, y = examples(SIZE * 4)
    watched.partial_fit(x.numpy(), y.numpy(), epochs=1)
    more = skorch_losses(watched)
    assert len(more) > len(told)
    assert_watched(check.report, more, len(more))
    assert len(check.report.trace.dev.step) == 3
    watched.fit(x.numpy(), y.numpy())
    assert len(check.report.trace.loss.step) == len(skorch_losses(watched)) < len(more), "another network"


def test_skorch_stops() -> None:
    pytest.importorskip("skorch")
    from lettrine.integrations.skorch import HealthCheck

    check = HealthCheck(stop_on="critical", show=False)
    stopped = net(check, criterion=Spoilt)
    assert len(stopped.history) == 1
    assert check.report.worst == "critical"


# Ignite


def ignited(check: Any = None, criterion: Any = nn.CrossEntropyLoss) -> tuple[nn.Module, Any, list[float]]:
    pytest.importorskip("ignite")
    from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
    from ignite.metrics import Loss

    model, losses = network(), []
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    trainer = create_supervised_trainer(model, optimiser, criterion())
    evaluator = create_supervised_evaluator(model, {"loss": Loss(nn.CrossEntropyLoss())})
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output))
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda _: evaluator.run(loader(128, 1)))
    made = check(model, optimiser).attach(trainer, evaluator) if check else None
    trainer.run(loader(), max_epochs=2)
    return model, made, losses


def test_ignite() -> None:
    pytest.importorskip("ignite")
    from lettrine.integrations.ignite import HealthCheck

    watched, check, losses = ignited(partial(HealthCheck, show=False))
    assert same_weights(watched, ignited()[0])
    assert_watched(check.report, losses, 2 * STEPS)
    assert check.report.trace.dev.step.tolist() == [STEPS, 2 * STEPS]
    assert check.report.trace.facts.classes == 4  # though Ignite hands out the loss as a number
    assert hooks_on(watched) == 0


def test_ignite_stops() -> None:
    pytest.importorskip("ignite")
    from lettrine.integrations.ignite import HealthCheck

    _, check, losses = ignited(partial(HealthCheck, stop_on="critical", show=False), Spoilt)
    assert 10 <= len(losses) < STEPS
    assert check.report.worst == "critical"


# fastai


def learned(*callbacks: Any, own: bool = True, loss: Any = nn.CrossEntropyLoss, epochs: int = 2, accumulate: int = 0) -> Any:
    pytest.importorskip("fastai")
    from fastai.callback.training import GradientAccumulation
    from fastai.data.core import DataLoaders
    from fastai.data.load import DataLoader as FastaiLoader
    from fastai.learner import Learner
    from fastai.optimizer import Adam, OptimWrapper

    data = [FastaiLoader(TensorDataset(*examples(count, seed)), bs=SIZE) for count, seed in ((SIZE * STEPS, 0), (128, 1))]
    optimiser = Adam if own else partial(OptimWrapper, opt=torch.optim.AdamW)
    extra = [GradientAccumulation(accumulate * SIZE)] if accumulate else []
    learner = Learner(DataLoaders(*data), network(), loss_func=loss(), opt_func=optimiser, cbs=[*callbacks, *extra])
    with learner.no_bar(), learner.no_logging():
        learner.fit(epochs, 3e-3)
    return learner


@pytest.mark.parametrize(("own", "parts"), [(True, 1), (False, 1), (True, 4)])
def test_fastai(own: bool, parts: int) -> None:
    pytest.importorskip("fastai")
    from fastai.callback.core import Callback

    from lettrine.integrations.fastai import HealthCheck

    losses: list[float] = []

    class Told(Callback):
        def before_backward(self) -> None:
            losses.append(self.learn.loss.item())

    check = HealthCheck(show=False)
    watched = learned(check, Told(), own=own, accumulate=parts if parts > 1 else 0)
    plain = learned(own=own, accumulate=parts if parts > 1 else 0)
    assert same_weights(watched.model, plain.model)
    assert_watched(check.report, losses, 2 * STEPS // parts, per_step=parts)
    trace = check.report.trace
    assert trace.facts.classes == 4
    assert trace.facts.optimiser == ("Optimizer" if own else "AdamW")
    assert trace.step_stats["learning_rate"][0] == pytest.approx(3e-3)
    assert trace.parameter("0.weight", "update_data")[0] > 0
    assert trace.dev.mean.tolist() == pytest.approx([row[1] for row in watched.recorder.values])
    assert "step" not in vars(watched.opt)
    assert hooks_on(watched.model) == 0


def test_fastai_stops() -> None:
    pytest.importorskip("fastai")
    from lettrine.integrations.fastai import HealthCheck

    check = HealthCheck(stop_on="critical", show=False)
    learned(check, loss=Spoilt, epochs=4)
    assert check.report.worst == "critical"
    assert len(check.report.trace.loss.step) < STEPS


def test_a_report_is_saved_where_it_is_told(tmp_path: Path) -> None:
    pytest.importorskip("skorch")
    from lettrine.integrations.skorch import HealthCheck

    net(HealthCheck(show=False, folder=tmp_path / "new"))
    assert (tmp_path / "new" / "health.html").exists()
