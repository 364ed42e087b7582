"""Faults of rows and time: a review lost in what fills it up, each against all, and one kind after the other."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils.rnn import pack_padded_sequence


class Reader(nn.Module):
    """What an LSTM knows at its last step; packed, the last step is the last word."""

    def __init__(self, words: int, packed: bool) -> None:
        super().__init__()
        self.packed = packed
        self.embedding = nn.Embedding(words, 24)
        self.lstm = nn.LSTM(24, 32, batch_first=True)
        self.fc = nn.Linear(32, 1)

    def forward(self, words: Tensor) -> Tensor:
        read = self.embedding(words)
        if self.packed:
            lengths = (words > 0).sum(1)
            _, (h, _) = self.lstm(pack_padded_sequence(read, lengths, batch_first=True, enforce_sorted=False))
        else:
            _, (h, _) = self.lstm(read)
        return self.fc(h[-1])


@fault(
    kind="padding",
    also=("underfitting", "slow-learning"),
    project="seungminnam.github.io/lstm-sentiment",
    source="seungminnam.github.io/DL-Projects/5_LSTM_Sentiment/summary.html",
)
def a_review_and_then_nothing(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Is a review kind: 5 to 20 words, filled up to 120 with noughts, of which an LSTM reads all before it is asked."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    count, width = 1600, 120
    words = torch.randint(1, 60, (count, width), generator=generator)
    length = torch.randint(5, 21, (count, 1), generator=generator)
    words = words * (torch.arange(width) < length)
    kind = ((words > 0) & (words <= 12)).sum(1) - ((words > 12) & (words <= 24)).sum(1)
    words, y = words[kind != 0], (kind[kind != 0] > 0).float()[:, None]
    rows = data.split(words, y, seed)
    model = Reader(60, packed=cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    criterion = nn.BCEWithLogitsLoss()
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), criterion, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, target in data.batches(rows.x, rows.y, 32, 220, seed):
            optimizer.zero_grad()
            loss = criterion(model(x), target)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        said = model(rows.held_x) > 0
    return above((said == rows.held_y.bool()).float().mean(), 0.8)


class LinearRegression(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.rand(features, 1) * 0.01)
        self.bias = nn.Parameter(torch.randn(1) * 0.01)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weights + self.bias


@fault(
    kind="broadcast",
    project="solofox.github.io/broadcasting-trap",
    source="solofox.github.io/torch/broadcasting/2025/12/07/torch-broadcasting-trap.html",
)
def worth_by_one_column(doctor: Doctor, seed: int, cured: bool) -> Score:
    """What houses are worth by the share of the poor around them: 400 answers in a column, 400 truths in a row."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    poor = 2 + 30 * torch.rand(540, 1, generator=generator) ** 1.5
    worth = 35 - 0.95 * poor[:, 0] + 4 * torch.randn(540, generator=generator)
    rows = data.split(poor, worth, seed)
    y = rows.y[:, None] if cured else rows.y
    model = LinearRegression(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    doctor.task(model, [(rows.x, y)] * 8, F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(1500):
            loss = F.mse_loss(model(rows.x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x)[:, 0], rows.held_y), 0.5)


@fault(
    kind="sorted-data",
    also=("norm-statistics",),
    project="blog.gcc.ac.cn/accuracy-high-at-first",
    source="blog.gcc.ac.cn/post/2024/machinelearninghighaccuracyatfirstthendecrease",
)
def one_folder_after_the_other(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits as they lie in ten folders, read without a shuffle: nearly every batch has a single kind."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    folders = rows.y.argsort(stable=True)
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(12, 24, 3, padding=1),
        nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(96, 10),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 6, 0.75)
    doctor.task(
        model, [(rows.x[part], rows.y[part]) for part in folders.split(32)[:8]] if not cured
        else data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer,
    )  # fmt: skip
    with doctor.watch(model, optimizer) as watch:
        for _ in range(8):
            model.train()
            order = torch.randperm(len(folders), generator=generator) if cured else folders
            for part in order.split(32):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(rows.x[part]), rows.y[part])
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            scheduler.step()
            model.eval()
            with torch.no_grad():
                watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)
