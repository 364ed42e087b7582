"""A schedule that keeps the learning rate far below the one that the optimiser was made with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional
from verdicts import alarms, batches, classes, net

from lettrine import health
from lettrine.health.findings import Report


def scheduled(rate: float, make: Callable[[torch.optim.Optimizer], Any], kinds: int = 4) -> Report:
    x, y = classes(512, kinds=kinds)
    model = net(out=kinds)
    optimiser = torch.optim.SGD(model.parameters(), lr=rate)
    schedule = make(optimiser)
    with health.watch(model, optimiser) as watch:
        for _, (a, b) in zip(range(200), batches(x, y), strict=False):
            loss = functional.cross_entropy(model(a), b)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            watch.loss(loss)
    return watch.report()


def test_a_schedule_that_never_comes_to_the_rate_given() -> None:
    schedules = torch.optim.lr_scheduler
    for make in (
        lambda optimiser: schedules.OneCycleLR(optimiser, 0.0005, total_steps=200),
        lambda optimiser: schedules.LambdaLR(optimiser, lambda step: min(1.0, (step + 1) / 200_000)),
    ):
        (finding,) = [each for each in scheduled(0.5, make).findings if each.severity != "info"]
        assert finding.id == "update-too-small"
        assert "made with the learning rate 0.5" in finding.message
    assert not alarms(scheduled(0.5, lambda optimiser: schedules.OneCycleLR(optimiser, 0.5, total_steps=200)))
    assert not alarms(scheduled(0.5, lambda optimiser: schedules.LambdaLR(optimiser, lambda step: min(1.0, (step + 1) / 20))))
