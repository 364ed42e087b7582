"""A parameter that is assigned anew in the middle of a training."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional
from trainings import named

from lettrine import health

Change = Callable[[nn.Sequential, torch.optim.Optimizer], None]


def trained(change: Change) -> health.Report:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with health.watch(model, optimizer) as watch:
        for step in range(130):
            if step == 5:
                change(model, optimizer)
            x = torch.randn(32, 6)
            loss = functional.cross_entropy(model(x), x[:, :3].argmax(dim=1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return watch.report()


def new_parameter(model: nn.Sequential, _optimizer: torch.optim.Optimizer) -> None:
    model[0].weight = nn.Parameter(torch.randn(16, 6) / 3)


def new_layer(model: nn.Sequential, _optimizer: torch.optim.Optimizer) -> None:
    model[2] = nn.Linear(16, 3)


@pytest.mark.parametrize(("change", "names"), [(new_parameter, ("0.weight",)), (new_layer, ("2.bias", "2.weight"))])
def test_a_parameter_that_the_optimizer_has_never_seen(change: Change, names: tuple[str, ...]) -> None:
    finding = named(trained(change))["not-optimised"]
    assert finding.where == names
    assert "in place of" in finding.message
    assert "copy_" in finding.remedy


def copied(model: nn.Sequential, _optimizer: torch.optim.Optimizer) -> None:
    with torch.no_grad():
        model[0].weight.copy_(torch.randn(16, 6) / 3)


def added(model: nn.Sequential, optimizer: torch.optim.Optimizer) -> None:
    new_layer(model, optimizer)
    optimizer.add_param_group({"params": list(model[2].parameters())})


def frozen(model: nn.Sequential, _optimizer: torch.optim.Optimizer) -> None:
    model[0].weight = nn.Parameter(model[0].weight.detach().clone(), requires_grad=False)


@pytest.mark.parametrize("change", [copied, added, frozen])
def test_new_values_that_are_trained_or_meant_to_stay(change: Change) -> None:
    assert "not-optimised" not in named(trained(change))
