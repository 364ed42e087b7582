"""Faults of first programs: small classifiers and regressors as they are asked about in forums."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(kind="input-scale", project="data science stack exchange", source="datascience.stackexchange.com/questions/39929")
def clothes_as_bytes(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Pixels from 0 to 255, since they all have the same scale anyway."""
    rows = data.digits(seed, scale=16.0 if cured else 16 / 255)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 32, 250, seed)):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


class Forecast(nn.Module):
    """The next value of a series, by an LSTM and what stands after it."""

    def __init__(self, end: nn.Module) -> None:
        super().__init__()
        self.lstm, self.dense, self.end = nn.LSTM(1, 24, batch_first=True), nn.Linear(24, 1), end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.dense(self.lstm(x)[0][:, -1]))


@fault(kind="target-range", project="stack overflow", source="stackoverflow.com/questions/60306255")
def forecast_that_is_never_negative(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Inputs and targets have mean 0 and deviation 1; all that comes out lies between 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    phase = torch.rand(1400, 1, generator=generator) * 6.28
    speed = 0.3 + 0.5 * torch.rand(1400, 1, generator=generator)
    wave = 1.4 * torch.sin(phase + speed * torch.arange(17)) + 0.1 * torch.randn(1400, 17, generator=generator)
    rows = data.split(wave[:, :16, None], wave[:, 16:], seed)
    model = Forecast(nn.Identity() if cured else nn.Sigmoid())
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 32, 400, seed):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.r2(model(rows.held_x), rows.held_y), 0.85)


@fault(
    kind="learning-rate-too-high",
    also=("dead-units",),
    project="data science stack exchange",
    source="datascience.stackexchange.com/questions/28481",
)
def one_half_for_every_picture(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A net for two classes ends by saying one half to everything: the rate is too high for its momentum."""
    x, y, _ = data.shapes(900, seed)
    rows = data.split(x, (y % 2).float(), seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 64),
        nn.ReLU(),
        nn.Linear(64, 1),
        nn.Flatten(0),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03 if cured else 1.5, momentum=0.9)
    loss_fn = nn.BCEWithLogitsLoss()
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 32, 250, seed):
            optimizer.zero_grad()
            loss = loss_fn(model(a), b)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(((model(rows.held_x) > 0) == (rows.held_y > 0.5)).float().mean(), 0.85)


@fault(
    kind="gradient-scale",
    also=("activation-scale",),
    project="artificial intelligence stack exchange",
    source="ai.stackexchange.com/questions/16557",
)
def sigmoids_all_the_way(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Binary vectors to a real number by eight hidden layers of sigmoids: next to nothing reaches the first ones."""
    generator = torch.Generator().manual_seed(seed)
    x = (torch.rand(2000, 16, generator=generator) > 0.5).float()
    y = (x[:, :8] * x[:, 8:]).sum(1, keepdim=True) + x[:, :1] - x[:, 1:2]
    rows = data.split(x, (y - y.mean()) / y.std(), seed)
    bend = nn.ReLU if cured else nn.Sigmoid
    layers: list[nn.Module] = [nn.Linear(16, 64), bend()]
    for _ in range(7):
        layers += [nn.Linear(64, 64), bend()]
    model = nn.Sequential(*layers, nn.Linear(64, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    doctor.task(model, data.few(rows.x, rows.y, 50, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 50, 500, seed):
            optimizer.zero_grad()
            loss = F.mse_loss(model(a), b)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.r2(model(rows.held_x), rows.held_y), 0.85)


@fault(
    kind="learning-rate-too-low",
    also=("slow-learning",),
    project="tensorflow/tensorflow",
    source="github.com/tensorflow/tensorflow/issues/32950",
)
def adadelta_with_the_new_default(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Adadelta is meant for a rate of 1; with 0.001, the default of all the others, it hardly leaves its place."""
    rows = data.table("wine", seed)
    model = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0 if cured else 0.001, rho=0.95, eps=1e-7)
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 16, 400, seed)):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 40 == 39:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@fault(kind="target-scale", also=("input-scale",), project="stack overflow", source="stackoverflow.com/questions/52800582")
def fourth_power(doctor: Doctor, seed: int, cured: bool) -> Score:
    """y = x^4 for x from -100 to 100: targets up to a hundred million, and nothing is scaled."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1600, 1, generator=generator) * 200 - 100
    rows = data.split(x / 100 if cured else x, (x / 100) ** 4 if cured else x**4, seed)
    model = nn.Sequential(nn.Linear(1, 50), nn.Tanh(), nn.Linear(50, 50), nn.ELU(), nn.Linear(50, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 40, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 40, 500, seed):
            optimizer.zero_grad()
            loss = F.mse_loss(model(a), b)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.r2(model(rows.held_x), rows.held_y), 0.9)
