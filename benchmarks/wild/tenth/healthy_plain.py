"""Healthy programs on tables: fixed random features, two towers, lists, few rows, outliers, tasks at odds, exact zeros."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Cosines(nn.Module):
    """Cosines of fixed random directions, and one linear layer on them."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.register_buffer("directions", torch.randn(inputs, 300) * 0.6)
        self.register_buffer("phases", 6.283 * torch.rand(300))
        self.out = nn.Linear(300, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out((x @ self.directions + self.phases).cos() * (2 / 300) ** 0.5)


@healthy(project="scikit-learn", source="scikit-learn.org/stable/modules/kernel_approximation.html")
def cosines_of_random_directions(doctor: Doctor, seed: int) -> Score:
    """The features are random on purpose and in no list of parameters: an approximated kernel."""
    x, y = data.teacher(2000, 4, 1, seed)
    rows = data.split(x, y, seed)
    model = Cosines(4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9, weight_decay=1e-5)
    doctor.task(model, data.few(rows.x, rows.y, 50, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 50, 600, seed), rows, every=100)
    return above(data.r2(model(rows.held_x), rows.held_y), 0.8)


class Towers(nn.Module):
    """A vector for a user's history and one for a thing; how well they fit."""

    def __init__(self) -> None:
        super().__init__()
        self.things = nn.Embedding(100, 16)
        self.user = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16))
        self.thing = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16))

    def forward(self, history: Tensor, thing: Tensor) -> Tensor:
        return self.user(self.things(history).mean(1)) @ self.thing(self.things(thing)).T


@healthy(project="tensorflow/recommenders", source="github.com/tensorflow/recommenders")
def next_thing_among_those_of_others(doctor: Doctor, seed: int) -> Score:
    """The others of the batch are the wrong answers; the loss depends on all rows, and some of them are not wrong."""
    generator = torch.Generator().manual_seed(seed)
    group = torch.randint(10, (2000, 1), generator=generator)
    stray = torch.randint(100, (2000, 7), generator=generator)
    own = 10 * group + torch.randint(10, (2000, 7), generator=generator)
    bought = torch.where(torch.rand(2000, 7, generator=generator) < 0.8, own, stray)
    rows = data.split(bought[:, :6], bought[:, 6], seed)
    model = Towers()
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.1)
    with doctor.watch(model, optimizer) as watch:
        for history, thing in data.batches(rows.x, rows.y, 64, 500, seed):
            loss = F.cross_entropy(model(history, thing), torch.arange(64))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        best = model(rows.held_x, torch.arange(100)).topk(10).indices
    return above((best == rows.held_y[:, None]).any(1).float().mean(), 0.6)


