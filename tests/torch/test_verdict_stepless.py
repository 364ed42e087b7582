"""Trainings whose optimiser never steps, or is not the one that the watch was given, each beside its cure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional
from trainings import adam, batches, checked, mlp, named

from lettrine import health
from lettrine.errors import HealthError
from lettrine.torch.watching.watch import Watch

pytestmark = [
    pytest.mark.filterwarnings("ignore:lettrine saw 100 losses:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler:UserWarning"),
]
KEPT: dict[int, object] = {}  # a scaler outlives its loop, as in a script
Loop = Callable[[nn.Module, torch.optim.Optimizer, Watch], None]


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(3)


def watched(loop: Loop, *, optimiser: Callable[[nn.Module], torch.optim.Optimizer] = adam) -> Watch:
    model = mlp()
    made = optimiser(model)
    with health.watch(model, made) as watch:
        loop(model, made, watch)
    return watch


def backward_alone(model: nn.Module, _: torch.optim.Optimizer, watch: Watch) -> None:
    for x, y in batches(40):
        model.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        watch.loss(loss)


def neither(model: nn.Module, _: torch.optim.Optimizer, watch: Watch) -> None:
    for x, y in batches(40):
        watch.loss(functional.cross_entropy(model(x), y).item())


def schedule_alone(model: nn.Module, optimiser: torch.optim.Optimizer, _: Watch) -> None:
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, 10, 0.5)
    for x, y in batches(40):
        functional.cross_entropy(model(x), y).backward()
        schedule.step()
        optimiser.zero_grad()


def scaler_skips(model: nn.Module, optimiser: torch.optim.Optimizer, watch: Watch) -> None:
    scaler = KEPT[0] = torch.amp.GradScaler("cpu")
    for x, y in batches(40):
        optimiser.zero_grad()
        loss = functional.cross_entropy(model(x), y) + (0 * model(x)).sqrt().sum()  # the slope of the root is infinite
        scaler.scale(loss).backward()
        scaler.step(optimiser)
        scaler.update()
        watch.loss(loss)


@pytest.mark.parametrize(
    ("loop", "said", "remedy"),
    [
        (backward_alone, "in 40 rounds: gradients are computed", "Call optimizer.step() after loss.backward()"),
        (neither, "no backward pass was seen", "Call loss.backward() and then optimizer.step()"),
        (schedule_alone, "a schedule takes the learning rate from 0.003 to", "scheduler.step() moves no weight"),
        (scaler_skips, "its scale has fallen from 65,536 to 6.0e-08", "set_detect_anomaly"),
    ],
)
def test_an_optimiser_that_never_steps_is_a_finding(loop: Loop, said: str, remedy: str, tmp_path: Path) -> None:
    report = checked(watched(loop).report())
    first = report.findings[0]
    assert (first.id, first.severity, first.where[0]) == ("never-moved", "critical", "0.weight")
    assert said in first.message
    assert remedy in first.remedy
    assert (report.verdict, report.exit_code, report.healthy) == ("not healthy", 1, False)
    assert first.message in " ".join(str(report).split())
    assert json.loads(report.to_json())["findings"][0]["message"] == first.message
    assert "made no step in 40 rounds" in report.save(tmp_path / "page.html").read_text(encoding="utf-8")


def too_few(model: nn.Module, _: torch.optim.Optimizer, watch: Watch) -> None:
    for x, y in batches(10):  # micro-batches of the first step
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        watch.loss(loss)


def evaluation(model: nn.Module, _: torch.optim.Optimizer, watch: Watch) -> None:
    model.eval()
    for x, y in batches(40):
        with torch.no_grad():
            watch.loss(functional.cross_entropy(model(x), y))


def evaluation_with_graphs(model: nn.Module, _: torch.optim.Optimizer, watch: Watch) -> None:
    model.eval()
    for x, y in batches(40):
        watch.loss(functional.cross_entropy(model(x), y).item())


def moved_by_hand(model: nn.Module, _: torch.optim.Optimizer, watch: Watch) -> None:
    for x, y in batches(40):
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        for each in model.parameters():
            assert each.grad is not None
            each.data -= 0.1 * each.grad
            each.grad = None
        watch.loss(loss)


def memory_fills(model: nn.Module, _: torch.optim.Optimizer, __: Watch) -> None:
    for x, _y in batches(300):  # the agent acts, with or without a graph, and has nothing to learn from yet
        model(x[:1]).argmax()


@pytest.mark.parametrize("loop", [too_few, evaluation, evaluation_with_graphs, moved_by_hand, memory_fills])
def test_what_is_no_training_without_steps_stays_an_error(loop: Loop) -> None:
    with pytest.raises(HealthError, match=r"no optimiser step was seen.*only evaluated cannot be judged, and an agent"):
        watched(loop).report()


def steps(every: int, kind: Callable[[nn.Module], torch.optim.Optimizer], count: int = 120) -> Loop:
    """A loop with a new optimiser after so many steps; it begins with the one given."""

    def loop(model: nn.Module, optimiser: torch.optim.Optimizer, watch: Watch) -> None:
        for step, (x, y) in enumerate(batches(count)):
            if step % every == 0 and (step or every == 1):
                optimiser = kind(model)
            optimiser.zero_grad()
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
            optimiser.step()
            watch.loss(loss)

    return loop


def plain(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1)


def test_an_optimiser_that_follows_another_is_watched() -> None:
    watch = watched(steps(40, plain), optimiser=plain)
    report = checked(watch.report())
    assert report.verdict.startswith("healthy")
    assert watch.steps >= 120 - 2 * 3  # of each new one a few are needed to know it
    assert report.trace.seen("successors")[0].figure("taken") == 2
    assert all(info.optimised for info in report.trace.parameters)


@pytest.mark.parametrize(("kind", "lost"), [(adam, True), (plain, False)])
def test_an_optimiser_made_for_each_step(kind: Callable[[nn.Module], torch.optim.Optimizer], *, lost: bool) -> None:
    told = named(checked(watched(steps(1, kind)).report()))
    assert ("optimiser-state-lost" in told) is lost
    if lost:
        assert "120 of them made 120 steps" in told["optimiser-state-lost"].message


class Around(torch.optim.Optimizer):
    """An optimiser that lets another one step, of the same groups."""

    def __init__(self, model: nn.Module) -> None:
        self.inner = plain(model)
        super().__init__(self.inner.param_groups, {})

    def step(self, _: object = None) -> None:  # type: ignore[override]
        self.inner.step()


def test_an_optimiser_within_another_takes_no_place() -> None:
    watch = watched(steps(1_000, plain), optimiser=Around)
    assert watch.steps == 120
    assert watch.report().trace.seen("successors")[0].figure("taken") == 0
