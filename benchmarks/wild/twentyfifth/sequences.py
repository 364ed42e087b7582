"""Faults on what comes in a row: words as numbers, rows of minus infinity, a norm over one number, sorted notes."""

from __future__ import annotations

import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


def sentences(count: int, words: int, seed: int) -> tuple[Tensor, Tensor]:
    """Sentences of twelve words, more than half of them at home in one of four classes, which lie mixed in the list of words."""
    generator = torch.Generator().manual_seed(seed)
    home = torch.randint(4, (words,), generator=torch.Generator().manual_seed(seed + 9))
    kind = torch.randint(4, (count,), generator=generator)
    own = torch.stack([(home == each).nonzero()[:60, 0] for each in range(4)])[kind]
    own = own.gather(1, torch.randint(60, (count, 12), generator=generator))
    other = torch.randint(words, (count, 12), generator=generator)
    return torch.where(torch.rand(count, 12, generator=generator) < 0.5, own, other), kind


class Reader(nn.Module):
    """A plain recurrent net; a word comes as its number in the list, or as a learned row."""

    def __init__(self, learned: bool) -> None:
        super().__init__()
        self.word = nn.Embedding(400, 32) if learned else None
        self.rnn, self.fc = nn.RNN(32 if learned else 1, 128, batch_first=True), nn.Linear(128, 4)

    def forward(self, x: Tensor) -> Tensor:
        _, h = self.rnn(x[:, :, None].float() if self.word is None else self.word(x))
        return self.fc(h.squeeze(0))


@fault(
    kind="input-scale",
    also=("saturation", "activation-scale", "underfitting"),
    project="discuss.pytorch.org/151285",
    source="discuss.pytorch.org/t/what-it-means-when-model-is-unable-to-overfit-small-batch-of-examples/151285",
)
def words_as_their_numbers(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Four kinds of sentences: each word goes into the net as its number in a list of four hundred."""
    torch.manual_seed(seed)
    rows = data.split(*sentences(2000, 400, seed), seed)
    model = Reader(learned=cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 600, seed), held=rows, every=100)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.7)


class Listener(nn.Module):
    """Self-attention over frames of sound; what only fills up neither looks nor is looked at."""

    def __init__(self, hidden: float) -> None:
        super().__init__()
        self.hidden = hidden
        self.enter, self.place = nn.Linear(8, 32), nn.Parameter(0.1 * torch.randn(16, 32))
        self.project = nn.ModuleList(nn.Linear(32, 96) for _ in range(2))
        self.feed = nn.ModuleList(nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32)) for _ in range(2))
        self.norm = nn.ModuleList(nn.LayerNorm(32) for _ in range(4))
        self.say = nn.Linear(32, 6)

    def forward(self, frames: Tensor, length: Tensor) -> Tensor:
        empty = torch.arange(frames.shape[1]) >= length[:, None]
        pairs = empty[:, :, None] | empty[:, None, :]
        h = self.enter(frames) + self.place
        for i in range(2):
            query, key, value = self.project[i](self.norm[2 * i](h)).chunk(3, 2)
            score = (query @ key.transpose(1, 2) / math.sqrt(32)).masked_fill(pairs, self.hidden)
            h = h + score.softmax(2) @ value
            h = h + self.feed[i](self.norm[2 * i + 1](h))
        return self.say(h)


@fault(
    kind="non-finite",
    project="sooftware/kospeech",
    source="github.com/sooftware/kospeech/issues/37",
)
def rows_of_minus_infinity(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Six sounds told frame by frame, also by the frame before: pairs with a frame that fills up score minus infinity."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    sound = torch.randint(6, (1200, 16), generator=generator)
    length = torch.randint(6, 17, (1200,), generator=generator)
    shape = torch.randn(6, 8, generator=generator)
    frames = shape[sound] + 0.5 * shape[sound.roll(1, 1)] + 0.4 * torch.randn(1200, 16, 8, generator=generator)
    sound = sound.masked_fill(torch.arange(16) >= length[:, None], -100)
    model = Listener(-1e9 if cured else -math.inf)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for rows, _ in data.batches(torch.arange(1000), torch.arange(1000), 32, 300, seed):
            optimizer.zero_grad()
            said = model(frames[rows], length[rows])
            heard = sound[rows] >= 0
            loss = F.cross_entropy(said[heard], sound[rows][heard])
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        heard = sound[1000:] >= 0
        return above(data.accuracy(model(frames[1000:], length[1000:])[heard], sound[1000:][heard]), 0.8)


class Counter(nn.Module):
    """A transformer with an encoder and a decoder that is asked with a fixed row, and one layer over what it answers."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.enter = nn.Identity() if width == 1 else nn.Linear(1, width)
        self.trans = nn.Transformer(width, 1, 3, 1, 64, dropout=0.0, batch_first=True)
        self.lin = nn.Linear(length * width, 1)
        self.register_buffer("asked", torch.rand(length, width))
        self.asked: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return self.lin(self.trans(self.enter(x[:, :, None]), self.asked.expand(len(x), -1, -1)).flatten(1))


@fault(
    kind="no-gradient",
    also=("norm-statistics", "never-moved", "underfitting", "dead-units", "activation-scale"),
    project="discuss.pytorch.org/184454",
    source="discuss.pytorch.org/t/transformer-cannot-predict-next-number-in-linear-sequence/184454",
)
def a_norm_over_one_number(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The number after twenty that were counted up: a token is one number wide, and a layer norm of one number is its bias."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    start = 100 * torch.rand(1200, 1, generator=generator)
    rows = data.split((start + torch.arange(20)) / 100, (start + 20) / 100, seed)
    model = Counter(20, 16 if cured else 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 16, 300, seed), held=rows)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.8)


class Pairs(nn.Module):
    """Two notes beside each other, read by a small transformer; the first token says whether they go together."""

    def __init__(self) -> None:
        super().__init__()
        self.word, self.part, self.place = nn.Embedding(62, 32), nn.Embedding(2, 32), nn.Embedding(14, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.say = nn.Linear(32, 2)

    def forward(self, pair: Tensor) -> Tensor:
        parts = (torch.arange(14) > 7).long()
        h = self.word(pair) + self.part(parts) + self.place(torch.arange(14))
        return self.say(self.layers(h)[:, 0])


@fault(
    kind="sorted-data",
    project="google-research/bert",
    source="github.com/google-research/bert/issues/154",
)
def pairs_that_lie_sorted(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Whether two notes are on one thing: the file has all that are first, and nobody shuffles it."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    thing = torch.randint(2, (3000, 2), generator=generator)
    word = 30 * thing[:, :, None] + torch.randint(30, (3000, 2, 6), generator=generator)
    start, between = torch.full((3000, 1), 60), torch.full((3000, 1), 61)
    pair = torch.cat([start, word[:, 0], between, word[:, 1]], 1)
    rows = data.split(pair, (thing[:, 0] == thing[:, 1]).long(), seed)
    order = rows.y.argsort(descending=True, stable=True)
    x, y = rows.x[order], rows.y[order]
    model = Pairs()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(6):
            model.train()
            at = torch.randperm(len(y)) if cured else torch.arange(len(y))
            for some in at.split(32):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x[some]), y[some])
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            model.eval()
            with torch.no_grad():
                watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.8)
