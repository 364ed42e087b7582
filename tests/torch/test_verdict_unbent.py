"""Convolutions one after another without a non-linearity between them; and outputs that stop being finite for good."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from verdicts import alarms, batches, watched  # noqa: E402

from lettrine import health  # noqa: E402


def pictures(task: str) -> tuple[Tensor, Tensor]:
    """Small pictures: whether two corners have the same sign, or the sum of all values, which a linear map can tell."""
    x = torch.randn(512, 1, 6, 6, generator=torch.Generator().manual_seed(2))
    return x, (x[:, 0, 0, 0] * x[:, 0, -1, -1] > 0).long() if task == "corners" else x.sum((1, 2, 3))[:, None] / 6


class Pictures(nn.Module):
    def __init__(self, out: int, *, bent: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.out = nn.Conv2d(1, 8, 3, 2, 1), nn.Conv2d(8, 8, 3), nn.Linear(8, out)
        self.norm, self.bent = nn.BatchNorm2d(8), bent

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x))
        return self.out(self.second(x.relu() if self.bent else x).mean((2, 3)))


@pytest.mark.parametrize(("task", "bent", "told"), [("corners", False, True), ("corners", True, False), ("sum", False, False)])
def test_convolutions_without_a_non_linearity(task: str, bent: bool, told: bool) -> None:
    loss_fn = functional.cross_entropy if task == "corners" else functional.mse_loss
    model = Pictures(2 if task == "corners" else 1, bent=bent)
    report = watched(model, batches(*pictures(task)), lambda net, x, y: loss_fn(net(x), y), steps=400)
    found = [each for each in report.findings if "is non-linear" in each.message]
    assert bool(found) is told
    if told:
        assert alarms(report) == ["underfitting"]
        assert found[0].value == 3


def test_steps_after_which_no_output_was_finite() -> None:
    """Far too large steps are the cause, before the NaN that they bring."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 1))
    optimiser = torch.optim.SGD(model.parameters(), lr=30.0)
    x = torch.randn(512, 6, generator=torch.Generator().manual_seed(1))
    with health.watch(model, optimiser) as watch:
        for _ in range(60):
            optimiser.zero_grad()
            loss = functional.mse_loss(model(x), x[:, :1])
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    report = watch.report()
    assert report.trace.first_nonfinite.phase == "forward"
    assert alarms(report)[0] == "update-too-large"
