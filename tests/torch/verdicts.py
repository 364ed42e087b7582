"""Small trainings for the tests of verdicts: a loop, data that can be learned, and which checks speak up."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle

import torch
from torch import Tensor, nn

from lettrine import health

Batches = Iterable[tuple[Tensor, Tensor]]


def numbers(count: int = 512, width: int = 6) -> tuple[Tensor, Tensor]:
    """Inputs, and one number for each that depends on them; the numbers have a std of about 1."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(count, width, generator=generator)
    return x, x[:, 0] * 0.7 + torch.sin(2 * x[:, 1])


def classes(count: int = 512, width: int = 6, kinds: int = 4) -> tuple[Tensor, Tensor]:
    """Inputs, and the place of the largest of their first numbers."""
    x, _ = numbers(count, width)
    return x, x[:, :kinds].argmax(1)


def batches(x: Tensor, y: Tensor, size: int = 32) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled batches without end."""
    generator = torch.Generator().manual_seed(3)
    while True:
        order = torch.randperm(len(x), generator=generator)
        yield from ((x[rows], y[rows]) for rows in order.split(size) if len(rows) == size)


def net(*tail: nn.Module, width: int = 6, out: int = 4, hidden: int = 24) -> nn.Sequential:
    """Two layers, and what comes after them."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, out), *tail)


def watched(
    model: nn.Module, data: Batches, loss: Callable[..., Tensor], steps: int = 60, rate: float = 1e-2, every: int | None = None
) -> health.Report:
    """Train with Adam and report. loss: of the model, inputs and targets."""
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch itself warns of some of these mistakes
        with health.watch(model, optimiser, every=every) as watch:
            for _, (x, y) in zip(range(steps), cycle(data) if isinstance(data, list) else data, strict=False):
                optimiser.zero_grad()
                value = loss(model, x, y)
                value.backward()
                optimiser.step()
                watch.loss(value)
    report = watch.report()
    assert report.trace.facts.errors == (), report.trace.facts.errors
    return report


def alarms(report: health.Report) -> list[str]:
    """Ids of what is more than a remark."""
    return [finding.id for finding in report.findings if finding.severity != "info"]


def first(report: health.Report) -> health.Finding:
    """The likeliest cause."""
    assert report.findings, report.outcomes
    return report.findings[0]
