"""Healthy programs that make things: clouds bent step by step, noise taken away by slope or by flow, what may come next."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


def two_moons(count: int, generator: torch.Generator) -> Tensor:
    """Points on two half rings that reach into each other (N, 2)."""
    turn, which = 3.1416 * torch.rand(count, generator=generator), torch.randint(2, (count,), generator=generator)
    x = torch.where(which == 0, turn.cos(), 1 - turn.cos()) - 0.5
    y = torch.where(which == 0, turn.sin(), 0.5 - turn.sin()) - 0.25
    return torch.stack([x, y], 1) + 0.06 * torch.randn(count, 2, generator=generator)


def nearest(made: Tensor, real: Tensor) -> float:
    """How far made points are from real ones and real from made, on average."""
    far = torch.cdist(made, real)
    return float(far.amin(1).mean() + far.amin(0).mean())


class Step(nn.Module):
    known: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.shift, self.log_scale = nn.Parameter(torch.zeros(64)), nn.Parameter(torch.zeros(64))
        self.register_buffer("known", torch.tensor(0))
        self.turn = nn.Parameter(torch.linalg.qr(torch.randn(64, 64))[0])
        self.net = nn.Sequential(nn.Linear(32, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 64))
        nn.init.zeros_(self.net[-1].weight)
        nn.init.zeros_(self.net[-1].bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if not self.known:
            with torch.no_grad():
                self.shift.copy_(-x.mean(0))
                self.log_scale.copy_(-(x.std(0) + 1e-2).log())
                self.known.fill_(1)
        x = (x + self.shift) * self.log_scale.exp() @ self.turn.T
        a, b = x.chunk(2, 1)
        scale, shift = self.net(a).chunk(2, 1)
        scale = (scale + 2).sigmoid()
        grown = self.log_scale.sum() + torch.linalg.slogdet(self.turn)[1] + scale.log().sum(1)
        return torch.cat([a, (b + shift) * scale], 1), grown


class Glow(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.ModuleList(Step() for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """Bits that each place of a picture takes (N,)."""
        total = torch.zeros(len(x))
        for step in self.steps:
            x, grown = step(x)
            total = total + grown
        told = -0.5 * (x.pow(2) + math.log(2 * math.pi)).sum(1) + total
        return (math.log(17) - told / 64) / math.log(2)


@healthy(project="rosinality/glow-pytorch", source="github.com/rosinality/glow-pytorch")
def digits_bent_into_noise(doctor: Doctor, seed: int) -> Score:
    """Digits with a little luck on each place as one bent cloud: scaled by the first batch, mixed, and half told by half."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)

    def shaken(x: Tensor) -> Tensor:
        return (x.flatten(1) * 16 + torch.rand(len(x), 64, generator=generator)) / 17 - 0.5

    model = Glow()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, _) in enumerate(data.batches(rows.x, rows.y, 64, 350, seed)):
            for group in optimizer.param_groups:
                group["lr"] = 1e-3 * min(1.0, (step + 1) / 50)
            loss = model(shaken(a)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                with torch.no_grad():
                    watch.dev_loss(model(shaken(rows.held_x)).mean())
    with torch.no_grad():
        return below(model(shaken(rows.held_x)).mean(), 3.2)


@healthy(project="yang-song/score_sde_pytorch", source="github.com/yang-song/score_sde_pytorch")
def a_slope_back_from_noise(doctor: Doctor, seed: int) -> Score:
    """Two half rings: a net learns which way is uphill at any strength of noise, and an average of it walks noise back."""
    generator = torch.Generator().manual_seed(seed)
    low, high = 0.02, 3.0

    class Slope(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(10, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, 2))

        def forward(self, x: Tensor, noise: Tensor) -> Tensor:
            told = noise.log()[:, None] * torch.tensor([0.5, 1.0, 2.0, 4.0])
            near = x / (1 + noise[:, None] ** 2).sqrt()
            return self.body(torch.cat([near, told.sin(), told.cos()], 1)) / noise[:, None]

    model = Slope()
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(1200):
            x = two_moons(128, generator)
            noise = low * (high / low) ** torch.rand(128, generator=generator)
            luck = torch.randn(128, 2, generator=generator)
            slope = model(x + noise[:, None] * luck, noise)
            loss = (slope * noise[:, None] + luck).pow(2).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            average.update_parameters(model)
            watch.loss(loss)
    x = high * torch.randn(400, 2, generator=generator)
    noises = low * (high / low) ** torch.linspace(1, 0, 60)
    with torch.no_grad():
        for now, after in pairwise(noises):
            gap = now**2 - after**2
            x = (
                x
                + gap * average(x, now.expand(400))
                + (gap * after**2 / now**2).sqrt() * torch.randn(400, 2, generator=generator)
            )
    return below(nearest(x, two_moons(400, generator)), 0.25)


@healthy(project="atong01/conditional-flow-matching", source="github.com/atong01/conditional-flow-matching")
def noise_that_flows_to_digits(doctor: Doctor, seed: int) -> Score:
    """Digits for a kind told, from noise along straight ways: the net is asked which way each half-made picture goes."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)

    class Flow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kind = nn.Embedding(10, 16)
            self.body = nn.Sequential(nn.Linear(81, 192), nn.SELU(), nn.Linear(192, 192), nn.SELU(), nn.Linear(192, 64))

        def forward(self, x: Tensor, time: Tensor, y: Tensor) -> Tensor:
            return self.body(torch.cat([x, time[:, None], self.kind(y)], 1))

    model = Flow()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    x = 2 * rows.x.flatten(1) - 1
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(x, rows.y, 64, 900, seed):
            start, time = torch.randn(64, 64, generator=generator), torch.rand(64, generator=generator)
            between = time[:, None] * a + (1 - time[:, None]) * start
            loss = F.mse_loss(model(between, time, b), a - start)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    y = torch.arange(10).repeat_interleave(30)
    made = torch.randn(300, 64, generator=generator)
    with torch.no_grad():
        for step in range(30):
            made = made + model(made, torch.full((300,), step / 30), y) / 30
    middles = torch.stack([x[rows.y == k].mean(0) for k in range(10)])
    return above((torch.cdist(made, middles).argmin(1) == y).float().mean(), 0.8)


@healthy(project="ctallec/world-models", source="github.com/ctallec/world-models")
def a_ball_that_may_turn_either_way(doctor: Doctor, seed: int) -> Score:
    """Where a ball is next, as a few clouds: at posts it turns up or down by luck, and a memory tells how likely each is."""
    generator = torch.Generator().manual_seed(seed)

    def plays(count: int) -> Tensor:
        """Places of balls over time (N, 17, 2)."""
        place, drift = torch.rand(count, generator=generator), 0.3 * torch.randn(count, generator=generator)
        speed, kept = 0.1 + 0.1 * torch.rand(count, generator=generator), []
        for _ in range(17):
            kept.append(torch.stack([place * 2 - 1, drift], 1))
            place = place + speed
            turn = torch.randint(2, (count,), generator=generator) * 1.6 - 0.8
            drift = torch.where(place > 1, turn, 0.8 * drift) + 0.03 * torch.randn(count, generator=generator)
            place = place % 1
        return torch.stack(kept, 1)

    class Memory(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.read, self.out = nn.LSTM(2, 48, batch_first=True), nn.Linear(48, 4 * 5)

        def forward(self, x: Tensor) -> Tensor:
            """How surprising each step after the first is (N, 16)."""
            weight, mean, log_std = self.out(self.read(x[:, :-1])[0]).view(len(x), -1, 4, 5).split([1, 2, 2], 3)
            log_std = log_std.clamp(-5, 2)
            off = (x[:, 1:, None] - mean) * (-log_std).exp()
            told = -(0.5 * off.pow(2) + log_std + 0.5 * math.log(2 * math.pi)).sum(3)
            return -(weight[..., 0].log_softmax(2) + told).logsumexp(2)

    model = Memory()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=2e-3, alpha=0.9)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=4)
    held = plays(200)
    with doctor.watch(model, optimizer) as watch:
        for step in range(500):
            loss = model(plays(32)).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            watch.loss(loss)
            if step % 25 == 24:
                with torch.no_grad():
                    now = model(held).mean()
                watch.dev_loss(now)
                schedule.step(now)
    with torch.no_grad():
        return below(model(held).mean(), -1.5)
