"""Faults of what does not learn: frozen, cut off, dead, never bent, stopped by a schedule."""

from __future__ import annotations

import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="frozen-random",
    where="rnn",
    also=("never-moved",),
    project="xiph/LPCNet",
    source="github.com/xiph/LPCNet/issues/45",
)
def a_voice_whose_layers_were_left_frozen(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Samples of a voice one by one: lines that freeze both recurrent layers, the embedding and the output stayed in."""
    generator = torch.Generator().manual_seed(seed)
    levels, long = 16, 32
    pitch = 0.25 + 0.5 * torch.rand(500, 1, generator=generator)
    phase = 6.28 * torch.rand(500, 1, generator=generator)
    wave = torch.sin(pitch * torch.arange(long + 1) + phase) + 0.4 * torch.sin(2 * pitch * torch.arange(long + 1) + phase)
    tokens = ((wave / 1.5 + 1) / 2 * levels).long().clamp(0, levels - 1)

    class Vocoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.frame = nn.Sequential(nn.Linear(1, 16), nn.Tanh())
            self.embed = nn.Embedding(levels, 16)
            self.rnn, self.rnn2 = nn.GRU(32, 48, batch_first=True), nn.GRU(64, 16, batch_first=True)
            self.md = nn.Linear(16, levels)

        def forward(self, past: Tensor, about: Tensor) -> Tensor:
            c = self.frame(about)[:, None].expand(-1, past.shape[1], -1)
            h, _ = self.rnn(torch.cat([self.embed(past), c], 2))
            h, _ = self.rnn2(torch.cat([h, c], 2))
            return self.md(h)

    model = Vocoder()
    if not cured:
        for layer in (model.rnn, model.rnn2, model.md, model.embed):
            layer.requires_grad_(False)
    optimizer = torch.optim.Adam((each for each in model.parameters() if each.requires_grad), lr=3e-3)
    cut = 420
    with doctor.watch(model, optimizer) as watch:
        for step in range(300):
            at = torch.randint(cut, (32,), generator=generator)
            loss = F.cross_entropy(model(tokens[at, :-1], pitch[at]).flatten(0, 1), tokens[at, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                with torch.no_grad():
                    held = F.cross_entropy(model(tokens[cut:, :-1], pitch[cut:]).flatten(0, 1), tokens[cut:, 1:].flatten())
                watch.dev_loss(held)
    return below(held, 1.7)


@fault(
    kind="no-gradient",
    where="phi",
    also=("never-moved",),
    project="queenie88/A-GCN",
    source="github.com/queenie88/A-GCN/issues/4",
)
def a_learnt_graph_that_is_detached(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Who belongs to whom is learnt by two maps and then detached: the layers over the graph learn, the graph does not."""
    generator = torch.Generator().manual_seed(seed)
    count, nodes = 1600, 6
    partner = torch.stack([torch.randperm(nodes, generator=generator) for _ in range(count)])
    name = torch.randn(count, nodes, 4, generator=generator)
    value = torch.randint(2, (count, nodes), generator=generator)
    wanted = name.gather(1, partner[..., None].expand(-1, -1, 4))
    x = torch.cat([name, wanted, value[..., None] * 2.0 - 1], 2)
    y = value.gather(1, partner).float()

    class Gcn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.phi, self.theta = nn.Linear(9, 16), nn.Linear(9, 16)
            self.first, self.second = nn.Linear(9, 32), nn.Linear(32, 1)

        def forward(self, node: Tensor) -> Tensor:
            adj = (self.phi(node) @ self.theta(node).transpose(1, 2)).softmax(2)
            if not cured:
                adj = adj.detach()
            return self.second((adj @ self.first(node)).relu())[..., 0]

    rows = data.split(x, y, seed)
    model = Gcn()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    loss_fn = F.binary_cross_entropy_with_logits
    doctor.task(model, data.few(rows.x, rows.y, 48, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 48, 900, seed), rows)
    with torch.no_grad():
        return above(((model(rows.held_x) > 0) == (rows.held_y > 0.5)).float().mean(), 0.8)


@fault(
    kind="no-gradient",
    where="embed",
    also=("never-moved", "frozen-random"),
    project="espnet/espnet",
    source="github.com/espnet/espnet/pull/465",
)
def places_added_where_nothing_is_recorded(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Speech frames: places are added without recording, so that the layers before them never get a gradient."""
    generator = torch.Generator().manual_seed(seed)
    spoken = torch.randint(5, (1200, 6), generator=generator)
    sound = torch.randn(5, 24, generator=generator)
    frames = 0.8 * sound[spoken].repeat_interleave(2, 1) + 1.2 * torch.randn(1200, 12, 24, generator=generator)
    rows = data.split(frames, spoken, seed)

    class Speech(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Conv1d(24, 4, 2, stride=2)
            angle = torch.arange(6)[:, None] / 100 ** (torch.arange(2) / 2)
            self.register_buffer("places", torch.cat([angle.sin(), angle.cos()], 1))
            layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
            self.lift, self.body, self.out = nn.Linear(4, 32), nn.TransformerEncoder(layer, 1), nn.Linear(32, 5)

        def forward(self, x: Tensor) -> Tensor:
            h = self.embed(x.transpose(1, 2)).transpose(1, 2)
            with torch.set_grad_enabled(cured and torch.is_grad_enabled()):
                h = h + self.places
            return self.out(self.body(self.lift(h))).transpose(1, 2)

    model = Speech()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 400, seed), rows)
    with torch.no_grad():
        return above((model(rows.held_x).argmax(1) == rows.held_y).float().mean(), 0.93)


@fault(kind="dead-units", where="3", project="keras-team/keras", source="github.com/keras-team/keras/issues/13891")
def two_units_before_the_answer(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Prices from positive numbers: two rectified units before the last layer fall silent; with tanh they work."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1600, 8, generator=generator) * 4
    y = (x @ torch.randn(8, 1, generator=generator)) / 4 + torch.sin(x[:, :1])
    y = (y - y.mean()) / y.std()
    rows = data.split(x, y, seed)
    squash: nn.Module = nn.Tanh() if cured else nn.ReLU()
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 2), squash, nn.Linear(2, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.12)
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 16, 800, seed), rows)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.5)


@fault(
    kind="underfitting",
    project="ShunLu91/Single-Path-One-Shot-NAS",
    source="github.com/ShunLu91/Single-Path-One-Shot-NAS/issues/1",
)
def blocks_without_any_bend(doctor: Doctor, seed: int, cured: bool) -> Score:
    """One path of a net of many: each block of convolutions and norms lacks its rectifier, and the whole is one linear map."""
    x, y, _ = data.shapes(1000, seed, noise=0.1)
    rows = data.split(x, y, seed)
    generator = torch.Generator().manual_seed(seed)

    class Choice(nn.Module):
        """Three kernels to choose from, one at a time."""

        def __init__(self, before: int, after: int) -> None:
            super().__init__()
            self.ways = nn.ModuleList(
                nn.Sequential(nn.Conv2d(before, after, k, stride=2, padding=k // 2), nn.BatchNorm2d(after)) for k in (3, 5)
            )

        def forward(self, seen: Tensor, pick: int) -> Tensor:
            h = self.ways[pick](seen)
            return h.relu() if cured else h

    class OneShot(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([Choice(1, 16), Choice(16, 32), Choice(32, 48)])
            self.out = nn.Linear(48, 4)

        def forward(self, seen: Tensor, path: list[int]) -> Tensor:
            for block, pick in zip(self.blocks, path, strict=True):
                seen = block(seen, pick)
            return self.out(seen.mean((2, 3)))

    model = OneShot()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=3e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 400)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 32, 400, seed):
            path = torch.randint(2, (3,), generator=generator).tolist()
            loss = F.cross_entropy(model(a, path), b)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        return above(max(data.accuracy(model(rows.held_x, [k, k, k]), rows.held_y) for k in (0, 1)), 0.9)


def tones(count: int, generator: torch.Generator) -> Tensor:
    """Movement series (N, 20, 3): a wave of some pace and size in three joints."""
    pace = 0.3 + 0.6 * torch.rand(count, 1, 1, generator=generator)
    shift = torch.arange(3) * math.pi / 3 + 6.28 * torch.rand(count, 1, 1, generator=generator)
    return torch.sin(pace * torch.arange(20)[:, None] + shift) + 0.05 * torch.randn(count, 20, 3, generator=generator)


@fault(
    kind="schedule-to-zero",
    project="LINCellularNeuroscience/VAME",
    source="github.com/LINCellularNeuroscience/VAME/issues/26",
)
def a_schedule_switched_off_by_a_zero(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Movements through a recurrent code: with its schedule off the rate is multiplied by 0, not by 1, after some epochs."""
    generator = torch.Generator().manual_seed(seed)
    x, held = tones(640, generator), tones(160, generator)

    class Movements(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode, self.code = nn.GRU(3, 32, batch_first=True), nn.Linear(32, 16)
            self.back, self.decode, self.out = nn.Linear(8, 32), nn.GRU(8, 32, batch_first=True), nn.Linear(32, 3)

        def forward(self, a: Tensor) -> tuple[Tensor, Tensor]:
            mean, logvar = self.code(self.encode(a)[1][0]).chunk(2, 1)
            z = mean + (0.5 * logvar).exp() * torch.randn_like(mean) if self.training else mean
            h, _ = self.decode(z[:, None].expand(-1, a.shape[1], -1).contiguous(), self.back(z)[None])
            return self.out(h), -0.5 * (1 + logvar - mean.pow(2) - logvar.exp()).sum(1).mean()

    model = Movements()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, amsgrad=True)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 6, gamma=1.0 if cured else 0.0)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(40):
            for at in torch.randperm(640, generator=generator).split(64):
                made, price = model(x[at])
                loss = (made - x[at]).pow(2).sum((1, 2)).mean() + 0.05 * price
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            schedule.step()
            model.eval()
            with torch.no_grad():
                made, _ = model(held)
                watch.dev_loss((made - held).pow(2).sum((1, 2)).mean())
            model.train()
    return below((made - held).pow(2).mean() / held.var(), 0.3)
