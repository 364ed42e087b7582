"""Healthy trainings of unusual shape: none of the faults of wiring and optimisation is named in them."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from trainings import adam, batches, checked, mlp, named, train

from lettrine import health
from lettrine.health.findings import Report

KINDS = {
    "unregistered", "detached-generator", "frozen-random", "gradients-cleared", "never-moved", "growing-graph", "wrong-mode",
    "eval-dropout", "shared-norm", "padding-mask", "batch-mixing", "schedule-to-zero", "weight-decay", "clip-before-unscale",
    "eps-underflow", "optimiser-state-lost", "no-warmup", "collapsed-kl", "no-gradient", "not-optimised", "symmetry",
}  # fmt: skip


class Experts(nn.Module):
    """A mixture of experts, each of which sees the examples it is given, and some steps none."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.experts = nn.Linear(12, 5), nn.ModuleList(nn.Linear(12, 4) for _ in range(5))

    def forward(self, x: Tensor) -> Tensor:
        weight, chosen = self.gate(x).softmax(1).max(1)
        output = x.new_zeros(len(x), 4)
        for place, expert in enumerate(self.experts):
            rows = (chosen == place).nonzero().squeeze(1)
            if len(rows):
                output = output.index_add(0, rows, weight[rows, None] * expert(x[rows]))
        return output


class Tied(nn.Module):
    """One matrix to embed the tokens and to name them."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.body, self.head = nn.Embedding(4, 16), nn.Linear(16 + 12, 16), nn.Linear(16, 4)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.body(torch.cat([self.embed(x[:, 0].long().clamp(0, 3)), x], 1))))


def simple(model: nn.Module) -> Report:
    return train(model, steps=45)


def line_search() -> Report:
    model = mlp()
    optimiser = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)
    x, y = next(batches(1, size=128))
    with health.watch(model, optimiser) as watch:
        for _ in range(12):

            def closure() -> Tensor:
                optimiser.zero_grad()
                loss = functional.cross_entropy(model(x), y)
                loss.backward()
                return loss

            watch.loss(optimiser.step(closure))
    return checked(watch.report())


def actor_and_critic() -> Report:
    """The critic's own optimiser clears what the actor's loss left in it."""
    model = nn.ModuleDict({"actor": nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 4)), "critic": nn.Linear(16, 1)})
    actor, critic = adam(model["actor"], 1e-3), adam(model["critic"], 1e-3)
    with health.watch(model, [critic, actor]) as watch:
        for x, _ in batches(45):
            value = functional.mse_loss(model["critic"](torch.cat([x, x[:, :4]], 1)), x[:, :4].sum(1, keepdim=True))
            critic.zero_grad()
            value.backward()
            critic.step()
            wanted = -model["critic"](torch.cat([x, model["actor"](x).tanh()], 1)).mean()
            actor.zero_grad()
            wanted.backward()
            actor.step()
            watch.loss(value)
    return checked(watch.report())


def attacked() -> Report:
    """Trained on the inputs that are worst, which takes a backward pass of its own."""
    model = mlp()
    optimiser = adam(model)
    with health.watch(model, optimiser) as watch:
        for x, y in batches(45):
            x.requires_grad_()
            functional.cross_entropy(model(x), y).backward()
            worse = (x + 0.05 * x.grad.sign()).detach()
            optimiser.zero_grad()
            loss = functional.cross_entropy(model(worse), y)
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            watch.loss(loss)
    return checked(watch.report())


def taught() -> Report:
    """By a trained network that hides in a list, so as not to be saved."""
    teacher = mlp()
    train(teacher, steps=30)

    class Student(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.teacher = mlp(), [teacher]

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                self.wanted = self.teacher[0](x).softmax(1)
            return self.net(x)

    model = Student()
    return train(model, steps=45, make=lambda x, _: functional.cross_entropy(model(x), model.wanted))


def averaged() -> Report:
    """A running copy is kept of the weights, and evaluated."""
    model = nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 4))
    average, optimiser = copy.deepcopy(model).requires_grad_(False).eval(), adam(model)
    with health.watch(model, optimiser) as watch:
        for number, (x, y) in enumerate(batches(45)):
            loss = functional.cross_entropy(model(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
            for ours, theirs in zip(average.parameters(), model.parameters(), strict=True):
                ours.lerp_(theirs.detach(), 0.05)
            if number % 15 == 14:
                with torch.no_grad():
                    watch.dev_loss(functional.cross_entropy(average(x), y))
    return checked(watch.report())


def warmed_up_and_decayed() -> Report:
    model = mlp()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=150)
    with health.watch(model, optimiser) as watch:
        for x, y in batches(150):
            loss = functional.cross_entropy(model(x), y)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            watch.loss(loss)
    return checked(watch.report())


@pytest.mark.parametrize(
    "make",
    [
        lambda: simple(Experts()),
        lambda: simple(Tied()),
        line_search,
        actor_and_critic,
        attacked,
        taught,
        averaged,
        warmed_up_and_decayed,
    ],
    ids=["experts", "tied", "line search", "actor and critic", "attacked", "taught", "averaged", "one cycle"],
)
def test_healthy_trainings_of_unusual_shape(make: Callable[[], Report]) -> None:
    torch.manual_seed(3)
    assert not set(named(make())) & KINDS
