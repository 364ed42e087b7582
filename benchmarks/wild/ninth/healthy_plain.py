"""Healthy programs on tables: clicks, tastes, single rows, outliers, long plateaus, private steps."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Factors(nn.Module):
    """A bias for each value of each column and the products of the values' vectors: a logit."""

    def __init__(self, values: int) -> None:
        super().__init__()
        self.bias, self.vector = nn.Embedding(values, 1), nn.Embedding(values, 6)
        self.all = nn.Parameter(torch.zeros(1))
        nn.init.xavier_uniform_(self.vector.weight)

    def forward(self, x: Tensor) -> Tensor:
        v = self.vector(x)
        products = 0.5 * (v.sum(1).pow(2) - v.pow(2).sum(1)).sum(1)
        return self.all + self.bias(x).sum((1, 2)) + products


@healthy(project="rixwew/pytorch-fm", source="github.com/rixwew/pytorch-fm")
def clicks_by_products_of_columns(doctor: Doctor, seed: int) -> Score:
    """Five columns of codes, one row of seven clicked; only pairs of columns tell why."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(15, (4000, 5), generator=generator)
    taste = torch.randn(75, 3, generator=generator)
    x = codes + 15 * torch.arange(5)
    v = taste[x]
    logit = 0.8 * (v.sum(1).pow(2) - v.pow(2).sum(1)).sum(1) - 4.0
    rows = data.split(x, (logit + torch.randn(4000, generator=generator) > 0).float(), seed)
    model = Factors(75)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=1e-6)
    loss_fn = nn.BCEWithLogitsLoss()
    doctor.task(model, data.few(rows.x, rows.y, 100, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 100, 500, seed), rows, every=100)
    said, truth = model(rows.held_x), rows.held_y > 0.5
    return above((said[truth][:, None] > said[~truth]).float().mean(), 0.9)


class Likings(nn.Module):
    """How much a user likes a thing: the product of their vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.thing = nn.Embedding(120, 8), nn.Embedding(150, 8)
        for table in (self.user, self.thing):
            nn.init.normal_(table.weight, std=0.01)

    def forward(self, user: Tensor, thing: Tensor) -> Tensor:
        return (self.user(user) * self.thing(thing)).sum(1)


