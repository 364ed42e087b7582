"""A loss that rises again: because the data become harder by design, or because the network breaks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from lettrine import health  # noqa: E402

STEPS = 500
Harder = Callable[[nn.Module, Tensor, Tensor, float], Tensor]
"""Makes inputs harder: of the model, inputs, labels, and how far the training is, from 0 to 1."""


def report_of(harder: Harder, rate: Callable[[int], float] = lambda _: 2e-3, depth: int = 1) -> health.Report:
    torch.manual_seed(0)
    centres = torch.randn(8, 24)
    layers = [layer for _ in range(depth) for layer in (nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, 24))]
    model = nn.Sequential(*layers, nn.ReLU(), nn.Linear(24, 8))
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    with health.watch(model, optimiser) as watch:
        for step in range(STEPS):
            optimiser.param_groups[0]["lr"] = rate(step)
            y = torch.randint(8, (64,))
            x = harder(model, centres[y] + 0.7 * torch.randn(64, 24), y, max(0.0, (step - 150) / (STEPS - 150)))
            optimiser.zero_grad()
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    report = watch.report()
    assert report.trace.facts.errors == ()
    return report


def attacked(model: nn.Module, x: Tensor, y: Tensor, far: float) -> Tensor:
    """Moved by the sign of its gradient, three times."""
    reach = 2 * far
    moved = torch.zeros_like(x)
    for _ in range(3 if reach else 0):
        moved.requires_grad_()
        (slope,) = torch.autograd.grad(functional.cross_entropy(model(x + moved), y), moved)
        moved = (moved + reach * slope.sign()).clamp(-reach, reach).detach()
    return (x + moved).detach()


def noisy(_: nn.Module, x: Tensor, __: Tensor, far: float) -> Tensor:
    return x + 14 * far * torch.randn_like(x)


def easy(_: nn.Module, x: Tensor, __: Tensor, ___: float) -> Tensor:
    return x


@pytest.mark.parametrize("harder", [attacked, noisy])
def test_data_that_become_too_hard(harder: Harder) -> None:
    report = report_of(harder)
    best, end = report.trace.loss.mean.min(), report.trace.loss.mean[-50:].mean()
    assert best < 0.3
    assert end > 1.9  # ln 8 is 2.08
    assert [each.severity for each in report.findings if each.id == "divergence"] == ["info"]
    assert not [each for each in report.findings if each.severity != "info"]


@pytest.mark.parametrize(("rate", "from_step"), [(0.3, 250), (1.0, 250)])
def test_a_network_that_breaks(rate: float, from_step: int) -> None:
    report = report_of(easy, lambda step: rate if step >= from_step else 2e-3, depth=3)
    assert report.trace.loss.mean[-50:].mean() > 1.5
    assert [each.id for each in report.findings if each.severity == "critical"]


def test_an_easy_task() -> None:
    assert not [each for each in report_of(easy).findings if each.id == "divergence"]
