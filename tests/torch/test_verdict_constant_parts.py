"""One of two heads whose targets are all the same, and heads whose targets are the same on purpose."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from verdicts import alarms, batches, classes, watched


class Two(nn.Module):
    def __init__(self, outputs: int = 3) -> None:
        super().__init__()
        self.body, self.kind, self.place = nn.Sequential(nn.Linear(6, 16), nn.ReLU()), nn.Linear(16, 4), nn.Linear(16, outputs)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.body(x)
        return self.kind(h), self.place(h), h


def both(error):
    def loss(model, x, y):
        kind, place, _ = model(x)
        return F.cross_entropy(kind, y[:, 0].long()) + error(place, y[:, 1:])

    return loss


def said(target, error, outputs=3):
    x, y = classes()
    data = batches(x, torch.cat([y[:, None].float(), target(x)], 1))
    return watched(Two(outputs), data, both(error), steps=200)


@pytest.mark.parametrize("value", [0.0, 0.25])
@pytest.mark.parametrize("error", [F.mse_loss, F.smooth_l1_loss, F.l1_loss])
def test_boxes_that_were_not_read(value, error):
    report = said(lambda x: torch.full((len(x), 3), value), error)
    (found,) = [each for each in report.findings if each.id == "target-constant"]
    assert (found.severity, found.where) == ("warning", ("place",))
    assert f"Every target of place is {value:g}" in found.message
    assert "those of kind differ" in found.message


def rare(x: Tensor) -> Tensor:
    """One example in thirty is somewhere, all others are at 0."""
    return (torch.arange(len(x)) % 30 == 0).float()[:, None] * torch.ones(1, 3)


@pytest.mark.parametrize(
    "target", [lambda x: x[:, :3], rare, lambda x: torch.zeros(len(x), 3).index_fill(1, torch.tensor(1), 1.0)]
)
def test_targets_that_differ(target):
    assert "target-constant" not in alarms(said(target, F.mse_loss))


def test_penalties_on_what_is_given_on():
    def loss(model, x, y):
        kind, place, h = model(x)
        still = F.mse_loss(h, torch.zeros_like(h)) + F.mse_loss(place, torch.zeros(len(x), 3))
        return F.cross_entropy(kind, y) + 0.01 * still

    assert "target-constant" not in alarms(watched(Two(), batches(*classes()), loss, steps=200))
