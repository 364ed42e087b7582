"""Values of actions that end in an activation, and what the action taken brought."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from trainings import adam, checked

from lettrine import health

Picks = Callable[[Tensor, Tensor], Tensor]
PICKS: dict[str, Picks] = {
    "gather": lambda values, action: values.gather(1, action[:, None]).squeeze(1),
    "index": lambda values, action: values[torch.arange(len(values)), action],
    "one hot": lambda values, action: (values * functional.one_hot(action, 3)).sum(1),
}


class Stretched(nn.Module):
    """Shares, and what they are worth."""

    def __init__(self) -> None:
        super().__init__()
        self.size = nn.Parameter(torch.tensor(10.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.size * x.softmax(1)


def found(
    last: nn.Module, size: float, *, mean: float = 0.0, discount: float = 0.9, pick: str = "gather", error: str = "squared"
) -> list[health.Finding]:
    """What "target-range" says of values with this last module, of rewards of this size about a mean."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3), last)
    optimiser = adam(model)
    with health.watch(model, optimiser) as watch:
        for _ in range(40):
            state, following, action = torch.randn(32, 4), torch.randn(32, 4), torch.randint(3, (32,))
            with torch.no_grad():
                target = mean + size * (action - 1) * state[:, 0] + discount * model(following).max(1).values
            given = PICKS[pick](model(state), action)
            loss = (given - target).square().mean() if error == "squared" else functional.smooth_l1_loss(given, target)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    return [each for each in checked(watch.report()).findings if each.id == "target-range"]


@pytest.mark.parametrize("pick", PICKS)
@pytest.mark.parametrize("error", ["squared", "smooth"])
def test_money_through_a_softmax(pick: str, error: str) -> None:
    (each,) = found(nn.Softmax(1), 1_000.0, pick=pick, error=error)
    assert (each.severity, each.where) == ("critical", ("2",))
    assert "The softmax after 2 gives values from 0 to 1" in each.message
    assert each.remedy == "Remove the softmax after 2: values of actions need not sum to 1."


@pytest.mark.parametrize("last", [nn.Sigmoid(), nn.Tanh(), nn.ReLU()])
@pytest.mark.parametrize("discount", [0.0, 0.9])
def test_costs_below_all_that_can_be_said(last: nn.Module, discount: float) -> None:
    (each,) = found(last, 1.0, mean=-5.0, discount=discount)
    assert each.where == ("2",)
    assert "or scale the targets" in each.remedy


@pytest.mark.parametrize("pick", PICKS)
@pytest.mark.parametrize(
    ("last", "size", "mean"),
    [
        (nn.Identity(), 1_000.0, 0.0),
        (Stretched(), 1_000.0, -5.0),
        (nn.Tanh(), 2.0, 0.0),  # single returns scatter about values that may be in reach
        (nn.Sigmoid(), 0.1, 0.0),
        (nn.Hardtanh(-20, 20), 3.0, 1.0),
    ],
)
def test_values_in_reach_or_about_it(last: nn.Module, size: float, mean: float, pick: str) -> None:
    assert found(last, size, mean=mean, pick=pick) == []


@pytest.mark.parametrize("column", ["select", "mask"])
def test_what_another_comparison_has_read_is_said_once(column: str) -> None:
    model, x = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3), nn.Sigmoid()), torch.randn(64, 4)
    y, kept = 10 + torch.randn(64, 3), torch.rand(64) < 0.7
    optimiser = adam(model)
    with health.watch(model, optimiser) as watch:
        for _ in range(40):
            given, target = (model(x)[:, 0], y[:, 0]) if column == "select" else (model(x)[kept], y[kept])
            loss = functional.mse_loss(given, target)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    assert [each.id for each in checked(watch.report()).findings].count("target-range") == 1
