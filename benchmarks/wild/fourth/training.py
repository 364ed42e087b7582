"""Faults of optimisation."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Walker(nn.Module):
    """Where key points will be, from where they were."""

    def __init__(self) -> None:
        super().__init__()
        self.inp, self.cell, self.out = nn.Linear(6, 32), nn.GRUCell(32, 32), nn.Linear(32, 6)

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), 32)
        for step in x.unbind(1):
            h = self.cell(torch.relu(self.inp(step)), h)
        return self.out(h) + x[:, -1]


@fault(
    kind="missing-zero-grad",
    project="salesforce/corr_based_prediction",
    source="github.com/salesforce/corr_based_prediction/issues/1",
)
def cleared_once_an_epoch(doctor: Doctor, seed: int, cured: bool) -> Score:
    """zero_grad() stands before the loop over batches, so that within an epoch gradients pile up."""
    generator = torch.Generator().manual_seed(seed)
    start, speed = torch.randn(1400, 1, 6, generator=generator), torch.rand(1400, 1, 6, generator=generator) + 0.3
    t = torch.arange(9.0)[None, :, None]
    path = torch.sin(start + 0.6 * speed * t) + 0.02 * torch.randn(1400, 9, 6, generator=generator)
    rows = data.split(path[:, :8], path[:, 8], seed)
    model = Walker()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 35, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for epoch in range(16):
            optimizer.zero_grad()
            for x, y in data.batches(rows.x, rows.y, 35, 30, seed + epoch):
                if cured:
                    optimizer.zero_grad()
                loss = F.mse_loss(model(x), y)
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            with torch.no_grad():
                watch.dev_loss(F.mse_loss(model(rows.held_x), rows.held_y))
    still = F.mse_loss(rows.held_x[:, -1], rows.held_y)
    return below(F.mse_loss(model(rows.held_x), rows.held_y) / still, 0.25)


@fault(
    kind="schedule-to-zero",
    also=("learning-rate-too-low",),
    project="ivadomed/ivadomed",
    source="github.com/ivadomed/ivadomed/pull/55",
)
def decay_counted_in_batches(doctor: Doctor, seed: int, cured: bool) -> Score:
    """ExponentialLR(0.93) is meant for epochs and stepped after every batch: after 100 batches nothing moves."""
    x, _, mask = data.shapes(600, seed, noise=0.4)
    rows = data.split(x, mask, seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.InstanceNorm2d(16, affine=True),
        nn.LeakyReLU(),
        nn.Conv2d(16, 16, 3, padding=2, dilation=2),
        nn.InstanceNorm2d(16, affine=True),
        nn.LeakyReLU(),
        nn.Conv2d(16, 2, 1),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.93)
    doctor.task(model, data.few(rows.x, rows.y, 15, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for epoch in range(12):
            for x, y in data.batches(rows.x, rows.y, 15, 30, seed + epoch):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
                if not cured:
                    scheduler.step()
                watch.loss(loss)
            if cured:
                scheduler.step()
    guess = model(rows.held_x).argmax(1)
    return above((guess * rows.held_y).sum() / ((guess + rows.held_y) > 0).sum(), 0.8)


class Lines(nn.Module):
    """The word language model of the examples with its simplest cell."""

    def __init__(self, letters: int) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.1)
        self.encoder = nn.Embedding(letters, 40)
        self.rnn = nn.RNN(40, 64, 2, nonlinearity="relu")
        self.decoder = nn.Linear(64, letters)
        for each in (self.encoder, self.decoder):
            nn.init.uniform_(each.weight, -0.1, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        h, _ = self.rnn(self.drop(self.encoder(x.T)))
        return self.decoder(self.drop(h)).transpose(0, 1)


@fault(
    kind="learning-rate-too-high",
    also=("non-finite",),
    project="pytorch/examples",
    source="github.com/pytorch/examples/pull/223",
)
def rate_of_twenty(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The default rate of 20, borderline for an LSTM, given to a ReLU recurrence."""
    stream, letters = data.characters(700, seed)
    model = Lines(letters)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.5 if cured else 20.0)

    def loss_fn(output: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(output.reshape(-1, letters), y.reshape(-1))

    doctor.task(model, list(data.windows(stream, 30, 20, 6, seed)), loss_fn, optimizer)
    held = torch.cat([x for x, _ in data.windows(data.characters(60, seed + 1)[0], 31, 40, 3, seed)])
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.windows(stream, 30, 20, 450, seed)):
            model.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.25)
            optimizer.step()
            watch.loss(loss)
            if step % 90 == 89:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(loss_fn(model(held[:, :-1]), held[:, 1:]))
                model.train()
    model.eval()
    return below(loss_fn(model(held[:, :-1]), held[:, 1:]), 2.2)


