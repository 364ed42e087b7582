"""Optimisers of other kinds: a quantised state, schedule-free weights, steps inside of the backward pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from trainings import batches, mlp

from lettrine import health
from lettrine.torch.capture.optimisers import optimisers_of

STEPS = 40


class EightBits(torch.optim.Optimizer):
    """Adam whose moments are kept as int8 with a scale, as in bitsandbytes."""

    def __init__(self, parameters: Any, lr: float = 3e-3) -> None:
        super().__init__(parameters, {"lr": lr, "betas": (0.9, 0.99)})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # noqa: ARG002
        for group in self.param_groups:
            for p in group["params"]:
                state, g = self.state[p], p.grad
                if not state:
                    state["state1"], state["scale"] = torch.zeros_like(p, dtype=torch.int8), torch.tensor(1.0)
                moment = 0.9 * state["state1"].float() * state["scale"] + 0.1 * g
                state["scale"] = moment.abs().max() / 127 + 1e-12
                state["state1"] = (moment / state["scale"]).round().to(torch.int8)
                p.sub_(group["lr"] * moment / (moment.abs().mean() + 1e-8))


class ScheduleFree(torch.optim.Optimizer):
    """SGD by Defazio et al. 2024, as in `schedulefree`: in training the weights are between two sequences, and `eval` puts their
    average in place.
    """

    def __init__(self, parameters: Any, lr: float = 0.3) -> None:
        super().__init__(parameters, {"lr": lr, "k": 0, "train_mode": True})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # noqa: ARG002
        for group in self.param_groups:
            share = 1 / (group["k"] + 1)
            for p in group["params"]:
                z = self.state[p].setdefault("z", p.clone())
                p.lerp_(z, share).add_(p.grad, alpha=group["lr"] * (0.9 * (1 - share) - 1))
                z.sub_(p.grad, alpha=group["lr"])
            group["k"] += 1

    @torch.no_grad()
    def turn(self, *, train: bool) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                p.lerp_(self.state[p]["z"], 0.1 if train else 1 - 1 / 0.9)


def train(model: nn.Module, optimiser: Any, watch: health.Watch | None) -> list[float]:
    losses = []
    for step, (x, y) in enumerate(batches(STEPS)):
        loss = functional.cross_entropy(model(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        if watch is not None:
            watch.loss(loss)
        if isinstance(optimiser, ScheduleFree) and step % 10 == 9:
            optimiser.turn(train=False)
            model.eval()
            with torch.no_grad():
                model(x)
            model.train()
            optimiser.turn(train=True)
    return losses


@pytest.mark.parametrize("kind", [EightBits, ScheduleFree])
def test_their_steps_are_measured_and_not_changed(kind: Any) -> None:
    ends, watch, told = [], None, []
    for watched in (True, False):
        torch.manual_seed(0)
        model = mlp()
        optimiser = kind(model.parameters())
        if watched:
            with health.watch(model, optimiser, every=1) as watch:
                told = train(model, optimiser, watch)
        else:
            train(model, optimiser, None)
        ends.append([each.detach().clone() for each in model.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True))
    assert watch is not None
    trace = watch.trace()
    assert trace.facts.errors == ()
    assert trace.facts.optimiser == kind.__name__
    assert trace.steps.tolist() == list(range(STEPS))
    np.testing.assert_allclose(trace.loss.mean, told, rtol=1e-6)
    assert (trace.parameter("0.weight", "update_data") > 0).all()
    assert not [each for each in watch.report().findings if each.severity != "info"]


def within_backward(model: nn.Module, watch: health.Watch | None) -> None:
    """Each parameter has an optimiser of its own, which steps as soon as the gradient is there and frees it."""
    own = {p: torch.optim.SGD([p], lr=0.1) for p in model.parameters()}

    def hook(p: Tensor) -> None:
        own[p].step()
        own[p].zero_grad()

    for p in model.parameters():
        p.register_post_accumulate_grad_hook(hook)
    for x, y in batches(STEPS):
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        if watch is not None:
            watch.step()
            watch.loss(loss)


@pytest.mark.parametrize("every", [1, None])
def test_steps_inside_of_the_backward_pass(every: int | None) -> None:
    """Given no optimiser, a watch is told of each step."""
    ends, watch = [], None
    for watched in (True, False):
        torch.manual_seed(0)
        model = mlp()
        if watched:
            with health.watch(model, None, every=every) as watch:
                within_backward(model, watch)
        else:
            within_backward(model, None)
        ends.append([each.detach().clone() for each in model.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True))
    assert watch is not None
    trace = watch.trace()
    assert trace.facts.errors == ()
    assert len(trace.loss.step) == STEPS
    assert np.isfinite(trace.gradient("0", "std")).all()
    assert not [each for each in watch.report().findings if each.severity != "info"]


@pytest.mark.parametrize("every", [1, None])
def test_optimisers_that_step_inside_of_the_backward_pass_are_one_step_together(every: int | None) -> None:
    torch.manual_seed(0)
    model = mlp()
    own = {p: torch.optim.SGD([p], lr=0.1) for p in model.parameters()}

    def hook(p: Tensor) -> None:
        own[p].step()
        own[p].zero_grad()

    for p in model.parameters():
        p.register_post_accumulate_grad_hook(hook)
    with health.watch(model, list(own.values()), every=every) as watch:
        for x, y in batches(STEPS):
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
            watch.loss(loss)
    trace = watch.trace()
    assert trace.facts.errors == ()
    assert len(trace.loss.step) == STEPS
    assert (trace.parameter("0.weight", "update_data")[1:] > 0).all()
    assert not [each for each in watch.report().findings if each.severity != "info"]


class OwnRate(torch.optim.SGD):
    """SGD that keeps its settings in another way: no rate as in transformers' Adafactor, two eps, and no decay."""

    def __init__(self, parameters: Any, name: str, value: Any) -> None:
        super().__init__(parameters, lr=0.3)
        for group in self.param_groups:
            group[name] = value

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # noqa: ARG002
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(0.3 * p.grad)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    ("name", "value"), [("lr", None), ("eps", (1e-30, 1e-3)), ("weight_decay", None), ("momentum", None), ("betas", (None, 0.9))]
)
def test_settings_that_are_not_one_number(name: str, value: Any, fast: bool) -> None:
    torch.manual_seed(0)
    net = mlp()
    optimizer = OwnRate(net.parameters(), name, value)
    with health.watch(net, optimizer, every=1, fast=fast) as watch:
        for x, y in batches(STEPS):
            loss = functional.cross_entropy(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    report = watch.report()
    assert watch.steps == STEPS
    assert "met an error" not in str(report)


def test_adafactor_of_torch() -> None:
    """Its eps are two: (None, 0.001)."""
    torch.manual_seed(0)
    net = mlp()
    optimizer = torch.optim.Adafactor(net.parameters())
    with health.watch(net, optimizer) as watch:
        for x, y in batches(STEPS):
            loss = functional.cross_entropy(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    assert "met an error" not in str(watch.report())


class Wrapping(torch.optim.Optimizer):
    """A wrapper that is an Optimizer by its class alone, as Lookahead in `torch_optimizer`: it calls no `__init__`."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self.param_groups, self.state = optimizer.param_groups, optimizer.state
        self.defaults = optimizer.defaults

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.optimizer.zero_grad(set_to_none)

    def step(self, closure: None = None) -> None:
        self.optimizer.step(closure)


def test_a_wrapper_and_what_it_wraps_are_one_optimiser() -> None:
    """Hooks stood twice on one optimiser. They could be taken away while torch went through them: an error in the training."""
    torch.manual_seed(0)
    net = mlp()
    optimizer = Wrapping(torch.optim.SGD(net.parameters(), lr=0.1))
    with health.autowatch(show=False) as auto:
        for x, y in batches(STEPS):
            loss = functional.cross_entropy(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert [each.steps for each in auto.watches] == [STEPS]
    with health.watch(net, [optimizer, optimizer.optimizer]) as watch:
        for x, y in batches(STEPS):
            loss = functional.cross_entropy(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    assert watch.steps == STEPS
    assert optimisers_of([optimizer, optimizer.optimizer]) == [optimizer.optimizer]
