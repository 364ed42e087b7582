"""Second derivatives in the losses of small trainings."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import grad
from trainings import adam, checked, named, remarks

from lettrine import health
from lettrine.health.findings import Report


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(3)


def gradient(u: Tensor, x: Tensor) -> Tensor:
    return grad(u, x, torch.ones_like(u), create_graph=True)[0]


def weighted(u: Tensor, x: Tensor) -> Tensor:
    first = gradient(u, x)
    return grad(first, x, grad_outputs=torch.ones_like(first), create_graph=True)[0][:, :1] + u


def summed(u: Tensor, x: Tensor) -> Tensor:
    second = grad(gradient(u, x).sum(), x, create_graph=True)[0]
    return second[:, 0] + second[:, 1] - u[:, 0]


def by_column(u: Tensor, x: Tensor) -> Tensor:
    first = gradient(u, x)
    return gradient(first[:, :1], x)[:, :1] + gradient(first[:, 1:2], x)[:, 1:2] + u


def drawn(u: Tensor, x: Tensor) -> Tensor:
    """An estimate of the trace, by random signs."""
    first, signs = gradient(u, x), torch.randn_like(x).sign()
    return (grad(first, x, signs, create_graph=True)[0] * signs).sum(1) - u[:, 0]


def length(u: Tensor, x: Tensor) -> Tensor:
    return gradient(u, x).norm(dim=1) - 1


def trained(residual: Callable[[Tensor, Tensor], Tensor], axes: int = 2, steps: int = 6) -> Report:
    model = nn.Sequential(nn.Linear(axes, 16), nn.Tanh(), nn.Linear(16, 1))
    optimiser = adam(model)
    with health.watch(model, optimiser) as watch:
        for _ in range(steps):
            x = torch.rand(32, axes, requires_grad=True)
            loss = residual(model(x), x).pow(2).mean() + model(torch.zeros(4, axes)).pow(2).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    return checked(watch.report())


@pytest.mark.parametrize("residual", [weighted, summed])
@pytest.mark.parametrize("axes", [2, 3])
def test_the_whole_gradient_at_once(residual: Callable[[Tensor, Tensor], Tensor], axes: int) -> None:
    finding = named(trained(residual, axes))["mixed-derivatives"]
    assert f"by {axes} coordinates, is differentiated at once" in finding.message


@pytest.mark.parametrize("residual", [by_column, drawn, length])
def test_second_derivatives_as_they_should_be(residual: Callable[[Tensor, Tensor], Tensor]) -> None:
    report = trained(residual)
    assert "mixed-derivatives" not in {**named(report), **remarks(report)}


def test_one_coordinate() -> None:
    report = trained(weighted, axes=1)
    assert "mixed-derivatives" not in {**named(report), **remarks(report)}
