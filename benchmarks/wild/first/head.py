"""Faults between the last layer and the loss."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Tumour(nn.Module):
    """Benign or malignant from 30 measures; a sigmoid at the end, as for BCELoss."""

    def __init__(self, sigmoid: bool) -> None:
        super().__init__()
        self.layer_1, self.layer_2, self.layer_out = nn.Linear(30, 64), nn.Linear(64, 64), nn.Linear(64, 1)
        self.norm1, self.norm2 = nn.BatchNorm1d(64), nn.BatchNorm1d(64)
        self.sigmoid = sigmoid

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(F.relu(self.layer_1(x)))
        x = self.norm2(F.relu(self.layer_2(x)))
        out = self.layer_out(x)[:, 0]
        return torch.sigmoid(out) if self.sigmoid else out


@fault(
    kind="probabilities-as-logits",
    project="NVIDIA-Merlin/models",
    source="github.com/NVIDIA-Merlin/models/pull/1175",
    certain="the loss cannot fall below 0.31 for one class and 0.69 for the other",
)
def sigmoid_before_logits_loss(doctor: Doctor, seed: int, cured: bool) -> Score:
    """nn.BCEWithLogitsLoss on what a sigmoid gave."""
    rows = data.table("breast_cancer", seed)
    model = Tumour(sigmoid=not cured)
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    doctor.task(model, data.few(rows.x, rows.y.float(), 64, seed), criterion, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 400, seed):
            optimizer.zero_grad()
            loss = criterion(model(x), y.float())
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        likelihood = -criterion(model(rows.held_x), rows.held_y.float())
    return above(likelihood, -0.25)


class Reader(nn.Module):
    """Relation of a question: a GRU, attention over its steps, a class. Shape (T, B, E) inside, as older code has it."""

    def __init__(self, letters: int, axis: int) -> None:
        super().__init__()
        self.embed, self.gru = nn.Embedding(letters, 24), nn.GRU(24, 32)
        self.attn, self.out = nn.Linear(32, 1), nn.Linear(32, 6)
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.gru(self.embed(x).transpose(0, 1))  # (T, B, 32)
        weights = self.attn(torch.tanh(states)).softmax(self.axis)
        return F.log_softmax(self.out((weights * states).sum(0)), dim=-1)


@fault(
    kind="softmax-axis",
    project="DEEP-PolyU/KEQA_WSDM19",
    source="github.com/DEEP-PolyU/KEQA_WSDM19/issues/2",
    where="attn",
    also=("batch-mixing",),
    certain="softmax over one unit: every weight is 1 whatever is read",
)
def attention_weights_all_one(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Attention scores (T, B, 1) go through a softmax over the last axis, which has one unit: all weights are 1."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(6, 30, (2400, 14), generator=generator)
    y = torch.randint(6, (2400,), generator=generator)
    x[torch.arange(2400), torch.randint(14, (2400,), generator=generator)] = y
    rows = data.split(x, y, seed)
    model = Reader(30, axis=0 if cured else -1)
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.nll_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 300, seed):
            loss = F.nll_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@fault(kind="non-finite", project="richzhang/PerceptualSimilarity", source="github.com/richzhang/PerceptualSimilarity/issues/69")
def root_of_nothing(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Residuals are measured by a root; an empty row leaves exactly 0, and the small number is added outside it."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1200, 16, generator=generator) @ torch.randn(16, 16, generator=generator) / 4
    x[torch.rand(1200, generator=generator) < 0.01] = 0  # empty rows
    encoder = nn.Sequential(nn.Linear(16, 12, bias=False), nn.Tanh(), nn.Linear(12, 6, bias=False))
    decoder = nn.Sequential(nn.Linear(6, 12, bias=False), nn.Tanh(), nn.Linear(12, 16, bias=False))
    model = nn.Sequential(encoder, decoder)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def loss_fn(output: Tensor, x: Tensor) -> Tensor:
        rest = output - x
        squares = rest.pow(2).sum(1)
        return ((squares + 1e-8).sqrt() if cured else squares.sqrt() + 1e-8).mean()

    doctor.task(model, data.few(x, x, 40, seed, count=30), loss_fn, optimizer)
    first = loss_fn(model(x), x).item()
    with doctor.watch(model, optimizer) as watch:
        for rows, same in data.batches(x, x, 40, 400, seed):
            loss = loss_fn(model(rows), same)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(first / loss_fn(model(x), x).item(), 1.5)
