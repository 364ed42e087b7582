"""Faults of wiring: filters in a list, late adapters, axes, dropout in use, a language model that reads ahead."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Ngrams(nn.Module):
    """Filters of 2, 3 and 4 words, the largest answer of each, and two classes."""

    def __init__(self, registered: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(40, 16)
        filters = [nn.Conv1d(16, 8, width) for width in (2, 3, 4)]
        self.filters = nn.ModuleList(filters) if registered else filters
        self.out = nn.Linear(24, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x).transpose(1, 2)
        return self.out(torch.cat([F.relu(each(h)).amax(2) for each in self.filters], 1))


@fault(
    kind="unregistered",
    also=("not-optimised", "never-moved", "frozen-random"),
    project="pytorch/pytorch",
    source="github.com/pytorch/pytorch/issues/1053",
    certain="the weights of three convolutions are in the graph and in no list of parameters",
)
def filters_of_words_in_a_list(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Three convolutions over words stand in a plain list: parameters() does not know of them."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(40, (2400, 16), generator=generator)
    good = (x[:, :-1] % 5 == 1) & (x[:, 1:] % 7 == 2)
    rows = data.split(x, good.any(1).long(), seed)
    model = Ngrams(registered=cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    doctor.task(model, data.few(rows.x, rows.y, 40, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 40, 600, seed), rows, every=100)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.95)


class Adapter(nn.Module):
    """A narrow net beside a layer; it adds nothing at first."""

    def __init__(self, layer: nn.Module, width: int) -> None:
        super().__init__()
        self.layer = layer
        self.down, self.up = nn.Linear(width, 8), nn.Linear(8, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(x)
        return x + self.up(F.relu(self.down(x)))


@fault(
    kind="not-optimised",
    also=("never-moved",),
    where="adapter1",
    project="adapter-hub/adapters",
    source="github.com/adapter-hub/adapters/issues/260",
    certain="the adapters are trained by nobody",
)
def adapters_after_the_optimiser(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The parameters are handed to the optimiser, then adapters are put in and all else is frozen but the head."""
    x, y = data.teacher(1600, 10, 4, seed)
    before, rows = data.split(x, y, seed), data.split(x.roll(3, 1), y.roll(1, 1) * y, seed)
    model = nn.Sequential()
    model.add_module("first", nn.Sequential(nn.Linear(10, 64), nn.ReLU()))
    model.add_module("second", nn.Sequential(nn.Linear(64, 64), nn.ReLU()))
    model.add_module("head", nn.Linear(64, 4))
    adam = torch.optim.Adam(model.parameters(), lr=3e-3)
    for a, b in data.batches(before.x, before.y, 40, 200, seed):
        adam.zero_grad()
        F.mse_loss(model(a), b).backward()
        adam.step()
    early = torch.optim.Adam(model.parameters(), lr=5e-3)
    model.requires_grad_(requires_grad=False)
    whole = nn.Sequential()
    whole.add_module("adapter1", Adapter(model[0], 64))
    whole.add_module("adapter2", Adapter(model[1], 64))
    whole.add_module("head", model[2].requires_grad_())
    optimizer = torch.optim.Adam([p for p in whole.parameters() if p.requires_grad], lr=5e-3) if cured else early
    doctor.task(whole, data.few(rows.x, rows.y, 40, seed), F.mse_loss, optimizer)
    fit(doctor, whole, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 40, 500, seed), rows, every=100)
    return above(data.r2(whole(rows.held_x), rows.held_y), 0.5)


