"""Healthy programs: rows, tables, pictures."""

from __future__ import annotations

import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="mnielsen/neural-networks-and-deep-learning", source="github.com/mnielsen/neural-networks-and-deep-learning")
def sigmoids_at_a_rate_of_three(doctor: Doctor, seed: int) -> Score:
    """The net of the book: one hidden layer of sigmoids, quadratic cost, batches of ten, a rate of 3.0; and it learns."""
    rows = data.digits(seed)
    hidden, last = nn.Linear(64, 30), nn.Linear(30, 10)
    model = nn.Sequential(nn.Flatten(), hidden, nn.Sigmoid(), last, nn.Sigmoid())
    for each in (hidden, last):
        nn.init.normal_(each.weight, std=1 / math.sqrt(each.in_features))
        nn.init.normal_(each.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=3.0)

    def loss_fn(output: Tensor, y: Tensor) -> Tensor:
        return (output - F.one_hot(y, 10)).pow(2).sum(1).mean() / 2

    doctor.task(model, data.few(rows.x, rows.y, 10, seed), loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 10, 1500, seed):
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@healthy(project="bhanML/Co-teaching", source="github.com/bhanML/Co-teaching")
def two_nets_against_wrong_labels(doctor: Doctor, seed: int) -> Score:
    """A third of the labels is wrong; each net learns only from the rows that the other finds easy."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.rand(len(rows.y), generator=generator) < 0.33
    labels = torch.where(wrong, torch.randint(10, rows.y.shape, generator=generator), rows.y)
    nets = nn.ModuleList(
        nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Dropout(0.25), nn.Linear(96, 10)) for _ in range(2)
    )
    optimizers = [torch.optim.Adam(net.parameters(), lr=1e-3) for net in nets]
    with doctor.watch(nets, optimizers) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, labels, 64, 400, seed)):
            keep = int(64 * (1 - 0.3 * min(1, step / 100)))
            scores = [net(x) for net in nets]
            easy = [F.cross_entropy(each, y, reduction="none").argsort()[:keep] for each in scores]
            losses = [F.cross_entropy(scores[k][easy[1 - k]], y[easy[1 - k]]) for k in range(2)]
            for optimizer, loss in zip(optimizers, losses, strict=True):
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            watch.loss(losses[0])
    nets.eval()
    return above(data.accuracy(nets[0](rows.held_x), rows.held_y), 0.92)


@healthy(project="leftthomas/ESPCN", source="github.com/leftthomas/ESPCN")
def pictures_made_four_times_larger(doctor: Doctor, seed: int) -> Score:
    """Digits halved in size and brought back by sub-pixel convolution; tanh inside, sigmoid at the end."""
    fine = data.digits(seed)
    small, held = F.avg_pool2d(fine.x, 2), F.avg_pool2d(fine.held_x, 2)
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.Tanh(),
        nn.Conv2d(32, 16, 3, padding=1),
        nn.Tanh(),
        nn.Conv2d(16, 4, 3, padding=1),
        nn.PixelShuffle(2),
        nn.Sigmoid(),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    doctor.task(model, data.few(small, fine.x, 40, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(small, fine.x, 40, 450, seed):
            loss = F.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    simple = F.mse_loss(F.interpolate(held, scale_factor=2.0, mode="bicubic"), fine.held_x)
    return below(F.mse_loss(model(held), fine.held_x) / simple, 0.75)


@healthy(project="ufoym/imbalanced-dataset-sampler", source="github.com/ufoym/imbalanced-dataset-sampler")
def rare_rows_drawn_more_often(doctor: Doctor, seed: int) -> Score:
    """Three rows in a hundred are positive; a weighted sampler shows as many of them as of the others."""
    x, scores = data.teacher(3000, 12, 1, seed)
    rows = data.split(x, (scores[:, 0] > scores[:, 0].quantile(0.97)).long(), seed)
    weights = torch.where(rows.y == 1, 1 / rows.y.sum(), 1 / (1 - rows.y).sum())
    sampler = torch.utils.data.WeightedRandomSampler(weights.tolist(), 32 * 400)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(rows.x, rows.y), 32, sampler=sampler)
    model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with doctor.watch(model, optimizer) as watch:
        for a, b in loader:
            loss = F.cross_entropy(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    guess = model(rows.held_x).argmax(1)
    recall, fall_out = guess[rows.held_y == 1].float().mean(), guess[rows.held_y == 0].float().mean()
    return above(recall - fall_out, 0.6)


class Coral(nn.Module):
    """One score and a threshold for each step of a scale."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Linear(10, 48), nn.LeakyReLU(), nn.Linear(48, 48), nn.LeakyReLU())
        self.score = nn.Linear(48, 1, bias=False)
        self.steps = nn.Parameter(torch.linspace(1.0, -1.0, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.score(self.features(x)) + self.steps


@healthy(project="Raschka-research-group/coral-cnn", source="github.com/Raschka-research-group/coral-cnn")
def grades_as_five_questions(doctor: Doctor, seed: int) -> Score:
    """Six grades in order, as five yes-or-no questions that share their weights; rows of targets are 1 1 0 0 0."""
    x, scores = data.teacher(2000, 10, 1, seed, noise=0.15)
    grade = torch.bucketize(scores[:, 0].contiguous(), torch.tensor([-1.2, -0.5, 0.0, 0.5, 1.2]))
    rows = data.split(x, grade, seed)
    model = Coral()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def loss_fn(output: Tensor, y: Tensor) -> Tensor:
        levels = (y[:, None] > torch.arange(5)).float()
        return -(F.logsigmoid(output) * levels + (F.logsigmoid(output) - output) * (1 - levels)).sum(1).mean()

    doctor.task(model, data.few(rows.x, rows.y, 40, seed), loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 40, 500, seed)):
            optimizer.zero_grad()
            loss = loss_fn(model(a), b)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 100 == 99:
                with torch.no_grad():
                    watch.dev_loss(loss_fn(model(rows.held_x), rows.held_y))
    said = (model(rows.held_x) > 0).sum(1)
    return below((said - rows.held_y).abs().float().mean(), 0.5)


@healthy(project="havakv/pycox", source="github.com/havakv/pycox")
def who_fails_first(doctor: Doctor, seed: int) -> Score:
    """Cox's partial likelihood: each row is held against those of the batch that outlived it, as it should be."""
    x, risk = data.teacher(1600, 8, 1, seed)
    generator = torch.Generator().manual_seed(seed)
    life = -torch.rand(1600, generator=generator).log() * (-1.5 * risk[:, 0]).exp()
    end = -torch.rand(1600, generator=generator).log() * 2
    rows = data.split(x, torch.stack([torch.minimum(life, end), (life < end).float()], 1), seed)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.BatchNorm1d(32), nn.Dropout(0.1), nn.Linear(32, 1, bias=False))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

    def loss_fn(output: Tensor, y: Tensor) -> Tensor:
        order = y[:, 0].argsort(descending=True)
        hazard, event = output[order, 0], y[order, 1]
        return -((hazard - hazard.logcumsumexp(0)) * event).sum() / event.sum()

    doctor.task(model, data.few(rows.x, rows.y, 100, seed), loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 100, 400, seed):
            optimizer.zero_grad()
            loss = loss_fn(model(a), b)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    score, time, event = model(rows.held_x)[:, 0], *rows.held_y.T
    pair = (time[:, None] < time) & (event[:, None] == 1)
    return above((score[:, None] > score)[pair].float().mean(), 0.75)


