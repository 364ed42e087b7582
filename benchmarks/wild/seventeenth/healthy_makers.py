"""Healthy programs that make things: curves by two nets, digits by layers of filters, a scene from rays."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="MorvanZhou/PyTorch-Tutorial", source="github.com/MorvanZhou/PyTorch-Tutorial")
def paintings_of_a_parabola(doctor: Doctor, seed: int) -> Score:
    """Curves between two parabolas: the maker's loss is a mean of logarithms below 0, and the judge's the two of them."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.linspace(-1, 1, 15)
    artist = nn.Sequential(nn.Linear(5, 128), nn.ReLU(), nn.Linear(128, 15))
    judge = nn.Sequential(nn.Linear(15, 128), nn.ReLU(), nn.Linear(128, 1), nn.Sigmoid())
    model = nn.ModuleDict({"artist": artist, "judge": judge})
    first, second = torch.optim.Adam(artist.parameters(), lr=1e-4), torch.optim.Adam(judge.parameters(), lr=1e-4)

    def paintings() -> Tensor:
        a = 1 + torch.rand(64, 1, generator=generator)
        return a * points.pow(2) + (a - 1)

    with doctor.watch(model, [first, second]) as watch:
        for _ in range(2500):
            made = artist(torch.randn(64, 5, generator=generator))
            fooled = (1 - judge(made)).log().mean()
            first.zero_grad()
            fooled.backward()
            first.step()
            told = -(judge(paintings()).log() + (1 - judge(made.detach())).log()).mean()
            second.zero_grad()
            told.backward()
            second.step()
            watch.loss(told)
    with torch.no_grad():
        made = artist(torch.randn(500, 5, generator=generator))
    return below((made.mean(0) - (1.5 * points.pow(2) + 0.5)).abs().mean(), 0.2)


@healthy(project="pytorch/dcgan-tutorial", source="pytorch.org/tutorials/beginner/dcgan_faces_tutorial.html")
def digits_by_layers_of_filters(doctor: Doctor, seed: int) -> Score:
    """Digits by filters that grow and filters that shrink, weights drawn with 0.02, momenta of a half."""
    rows = data.digits(seed)
    x = rows.x * 2 - 1
    generator = torch.Generator().manual_seed(seed)
    maker = nn.Sequential(
        nn.ConvTranspose2d(32, 64, 2, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 32, 4, 2, 1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 1, 4, 2, 1, bias=False),
        nn.Tanh(),
    )
    judge = nn.Sequential(
        nn.Conv2d(1, 32, 4, 2, 1, bias=False),
        nn.LeakyReLU(0.2),
        nn.Conv2d(32, 64, 4, 2, 1, bias=False),
        nn.BatchNorm2d(64),
        nn.LeakyReLU(0.2),
        nn.Conv2d(64, 1, 2, bias=False),
        nn.Sigmoid(),
        nn.Flatten(0),
    )
    model = nn.ModuleDict({"maker": maker, "judge": judge})
    for each in model.modules():
        if isinstance(each, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(each.weight, 0.0, 0.02)
        elif isinstance(each, nn.BatchNorm2d):
            nn.init.normal_(each.weight, 1.0, 0.02)
    first, second = (torch.optim.Adam(each.parameters(), lr=1e-3, betas=(0.5, 0.999)) for each in (maker, judge))
    one, nought = torch.ones(64), torch.zeros(64)
    with doctor.watch(model, [first, second]) as watch:
        for a, _ in data.batches(x, rows.y, 64, 400, seed):
            judge.zero_grad()
            F.binary_cross_entropy(judge(a), one).backward()
            made = maker(torch.randn(64, 32, 1, 1, generator=generator))
            F.binary_cross_entropy(judge(made.detach()), nought).backward()
            second.step()
            maker.zero_grad()
            fooled = F.binary_cross_entropy(judge(made), one)
            fooled.backward()
            first.step()
            watch.loss(fooled)
    model.eval()
    with torch.no_grad():
        made = maker(torch.randn(500, 32, 1, 1, generator=generator))
    return below((made.mean(0) - x.mean(0)).abs().mean(), 0.3)


@healthy(project="yenchenlin/nerf-pytorch", source="github.com/yenchenlin/nerf-pytorch")
def a_scene_from_rays(doctor: Doctor, seed: int) -> Score:
    """A flat scene of coloured discs seen along rays: density and colour at points of a ray, added up; the rate falls slowly."""
    generator = torch.Generator().manual_seed(seed)
    middle = torch.rand(3, 2, generator=generator) * 1.2 - 0.6
    tint = 0.3 + 0.7 * torch.rand(3, generator=generator)
    depth = torch.linspace(0, 2.4, 24)

    def add_up(density: Tensor, colour: Tensor) -> Tensor:
        """What a ray brings: densities and colours (N, 24) to brightness (N,)."""
        stopped = 1 - (-density * 0.1).exp()
        left = torch.cat([torch.ones(len(density), 1), (1 - stopped + 1e-10).cumprod(1)[:, :-1]], 1)
        return (left * stopped * colour).sum(1)

    def rays(count: int) -> tuple[Tensor, Tensor]:
        """Points along rays (N, 24, 2) and the brightness seen (N,)."""
        turn = torch.rand(count, 1, generator=generator) * 6.28
        ahead = torch.cat([turn.cos(), turn.sin()], 1)
        side = torch.stack([-ahead[:, 1], ahead[:, 0]], 1)
        begin = -1.2 * ahead + (torch.rand(count, 1, generator=generator) * 1.6 - 0.8) * side
        point = begin[:, None] + depth[:, None] * ahead[:, None]
        far = (point[:, :, None] - middle).norm(dim=3)
        density = 20 * torch.sigmoid((0.3 - far) * 20)
        return point, add_up(density.sum(2), (density * tint).sum(2) / (density.sum(2) + 1e-6))

    class Field(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(18, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))

        def forward(self, point: Tensor) -> Tensor:
            waves = [point] + [wave(point * 2**k) for k in range(4) for wave in (torch.sin, torch.cos)]
            density, colour = self.net(torch.cat(waves, -1)).unbind(-1)
            return add_up(20 * F.softplus(density - 3), colour.sigmoid())

    model = Field()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1 ** (1 / 500))
    held_x, held_y = rays(400)
    with doctor.watch(model, optimizer) as watch:
        for step in range(500):
            x, y = rays(64)
            loss = F.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
            if step % 50 == 49:
                with torch.no_grad():
                    watch.dev_loss(F.mse_loss(model(held_x), held_y))
    with torch.no_grad():
        return below(F.mse_loss(model(held_x), held_y) / held_y.var(), 0.12)
