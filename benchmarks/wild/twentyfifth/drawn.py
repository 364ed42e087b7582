"""Faults of what draws: a book of shapes nobody writes in, shades that cannot be said, the same wishes at each step."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Quantizer(nn.Module):
    """Each vector as the nearest row of a book; the gradient passes by."""

    def __init__(self) -> None:
        super().__init__()
        self.codebook = nn.Embedding(32, 8)
        nn.init.uniform_(self.codebook.weight, -1 / 32, 1 / 32)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.codebook(torch.cdist(x, self.codebook.weight).argmin(1))
        return x + (z - x).detach(), z


class Coder(nn.Module):
    """A digit in eight pieces of eight numbers, each quantised, and drawn again."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64))
        self.vq = Quantizer()
        self.decoder = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        z_e = self.encoder(x).view(-1, 8)
        z_q, z = self.vq(z_e)
        return self.decoder(z_q.view(len(x), 64)), z_e, z_q, z


@fault(
    kind="no-gradient",
    also=("never-moved", "frozen-random", "detached-generator", "collapsed-embedding"),
    where="vq.codebook",
    project="showlab/Olaf-World",
    source="github.com/showlab/Olaf-World/issues/8",
)
def a_book_nobody_writes_in(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits through a book of 32 shapes: the loss of the book is taken of what was passed by, so the book stays as drawn."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    x, held = rows.x.flatten(1), rows.held_x.flatten(1)
    model = Coder()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for batch, _ in data.batches(x, x, 64, 600, seed):
            drawn, z_e, z_q, z = model(batch)
            book = F.mse_loss(z if cured else z_q, z_e.detach())
            loss = F.mse_loss(drawn, batch) + book + 0.25 * F.mse_loss(z_e, z.detach())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.r2(model(held)[0], held), 0.4)


class Variational(nn.Module):
    """A digit as eight numbers with a doubt, and what they draw, between 0 and 1."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.LeakyReLU())
        self.mean, self.width = nn.Linear(128, 8), nn.Linear(128, 8)
        self.decoder = nn.Sequential(nn.Linear(8, 128), nn.LeakyReLU(), nn.Linear(128, 64), nn.Sigmoid())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.encoder(x)
        mean, width = self.mean(h), self.width(h)
        return self.decoder(mean + torch.randn_like(mean) * (width / 2).exp()).view(x.shape), mean, width


@fault(
    kind="target-range",
    also=("saturation",),
    project="whosebug/5616116",
    source="whosebug.com/question/5616116",
)
def shades_that_cannot_be_said(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits between -1 and 1 are drawn again by a net that ends in a sigmoid."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    x, held = (rows.x, rows.held_x) if cured else (2 * rows.x - 1, 2 * rows.held_x - 1)
    model = Variational()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for batch, _ in data.batches(x, x, 64, 700, seed):
            drawn, mean, width = model(batch)
            apart = -0.5 * (1 + width - mean.pow(2) - width.exp()).sum(1).mean()
            loss = 1000 * F.mse_loss(drawn, batch) / 4 + apart
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        return above(data.r2(model(held)[0].flatten(1), held.flatten(1)), 0.35)


class Denoiser(nn.Module):
    """What was added to a point, given how much of it and which of eight places is wished."""

    def __init__(self) -> None:
        super().__init__()
        self.time, self.wish = nn.Embedding(50, 32), nn.Embedding(8, 32)
        self.enter = nn.Linear(2, 32)
        self.body = nn.Sequential(nn.Linear(32, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, 2))

    def forward(self, x: Tensor, step: Tensor, wish: Tensor) -> Tensor:
        return self.body(self.enter(x) + self.time(step) + self.wish(wish))


@fault(
    kind="repeated-batch",
    also=("shuffled-targets",),
    project="KanishJebaMathewM/Truxify",
    source="github.com/KanishJebaMathewM/Truxify/issues/4067",
)
def the_same_wishes_at_each_step(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Points at eight places out of noise, as wished: the loader of wishes is begun anew for each batch of points."""
    torch.manual_seed(seed)
    wish = torch.randint(8, (2048,), generator=torch.Generator().manual_seed(seed))
    angle = torch.arange(8) * 6.2832 / 8
    place = 1.5 * torch.stack([angle.cos(), angle.sin()], 1)
    points = place[wish] + 0.1 * torch.randn(2048, 2, generator=torch.Generator().manual_seed(seed + 1))
    point_loader, wish_loader = points.split(64), wish.split(64)
    beta = torch.linspace(1e-3, 0.2, 50)
    kept = (1 - beta).cumprod(0)
    model = Denoiser()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(40):
            for at, x in enumerate(point_loader):
                asked = wish_loader[at] if cured else next(iter(wish_loader))
                step = torch.randint(50, (len(x),))
                noise = torch.randn_like(x)
                noisy = kept[step, None].sqrt() * x + (1 - kept[step, None]).sqrt() * noise
                loss = F.mse_loss(model(noisy, step, asked), noise)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.loss(loss)
    model.eval()
    with torch.no_grad():
        asked = torch.arange(8).repeat(32)
        x = torch.randn(256, 2)
        for each in range(49, -1, -1):
            said = model(x, torch.full((256,), each), asked)
            x = (x - beta[each] / (1 - kept[each]).sqrt() * said) / (1 - beta[each]).sqrt()
            x = x + beta[each].sqrt() * torch.randn_like(x) * (each > 0)
        return below((x - place[asked]).norm(dim=1).mean(), 0.6)