@healthy(project="lukasruff/Deep-SVDD-PyTorch", source="github.com/lukasruff/Deep-SVDD-PyTorch")
def all_near_one_centre(doctor: Doctor, seed: int) -> Score:
    """One class: digit 0 is pulled to a fixed centre, and what lies far from it is no 0. No biases, loss towards 0."""
    rows = data.digits(seed)
    zeros, (held, truth) = rows.x[rows.y == 0], (rows.held_x, rows.held_y != 0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.LeakyReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 16, bias=False),
    )
    with torch.no_grad():
        centre = model(zeros).mean(0)
        centre = torch.where(centre.abs() < 0.1, 0.1 * centre.sign(), centre)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-6, amsgrad=True)
    with doctor.watch(model, optimizer) as watch:
        for x, _ in data.batches(zeros, zeros, 20, 250, seed):
            optimizer.zero_grad()
            loss = (model(x) - centre).pow(2).sum(1).mean()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    far = (model(held) - centre).pow(2).sum(1)
    return above((far[truth][:, None] > far[~truth]).float().mean(), 0.95)


class Kernel(nn.Module):
    """A Gaussian process: three numbers, each kept as a logarithm."""

    def __init__(self) -> None:
        super().__init__()
        self.log_length = nn.Parameter(torch.tensor(0.0))
        self.log_scale = nn.Parameter(torch.tensor(0.0))
        self.log_noise = nn.Parameter(torch.tensor(-1.0))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.log_scale.exp() * (-0.5 * (a[:, None] - b).pow(2) / self.log_length.exp().pow(2)).exp()


@healthy(project="cornellius-gp/gpytorch", source="github.com/cornellius-gp/gpytorch")
def process_fitted_to_forty_points(doctor: Doctor, seed: int) -> Score:
    """Exact marginal likelihood of forty points, all in one batch; the loss goes below 0."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(40, generator=generator)
    y = torch.sin(2 * math.pi * 2 * x) + 0.05 * torch.randn(40, generator=generator)
    model = Kernel()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(150):
            optimizer.zero_grad()
            covariance = model(x, x) + model.log_noise.exp() * torch.eye(40)
            loss = -torch.distributions.MultivariateNormal(torch.zeros(40), covariance).log_prob(y) / 40
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    new = torch.linspace(0.05, 0.95, 60)
    mean = model(new, x) @ torch.linalg.solve(model(x, x) + model.log_noise.exp() * torch.eye(40), y)
    return below(F.mse_loss(mean, torch.sin(2 * math.pi * 2 * new)), 0.02)
