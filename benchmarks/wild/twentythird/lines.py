"""Faults of rows and lines: steps added up, one point of a wave, a cubic that flies off, marks of 50, rare fraud, raw columns."""

from __future__ import annotations

import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Ramp(nn.Module):
    """An LSTM over a line of numbers, and a number at each step."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, 40, batch_first=True)
        self.linear = nn.Linear(40, 1)

    def forward(self, x: Tensor) -> Tensor:
        output, _ = self.lstm(x)
        return self.linear(output)[..., 0]


@fault(
    kind="missing-zero-grad",
    project="stats.stackexchange.com/376851",
    source="stats.stackexchange.com/questions/376851/why-is-lstm-so-ineffective-at-this-ridiculously-simple-sequence",
)
def a_ramp_moved_on_by_two(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Each number of a ramp, plus a tenth, by an LSTM that sees the one ramp a thousand times."""
    torch.manual_seed(seed)
    model = Ramp().double()
    ramp = torch.arange(21, dtype=torch.double) / 20
    x, y = ramp[None, :, None], (ramp + 0.1)[None]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def criterion(said: Tensor, target: Tensor) -> Tensor:
        return (said - target).pow(2).sum()

    doctor.task(model, [(x, y)] * 8, criterion, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(1000):
            if cured:
                optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return below(F.mse_loss(model(x), y), 2e-3)


class Wave(nn.Module):
    """An RNN over one line of windows of four, and what comes after each."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.RNN(4, 64, batch_first=True)
        self.fc = nn.Linear(64, 1)

    def forward(self, x: Tensor) -> Tensor:
        output, _ = self.rnn(x)
        return self.fc(output)[:, 0]


@fault(
    kind="repeated-batch",
    also=("target-constant", "overfitting", "underfitting", "other-loss"),
    project="discuss.pytorch.org/164415",
    source="discuss.pytorch.org/t/predicted-data-is-in-a-different-scale/164415",
)
def a_wave_of_which_one_point_is_asked(doctor: Doctor, seed: int, cured: bool) -> Score:
    """What comes after four points of a wave: the net reads all the wave, and only what it says last goes into the loss."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    wave = (torch.arange(0, 75, 0.1)).sin() + 0.02 * torch.randn(750, generator=generator)
    windows, after = wave[:600].view(-1, 4), wave[4:604:4]
    held, held_after = wave[600:748].view(-1, 4)[:-1], wave[604:748:4]
    model = Wave()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

    def loss_fn(said: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(said, target) if cured else F.mse_loss(said[-1], target[-1])

    doctor.task(model, [(windows, after)] * 8, loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(400):
            optimizer.zero_grad()
            loss = loss_fn(model(windows), after)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.r2(model(held), held_after), 0.8)


@fault(
    kind="learning-rate-too-high",
    also=("input-scale", "non-finite", "gradient-scale", "target-scale"),
    project="stats.stackexchange.com/594738",
    source="stats.stackexchange.com/questions/594738/loss-is-growing-between-epochs-in-simple-model",
)
def a_cubic_carried_on_by_a_matrix(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The last twenty points of a cubic from the first eighty by one matrix: numbers up to 900, and a step of a millionth."""
    torch.manual_seed(seed)
    line = torch.linspace(-10, 10, 100)
    line = line.pow(3) + line.pow(2) + line
    x, y = line[None, :80], line[None, 80:]
    model = nn.Linear(80, 20)
    nn.init.normal_(model.weight, std=3)
    nn.init.normal_(model.bias, std=3)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-7 if cured else 1e-6)
    loss_fn = nn.MSELoss(reduction="sum")
    doctor.task(model, [(x, y)] * 8, loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(200):
            loss = loss_fn(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        wrong = ((model(x) - y).norm() / y.norm()).item()
    return below(wrong if math.isfinite(wrong) else 1e9, 0.05)


@fault(
    kind="saturation",
    also=("learning-rate-too-high", "target-scale", "gradient-scale", "input-scale"),
    project="stackoverflow/tensorflow-regression-same-prediction",
    source="stackoverflow.com: Tensorflow Regression Model Giving Same Prediction Every Time",
)
def marks_out_of_fifty(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Marks from hours slept, learned, at screens and at play: two sigmoids, then a third times 50, and squares of its error."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    hours = torch.rand(80, 4, generator=generator) * torch.tensor([6.0, 6.0, 5.0, 3.0]) + torch.tensor([3.0, 0.0, 0.0, 0.0])
    marks = 36 + 1.2 * (hours[:, :1] - 6) + 3.0 * (hours[:, 1:2] - 3) - 1.5 * (hours[:, 2:3] - 2.5)
    marks = (marks + 2 * torch.randn(80, 1, generator=generator)).clamp(5, 50)
    rows = data.split(hours, marks, seed)

    class Marks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.out = nn.Linear(4, 2), nn.Linear(2, 1)
            for layer in (self.hidden, self.out):
                nn.init.normal_(layer.weight)
                nn.init.zeros_(layer.bias)

        def forward(self, x: Tensor) -> Tensor:
            if cured:
                x = (x - rows.x.mean(0)) / rows.x.std(0)
            share = self.out(self.hidden(x).sigmoid()).sigmoid()
            return share if cured else 50 * share

    model = Marks()
    size = 50.0 if cured else 1.0
    y = rows.y / size
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0 if cured else 0.05)
    doctor.task(model, [(rows.x, y)] * 8, F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(1000):
            optimizer.zero_grad()
            loss = F.mse_loss(model(rows.x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.r2(size * model(rows.held_x), rows.held_y), 0.5)


@fault(
    kind="majority-class",
    project="stackoom.com/4QOjQ",
    source="stackoom.com/en/question/4QOjQ (All zero class prediction by Neural Network)",
)
def one_fraud_in_a_hundred(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Is a payment false: 28 columns squeezed to five, and a net that may call all of them true and is right 99 times."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    false = (torch.arange(8000) % 100 == 0).float()[:, None]
    push = torch.tensor([1.6, -1.4, 0.8, 0.0, 0.0])
    inner = torch.randn(8000, 5, generator=generator) + false * push
    x = inner @ torch.randn(5, 28, generator=generator) + 0.5 * torch.randn(8000, 28, generator=generator)
    rows = data.split((x - x.mean(0)) / x.std(0), false, seed)

    encoder = nn.Sequential(nn.Linear(28, 15), nn.Tanh(), nn.Linear(15, 5))
    decoder = nn.Sequential(nn.Linear(5, 15), nn.Tanh(), nn.Linear(15, 28))
    squeeze = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=5e-3)
    for batch, _ in data.batches(rows.x, rows.y, 128, 300, seed):
        squeeze.zero_grad()
        F.mse_loss(decoder(encoder(batch)), batch).backward()
        squeeze.step()
    with torch.no_grad():
        codes, held = encoder(rows.x), encoder(rows.held_x)

    model = nn.Sequential(nn.Linear(5, 10), nn.ReLU(), nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    loss_fn = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(99.0) if cured else None)
    doctor.task(model, data.few(codes, rows.y, 128, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(codes, rows.y, 128, 600, seed))
    with torch.no_grad():
        said = model(held)[:, 0] > 0
    is_false = rows.held_y[:, 0] > 0
    found, spared = said[is_false].float().mean(), (~said[~is_false]).float().mean()
    return above((found + spared) / 2, 0.72)


class WideAndDeep(nn.Module):
    """Some columns straight to the end, others by two layers; the norms are made, and it is asked whether they are used."""

    def __init__(self, mean: Tensor, std: Tensor, used: bool) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.used = used
        self.hidden1, self.hidden2, self.out = nn.Linear(6, 30), nn.Linear(30, 30), nn.Linear(35, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.used:
            x = (x - self.mean) / self.std
        deep = F.relu(self.hidden2(F.relu(self.hidden1(x[:, 2:]))))
        return self.out(torch.cat([x[:, :5], deep], 1))


@fault(
    kind="input-scale",
    also=("initial-loss", "activation-scale", "gradient-scale"),
    project="ageron/handson-ml3",
    source="github.com/ageron/handson-ml3/pull/20",
)
def districts_as_they_were_counted(doctor: Doctor, seed: int, cured: bool) -> Score:
    """What a district is worth from eight columns, shares and thousands: they are normed, and the net gets the old."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    z, scores = data.teacher(1600, 8, 1, seed)
    middle = torch.tensor([3.9, 28.0, 5.4, 1.1, 1425.0, 3.0, 35.6, -119.6])
    size = torch.tensor([1.9, 12.6, 2.4, 0.5, 1132.0, 10.0, 2.1, 2.0])
    worth = 2.1 + 1.1 * scores + 0.1 * torch.randn(1600, 1, generator=generator)
    rows = data.split(middle + size * z, worth, seed)
    model = WideAndDeep(rows.x.mean(0), rows.x.std(0), used=cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 32, 800, seed), held=rows)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.5)
