"""Healthy programs over time and text: rows as steps, prices, spoken words, a row told backwards by a transformer."""

from __future__ import annotations

import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(
    project="GrapHY427/automatic-music-chart-generator",
    source="github.com/GrapHY427/automatic-music-chart-generator",
)
def rows_of_a_digit_as_steps(doctor: Doctor, seed: int) -> Score:
    """The eight rows of a digit go into an LSTM one after another; its last answer names the digit."""
    rows = data.digits(seed)

    class Rnn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.out = nn.LSTM(8, 64, batch_first=True), nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.rnn(x[:, 0])[0][:, -1])

    model = Rnn()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 64, 200, seed))
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


@healthy(project="jianzhnie/TsFormer", source="github.com/jianzhnie/TsFormer/blob/main/tutorials/lstm_demo.py")
def a_tiny_lstm_for_passengers(doctor: Doctor, seed: int) -> Score:
    """Passengers month by month, scaled to 0..1: an LSTM of few units sees all windows at once, hundreds of times."""
    generator = torch.Generator().manual_seed(seed)
    month = torch.arange(144).float()
    flown = (100 + 2 * month) * (1 + 0.2 * torch.sin(month * math.pi / 6)) + 4 * torch.randn(144, generator=generator)
    flown = (flown - flown.min()) / (flown.max() - flown.min())
    at = torch.arange(132)[:, None] + torch.arange(12)
    x, y = flown[at][..., None], flown[12:, None]
    cut = 100

    class Lstm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.fc = nn.LSTM(1, 4, batch_first=True), nn.Linear(4, 1)

        def forward(self, seen: Tensor) -> Tensor:
            return self.fc(self.lstm(seen)[1][0][0])

    model = Lstm()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(900):
            loss = F.mse_loss(model(x[:cut]), y[:cut])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return below(F.mse_loss(model(x[:cut]), y[:cut]), 0.004)


@healthy(project="tmulholland/pytorch_common_voice", source="github.com/tmulholland/pytorch_common_voice")
def voices_high_or_low(doctor: Doctor, seed: int) -> Score:
    """Whose voice: two kinds of voices by pitch and formants, convolutions over raw waves, dropout, negative log-likelihood."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(2, (1200,), generator=generator)
    time = torch.arange(256) / 256
    pitch = 11 + 5 * kind + 2 * torch.randn(1200, generator=generator)
    turn = 2 * math.pi * (pitch[:, None] * time + torch.rand(1200, 1, generator=generator))
    form = 0.6 - 0.3 * kind[:, None]
    wave = torch.sin(turn) + form * torch.sin(2 * turn) + (0.8 - form) * torch.sin(3 * turn)
    wave = wave + 0.5 * torch.randn(1200, 256, generator=generator)
    rows = data.split(wave[:, None], kind, seed)
    model = nn.Sequential(
        nn.Conv1d(1, 16, 16, stride=4),
        nn.ReLU(),
        nn.Conv1d(16, 24, 8, stride=2),
        nn.Dropout(0.3),
        nn.ReLU(),
        nn.AdaptiveMaxPool1d(6),
        nn.Flatten(),
        nn.Linear(144, 32),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(32, 2),
        nn.LogSoftmax(dim=1),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.nll_loss, optimizer)
    fit(doctor, model, optimizer, F.nll_loss, data.batches(rows.x, rows.y, 32, 500, seed), rows, every=56)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


@healthy(project="googlehjx/transformer_by_hand", source="github.com/googlehjx/transformer_by_hand")
def numbers_told_backwards_by_a_transformer(doctor: Doctor, seed: int) -> Score:
    """A short row of numbers is told backwards, padding left out of the loss, by plain descent with a momentum of 0.99."""
    generator = torch.Generator().manual_seed(seed)
    long = 7

    def rows(count: int) -> tuple[Tensor, Tensor]:
        """Rows (N, 7) padded with 0, and what is to be said (N, 9): 11, the row backwards, 12, padding."""
        size = torch.randint(3, long + 1, (count,), generator=generator)
        x = torch.randint(1, 11, (count, long), generator=generator).masked_fill(torch.arange(long) >= size[:, None], 0)
        y = torch.zeros(count, long + 2, dtype=torch.long)
        y[:, 0] = 11
        for k in range(count):
            n = int(size[k])
            y[k, 1 : n + 1] = x[k, :n].flip(0)
            y[k, n + 1] = 12
        return x, y

    class Translator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(13, 32)
            angle = torch.arange(16)[:, None] / 10000 ** (torch.arange(16) / 16)
            self.register_buffer("places", torch.cat([angle.sin(), angle.cos()], 1))
            self.body = nn.Transformer(32, 4, 1, 1, 64, dropout=0.0, batch_first=True)
            self.out = nn.Linear(32, 13)

        def put(self, tokens: Tensor) -> Tensor:
            return self.embed(tokens) + self.places[: tokens.shape[1]]  # type: ignore[index]

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            later = torch.ones(y.shape[1], y.shape[1], dtype=torch.bool).triu(1)
            empty = x == 0
            h = self.body(self.put(x), self.put(y), tgt_mask=later, src_key_padding_mask=empty, memory_key_padding_mask=empty)
            return self.out(h)

    model = Translator()
    optimizer = torch.optim.SGD(model.parameters(), lr=2e-3, momentum=0.99)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(600):
            x, y = rows(32)
            loss = F.cross_entropy(model(x, y[:, :-1]).flatten(0, 1), y[:, 1:].flatten(), ignore_index=0)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    x, y = rows(300)
    model.eval()
    with torch.no_grad():
        said = model(x, y[:, :-1]).argmax(2)
    inside = y[:, 1:] > 0
    return above((said[inside] == y[:, 1:][inside]).float().mean(), 0.7)
