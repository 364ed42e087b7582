"""Tables of positions in small trainings."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from trainings import adam, checked, named, remarks

from lettrine import health
from lettrine.health.findings import Report

ROWS, LONG, WIDE = 6, 9, 16


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(3)


class Sines(nn.Module):
    """Positions of a table of 40, as a buffer, a parameter, a plain attribute or an embedding. axis: that it is cut by."""

    def __init__(self, kind: str, axis: int) -> None:
        super().__init__()
        self.kind, self.axis = kind, axis
        table = torch.sin(torch.arange(40)[:, None] / 2.0 ** torch.arange(WIDE))
        if kind == "buffer":
            self.register_buffer("table", table)
        elif kind == "parameter":
            self.table = nn.Parameter(table[:, None])  # (places, 1, features)
        elif kind == "attribute":
            self.table = table
        else:
            self.embed = nn.Embedding(40, WIDE)

    def forward(self, x: Tensor) -> Tensor:
        count = x.shape[self.axis]
        rows = self.embed(torch.arange(count)) if self.kind == "embedding" else self.table[:count].reshape(count, WIDE)
        return x + rows.unsqueeze(1 - self.axis)


class Encoder(nn.Module):
    """kind, axis: of the positions. batch_first: of the attention. each: an answer for each step instead of each example."""

    def __init__(self, kind: str, axis: int, *, batch_first: bool = True, each: bool = False) -> None:
        super().__init__()
        self.lift, self.sines = nn.Linear(4, WIDE), Sines(kind, axis)
        self.attention = nn.MultiheadAttention(WIDE, 2, batch_first=batch_first)
        self.head, self.each, self.time = nn.Linear(WIDE, 3), each, 1 if batch_first else 0

    def forward(self, x: Tensor) -> Tensor:
        h = self.sines(self.lift(x))
        h = h + self.attention(h, h, h, need_weights=False)[0]
        return self.head(h if self.each else h.mean(self.time))


def trained(model: nn.Module, *, each: bool = False, time_first: bool = False, rows: int = ROWS, steps: int = 6) -> Report:
    optimiser = adam(model)
    with health.watch(model, optimiser) as watch:
        for _ in range(steps):
            x = torch.randn(LONG, rows, 4) if time_first else torch.randn(rows, LONG, 4)
            y = torch.randint(3, (rows * LONG if each else rows,))
            loss = functional.cross_entropy(model(x).reshape(-1, 3), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    return checked(watch.report())


@pytest.mark.parametrize("kind", ["buffer", "parameter", "attribute", "embedding"])
def test_positions_along_the_batch(kind: str) -> None:
    finding = named(trained(Encoder(kind, 0)))["batch-mixing"]
    assert finding.where == ("sines",)
    assert f"the first {ROWS} of 40 positions to the {ROWS} examples of a batch: all {LONG} steps" in finding.message


def test_the_batch_is_known_from_the_modules() -> None:
    """An answer for each step does not tell which axis is the batch; attention that takes the batch first does."""
    assert "batch-mixing" in named(trained(Encoder("buffer", 0, each=True), each=True))


@pytest.mark.parametrize("kind", ["buffer", "parameter", "attribute", "embedding"])
def test_positions_along_time(kind: str) -> None:
    for report in (trained(Encoder(kind, 1)), trained(Encoder(kind, 0, batch_first=False), time_first=True)):
        assert "batch-mixing" not in {**named(report), **remarks(report)}


class Turned(nn.Module):
    """Gets time first, adds positions to that, and turns it for an attention that takes the batch first."""

    def __init__(self) -> None:
        super().__init__()
        self.lift, self.sines, self.head = nn.Linear(4, WIDE), Sines("buffer", 0), nn.Linear(WIDE, 3)
        self.attention = nn.MultiheadAttention(WIDE, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        h = self.sines(self.lift(x)).transpose(0, 1)
        return self.head(h + self.attention(h, h, h, need_weights=False)[0])


def test_turned_after_the_positions() -> None:
    report = trained(Turned(), time_first=True, each=True)
    assert "batch-mixing" not in {**named(report), **remarks(report)}


def test_as_many_rows_as_steps() -> None:
    report = trained(Encoder("buffer", 0), rows=LONG)
    assert "batch-mixing" not in {**named(report), **remarks(report)}


class Marked(nn.Module):
    """Something that belongs to each example is added to all of its steps: by its number, or a part of what it was given."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.lift = kind, nn.Linear(4, WIDE)
        self.who = nn.Embedding(40, WIDE)
        self.sensors = nn.Parameter(torch.randn(ROWS, WIDE))
        self.cell, self.head = nn.GRU(WIDE, WIDE, batch_first=True), nn.Linear(WIDE, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.lift(x)
        if self.kind == "number":
            h = h + self.who(torch.randint(40, (len(x),)))[:, None]
        elif self.kind == "first step":
            h = h + h[:, :1]
        else:  # one row for each sensor, of which there are as many as rows
            h = h + self.sensors[:, None]
        return self.head(self.cell(h)[0][:, -1])


@pytest.mark.parametrize("kind", ["number", "first step", "sensors"])
def test_what_belongs_to_the_example(kind: str) -> None:
    report = trained(Marked(kind))
    assert "batch-mixing" not in {**named(report), **remarks(report)}
