"""Faults of nets that make pictures and lines: what is told costs too much, a dying rate, a logarithm of nought, raw lines."""

from __future__ import annotations

import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class VAE(nn.Module):
    """Pictures to eight numbers with noise, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        self.fc_mu, self.fc_var = nn.Linear(64, 8), nn.Linear(64, 8)
        self.decoder = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.encoder(x)
        mean, spread = self.fc_mu(h), self.fc_var(h)
        z = mean + (0.5 * spread).exp() * torch.randn_like(mean) if self.training else mean
        return self.decoder(z), mean, spread


@fault(
    kind="collapsed-kl",
    project="Lightning-Universe/lightning-bolts",
    source="github.com/Lightning-Universe/lightning-bolts/issues/328",
)
def a_weight_that_is_kept_and_not_used(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits from eight numbers: what these may say was to cost a thousandth, and the price that was set is never applied."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    x, held = rows.x.flatten(1), rows.held_x.flatten(1)
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    kl_coeff = 0.001
    with doctor.watch(model, optimizer) as watch:
        for batch, _ in data.batches(x, rows.y, 64, 600, seed):
            said, mean, spread = model(batch)
            kl = -0.5 * (1 + spread - mean.pow(2) - spread.exp()).sum(1).mean()
            loss = F.mse_loss(said, batch) + (kl_coeff * kl if cured else kl)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        return above(data.r2(model(held)[0], held), 0.4)


@fault(
    kind="schedule-to-zero",
    also=("learning-rate-too-low", "underfitting"),
    project="Lornatang/SRGAN-PyTorch",
    source="github.com/Lornatang/SRGAN-PyTorch/issues/1",
)
def a_rate_cut_at_each_step(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits of 4x4 made 8x8 before a judge: the rates fall tenfold every four epochs, and each step counts as one."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    small, held = F.avg_pool2d(rows.x, 2), F.avg_pool2d(rows.held_x, 2)
    generator = nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1), nn.PReLU(), nn.Conv2d(24, 48, 3, padding=1), nn.PixelShuffle(2), nn.PReLU(),
        nn.Conv2d(12, 1, 3, padding=1),
    )  # fmt: skip
    discriminator = nn.Sequential(
        nn.Conv2d(1, 12, 3, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(12, 24, 3, 2, 1), nn.LeakyReLU(0.2), nn.Flatten(),
        nn.Linear(96, 1),
    )  # fmt: skip
    g_optimizer = torch.optim.Adam(generator.parameters(), lr=1e-3)
    d_optimizer = torch.optim.Adam(discriminator.parameters(), lr=1e-3)
    epochs = 8
    schedulers = [
        torch.optim.lr_scheduler.StepLR(optimizer, step_size=epochs // 2, gamma=0.1) for optimizer in (g_optimizer, d_optimizer)
    ]
    both = nn.ModuleDict({"generator": generator, "discriminator": discriminator})
    with doctor.watch(both, [g_optimizer, d_optimizer]) as watch:
        for epoch in range(epochs):
            for low, high in data.batches(small, rows.x, 32, 40, seed + epoch):
                fake = generator(low)
                real_score, fake_score = discriminator(high), discriminator(fake.detach())
                d_loss = F.softplus(-real_score).mean() + F.softplus(fake_score).mean()
                d_optimizer.zero_grad()
                d_loss.backward()
                d_optimizer.step()
                g_loss = F.mse_loss(fake, high) + 1e-3 * F.softplus(-discriminator(fake)).mean()
                g_optimizer.zero_grad()
                g_loss.backward()
                g_optimizer.step()
                watch.loss(g_loss)
                if not cured:
                    for scheduler in schedulers:
                        scheduler.step()
            if cured:
                for scheduler in schedulers:
                    scheduler.step()
    with torch.no_grad():
        return above(data.r2(generator(held), rows.held_x), 0.35)


@fault(
    kind="non-finite",
    project="hwalsuklee/tensorflow-mnist-VAE",
    source="github.com/hwalsuklee/tensorflow-mnist-VAE/issues/4",
)
def paper_that_is_white_for_sure(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Ink on white paper: shares are kept a hundred-millionth away from 1, which single precision does not know."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    x, held = 1 - rows.x.flatten(1).round(), 1 - rows.held_x.flatten(1).round()

    class Paper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(64, 100), nn.ELU(), nn.Dropout(0.1), nn.Linear(100, 100), nn.Tanh())
            self.mean, self.spread = nn.Linear(100, 10), nn.Linear(100, 10)
            self.decoder = nn.Sequential(
                nn.Linear(10, 100), nn.Tanh(), nn.Dropout(0.1), nn.Linear(100, 100), nn.ELU(), nn.Linear(100, 64)
            )

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            h = self.encoder(x)
            mean, spread = self.mean(h), 1e-6 + F.softplus(self.spread(h))
            z = mean + spread * torch.randn_like(mean) if self.training else mean
            return self.decoder(z), mean, spread

    model = Paper()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with doctor.watch(model, optimizer) as watch:
        for batch, _ in data.batches(x, rows.y, 64, 800, seed):
            said, mean, spread = model(batch)
            if cured:
                likely = -F.binary_cross_entropy_with_logits(said, batch, reduction="none").sum(1)
            else:
                y = said.sigmoid().clamp(1e-8, 1 - 1e-8)
                likely = (batch * y.log() + (1 - batch) * (1 - y).log()).sum(1)
            kl = 0.5 * (mean.pow(2) + spread.pow(2) - (1e-8 + spread.pow(2)).log() - 1).sum(1)
            loss = -(likely - kl).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        score = data.r2(model(held)[0].sigmoid(), held)
    return above(score if math.isfinite(score) else -1.0, 0.4)


@fault(
    kind="input-scale",
    also=("target-scale", "activation-scale", "gradient-scale"),
    project="IDEALLab/EngiOpt",
    source="github.com/IDEALLab/EngiOpt/pull/67",
)
def designs_in_their_own_units(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Profiles of 16 heights drawn out of noise: the noise is of size 1, and the heights go in as they are, some 40 of 300."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    place = torch.linspace(0, 3.14, 16)
    many, few = torch.randn(2, 1500, 1, generator=generator)
    designs = 300 + 60 * (2 * place).sin() + 40 * many * place.sin() + 25 * few * place.cos()
    middle, size = (designs.mean(), designs.std()) if cured else (torch.tensor(0.0), torch.tensor(1.0))
    ready = (designs - middle) / size
    steps = 60
    kept = (1 - torch.linspace(1e-3, 0.15, steps)).cumprod(0)

    class Denoiser(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.time = nn.Embedding(steps, 32)
            self.inner, self.deep, self.out = nn.Linear(16, 96), nn.Linear(96, 96), nn.Linear(96, 16)
            self.at = nn.Linear(32, 96)

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            h = F.silu(self.inner(x) + self.at(self.time(t)))
            return self.out(F.silu(self.deep(h)))

    model = Denoiser()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for batch, _ in data.batches(ready, ready, 128, 900, seed):
            t = torch.randint(steps, (128,))
            noise, share = torch.randn_like(batch), kept[t][:, None]
            said = model(share.sqrt() * batch + (1 - share).sqrt() * noise, t)
            loss = F.mse_loss(said, noise)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        x = torch.randn(500, 16)
        for step in range(steps - 1, -1, -1):
            share, before = kept[step], kept[step - 1] if step else torch.tensor(1.0)
            noise = model(x, torch.full((500,), step))
            clean = (x - (1 - share).sqrt() * noise) / share.sqrt()
            x = before.sqrt() * clean + (1 - before).sqrt() * noise
        x = x * size + middle
    wrong = ((x.mean(0) - designs.mean(0)).abs().mean() / designs.std(0).mean()).item()
    spread = (x.std(0) / designs.std(0)).log().abs().mean().item()
    return below(wrong + spread if math.isfinite(wrong + spread) else 1e9, 0.8)
