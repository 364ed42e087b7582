"""Losses that have weights of their own, held by an optimiser, moved by hand, meant to stay, or forgotten."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from trainings import adam, batches, checked, mlp, named, train

from lettrine import health


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(3)


class Proxies(nn.Module):
    """Cross-entropy of the cosines with one vector for each class."""

    def __init__(self) -> None:
        super().__init__()
        self.proxies = nn.Parameter(nn.init.xavier_uniform_(torch.empty(4, 16)))

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(5 * functional.normalize(z) @ functional.normalize(self.proxies).T, y)


class Adaptive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(16, 4, [1])

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return self.softmax(z, y).loss


class Terms(nn.Module):
    """Two terms and what each weighs, learned (Kendall et al. 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.logs = nn.Parameter(torch.zeros(2))

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        terms = torch.stack([functional.cross_entropy(z[:, :4], y), functional.mse_loss(z[:, 4], y.float())])
        return (terms * (-self.logs).exp() + self.logs).sum()


def encoder() -> nn.Sequential:
    return nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 16))


@pytest.mark.parametrize("made", [Proxies, Adaptive, Terms])
@pytest.mark.parametrize("held", [False, True], ids=["forgotten", "held"])
def test_weights_of_the_loss(made: Callable[[], nn.Module], *, held: bool) -> None:
    model, loss = encoder(), made()
    optimiser = torch.optim.Adam([*model.parameters(), *(loss.parameters() if held else ())], lr=3e-3)
    told = named(train(model, optimiser, steps=50, make=lambda x, y: loss(model(x), y)))
    assert ("not-optimised" in told) is not held
    if not held:
        assert "of its own" in told["not-optimised"].message
        assert told["not-optimised"].value == sum(each.numel() for each in loss.parameters())


def test_weights_that_another_optimiser_or_a_line_by_hand_moves() -> None:
    for by_hand in (False, True):
        model, loss = encoder(), Proxies()
        own, other = adam(model), adam(loss)
        with health.watch(model, own) as watch:
            for x, y in batches(50):
                value = loss(model(x), y)
                own.zero_grad()
                other.zero_grad()
                value.backward()
                own.step()
                if by_hand:
                    assert loss.proxies.grad is not None
                    loss.proxies.data -= 0.01 * loss.proxies.grad  # leaves no trace in its version
                else:
                    other.step()
                watch.loss(value)
        assert named(checked(watch.report())) == {}


def judged(model: nn.Module, x: Tensor, y: Tensor, judge: nn.Module) -> Tensor:
    z = model(x)
    return functional.cross_entropy(z[:, :4], y) + 0.1 * judge(functional.pad(z, (0, 12 - z.shape[1]))).square().mean()


def test_what_is_no_weight_of_the_loss() -> None:
    # A network that judges the output.
    model, judge = mlp(), mlp()
    assert "not-optimised" not in named(train(model, steps=50, make=lambda x, y: judged(model, x, y, judge)))
    # A random one that makes targets of the inputs (Burda et al. 2018).
    model, target = encoder(), nn.Linear(12, 16)
    assert "not-optimised" not in named(train(model, steps=50, make=lambda x, _: functional.mse_loss(model(x), target(x))))
    # Weights that were frozen.
    model, loss = encoder(), Proxies().requires_grad_(requires_grad=False)
    assert "not-optimised" not in named(train(model, steps=50, make=lambda x, y: loss(model(x), y)))
    # A 1 to take the gradient by (Arjovsky et al. 2019), and inputs that are changed to do harm.
    model, one = mlp(), nn.Parameter(torch.ones(1))

    def invariant(x: Tensor, y: Tensor) -> Tensor:
        fooled = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(functional.cross_entropy(model(fooled), y), fooled)
        error = functional.cross_entropy(one * model(x + 0.01 * slope.sign()), y)
        return error + torch.autograd.grad(error, one, create_graph=True)[0].square().sum()

    assert "not-optimised" not in named(train(model, steps=50, make=invariant))
