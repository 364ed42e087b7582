"""Small trainings for the tests of verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lettrine import health
from lettrine.health.findings import Finding, Report

Step = Callable[[Tensor, Tensor], Tensor]


def batches(steps: int, size: int = 32, seed: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
    """Twelve numbers, of whose first four the largest is asked for."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        x = torch.randn(size, 12, generator=generator)
        yield x, x[:, :4].argmax(1)


def mlp(*, hidden: int = 24) -> nn.Sequential:
    return nn.Sequential(nn.Linear(12, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 4))


def adam(model: nn.Module, lr: float = 3e-3) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=lr)


def train(model: nn.Module, optimiser: Any = None, steps: int = 60, *, make: Step | None = None, **options: Any) -> Report:
    """Train on the task above. make: the loss of a batch, cross entropy without it."""
    optimiser = optimiser or adam(model)
    with health.watch(model, optimiser, **options) as watch:
        for x, y in batches(steps):
            loss = functional.cross_entropy(model(x), y) if make is None else make(x, y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    return checked(watch.report())


def checked(report: Report) -> Report:
    """Nothing broke on the way."""
    assert report.trace.facts.errors == ()
    assert not [each for each in report.outcomes if each.status == "failed"]
    return report


def named(report: Report) -> dict[str, Finding]:
    """What was found and is more than a remark."""
    return {finding.id: finding for finding in report.findings if finding.severity != "info"}


def remarks(report: Report) -> dict[str, Finding]:
    """What was only remarked."""
    return {finding.id: finding for finding in report.findings if finding.severity == "info"}
