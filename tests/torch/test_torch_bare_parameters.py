"""Modules that hold parameters and are never called: losses, gradients and steps are watched; the report says what was not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lettrine import health
from lettrine.errors import HealthError
from lettrine.health.checks import examine
from lettrine.torch.capture.catalogue import unwrapped

X = torch.randn(64, 5, generator=torch.Generator().manual_seed(1))


class Energy(nn.Module):
    """A function of another name than forward. within: of layers, which it does not call either."""

    def __init__(self, *, within: bool) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.layer = nn.Linear(5, 1) if within else None
        self.weight = nn.Parameter(0.1 * torch.randn(5, 5))

    def energy(self, x: Tensor) -> Tensor:
        linear = 0 if self.layer is None else nn.functional.linear(x, self.layer.weight, self.layer.bias)[:, 0]
        return (x @ self.weight * x).sum(1) + linear


def train(model: nn.Module, answer: Callable[[Tensor], Tensor], *, lr: float = 0.02, early: bool = False, on: bool = True) -> Any:
    optimiser = torch.optim.SGD(model.parameters(), lr)
    watch = health.watch(model, optimiser)
    if on:
        watch.start()
    losses = []
    for _ in range(120):
        loss = (answer(X) - X.square().sum(1)).square().mean()
        losses.append(loss.item())
        if on and early:
            watch.loss(loss)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if on and not early:
            watch.loss(loss)
    watch.close()
    return watch, losses


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("early", [False, True])
def test_what_is_never_called_is_watched_as_parameters(within: bool, early: bool) -> None:
    model = Energy(within=within)
    alone = copy.deepcopy(model)
    watch, losses = train(model, model.energy, early=early)
    train(alone, alone.energy, on=False)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), alone.parameters(), strict=True))
    report = watch.report()
    trace = report.trace
    assert trace.loss.mean.tolist() == pytest.approx(losses)
    assert trace.parameter("weight", "update_data")[-1] > 0
    assert trace.parameter("weight", "gradient_norm")[-1] > 0
    assert (trace.facts.errors, report.verdict, report.findings) == ((), "not judged", ())
    assert report.unjudged[0].startswith("outputs were not seen")
    assert not [each for each in report.outcomes if each.status == "failed"]


def test_a_dictionary_of_parameters_whose_loss_rises_is_named() -> None:
    model = nn.ParameterDict({"a": torch.zeros(5, 5), "b": torch.zeros(5)})
    watch, _ = train(model, lambda x: (x @ model["a"] * x).sum(1) + x @ model["b"], lr=0.3)
    report = examine(watch.trace())
    assert report.verdict == "not healthy"
    assert report.worst == "critical"


def test_what_holds_nothing_or_has_to_be_called_is_still_refused() -> None:
    with pytest.raises(HealthError, match="without a forward"):
        health.watch(nn.ParameterDict(), None)
    with pytest.raises(HealthError, match="without a forward"):
        unwrapped(nn.ParameterList([torch.zeros(2)]))
