"""Faults of modes and statistics: what a norm has gathered, and what it gathers where it should not."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="norm-statistics",
    where="bn",
    project="chemprop/chemprop",
    source="github.com/chemprop/chemprop/issues/607",
)
def a_few_steps_and_statistics_still_at_zero(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Molecules: messages along bonds are summed and normed; after few steps the kept statistics are far behind the batch's."""
    generator = torch.Generator().manual_seed(seed)
    atoms = 24
    x = F.one_hot(torch.randint(5, (700, atoms), generator=generator), 5).float()
    bonds = (torch.rand(700, atoms, atoms, generator=generator) < 0.14).float().triu(1)
    bonds = bonds + bonds.transpose(1, 2)
    worth = torch.randn(5, 1, generator=generator)
    y = ((x @ worth) + 0.4 * bonds @ (x @ worth)).sum(1)
    y = (y - y.mean()) / y.std()
    cut = 560

    class Molecule(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into, self.message = nn.Linear(5, 128), nn.Linear(128, 128)
            self.bn = nn.BatchNorm1d(128, track_running_stats=not cured)
            self.head = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1))

        def forward(self, atom: Tensor, bond: Tensor) -> Tensor:
            h = self.into(atom).relu()
            for _ in range(2):
                h = (self.into(atom) + self.message(bond @ h)).relu()
            return self.head(self.bn(h.sum(1)))

    model = Molecule()
    optimizer = torch.optim.Adam(model.parameters(), lr=8e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(1):
            for at in torch.randperm(cut, generator=generator).split(112):
                loss = F.mse_loss(model(x[at], bonds[at]), y[at])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            model.eval()
            with torch.no_grad():
                checked = F.mse_loss(model(x[cut:], bonds[cut:]), y[cut:])
            model.train()
            watch.dev_loss(checked)
    return below(checked, 0.6)


@fault(kind="norm-statistics", project="hiwonjoon/tf-frrn", source="github.com/hiwonjoon/tf-frrn/issues/2")
def norms_that_never_gather_anything(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Parts of pictures at full size and at half size side by side: the kept means and spreads are never brought up to date."""
    x, y, mask = data.shapes(400, seed)
    target = torch.where(mask > 0, y[:, None, None] + 1, 0)
    rows = data.split(x * 3 + 2, target, seed)
    momentum = 0.1 if cured else 0.0

    def block(before: int, after: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after, momentum=momentum), nn.ReLU())

    class FullSize(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = block(1, 16), block(16, 32)
            self.unit, self.back = block(48, 32), nn.Conv2d(32, 16, 1)
            self.last = nn.Sequential(block(48, 24), nn.Conv2d(24, 5, 1))

        def forward(self, seen: Tensor) -> Tensor:
            wide = self.first(seen)
            small = self.second(F.max_pool2d(wide, 2))
            small = self.unit(torch.cat([small, F.max_pool2d(wide, 2)], 1))
            wide = wide + F.interpolate(self.back(small), scale_factor=2)
            return self.last(torch.cat([wide, F.interpolate(small, scale_factor=2)], 1))

    model = FullSize()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 16, 200, seed), rows, every=40)
    with torch.no_grad():
        said = model(rows.held_x).argmax(1)
    inside = rows.held_y > 0
    return above((said[inside] == rows.held_y[inside]).float().mean(), 0.55)


@fault(
    kind="norm-statistics",
    where="encoder",
    also=("wrong-mode",),
    project="autonomousvision/transfuser",
    source="github.com/autonomousvision/transfuser/issues/241",
)
def a_frozen_encoder_whose_norms_move_on(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The way ahead: the encoder's weights are frozen, its norms are not, and right turns alone pull their statistics away."""
    generator = torch.Generator().manual_seed(seed)
    bend = torch.rand(2000, 1, generator=generator) * 2 - 1
    speed = torch.rand(2000, 1, generator=generator)
    view = torch.randn(2, 24, generator=generator)
    seen = torch.cat([bend, speed], 1) @ view + 0.15 * torch.randn(2000, 24, generator=generator)
    ahead = torch.arange(1, 5) / 4
    way = torch.cat([speed * ahead, bend * ahead**2], 1)
    rows = data.split(seen, way, seed)
    held = rows.held_x, rows.held_y
    right = rows.y[:, -1] > 0.5  # how far the way bends at its end

    class Driver(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers: list[nn.Module] = []
            for before in (24, 64):
                layers += [nn.Linear(before, 64), nn.BatchNorm1d(64), nn.ReLU()]
            self.encoder, self.head = nn.Sequential(*layers), nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8))

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.encoder(x))

    model = Driver()
    first = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for a, b in data.batches(rows.x, rows.y, 50, 500, seed):
        first.zero_grad()
        F.l1_loss(model(a), b).backward()
        first.step()

    model.encoder.requires_grad_(False)
    optimizer = torch.optim.AdamW(model.head.parameters(), lr=1e-4)
    x, y = rows.x[right], rows.y[right]
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(x, y, 24, 200, seed)):
            model.train()
            if cured:
                model.encoder.eval()
            loss = F.l1_loss(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 25 == 24:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.l1_loss(model(held[0]), held[1]))
    model.eval()
    with torch.no_grad():
        return below(F.l1_loss(model(held[0]), held[1]), 0.12)