class Plate(nn.Module):
    """Columns of a picture as a sequence, read in both directions: a letter for each of them, (B, letters, T)."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 16, (8, 3), padding=(0, 1))
        self.lstm = nn.LSTM(16, 24, bidirectional=True, batch_first=batch_first)
        self.out = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        columns = F.relu(self.conv(x))[:, :, 0].transpose(1, 2)
        return self.out(self.lstm(columns)[0]).transpose(1, 2)


@fault(
    kind="batch-mixing",
    project="pytorch forum",
    source="discuss.pytorch.org/t/lstm-change-batch-first-true-loss-does-not-decrease/62364",
)
def columns_read_from_plate_to_plate(doctor: Doctor, seed: int, cured: bool) -> Score:
    """batch_first was changed and the layout was not: the LSTM goes through the batch, column by column."""
    digits = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)

    def plates(x: Tensor, y: Tensor, count: int) -> tuple[Tensor, Tensor]:
        at = torch.randint(len(x), (count, 3), generator=generator)
        return x[at, 0].permute(0, 2, 1, 3).reshape(count, 1, 8, 24), y[at].repeat_interleave(8, 1)

    rows = data.Split(*plates(digits.x, digits.y, 1200), *plates(digits.held_x, digits.held_y, 300))
    model = Plate(batch_first=cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 250, seed), rows, every=50)
    with torch.no_grad():
        return above((model(rows.held_x).argmax(1) == rows.held_y).float().mean(), 0.75)


class Table(nn.Module):
    """Which pairs of neighbouring cells of a table belong to one row: features of cells, two rounds over their links."""

    def __init__(self, switched: bool) -> None:
        super().__init__()
        self.first, self.second, self.out = nn.Linear(16, 48), nn.Linear(48, 48), nn.Linear(48, 4)
        self.switched = switched

    def forward(self, x: Tensor, links: Tensor) -> Tensor:
        active = self.training if self.switched else True
        h = F.dropout(F.relu(links @ self.first(x)), 0.5, training=active)
        h = F.dropout(F.relu(links @ self.second(h)), 0.5, training=active)
        return self.out(h)


@fault(
    kind="eval-dropout",
    project="Academic-Hammer/SciTSR",
    source="github.com/Academic-Hammer/SciTSR/pull/16",
    certain="two passes in eval mode give two answers",
)
def cells_dropped_while_in_use(doctor: Doctor, seed: int, cured: bool) -> Score:
    """F.dropout is on whatever the mode: the same table is read in another way each time."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(4, (400,), generator=generator)
    x = 0.7 * torch.randn(4, 16, generator=generator)[y] + 1.4 * torch.randn(400, 16, generator=generator)
    near = torch.rand(400, 400, generator=generator) < torch.where(y[:, None] == y, 0.03, 0.006)
    links = (near | near.T).float() + torch.eye(400)
    links = links / links.sum(1, keepdim=True)
    known = torch.arange(400) < 160
    model = Table(switched=cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=5e-4)
    with doctor.watch(model, optimizer) as watch:
        for step in range(200):
            model.train()
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x, links)[known], y[known])
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 40 == 39:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(x, links)[~known], y[~known]))
    model.eval()
    with torch.no_grad():
        first, second = model(x, links)[~known], model(x, links)[~known]
    return below((first.softmax(1) - second.softmax(1)).abs().max(), 0.05)


class Writer(nn.Module):
    """The next letter after each of a text (B, T): logits (B, letters, T)."""

    def __init__(self, letters: int, masked: bool) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(letters, 32), nn.Parameter(0.02 * torch.randn(24, 32))
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(32, 2, 64, dropout=0.0, batch_first=True) for _ in range(2))
        self.out, self.masked = nn.Linear(32, letters), masked

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x) + self.place[: x.shape[1]]
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1) if self.masked else None
        for layer in self.layers:
            h = layer(h, src_mask=mask)
        return self.out(h).transpose(1, 2)


@fault(
    kind="future-leak",
    also=("leak",),
    project="pytorch/tutorials",
    source="github.com/pytorch/tutorials/issues/2478",
)
def encoder_that_writes(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A language model of encoder layers without a mask: the perplexity is wonderful, the last letter a guess."""
    stream, letters = data.characters(600, seed)
    held, _ = data.characters(100, seed + 50)
    model = Writer(letters, masked=cured)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    doctor.task(model, list(data.windows(stream, 24, 32, 8, seed)), F.cross_entropy, optimizer)
    x, y = next(data.windows(held, 24, 300, 1, seed))
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.windows(stream, 24, 32, 300, seed)):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(a), b)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            watch.loss(loss)
            if step % 60 == 59:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(x), y))
    with torch.no_grad():
        return below(F.cross_entropy(model(x)[:, :, -1], y[:, -1]), 1.6)
