"""Contrast within a batch, in small trainings."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from trainings import named, remarks, train

from lettrine.health.findings import Report


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(3)


def told_apart(*, unit: bool, temperature: float = 0.07, width: int = 64) -> Report:
    model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, width), nn.LayerNorm(width, elementwise_affine=False))

    def make(x: Tensor, _: Tensor) -> Tensor:
        one, two = (model(x + torch.randn_like(x)) for _ in range(2))
        if unit:
            one, two = functional.normalize(one, dim=1), functional.normalize(two, dim=1)
        return functional.cross_entropy(one @ two.T / temperature, torch.arange(len(x)))

    return train(model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), steps=20, make=make)


def test_vectors_that_were_not_brought_to_length_1() -> None:
    finding = named(told_apart(unit=False))["raw-contrast"]
    assert "functional.normalize" in finding.remedy
    assert "length is about 8" in finding.message  # the root of 64
    for report in (told_apart(unit=True), told_apart(unit=False, temperature=8.0)):  # products of 64 divided by 8
        assert "raw-contrast" not in {**named(report), **remarks(report)}
