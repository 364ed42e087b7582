"""Healthy programs on points: a dictionary, two players, slopes of a density."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Dictionary(nn.Module):
    """Activations written as few of 64 directions."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(24, 64), nn.Linear(64, 24)
        with torch.no_grad():
            self.decoder.weight /= self.decoder.weight.norm(dim=0)
            self.encoder.weight.copy_(self.decoder.weight.T)
            self.encoder.bias.zero_()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        code = F.relu(self.encoder(x - self.decoder.bias))
        return self.decoder(code), code


@healthy(project="openai/sparse_autoencoder", source="github.com/openai/sparse_autoencoder")
def few_of_many_directions(doctor: Doctor, seed: int) -> Score:
    """Most units are silent for most rows, as they should be: a penalty on the code's size asks for it."""
    generator = torch.Generator().manual_seed(seed)
    true = F.normalize(torch.randn(40, 24, generator=generator), dim=1)
    active = (torch.rand(3000, 40, generator=generator) < 0.06) * (0.5 + torch.rand(3000, 40, generator=generator))
    rows = data.split(active @ true, active @ true, seed)
    model = Dictionary()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def loss_fn(output: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
        return (output[0] - target).pow(2).sum(1).mean() + 0.05 * output[1].sum(1).mean()

    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 64, 700, seed)):
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                model.decoder.weight /= model.decoder.weight.norm(dim=0)
            watch.loss(loss)
            if step % 100 == 99:
                with torch.no_grad():
                    watch.dev_loss(loss_fn(model(rows.held_x), rows.held_y))
    return above(data.r2(model(rows.held_x)[0], rows.held_y), 0.85)


class Players(nn.Module):
    """One that makes points for a kind, one that judges them."""

    def __init__(self) -> None:
        super().__init__()
        self.maker = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
        self.judge = nn.Sequential(nn.Linear(6, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))


@healthy(project="xudonmao/LSGAN", source="github.com/xudonmao/LSGAN")
def four_kinds_of_points_by_least_squares(doctor: Doctor, seed: int) -> Score:
    """Both players are told the kind; the judge's answers are pulled to 1 and 0 by squares. Neither loss goes down."""
    generator = torch.Generator().manual_seed(seed)
    centre = 2.0 * torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    model = Players()
    make = torch.optim.Adam(model.maker.parameters(), lr=1e-3, betas=(0.5, 0.999))
    rate = torch.optim.Adam(model.judge.parameters(), lr=1e-3, betas=(0.5, 0.999))

    def made(kind: Tensor) -> Tensor:
        noise = torch.randn(len(kind), 4, generator=generator)
        return model.maker(torch.cat([noise, F.one_hot(kind, 4).float()], 1))

    def judged(points: Tensor, kind: Tensor) -> Tensor:
        return model.judge(torch.cat([points, F.one_hot(kind, 4).float()], 1))

    with doctor.watch(model, [make, rate]) as watch:
        for _ in range(900):
            kind = torch.randint(4, (64,), generator=generator)
            real = centre[kind] + 0.2 * torch.randn(64, 2, generator=generator)
            false = made(kind)
            loss = 0.5 * (judged(real, kind) - 1).pow(2).mean() + 0.5 * judged(false.detach(), kind).pow(2).mean()
            rate.zero_grad()
            loss.backward()
            rate.step()
            other = 0.5 * (judged(false, kind) - 1).pow(2).mean()
            make.zero_grad()
            other.backward()
            make.step()
            watch.loss(loss + other)
    kind = torch.arange(4).repeat(100)
    with torch.no_grad():
        return below((made(kind) - centre[kind]).norm(dim=1).mean(), 0.6)


@healthy(project="ermongroup/ncsn", source="github.com/ermongroup/ncsn")
def slopes_of_density_at_six_noises(doctor: Doctor, seed: int) -> Score:
    """The loss is mostly the noise itself and falls by a little only; what counts is where walkers end."""
    generator = torch.Generator().manual_seed(seed)
    turn = 6.283 * torch.randint(5, (2000, 1), generator=generator) / 5
    points = 2 * torch.cat([turn.cos(), turn.sin()], 1) + 0.1 * torch.randn(2000, 2, generator=generator)
    noises = torch.logspace(0.3, -1.0, 6)
    model = nn.Sequential(nn.Linear(3, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def slope(x: Tensor, noise: Tensor) -> Tensor:
        return model(torch.cat([x / (1 + noise), noise.log()], 1)) / noise

    with doctor.watch(model, optimizer) as watch:
        for x, _ in data.batches(points, points, 100, 900, seed):
            noise = noises[torch.randint(6, (100, 1), generator=generator)]
            drawn = torch.randn(100, 2, generator=generator)
            loss = 0.5 * (noise * slope(x + noise * drawn, noise) + drawn).pow(2).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    x = 2 * torch.randn(300, 2, generator=generator)
    with torch.no_grad():
        for level in noises:
            noise = level.expand(300, 1)
            for _ in range(20):
                size = 0.1 * level**2
                x = x + size * slope(x, noise) + (2 * size).sqrt() * torch.randn(300, 2, generator=generator)
    corners = torch.arange(5) * 6.283 / 5
    far = torch.cdist(x, 2 * torch.stack([corners.cos(), corners.sin()], 1)).min(1).values
    return below(far.mean(), 0.35)
