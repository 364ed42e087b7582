"""Healthy programs on pictures: noise of all sizes, hidden pixels, gates of 0, layers that come and go, few bright pixels."""

from __future__ import annotations

from itertools import pairwise

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="NVlabs/edm", source="github.com/NVlabs/edm")
def noise_of_all_sizes(doctor: Doctor, seed: int) -> Score:
    """A denoiser of points on two moons, scaled by the noise's size; the weighted loss stays high, and it draws moons."""
    generator = torch.Generator().manual_seed(seed)
    turn = 3.1416 * torch.rand(3000, generator=generator)
    upper = torch.rand(3000, generator=generator) < 0.5
    moon = torch.where(
        upper[:, None], torch.stack([turn.cos(), turn.sin()], 1), torch.stack([1 - turn.cos(), 0.5 - turn.sin()], 1)
    )
    x = moon - torch.tensor([0.5, 0.25]) + 0.05 * torch.randn(3000, 2, generator=generator)
    usual = 0.5

    class Denoiser(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(10, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, 2))
            nn.init.zeros_(self.body[4].weight)

        def forward(self, noisy: Tensor, size: Tensor) -> Tensor:
            total = (size**2 + usual**2).sqrt()
            level = size.log() / 4 * torch.tensor([1.0, 2.0, 4.0, 8.0])
            said = self.body(torch.cat([noisy / total, level.sin(), level.cos()], 1))
            out: Tensor = usual**2 / total**2 * noisy + size * usual / total * said
            return out

    model = Denoiser()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, betas=(0.9, 0.99))
    with doctor.watch(model, optimizer) as watch:
        for clean, _ in data.batches(x, x, 128, 900, seed):
            size = torch.exp(1.2 * torch.randn(128, 1, generator=generator) - 1.2)
            noisy = clean + size * torch.randn(128, 2, generator=generator)
            weight = (size**2 + usual**2) / (size * usual) ** 2
            loss = (weight * (model(noisy, size) - clean).pow(2)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    sizes = torch.exp(torch.linspace(1.5, -4.0, 24))
    drawn = sizes[0] * torch.randn(300, 2, generator=generator)
    with torch.no_grad():
        for size, after in pairwise(sizes):
            drawn = drawn + (after - size) * (drawn - model(drawn, size.expand(300, 1))) / size
        apart = 2 * torch.cdist(drawn, x).mean() - torch.cdist(drawn, drawn).mean() - torch.cdist(x, x).mean()
        return below(apart, 0.03)


class Masked(nn.Conv2d):
    """A convolution that sees what is above and to the left; of the centre if told so."""

    def __init__(self, inputs: int, outputs: int, width: int, centre: bool) -> None:
        super().__init__(inputs, outputs, width, padding=width // 2)
        mask = torch.ones_like(self.weight)
        mask[:, :, width // 2, width // 2 + centre :] = 0
        mask[:, :, width // 2 + 1 :] = 0
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.get_buffer("mask"), self.bias, padding=self.padding)


@healthy(project="jzbontar/pixelcnn-pytorch", source="github.com/jzbontar/pixelcnn-pytorch")
def pixels_told_by_those_before(doctor: Doctor, seed: int) -> Score:
    """Digits in four greys, each pixel from those above and to the left; the masked weights have no gradient for ever."""
    rows = data.digits(seed)
    x, held = (rows.x * 3).round(), (rows.held_x * 3).round()
    layers: list[nn.Module] = [Masked(1, 24, 5, centre=False), nn.BatchNorm2d(24), nn.ReLU()]
    for _ in range(3):
        layers += [Masked(24, 24, 3, centre=True), nn.BatchNorm2d(24), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Conv2d(24, 4, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    parts = data.Split(x / 3, x[:, 0].long(), held / 3, held[:, 0].long())
    doctor.task(model, data.few(parts.x, parts.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(parts.x, parts.y, 32, 300, seed), parts)
    with torch.no_grad():
        return below(F.cross_entropy(model(parts.held_x), parts.held_y), 0.62)


class Gated(nn.Module):
    """A residual layer whose gate begins at 0."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer, self.gate = nn.Linear(width, width), nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.gate * F.relu(self.layer(x))
        return out


@healthy(project="majumderb/rezero", source="github.com/majumderb/rezero")
def thirty_layers_behind_closed_gates(doctor: Doctor, seed: int) -> Score:
    """Thirty residual layers, of which none does anything at first nor has a gradient; no norm, no warm-up."""
    rows = data.digits(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), *(Gated(48) for _ in range(30)), nn.Linear(48, 10))
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.01)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 64, 350, seed), rows)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.93)


class Fleeting(nn.Module):
    """Residual blocks, each left out of a step by chance, the later the likelier."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, padding=1)
        blocks = [
            [nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1)] for _ in range(6)
        ]
        self.blocks = nn.ModuleList(nn.Sequential(*each, nn.BatchNorm2d(16)) for each in blocks)
        self.out = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.first(x))
        for depth, block in enumerate(self.blocks):
            kept = 1 - 0.5 * (depth + 1) / 6
            if not self.training:
                h = F.relu(h + kept * block(h))
            elif torch.rand(()) < kept:
                h = F.relu(h + block(h))
        return self.out(F.avg_pool2d(h, 4).amax((2, 3)))


@healthy(project="yueatsprograms/Stochastic_Depth", source="github.com/yueatsprograms/Stochastic_Depth")
def blocks_that_come_and_go(doctor: Doctor, seed: int) -> Score:
    """Up to half of the blocks take no part in a step and have no gradient in it."""
    x, y, _ = data.shapes(900, seed)
    rows = data.split(x, y, seed)
    model = Fleeting()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, nesterov=True, weight_decay=1e-4)
    doctor.task(model, data.few(rows.x, rows.y, 24, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 24, 220, seed), rows, every=44)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.75)


class Small(nn.Module):
    """A U-net of two levels."""

    def __init__(self) -> None:
        super().__init__()
        part = lambda a, b: nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU())  # noqa: E731
        self.down, self.low, self.up = part(1, 12), part(12, 24), nn.ConvTranspose2d(24, 12, 2, stride=2)
        self.last, self.out = part(24, 12), nn.Conv2d(12, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        high = self.down(x)
        return self.out(self.last(torch.cat([self.up(self.low(F.max_pool2d(high, 2))), high], 1))).sigmoid()


@healthy(project="mateuszbuda/brain-segmentation-pytorch", source="github.com/mateuszbuda/brain-segmentation-pytorch")
def few_bright_pixels_by_overlap(doctor: Doctor, seed: int) -> Score:
    """Spots of some pixels among 576, by 1 minus the overlap after a sigmoid; pictures without a spot are left out."""
    generator = torch.Generator().manual_seed(seed)
    at, reach = 4 + 16 * torch.rand(500, 2, generator=generator), 1.2 + 1.3 * torch.rand(500, generator=generator)
    grid = torch.stack(torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij"), -1)
    mask = ((grid - at[:, None, None]).norm(dim=-1) < reach[:, None, None]).float()[:, None]
    blur = F.avg_pool2d(torch.randn(500, 1, 28, 28, generator=generator), 5, 1) * 3
    rows = data.split(blur + 1.6 * mask + 0.3 * torch.randn(500, 1, 24, 24, generator=generator), mask, seed)

    def loss_fn(said: Tensor, truth: Tensor) -> Tensor:
        return 1 - (2 * (said * truth).sum() + 1) / (said.sum() + truth.sum() + 1)

    model = Small()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 12, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 12, 250, seed), rows, every=50)
    with torch.no_grad():
        return below(loss_fn((model(rows.held_x) > 0.5).float(), rows.held_y), 0.3)