@healthy(project="guoyang9/BPR-pytorch", source="github.com/guoyang9/BPR-pytorch")
def liked_rather_than_any_other(doctor: Doctor, seed: int) -> Score:
    """Vectors start near 0, where the gradient is small: the loss stays at 0.693 for a while, then falls."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(120, 3, generator=generator) @ torch.randn(3, 150, generator=generator)
    seen = scores + 0.5 * torch.randn(120, 150, generator=generator) > 2.0
    pairs = seen.nonzero()
    pairs = pairs[torch.randperm(len(pairs), generator=generator)]
    cut = len(pairs) * 4 // 5
    model = Likings()
    optimizer = torch.optim.SGD(model.parameters(), lr=4.0, weight_decay=1e-5)
    with doctor.watch(model, optimizer) as watch:
        for pair, _ in data.batches(pairs[:cut], pairs[:cut], 100, 700, seed):
            other = torch.randint(150, (100,), generator=generator)
            loss = -F.logsigmoid(model(pair[:, 0], pair[:, 1]) - model(pair[:, 0], other)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    held, unseen = pairs[cut:], (~seen).nonzero()
    with torch.no_grad():
        yes, no = model(held[:, 0], held[:, 1]), model(unseen[:, 0], unseen[:, 1])
    return above((yes[:, None] > no[::5]).float().mean(), 0.85)


@healthy(project="patrickloeber/pytorchTutorial", source="github.com/patrickloeber/pytorchTutorial")
def flowers_one_at_a_time(doctor: Doctor, seed: int) -> Score:
    """Batches of one row, plain SGD: the loss of a step jumps, the mean falls."""
    rows = data.table("iris", seed)
    model = nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    doctor.task(model, data.few(rows.x, rows.y, 1, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 1, 1120, seed), rows, every=112)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


@healthy(project="scikit-learn", source="scikit-learn.org/stable/modules/linear_model.html#huber-regression")
def gauges_that_sometimes_lie(doctor: Doctor, seed: int) -> Score:
    """One target of twelve is far off: a Huber loss, which stays high, finds the rest."""
    x, y = data.teacher(1600, 6, 1, seed, noise=0.1)
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.rand(1600, 1, generator=generator) < 0.08
    rows = data.split(x, torch.cat([y, torch.where(wrong, y + 15 * torch.randn(1600, 1, generator=generator), y)], 1), seed)
    model = nn.Sequential(nn.Linear(6, 64), nn.Tanh(), nn.Linear(64, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

    def loss_fn(output: Tensor, target: Tensor) -> Tensor:
        return F.huber_loss(output, target[:, 1:], delta=0.5)

    doctor.task(model, data.few(rows.x, rows.y, 40, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 40, 500, seed), rows, every=100)
    return above(data.r2(model(rows.held_x), rows.held_y[:, :1]), 0.85)


@healthy(project="d2l-ai/d2l-en", source="github.com/d2l-ai/d2l-en")
def three_signs_multiplied(doctor: Doctor, seed: int) -> Score:
    """The product of three signs cannot be learnt a little: nothing for many steps, then all at once."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(2, (2400, 12), generator=generator).float() * 2 - 1
    rows = data.split(x, (x[:, 2] * x[:, 5] * x[:, 9] > 0).float()[:, None], seed)
    model = nn.Sequential(nn.Linear(12, 128), nn.ReLU(), nn.Linear(128, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loss_fn = nn.BCEWithLogitsLoss()
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 32, 900, seed), rows, every=60)
    return above(((model(rows.held_x) > 0) == (rows.held_y > 0.5)).float().mean(), 0.95)


@healthy(project="pytorch/opacus", source="github.com/pytorch/opacus")
def tumours_learnt_in_private(doctor: Doctor, seed: int) -> Score:
    """The gradient of each row is cut to norm 1, noise is added to their sum."""
    rows = data.table("breast_cancer", seed)
    model = nn.Sequential(nn.Linear(30, 16), nn.Tanh(), nn.Linear(16, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.4)
    generator = torch.Generator().manual_seed(seed)
    parameters = list(model.parameters())
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 32, 120, seed):
            sums = [torch.zeros_like(each) for each in parameters]
            losses = F.cross_entropy(model(x), y, reduction="none")
            for one in losses:
                own = torch.autograd.grad(one, parameters, retain_graph=True)
                norm = torch.stack([each.norm() for each in own]).norm()
                sums = [total + each * (1.0 / (norm + 1e-6)).clamp(max=1.0) for total, each in zip(sums, own, strict=True)]
            for parameter, total in zip(parameters, sums, strict=True):
                parameter.grad = (total + 1.0 * torch.randn(total.shape, generator=generator)) / len(x)
            optimizer.step()
            watch.loss(losses.mean())
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@healthy(project="pytorch/pytorch", source="pytorch.org/docs/stable/generated/torch.optim.Rprop.html")
def heart_rates_by_signs_of_slopes(doctor: Doctor, seed: int) -> Score:
    """All rows in each step, steps by the sign of the slope alone, 80 of them."""
    x, y = data.teacher(500, 8, 1, seed)
    rows = data.split(x, y, seed)
    model = nn.Sequential(nn.Linear(8, 24), nn.Tanh(), nn.Linear(24, 1))
    optimizer = torch.optim.Rprop(model.parameters(), lr=0.01)
    every = [(rows.x, rows.y)] * 80
    doctor.task(model, every[:8], F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, every, rows, every=10)
    return above(data.r2(model(rows.held_x), rows.held_y), 0.75)
