"""Faults of numbers: logarithms and roots of nothing, columns of unlike width, degrees as they are, rows that meet a column."""

from __future__ import annotations

import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="non-finite",
    project="iusaspb/deep_learning_Nikolenko_and_Co",
    source="github.com/iusaspb/deep_learning_Nikolenko_and_Co/issues/1",
)
def a_small_number_that_is_too_small(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Black and white digits through a code that is drawn: beside a 1, what keeps the logarithm from nothing is rounded away."""
    rows = data.digits(seed)
    x, held = (rows.x > 0.5).float().flatten(1), (rows.held_x > 0.5).float().flatten(1)
    small = 1e-7 if cured else 1e-10

    class Vae(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(64, 128), nn.Softplus(), nn.Linear(128, 32))
            self.decoder = nn.Sequential(nn.Linear(16, 128), nn.Softplus(), nn.Linear(128, 64), nn.Sigmoid())

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            mean, log_var = self.encoder(x).chunk(2, 1)
            z = mean + torch.randn_like(mean) * (log_var / 2).exp() if self.training else mean
            return self.decoder(z), mean, log_var

    model = Vae()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    with doctor.watch(model, optimizer) as watch:
        for a, _ in data.batches(x, rows.y, 32, 800, seed):
            said, mean, log_var = model(a)
            error = -(a * (small + said).log() + (1 - a) * (small + 1 - said).log()).sum(1)
            told = -0.5 * (1 + log_var - mean.pow(2) - log_var.exp()).sum(1)
            loss = (error + 0.1 * told).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        said = model(held)[0]
    return above((((said > 0.5) == (held > 0.5)).float().mean() if math.isfinite(said.sum()) else 0.0), 0.85)


@fault(
    kind="non-finite",
    project="blog.csdn.net/ten_k",
    source="blog.csdn.net/ten_k/article/details/106576818",
)
def a_root_where_no_way_was_left(doctor: Doctor, seed: int, cured: bool) -> Score:
    """How far a car is off after a minute, east and north: some stand still, and the root of no distance has no slope."""
    generator = torch.Generator().manual_seed(seed)
    trips = torch.randn(1600, 6, generator=generator)
    stays = trips[:, 5] < -0.5
    way = torch.stack([trips[:, 0].tanh() + 0.5 * trips[:, 1], trips[:, 2] * trips[:, 3].sigmoid()], 1)
    way = way * ~stays[:, None]
    rows = data.split(trips, way, seed)

    class Tracker(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(6, 64), nn.ReLU())
            self.speed, self.way = nn.Linear(64, 1), nn.Linear(64, 2)
            nn.init.constant_(self.speed.bias, 1.0)

        def forward(self, x: Tensor) -> Tensor:
            h = self.body(x)
            return self.speed(h).relu() * self.way(h)

    def distance(said: Tensor, y: Tensor) -> Tensor:
        east, north = (said - y).unbind(1)
        return (east**2 + north**2 + (1e-10 if cured else 0.0)).sqrt().mean()

    model = Tracker()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), distance, optimizer)
    fit(doctor, model, optimizer, distance, data.batches(rows.x, rows.y, 32, 700, seed), rows)
    with torch.no_grad():
        off = (model(rows.held_x) - rows.held_y).norm(dim=1).mean()
    return below(off if math.isfinite(off) else 9.0, 0.4)


@fault(
    kind="input-scale",
    also=("learning-rate-too-low", "slow-learning", "initial-loss"),
    project="forums.fast.ai/18783",
    source="forums.fast.ai/t/help-with-simple-celcius-to-f-linear-regression-using-pytorch-gradient-descent-autograd/18783",
)
def degrees_as_they_are(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Degrees of one kind told by those of another, from -500 to 500: the rate the slope can bear does not move the rest."""
    generator = torch.Generator().manual_seed(seed)
    degrees = 1000 * torch.rand(2000, 1, generator=generator) - 500
    y = 1.8 * degrees + 32 + 0.3 * torch.randn(2000, 1, generator=generator)
    unit = 500.0 if cured else 1.0
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2 / float((degrees / unit).pow(2).mean()))
    doctor.task(model, data.few(degrees / unit, y, 100, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(degrees / unit, y, 100, 1000, seed))
    with torch.no_grad():
        return below((model(torch.zeros(1, 1)) - 32.0).abs(), 3.0)


@fault(
    kind="input-scale",
    also=("learning-rate-too-low", "slow-learning", "underfitting"),
    project="discuss.pytorch.org/208572",
    source=(
        "discuss.pytorch.org/t/"
        "why-is-this-simple-linear-regression-with-only-two-variables-so-hard-to-converge-during-gradient-descent/208572"
    ),
)
def two_roads_of_unlike_width(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A line in two numbers, one a hundred times as wide as the other: the steps the wide one bears are none for the narrow."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(800, 2, generator=generator)
    wide = torch.stack([250 * hidden[:, 0], 2 * hidden[:, 1] + 4 * hidden[:, 0]], 1)
    y = (1.2 * wide[:, :1] - 72 * wide[:, 1:]) / 200 + 0.05 * torch.randn(800, 1, generator=generator)
    rows = data.split(wide / wide.std(0) if cured else wide, y, seed)
    model = nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.zero_()
    steepest = torch.linalg.eigvalsh(rows.x.T @ rows.x / len(rows.x))[-1]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.8 / float(2 * steepest))
    doctor.task(model, data.few(rows.x, rows.y, 100, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 100, 1000, seed), rows, every=100)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.8)


@fault(
    kind="broadcast",
    project="stackoverflow/simple-linear-regression-in-pytorch",
    source="Stack Overflow: Simple Linear Regression in PyTorch (out is (4, 1), y is (4,); confirmed by Richard)",
)
def rows_that_meet_a_column(doctor: Doctor, seed: int, cured: bool) -> Score:
    """How an illness goes on, by a line with weights made by hand: a column less a row is a square, and its mean is asked for."""
    rows = data.table("diabetes", seed)
    mean, std = rows.y.mean(), rows.y.std()
    y, held_y = (rows.y - mean) / std, (rows.held_y - mean) / std

    class Line(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = nn.Parameter(0.3 * torch.randn(10, 1))
            self.bias = nn.Parameter(torch.randn(1))

        def forward(self, x: Tensor) -> Tensor:
            out = x.mm(self.weights) + self.bias
            return out.view(-1) if cured else out

    def error(out: Tensor, y: Tensor) -> Tensor:
        return ((out - y) ** 2).mean()

    model = Line()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    doctor.task(model, data.few(rows.x, y, 32, seed), error, optimizer)
    held = rows._replace(y=y, held_y=held_y)
    fit(doctor, model, optimizer, error, data.batches(rows.x, y, 32, 900, seed), held, every=90)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x).view(-1), held_y), 0.3)
