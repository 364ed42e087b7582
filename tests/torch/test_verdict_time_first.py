"""Windows of a series that go into a network with time on the first axis."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from trainings import adam, checked, named

from lettrine import health

LONG, ROWS = 10, 40


class Forecast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.GRU(1, 16), nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.cell(x)[0][-1])


@pytest.mark.parametrize("viewed", [True, False])
def test_windows_viewed_with_time_first(viewed: bool) -> None:
    """A view before the model mixes the windows, of which the model only sees numbers without any relation to their targets."""
    torch.manual_seed(3)
    time = torch.arange(800 + LONG)
    windows = (torch.sin(0.31 * time) + 0.5 * torch.sin(1.7 * time)).unfold(0, LONG + 1, 1)
    model = Forecast()
    optimiser = adam(model, 0.01)
    with health.watch(model, optimiser) as watch:
        for _ in range(150):
            rows = windows[torch.randint(len(windows), (ROWS,))]
            x = rows[:, :-1].reshape(LONG, ROWS, 1) if viewed else rows[:, :-1].T[..., None]
            loss = functional.mse_loss(model(x), rows[:, -1:])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    assert ("shuffled-targets" in named(checked(watch.report()))) is viewed
