"""Batches of finite values whose loss or gradient is not finite: found, located, and not blamed on the rate."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from checkup_tasks import adam, mlp, pairs  # noqa: E402
from torch import nn  # noqa: E402

from lettrine import health  # noqa: E402
from lettrine.torch.checkup.breaking import broken_on_the_way  # noqa: E402
from lettrine.torch.checkup.making import make_task  # noqa: E402


def tried(batches: Any, loss_fn: Any, only: list[str], lr: float = 3e-3) -> health.Report:
    torch.manual_seed(0)
    model = mlp()
    return health.checkup(model, batches, loss_fn, torch.optim.Adam(model.parameters(), lr=lr), only=only, progress=False)


def distance(*, safe: bool) -> Any:
    def loss_fn(model: nn.Module, batch: Any) -> torch.Tensor:
        squares = (model(batch[0]) - model(batch[1])).square().sum(1)
        return ((squares + 1e-9) if safe else squares).sqrt().mean()

    return loss_fn


@pytest.mark.parametrize("safe", [True, False])
def test_the_root_of_a_distance_of_0(safe: bool) -> None:
    batches = [(x, x.roll(1, 0).clone()) for x, _ in pairs(6, 16)]
    batches[4][1][3] = batches[4][0][3]  # two equal examples: the distance is 0
    report = tried(batches, distance(safe=safe), ["first-loss"])
    if safe:
        assert report.healthy
        return
    (found,) = [each for each in report.findings if each.severity == "critical"]
    assert found.id == "non-finite"
    assert found.message.startswith("Batch 4, counted from 0, holds finite values and has a finite loss: the gradient")
    assert "Sqrt (test_checkup_breaking.py:" in found.message


@pytest.mark.parametrize("clamped", [True, False])
def test_a_mean_over_nothing_once_everything_is_learned(clamped: bool) -> None:
    def loss_fn(model: nn.Module, batch: Any) -> torch.Tensor:
        x, y = batch
        rows = torch.relu(0.5 - model(x)[:, 0] * y)  # a hinge, averaged over those that are not yet right
        active = (rows > 0).sum()
        return rows.sum() / (active.clamp(min=1) if clamped else active)

    batches = [(x, 2.0 * (x[:, 0] > 0) - 1.0) for x, _ in pairs(6, 4)]
    report = tried(batches, loss_fn, ["first-loss", "learning-rate"], lr=0.01)
    if clamped:
        assert report.healthy
        return
    (found,) = [each for each in report.findings if each.severity != "info"]
    assert found.id == "non-finite"
    assert "in which the loss did not rise" in found.message
    assert "begins at div (test_checkup_breaking.py:" in found.message


def test_a_loss_that_rose_before_is_left_to_the_rate() -> None:
    model = mlp()
    task = make_task(model, pairs(), nn.functional.cross_entropy, adam(model), minutes=1)
    assert broken_on_the_way(task, [1.0, 1.0, 1.0, 5.0, 90.0, float("nan")]) is None
    assert broken_on_the_way(task, [1.0, 1.0, float("nan")]) is None  # too soon to tell
    assert broken_on_the_way(task, [1.0, 0.9, 0.8, 0.7]) is None
