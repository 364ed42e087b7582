"""Predictions that a mask of places was laid over: they are known as those of the layer that made them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from verdicts import alarms, batches, watched


def sequences(count: int = 400) -> tuple[Tensor, Tensor]:
    """(B, T, 6) numbers, and (B, T) the place of the largest of four."""
    x = torch.randn(count, 8, 6, generator=torch.Generator().manual_seed(1))
    return x, x[..., :4].argmax(2)


def told(change, mask=lambda y: torch.rand(y.shape) < 0.5):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 4))

    def loss(model, x, y):
        asked = mask(y)
        return functional.cross_entropy(model(x)[asked], y[asked])

    x, y = sequences()
    return watched(model, batches(x, change(y)), loss, steps=120)


def test_masked_places_of_one_class():
    report = told(lambda y: torch.full_like(y, 2))
    assert alarms(report) == ["target-constant"]
    assert report.findings[0].where == ("2",)


@pytest.mark.parametrize("mask", [lambda y: torch.rand(y.shape) < 0.5, lambda y: y >= 0])
def test_masked_places_of_several_classes(mask):
    report = told(lambda y: y, mask)
    assert alarms(report) == []
    (seen,) = report.trace.seen("comparison")
    assert (seen.words["place"], seen.figure("classes_seen"), seen.figure("given")) == ("2.weight", 4, 1)


def test_numbers_at_nodes_that_are_known():
    """A graph with numbers at some nodes only: a mask of rows."""
    torch.manual_seed(0)
    x, known = torch.randn(200, 6), torch.arange(200) < 120
    model = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 1))
    loss = lambda model, x, y: functional.mse_loss(model(x)[known], y[known])  # noqa: E731
    for value, wanted in ((x[:, :2].sum(1, keepdim=True), []), (torch.full((200, 1), 3.0), ["target-constant"])):
        report = watched(model, [(x, value)], loss, steps=120)
        assert alarms(report) == wanted
