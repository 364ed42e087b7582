"""Gains of norms that an initialisation of all parameters draws anew, and gains that are meant to begin elsewhere than at 1."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from verdicts import batches, classes, watched


class Deep(nn.Module):
    def __init__(self, norm: Callable[[int], nn.Module], residual: bool = False) -> None:
        super().__init__()
        self.first, self.last, self.residual = nn.Linear(6, 16), nn.Linear(16, 4), residual
        self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(4))
        self.norms = nn.ModuleList(norm(16) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            y = torch.relu(norm(layer(x)))
            x = x + y if self.residual else y
        return self.last(x)


def normal(model: Deep, mean: float, std: float) -> None:
    for norm in model.norms:
        nn.init.normal_(norm.weight, mean, std)


def said(model: nn.Module, rate: float = 1e-3, steps: int = 60):
    report = watched(model, batches(*classes()), lambda m, x, y: functional.cross_entropy(m(x), y), steps=steps, rate=rate)
    return {each.id: each for each in report.findings}.get("norm-gain")


@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.BatchNorm1d, nn.RMSNorm, lambda units: nn.GroupNorm(2, units)])
@pytest.mark.parametrize("draw", ["normal", "uniform", "all"])
def test_gains_drawn_with_everything_else(norm, draw):
    torch.manual_seed(0)
    model = Deep(norm)
    if draw == "all":
        for each in model.parameters():
            nn.init.uniform_(each, -0.08, 0.08)
    for each in model.norms:
        if draw != "all":
            nn.init.normal_(each.weight, std=0.02) if draw == "normal" else nn.init.uniform_(each.weight, -0.1, 0.1)
    found = said(model)
    assert (found.severity, found.where[0]) == ("warning", "norms.0")
    assert "of either sign" in found.message


def test_what_learns_all_the_same_is_a_remark():
    torch.manual_seed(0)
    model = Deep(nn.LayerNorm, residual=True)
    normal(model, 0.0, 0.02)
    assert said(model, rate=1e-2, steps=400).severity == "info"


@pytest.mark.parametrize(("mean", "std"), [(1.0, 0.02), (0.0, 0.0), (0.1, 0.0), (0.2, 0.1), (0.0, 1.0), (1.0, 0.0)])
def test_gains_that_begin_elsewhere_on_purpose(mean, std):
    torch.manual_seed(0)
    model = Deep(nn.BatchNorm1d, residual=True)
    normal(model, mean, std)
    assert said(model) is None


def test_one_gain_of_several():
    torch.manual_seed(0)
    model = Deep(nn.LayerNorm, residual=True)
    nn.init.normal_(model.norms[0].weight, std=0.02)
    assert said(model) is None


def test_an_eps_that_is_no_small_number():
    torch.manual_seed(0)
    found = said(Deep(lambda units: nn.BatchNorm1d(units, 300.0)), rate=1e-3, steps=120)
    assert (found.severity, found.where[0]) == ("warning", "norms.0")
    assert "is its eps; write momentum" in found.remedy
    swapped = said(Deep(lambda units: nn.BatchNorm1d(units, 0.1)), rate=1e-2, steps=200)
    assert swapped.severity == "info"  # it learns as well
    assert said(Deep(lambda units: nn.BatchNorm1d(units, 1e-3))) is None