@fault(
    kind="dead-units",
    also=("relu-logits",),
    project="jvargasmu/population_estimation",
    source="github.com/jvargasmu/population_estimation/issues/68",
)
def nobody_lives_anywhere(doctor: Doctor, seed: int, cured: bool) -> Score:
    """People per cell, mostly none, with a ReLU at the end: soon it is shut for every cell and no gradient comes back."""
    x, scores = data.teacher(2000, 9, 1, seed, noise=0.2)
    people = (scores[:, 0] - 0.7).clamp(min=0) * 3
    rows = data.split(x, people, seed)
    score, last = nn.Linear(64, 1), nn.Softplus() if cured else nn.ReLU()
    model = nn.Sequential(nn.Linear(9, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), score, last, nn.Flatten(0))
    with torch.no_grad():
        score.bias.fill_(-0.4)  # most cells are empty
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    doctor.task(model, data.few(rows.x, rows.y, 50, seed), F.l1_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 50, 400, seed):
            optimizer.zero_grad()
            loss = F.l1_loss(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.r2(model(rows.held_x), rows.held_y), 0.6)


class Spell(nn.Module):
    """A VAE of strings: GRU in, 8 values, GRU out, which is shown the true letters as it goes."""

    def __init__(self, forget: float) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 24)
        self.encoder, self.decoder = nn.GRU(24, 48, batch_first=True), nn.GRU(32, 96, batch_first=True)
        self.mu, self.logvar, self.out = nn.Linear(48, 8), nn.Linear(48, 8), nn.Linear(96, 20)
        self.forget = forget

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.encoder(self.embed(x))[1][0]
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
        shown = F.pad(x[:, :-1], (1, 0))
        if self.training and self.forget:
            shown = shown * (torch.rand(shown.shape) > self.forget)
        seen = torch.cat([self.embed(shown), z[:, None].expand(-1, x.shape[1], -1)], 2)
        divergence = -0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum(1)
        return self.out(self.decoder(seen)[0]), divergence


@fault(kind="collapsed-kl", project="molecularsets/moses", source="github.com/molecularsets/moses/issues/45")
def decoder_that_needs_no_code(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Strings of a chain: the decoder sees the letters before and learns to do without the code, whose divergence is 0."""
    generator = torch.Generator().manual_seed(seed)
    chain = torch.rand(20, 20, generator=generator).pow(6)
    strings = [torch.randint(1, 20, (1600,), generator=generator)]
    for _ in range(11):
        strings.append(torch.multinomial(chain[strings[-1]][:, 1:], 1, generator=generator)[:, 0] + 1)
    x = torch.stack(strings, 1)
    model = Spell(forget=0.6 if cured else 0.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    with doctor.watch(model, optimizer) as watch:
        for step, (rows, _) in enumerate(data.batches(x, x, 40, 500, seed)):
            output, divergence = model(rows)
            recon = F.cross_entropy(output.flatten(0, 1), rows.flatten(), reduction="sum") / len(rows)
            weight = min(0.25, step / 1000) if cured else 1.0
            loss = recon + weight * divergence.mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 50)
            optimizer.step()
            watch.loss(loss)
    model.eval()
    return above(model(x)[1].mean(), 1.5)