@healthy(project="allegro/allRank", source="github.com/allegro/allRank")
def lists_put_in_order(doctor: Doctor, seed: int) -> Score:
    """Lists of 12 documents; the shares of their scores follow the shares of their grades. The loss cannot come near 0."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(800, 12, 10, generator=generator)
    taste = torch.randn(10, generator=generator)
    worth = (x @ taste) / 10**0.5 + x[..., 0] * x[..., 1]
    grade = (worth + 0.3 * torch.randn(800, 12, generator=generator)).clamp(-1.5, 1.5)
    rows = data.split(x, grade, seed)
    model = nn.Sequential(nn.Linear(10, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1), nn.Flatten(1))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def loss_fn(output: Tensor, target: Tensor) -> Tensor:
        return -(target.softmax(1) * output.log_softmax(1)).sum(1).mean()

    doctor.task(model, data.few(rows.x, rows.y, 25, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 25, 400, seed), rows, every=80)
    with torch.no_grad():
        said = model(rows.held_x)
    right = (said[:, :, None] > said[:, None]) == (rows.held_y[:, :, None] > rows.held_y[:, None])
    return above(right[:, ~torch.eye(12, dtype=torch.bool)].float().mean(), 0.75)


@healthy(project="scikit-learn", source="scikit-learn.org/stable/auto_examples/datasets/plot_iris_dataset.html")
def thirty_flowers_all_at_once(doctor: Doctor, seed: int) -> Score:
    """Thirty rows, all of them in each step, a weight decay of 0.1: small, and fine."""
    whole = data.table("iris", seed)
    rows = whole._replace(x=whole.x[:30], y=whole.y[:30])
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    every = [(rows.x, rows.y)] * 150
    doctor.task(model, every[:8], F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, every, rows, every=15)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


@healthy(project="yzhao062/pyod", source="github.com/yzhao062/pyod")
def what_does_not_fit_is_odd(doctor: Doctor, seed: int) -> Score:
    """An autoencoder with dropout on rows of which one in twenty is odd; these keep the loss up."""
    generator = torch.Generator().manual_seed(seed)
    usual = torch.tanh(torch.randn(1500, 3, generator=generator) @ torch.randn(3, 16, generator=generator))
    odd = torch.rand(1500, generator=generator) < 0.05
    strange = torch.tanh(torch.randn(1500, 3, generator=generator) @ torch.randn(3, 16, generator=generator))
    x = torch.where(odd[:, None], strange, usual) + 0.05 * torch.randn(1500, 16, generator=generator)
    rows = data.split(x, odd, seed)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3), nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 16))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=1e-5)
    with doctor.watch(model, optimizer) as watch:
        for a, _ in data.batches(rows.x, rows.y, 32, 500, seed):
            loss = F.mse_loss(model(a), a)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        error = (model(rows.held_x) - rows.held_x).pow(2).mean(1)
    return above((error[rows.held_y][:, None] > error[~rows.held_y]).float().mean(), 0.85)


class Two(nn.Module):
    """One trunk, two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(10, 48), nn.ReLU(), nn.Linear(48, 24), nn.ReLU())
        self.left, self.right = nn.Linear(24, 1), nn.Linear(24, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.trunk(x)
        return torch.cat([self.left(h), self.right(h)], 1)


@healthy(project="WeiChengTseng/Pytorch-PCGrad", source="github.com/WeiChengTseng/Pytorch-PCGrad")
def tasks_that_give_way_to_each_other(doctor: Doctor, seed: int) -> Score:
    """Two backward passes in each step; where the gradients are at odds, each loses its part against the other."""
    x, y = data.teacher(1600, 10, 2, seed)
    rows = data.split(x, y, seed)
    model = Two()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 40, 400, seed):
            losses = (model(a) - b).pow(2).mean(0)
            found = []
            for one in losses:
                optimizer.zero_grad()
                one.backward(retain_graph=True)
                found.append([torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()])
            product = sum(((g * h).sum() for g, h in zip(*found, strict=True)), torch.zeros(()))
            size = [sum((g.pow(2).sum() for g in each), torch.zeros(())) for each in found]
            for p, g, h in zip(model.parameters(), *found, strict=True):
                p.grad = g + h
                if product < 0:
                    p.grad = p.grad - product / size[1] * h - product / size[0] * g
            optimizer.step()
            watch.loss(losses.sum())
    return above(data.r2(model(rows.held_x), rows.held_y), 0.8)


@healthy(project="lasso-net/lassonet", source="github.com/lasso-net/lassonet")
def columns_that_end_at_nought(doctor: Doctor, seed: int) -> Score:
    """After each step weights are pulled to 0 and stop there: of 40 columns most get no weight at all."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(900, 40, generator=generator)
    y = 2 * x[:, 3] - 1.5 * x[:, 11] + x[:, 20] + 0.3 * torch.randn(900, generator=generator)
    rows = data.split(x, ((y - y.mean()) / y.std())[:, None], seed)
    model = nn.Linear(40, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    doctor.task(model, data.few(rows.x, rows.y, 40, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 40, 300, seed):
            optimizer.zero_grad()
            loss = F.mse_loss(model(a), b)
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                model.weight.copy_(model.weight.sign() * (model.weight.abs() - 0.004).clamp(min=0))
            watch.loss(loss)
    return above(data.r2(model(rows.held_x), rows.held_y), 0.9)
