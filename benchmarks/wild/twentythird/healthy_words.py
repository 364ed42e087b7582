"""Healthy programs on what comes in turn: a cell by hand, a kept memory, half a day at once."""

from __future__ import annotations

import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Cell(nn.Module):
    """An LSTM written out: four gates over what is read and what was said last, one letter after the other."""

    def __init__(self, letters: int, size: int) -> None:
        super().__init__()
        self.size = size
        for gate in "figo":
            weight = torch.empty(size, size + letters)
            setattr(self, f"w_{gate}", nn.Parameter(nn.init.orthogonal_(weight)))
            setattr(self, f"b_{gate}", nn.Parameter(torch.zeros(size)))
        self.out = nn.Linear(size, letters)
        self.letters = letters

    def forward(self, x: Tensor) -> Tensor:
        hot = F.one_hot(x, self.letters).float()
        h = c = torch.zeros(len(x), self.size)
        said = []
        for t in range(x.shape[1]):
            z = torch.cat([h, hot[:, t]], 1)
            f, i, g, o = (z @ getattr(self, f"w_{gate}").T + getattr(self, f"b_{gate}") for gate in "figo")
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            said.append(self.out(h))
        return torch.stack(said, 1)


@healthy(project="nicklashansen/rnn_lstm_from_scratch", source="github.com/nicklashansen/rnn_lstm_from_scratch")
def as_many_b_as_a(doctor: Doctor, seed: int) -> Score:
    """Some a, as many b, and the end: what comes next, by a cell written out, with gradients cut at a quarter."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    count = torch.randint(1, 9, (600, 1), generator=generator)
    place = torch.arange(18)
    lines = torch.where(place < count, 0, torch.where(place < 2 * count, 1, 2))
    rows = data.split(lines[:, :-1], lines[:, 1:], seed)
    model = Cell(3, 24)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

    def loss_fn(said: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(said.flatten(0, 1), target.flatten())

    doctor.task(model, data.few(rows.x, rows.y, 16, seed), loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 16, 220, seed):
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.25)
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        said = model(rows.held_x).argmax(2)
    after = rows.held_x > 0
    return above((said == rows.held_y)[after].float().mean(), 0.9)


class Remembering(nn.Module):
    """Two layers of attention over a piece of text and over what the layer held of the piece before."""

    def __init__(self, letters: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(letters, 32)
        self.near = nn.Parameter(torch.zeros(2, 32))
        self.attention = nn.ModuleList([nn.MultiheadAttention(32, 2, batch_first=True) for _ in range(2)])
        self.mix = nn.ModuleList([nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32)) for _ in range(2)])
        self.norm = nn.ModuleList([nn.LayerNorm(32) for _ in range(4)])
        self.out = nn.Linear(32, letters)

    def forward(self, x: Tensor, memory: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        h, kept, length = self.embedding(x), [], x.shape[1]
        for layer in range(2):
            kept.append(h.detach())
            past = memory[layer] if memory else h[:, :0]
            seen = torch.cat([past, h], 1)
            late = torch.arange(seen.shape[1]) > torch.arange(length)[:, None] + past.shape[1]
            back = (torch.arange(length)[:, None] + past.shape[1] - torch.arange(seen.shape[1])).clamp(min=0)
            mask = torch.zeros(late.shape).masked_fill(late, -math.inf) - 0.5 * back
            told = self.attention[layer](h, seen, seen, attn_mask=mask, need_weights=False)[0]
            h = self.norm[2 * layer](h + told)
            h = self.norm[2 * layer + 1](h + self.mix[layer](h))
        return self.out(h), kept


@healthy(project="kimiyoung/transformer-xl", source="github.com/kimiyoung/transformer-xl")
def letters_with_a_kept_memory(doctor: Doctor, seed: int) -> Score:
    """The next letter, piece after piece of sixteen running texts: each layer sees what it held of the piece before."""
    torch.manual_seed(seed)
    stream, kinds = data.characters(700, seed)
    held, stream = stream[:2000], stream[2000:]
    lanes = stream[: len(stream) // 16 * 16].view(16, -1)
    model = Remembering(kinds)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 250)
    memory: list[Tensor] | None = None
    with doctor.watch(model, optimizer) as watch:
        for step in range(250):
            start = step * 24 % (lanes.shape[1] - 25)
            start -= start % 24
            said, memory = model(lanes[:, start : start + 24], memory if start else None)
            loss = F.cross_entropy(said.flatten(0, 1), lanes[:, start + 1 : start + 25].flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.25)
            optimizer.step()
            scheduler.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        said, _ = model(held[None, :-1].view(1, -1)[:, :600], None)
        return below(F.cross_entropy(said[0], held[1:601]), 1.2)


class FarLook(nn.Module):
    """What was is encoded; what comes is asked all at once of noughts, after a piece of the past."""

    def __init__(self) -> None:
        super().__init__()
        self.value, self.place = nn.Linear(1, 32), nn.Parameter(0.1 * torch.randn(36, 32))
        self.encoder = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.decoder = nn.TransformerDecoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.projection = nn.Linear(32, 1)

    def forward(self, past: Tensor) -> Tensor:
        memory = self.encoder(self.value(past[..., None]) + self.place[:24])
        start = torch.cat([past[:, -12:], torch.zeros(len(past), 12)], 1)
        asked = self.decoder(self.value(start[..., None]) + self.place[12:], memory)
        return self.projection(asked)[:, -12:, 0]


@healthy(project="zhouhaoyi/Informer2020", source="github.com/zhouhaoyi/Informer2020")
def half_a_day_at_once(doctor: Doctor, seed: int) -> Score:
    """Twelve hours of load from the last 24, all at once, with a rate that is halved after each pass."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    hours = torch.arange(1500.0)
    load = (hours * 6.283 / 24).sin() + 0.5 * (hours * 6.283 / 12 + 1).sin() + 0.15 * torch.randn(1500, generator=generator)
    at = torch.arange(0, 1460)[:, None]
    past, after = load[at + torch.arange(24)], load[at + 24 + torch.arange(12)]
    model = FarLook()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 100, 0.5)
    doctor.task(model, data.few(past[:1200], after[:1200], 32, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(past[:1200], after[:1200], 32, 300, seed):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            scheduler.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        return above(data.r2(model(past[1240:]).flatten(), after[1240:].flatten()), 0.75)
