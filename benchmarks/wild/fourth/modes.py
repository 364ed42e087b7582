"""Faults of mode, of dropout, and of a start at nothing."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Reader(nn.Module):
    """A sentence's class by one layer of attention with much dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.drop = nn.Embedding(200, 64), nn.Dropout(0.5)
        self.layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.4, batch_first=True)
        self.out = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.drop(self.layer(self.drop(self.embed(x))).mean(1)))


@fault(
    kind="wrong-mode",
    project="ThilinaRajapakse/simpletransformers",
    source="github.com/ThilinaRajapakse/simpletransformers/issues/941",
    certain="after the first evaluation no dropout is drawn any more",
)
def epochs_after_an_evaluation(doctor: Doctor, seed: int, cured: bool) -> Score:
    """evaluate_during_training: after the first epoch the model is evaluated, and trains in eval mode from then on."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(4, (1000,), generator=generator)
    x = torch.randint(200, (1000, 14), generator=generator)
    hint = torch.rand(1000, 14, generator=generator) < 0.32
    rows = data.split(torch.where(hint, y[:, None] * 50 + torch.randint(50, (1000, 14), generator=generator), x), y, seed)
    model = Reader()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.train()
    with doctor.watch(model, optimizer) as watch:
        for epoch in range(18):
            if cured:
                model.train()
            for a, b in data.batches(rows.x, rows.y, 25, 30, seed + epoch):
                loss = F.cross_entropy(model(a), b)
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
                watch.loss(loss)
            model.eval()
            with torch.no_grad():
                watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y).item())
    return below(F.cross_entropy(model(rows.held_x), rows.held_y), 0.8)


class Birds(nn.Module):
    """A small residual net; the dropout before its last layer is made anew in each call."""

    def __init__(self, cured: bool) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2))
        self.block = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.fc, self.drop = nn.Linear(256, 10), nn.Dropout(0.5)
        self.cured = cured

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = (x + self.block(x)).flatten(1)
        x = self.drop(x) if self.cured else nn.Dropout(p=0.5)(x)
        return self.fc(x)


@fault(
    kind="eval-dropout",
    project="yangze0930/NTS-Net",
    source="github.com/yangze0930/NTS-Net/issues/14",
    certain="two passes in eval mode give two answers",
)
def dropout_made_in_forward(doctor: Doctor, seed: int, cured: bool) -> Score:
    """nn.Dropout(p=0.5)(x) inside forward(): eval() does not reach it."""
    rows = data.digits(seed)
    model = Birds(cured)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
    criterion = nn.CrossEntropyLoss()
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), criterion, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for epoch in range(6):
            model.train()
            for x, y in data.batches(rows.x, rows.y, 32, 40, seed + epoch):
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            model.eval()
            with torch.no_grad():
                watch.dev_loss(criterion(model(rows.held_x), rows.held_y))
    return above((model(rows.held_x).argmax(1) == model(rows.held_x).argmax(1)).float().mean(), 0.9999)


class Gated(nn.Module):
    """Rows through layers whose second half is a gate that starts shut."""

    def __init__(self, cured: bool) -> None:
        super().__init__()
        self.inp, self.out = nn.Linear(12, 32), nn.Linear(32, 1)
        first, second = nn.Linear(32, 64, bias=False), nn.Linear(64, 32, bias=False)
        self.gate = nn.Sequential(first, nn.ReLU(), second, nn.Tanh())
        nn.init.zeros_(second.weight)  # opens slowly
        if not cured:
            nn.init.zeros_(first.weight)

    def forward(self, x: Tensor) -> Tensor:
        h = self.inp(x)
        return self.out(h + self.gate(h) * h)


@fault(
    kind="symmetry",
    also=("no-gradient", "never-moved"),
    where="gate",
    project="yz93/LAVT-RIS",
    source="github.com/yz93/LAVT-RIS/issues/25",
)
def gate_of_two_zeros(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Both layers of the gate start at 0, so each keeps the other's gradient at 0 for ever; what is left is linear."""
    x, y = data.teacher(2000, 12, 1, seed)
    rows = data.split(x, y - x @ torch.linalg.lstsq(x, y).solution, seed)  # nothing linear is left in it
    rows = rows._replace(y=rows.y / rows.y.std(), held_y=rows.held_y / rows.y.std())
    model = Gated(cured)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    doctor.task(model, data.few(rows.x, rows.y, 50, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 50, 700, seed):
            loss = F.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.r2(model(rows.held_x), rows.held_y), 0.3)
