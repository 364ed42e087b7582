"""Faults of data: its scale, its order, its targets."""

from __future__ import annotations

from itertools import islice

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import nn
from torch.nn import functional as F  # noqa: N812  as everybody calls it


@fault(kind="input-scale", project="pytorch forum", source="discuss.pytorch.org/t/96648")
def wine_as_measured(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Wine by its 13 chemical measures: proline reaches 1680, hue is near 1, and nobody standardised them."""
    rows = data.table("wine", seed, standard=cured)
    model = nn.Sequential(nn.Linear(13, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 32, 600, seed):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.93)


@fault(
    kind="target-rows",
    project="ThilinaRajapakse/simpletransformers",
    source="github.com/ThilinaRajapakse/simpletransformers/issues/101",
)
def genres_by_softmax(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A film has several genres: rows of 0 and 1 with several ones, handed to a softmax loss as they are."""
    x, scores = data.teacher(1600, 24, 8, seed)
    rows = data.split(x, (scores > 0.3).float(), seed)
    model = nn.Sequential(nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, 8))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loss_fn = F.binary_cross_entropy_with_logits if cured else F.cross_entropy
    doctor.task(model, data.few(rows.x, rows.y, 50, seed), loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 50, 500, seed):
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    right = (model(rows.held_x) > 0).float() == rows.held_y
    return above(right.float().mean(), 0.85)


@fault(kind="sorted-data", project="Deci-AI/super-gradients", source="github.com/Deci-AI/super-gradients/issues/416")
def loader_without_shuffle(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Pictures lie on disk class by class, and the loader reads them in that order: whole batches hold one class."""
    rows = data.digits(seed)
    x, y = rows.x, rows.y
    if not cured:
        order = y.argsort(stable=True)
        x, y = x[order], y[order]
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(384, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=32, shuffle=cured, drop_last=True)
    doctor.task(model, [tuple(each) for each in islice(loader, 12)], F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(12):
            for pictures, labels in loader:
                loss = F.cross_entropy(model(pictures), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.loss(loss)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@fault(kind="broadcast", project="jsboige/CoursIA", source="github.com/jsboige/CoursIA/pull/926")
def forecast_of_one_step(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A forecaster answers (B, 1) while the loader gives (B,): the difference is (B, B), and the mean is all it can learn."""
    t = torch.arange(3000.0)
    noise = torch.randn(3000, generator=torch.Generator().manual_seed(seed))
    series = torch.sin(t / 9) + 0.5 * torch.sin(t / 2.3) + 0.1 * noise
    pieces = series.unfold(0, 25, 1)
    rows = data.split(pieces[:, :24], pieces[:, 24], seed)
    model = nn.Sequential(nn.Unflatten(1, (1, 24)), nn.Conv1d(1, 16, 5), nn.GELU(), nn.Flatten(), nn.Linear(320, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def loss_fn(output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(output, y.view_as(output) if cured else y)

    doctor.task(model, data.few(rows.x, rows.y, 64, seed), loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 700, seed):
            loss = loss_fn(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.r2(model(rows.held_x)[:, 0], rows.held_y), 0.9)


@fault(kind="leak", project="pytorch-tabular/pytorch_tabular", source="github.com/pytorch-tabular/pytorch_tabular/issues/21")
def result_among_the_features(doctor: Doctor, seed: int) -> Score:
    """The column that is to be predicted also stands among the numeric columns; what is learned is to copy it."""
    x, scores = data.teacher(1500, 11, 1, seed, noise=1.0)
    y = (scores[:, 0] > 0).long()
    columns = torch.cat([x[:, :7], y[:, None].float(), x[:, 7:]], 1)
    rows = data.split(columns, y, seed)
    model = nn.Sequential(nn.BatchNorm1d(12), nn.Linear(12, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 64, 500, seed)):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
                model.train()
    model.eval()
    honest = rows.held_x.clone()
    honest[:, 7] = 0.5  # at the time of use the result is not known yet
    shown = data.accuracy(model(rows.held_x), rows.held_y)
    return above(data.accuracy(model(honest), rows.held_y) - shown, -0.05)


@fault(kind="target-scale", project="cross validated", source="stats.stackexchange.com/questions/409000")
def prices_in_dollars(doctor: Doctor, seed: int, cured: bool) -> Score:
    """House prices around 250,000 as they are; after many epochs the output is still on its way up from 0."""
    x, score = data.teacher(1600, 8, 1, seed, noise=0.2)
    prices = 250_000 + 90_000 * score
    rows = data.split(x, (prices - 250_000) / 90_000 if cured else prices, seed)
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 64, 800, seed)):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 100 == 99:
                watch.dev_loss(F.mse_loss(model(rows.held_x), rows.held_y).item())
    error = (model(rows.held_x) - rows.held_y).pow(2).mean().sqrt() / rows.held_y.std()
    return below(error, 0.5)
