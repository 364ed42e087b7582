"""Optimisers that make the loss larger, or that train an input of a network which stays as it is."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from trainings import adam, batches, checked, mlp, named, remarks, train

from lettrine import health


class Chosen(torch.autograd.Function):
    """Mean probability of the right class, in one function whose parts nobody sees."""

    @staticmethod
    def forward(ctx, logits, y):
        ctx.save_for_backward(logits, y)
        return logits.softmax(1).gather(1, y[:, None]).mean()

    @staticmethod
    def backward(ctx, gradient):
        logits, y = ctx.saved_tensors
        shares, right = logits.softmax(1), functional.one_hot(y, logits.shape[1])
        return gradient * (shares * right).sum(1, keepdim=True) * (right - shares) / len(y), None


def test_an_aim_that_rises():
    for maximize, sign in ((True, 1), (False, -1)):
        torch.manual_seed(0)
        model = mlp()
        optimiser = torch.optim.Adam(model.parameters(), lr=3e-3, maximize=maximize)
        report = train(model, optimiser, 200, make=lambda x, y, model=model, sign=sign: sign * Chosen.apply(model(x), y))
        assert named(report) == {}
        told = next(each for each in report.outcomes if each.check == "divergence")
        assert told.status == ("not applicable" if maximize else "passed")


def solved() -> nn.Sequential:
    """A network that was trained before, and is used as it is."""
    torch.manual_seed(0)
    model = mlp(hidden=48)
    optimiser = adam(model, 1e-2)
    for x, y in batches(400):
        optimiser.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    return model


def drawn() -> nn.Sequential:
    """A network as it is before training."""
    torch.manual_seed(0)
    return mlp(hidden=48)


def disturbed(model: nn.Module, trained: Iterable[Tensor], change: Tensor, target: int, **options: bool) -> health.Report:
    """A change of all inputs is trained, so that the network answers `target`; with maximize=True: so that it is wrong."""
    optimiser = torch.optim.Adam(trained, lr=0.05, **options)
    with health.watch(model, optimiser) as watch:
        for x, y in batches(60):
            optimiser.zero_grad()
            loss = functional.cross_entropy(model(x + change), y if options else torch.full_like(y, target))
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    return checked(watch.report())


def test_a_disturbance_of_a_network_that_stays_as_it_is():
    change = nn.Parameter(torch.zeros(12))
    report = disturbed(solved(), [change], change, 2)
    assert named(report) == {}
    assert "trained before" in remarks(report)["not-optimised"].message
    assert named(disturbed(solved().requires_grad_(False), [change], change, 2)) == {}


def test_the_parameters_of_another_network_are_no_disturbance():
    model, change = solved(), torch.zeros(12)
    other = mlp()
    for each in other.parameters():
        each.grad = None
    assert named(disturbed(model, other.parameters(), change, 2))["not-optimised"].severity == "critical"
    change = nn.Parameter(torch.zeros(12))
    assert named(disturbed(drawn(), [change], change, 2))["not-optimised"].severity == "critical"


class Prompted(nn.Module):
    """A trained network with a change of its input that is trained."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.change = inner, nn.Parameter(torch.zeros(12))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x + self.change)


@pytest.mark.parametrize("fixed", [True, False])
def test_an_attack_makes_the_error_larger_on_purpose(fixed):
    model = Prompted(solved())
    model.inner.requires_grad_(not fixed)
    assert named(disturbed(model, [model.change], torch.zeros(12), 0, maximize=True)) == {}


def test_a_network_that_is_trained_to_be_wrong():
    model = solved()
    report = train(model, torch.optim.SGD(model.parameters(), lr=0.1, maximize=True), 60)
    assert "maximize=True" in named(report)["wrong-direction"].message
