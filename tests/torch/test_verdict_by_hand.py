"""Steps that no optimiser makes: rightly, upwards, without clearing gradients, and of tensors that are not the model's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from trainings import checked, named

from lettrine import health
from lettrine.health.findings import Report

RATE = 0.3
Step = Callable[[nn.Module, dict[str, Tensor]], None]


def down(model: nn.Module, _: dict[str, Tensor]) -> None:
    for each in model.parameters():
        assert each.grad is not None
        each.data -= RATE * each.grad


def with_momentum(model: nn.Module, memory: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, each in model.named_parameters():
            memory[name] = 0.9 * memory.get(name, torch.zeros_like(each)) + (each.grad if each.grad is not None else 0)
            each.sub_(0.1 * RATE * memory[name])


def up(model: nn.Module, _: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for each in model.parameters():
            each.add_(RATE * (each.grad if each.grad is not None else 0))


def of_copies(model: nn.Module, _: dict[str, Tensor]) -> None:
    for each in model.parameters():
        each = each - RATE * (each.grad if each.grad is not None else 0)  # noqa: PLW2901  the mistake


def trained(step: Step, sign: float = 1.0, *, clear: bool = True, last: bool = True) -> Report:
    """sign: -1 trains on the likelihood. last: step() is called before the gradients are cleared."""
    torch.manual_seed(0)
    model, generator, memory = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 4)), torch.Generator().manual_seed(0), {}
    way = torch.randn(8, 4, generator=generator)
    with health.watch(model) as watch:
        for _ in range(200):
            x = torch.randn(32, 8, generator=generator)
            loss = sign * functional.cross_entropy(model(x), (x @ way).argmax(1))
            loss.backward()
            step(model, memory)
            if last:
                watch.step()
            if clear:
                model.zero_grad()
            if not last:
                watch.step()
            watch.loss(loss)
    return checked(watch.report())


@pytest.mark.parametrize(
    ("step", "sign", "last"),
    [(down, 1.0, True), (down, 1.0, False), (with_momentum, 1.0, True), (with_momentum, 1.0, False), (up, -1.0, True)],
)
def test_steps_as_they_should_be(step: Step, sign: float, last: bool) -> None:
    assert named(trained(step, sign, last=last)) == {}


def test_steps_up_the_gradient() -> None:
    found = named(trained(up))["wrong-direction"]
    assert found.where == ("0.weight", "2.weight")
    assert "p -= rate * p.grad" in found.remedy
    assert "divergence" not in named(trained(up))


def test_gradients_that_are_never_cleared_by_hand() -> None:
    found = named(trained(down, clear=False))["missing-zero-grad"]
    assert found.remedy == "Call model.zero_grad() after each step that you make by hand."


def test_steps_that_change_other_tensors() -> None:
    found = named(trained(of_copies))["never-moved"]
    assert (found.severity, found.where) == ("critical", ("0.weight", "2.weight"))
    assert "leaves the model's own as it was" in found.remedy


def test_a_model_whose_weights_are_kept_elsewhere() -> None:
    """Its own have no gradient, and never move; what is trained are copies."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
    weights = {name: each.detach().clone().requires_grad_() for name, each in model.named_parameters()}
    with health.watch(model) as watch:
        for _ in range(60):
            x = torch.randn(32, 8)
            loss = functional.cross_entropy(torch.func.functional_call(model, weights, (x,)), x[:, :4].argmax(1))
            gradients = torch.autograd.grad(loss, list(weights.values()))
            weights = {k: (v - RATE * g).detach().requires_grad_() for (k, v), g in zip(weights.items(), gradients, strict=True)}
            watch.step()
            watch.loss(loss)
    assert "never-moved" not in named(checked(watch.report()))
