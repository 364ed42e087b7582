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


class LastOf(nn.Module):
    """The state after the last place in time; whether the rows are examples or places is up to the caller."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.RNN(1, 16), nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.cell(x)[0][:, -1])[:, 0]


def test_examples_on_the_axis_of_time_whatever_was_learned() -> None:
    """The last value of a row alone tells much of its target."""
    torch.manual_seed(3)
    x, model = torch.randn(200, LONG, 1), LastOf()
    optimiser = adam(model, 0.01)
    with health.watch(model, optimiser) as watch:
        for _ in range(200):
            rows = torch.randperm(200)[:ROWS]
            loss = functional.mse_loss(model(x[rows]), x[rows, -1, 0])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    assert "whose rows come back in another order" in named(checked(watch.report()))["batch-mixing"].message


@pytest.mark.parametrize("step", [1, 3])
def test_windows_that_move_on_over_several_series(step: int) -> None:
    """(time, series, 1): each window holds the places of the one before, moved on."""
    torch.manual_seed(3)
    time = torch.arange(900.0)
    series = torch.sin(time[:, None] * torch.linspace(0.1, 0.9, 12) + torch.arange(12))[..., None]

    class Together(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.out = nn.GRU(1, 4), nn.Linear(48, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.cell(x)[0].flatten(1))[:, 0]  # one answer for each place in time

    model = Together()
    optimiser = adam(model, 0.01)
    with health.watch(model, optimiser) as watch:
        for start in range(0, 200 * step, step):
            x = series[start : start + ROWS]
            loss = functional.mse_loss(model(x), series[start + 1 : start + ROWS + 1].sum((1, 2)))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    assert "batch-mixing" not in named(checked(watch.report()))
