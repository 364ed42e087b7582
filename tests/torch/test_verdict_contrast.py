"""Contrast within a batch, in small trainings."""

from __future__ import annotations

import math

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


def test_cosines_multiplied_by_a_temperature_below_1() -> None:
    finding = named(told_apart(unit=True, temperature=1 / 0.07))["probabilities-as-logits"]
    assert "times 0.07" in finding.message
    assert finding.value == pytest.approx(math.log(1 + 31 * math.exp(-2 * 0.07)), rel=1e-3)  # 32 in a batch
    assert "probabilities-as-logits" not in named(told_apart(unit=True))


class Cosine(nn.Module):
    """A classifier by cosines."""

    def __init__(self, scale: float, *, learned: bool) -> None:
        super().__init__()
        self.body, self.weight = nn.Linear(12, 32), nn.Parameter(torch.randn(4, 32))
        self.scale = nn.Parameter(torch.tensor(scale)) if learned else scale

    def forward(self, x: Tensor) -> Tensor:
        features = functional.normalize(torch.relu(self.body(x)), dim=1)
        return self.scale * functional.linear(features, functional.normalize(self.weight, dim=1))


@pytest.mark.parametrize(
    ("scale", "learned", "told"), [(0.3, False, "warning"), (16.0, False, ""), (0.2, True, "info"), (16.0, True, "")]
)
def test_a_classifier_by_cosines(scale: float, learned: bool, told: str) -> None:
    model = Cosine(scale, learned=learned)
    report = train(model, torch.optim.Adam(model.parameters(), lr=5e-3), steps=60)
    found = {each.severity for each in report.findings if each.id == "probabilities-as-logits"}
    assert found == ({told} if told else set())
