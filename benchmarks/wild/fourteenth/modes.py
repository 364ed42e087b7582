"""Faults of modes, masks and axes: states laid out anew, padding averaged in, dropout where it is measured."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="batch-mixing",
    project="PaccMann/paccmann_chemistry",
    source="github.com/PaccMann/paccmann_chemistry/issues/5",
)
def both_directions_laid_out_anew(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The last states of both directions, (2, B, H), are reshaped to (B, 2H) without a permute: molecules get those of others."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(8, (1800, 10), generator=generator)
    y = ((x[:, 0] + x[:, -1]) % 4).long()
    rows = data.split(x, y, seed)

    class Molecule(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.rnn = nn.Embedding(8, 16), nn.GRU(16, 32, batch_first=True, bidirectional=True)
            self.out = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4))

        def forward(self, letters: Tensor) -> Tensor:
            state = self.rnn(self.embed(letters))[1]
            state = state.permute(1, 0, 2).flatten(1) if cured else state.reshape(len(letters), 64)
            return self.out(state)

    model = Molecule()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 500, seed), rows)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.8)


@fault(
    kind="padding",
    project="dbiir/UER-py",
    source="github.com/dbiir/UER-py/pull/190",
)
def the_mean_of_words_and_of_padding(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Sentences are padded to 32 for training; their mean takes the padding in, and a sentence asked alone has none."""
    generator = torch.Generator().manual_seed(seed)
    worth = torch.randn(40, generator=generator)

    def sentences(count: int) -> tuple[Tensor, Tensor]:
        """Words 1 to 40, 0 where there is none (N, 32); how dear they are on the whole, in three steps."""
        length = torch.randint(4, 9, (count, 1), generator=generator)
        x = torch.randint(1, 41, (count, 32), generator=generator) * (torch.arange(32) < length)
        price = torch.where(x > 0, worth[x - 1], torch.zeros(())).sum(1) / length[:, 0] ** 0.5
        return x, torch.bucketize(price, torch.tensor([-0.5, 0.5]))

    class Meaning(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.mix = nn.Embedding(41, 24), nn.Linear(24, 24)
            self.out = nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 3))

        def forward(self, x: Tensor) -> Tensor:
            h = torch.tanh(self.mix(self.embed(x)))
            if not cured:
                return self.out(h.mean(1))
            there = (x > 0).float()[..., None]
            return self.out((h * there).sum(1) / there.sum(1))

    x, y = sentences(1600)
    model = Meaning()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(x, y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(x, y, 32, 500, seed))
    x, y = sentences(400)
    with torch.no_grad():
        said = torch.cat([model(row[row > 0][None]) for row in x])
    return above(data.accuracy(said, y), 0.82)


@fault(
    kind="wrong-mode",
    also=("eval-dropout",),
    project="ipolharvard/ethos-ares",
    source="github.com/ipolharvard/ethos-ares/issues/20",
)
def events_told_with_units_dropped(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Next events of patients: there is no_grad where it is measured and where it is used, and nowhere a call of eval."""
    generator = torch.Generator().manual_seed(seed)
    follow = torch.rand(30, 30, generator=generator).argsort(1)[:, 0]
    steps = [torch.randint(30, (400,), generator=generator)]
    for _ in range(16):
        jump = torch.randint(30, (400,), generator=generator)
        steps.append(torch.where(torch.rand(400, generator=generator) < 0.1, jump, follow[steps[-1]]))
    events = torch.stack(steps, 1)
    known, held = events[:300], events[300:]

    class Timeline(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.drop = nn.Embedding(30, 16), nn.Dropout(0.6)
            self.rnn, self.out = nn.GRU(16, 48, batch_first=True), nn.Linear(48, 30)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.drop(self.rnn(self.drop(self.embed(x)))[0])).transpose(1, 2)

    model = Timeline()
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-3)
    with doctor.watch(model, optimizer) as watch:
        for step in range(500):
            x = known[torch.randint(300, (32,), generator=generator)]
            loss = F.cross_entropy(model(x[:, :-1]), x[:, 1:])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                model.train(not cured)
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(held[:, :-1]), held[:, 1:]))
                model.train()
    model.train(not cured)
    with torch.no_grad():
        return above((model(held[:, :-1]).argmax(1) == held[:, 1:]).float().mean(), 0.87)
