"""Healthy programs that make things: digits by adversaries, by a summed bound, cleaned of noise, drawn from noise."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, below, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="lyeoni/pytorch-mnist-GAN", source="github.com/lyeoni/pytorch-mnist-GAN")
def digits_by_two_plain_nets(doctor: Doctor, seed: int) -> Score:
    """A maker of growing layers and a judge of shrinking ones with dropout and a sigmoid, both leaky."""
    rows = data.digits(seed)
    x = rows.x.flatten(1) * 2 - 1
    generator = torch.Generator().manual_seed(seed)
    maker = nn.Sequential(
        nn.Linear(32, 64), nn.LeakyReLU(0.2), nn.Linear(64, 128), nn.LeakyReLU(0.2), nn.Linear(128, 64), nn.Tanh()
    )
    judge = nn.Sequential(
        nn.Linear(64, 128),
        nn.LeakyReLU(0.2),
        nn.Dropout(0.3),
        nn.Linear(128, 64),
        nn.LeakyReLU(0.2),
        nn.Dropout(0.3),
        nn.Linear(64, 1),
        nn.Sigmoid(),
    )
    model = nn.ModuleDict({"maker": maker, "judge": judge})
    first, second = (torch.optim.Adam(each.parameters(), lr=1e-3) for each in (maker, judge))
    with doctor.watch(model, [first, second]) as watch:
        for a, _ in data.batches(x, rows.y, 64, 700, seed):
            made = maker(torch.randn(64, 32, generator=generator))
            told = F.binary_cross_entropy(judge(a), torch.ones(64, 1))
            told = told + F.binary_cross_entropy(judge(made.detach()), torch.zeros(64, 1))
            second.zero_grad()
            told.backward()
            second.step()
            fooled = F.binary_cross_entropy(judge(made), torch.ones(64, 1))
            first.zero_grad()
            fooled.backward()
            first.step()
            watch.loss(told)
    with torch.no_grad():
        made = maker(torch.randn(500, 32, generator=generator))
    return below((made.mean(0) - x.mean(0)).abs().mean(), 0.42)


@healthy(project="lyeoni/pytorch-mnist-VAE", source="github.com/lyeoni/pytorch-mnist-VAE")
def digits_by_a_bound_summed_over_all(doctor: Doctor, seed: int) -> Score:
    """A code of four numbers; cross-entropy and divergence are summed over pixels and batch, so that the loss is in thousands."""
    rows = data.digits(seed)
    x, held = rows.x.flatten(1), rows.held_x.flatten(1)

    class Vae(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU())
            self.mean, self.spread = nn.Linear(64, 4), nn.Linear(64, 4)
            self.decode = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64))

        def forward(self, a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            h = self.encode(a)
            mean, logvar = self.mean(h), self.spread(h)
            return self.decode(mean + torch.randn_like(mean) * (0.5 * logvar).exp()).sigmoid(), mean, logvar

    def bound(said: tuple[Tensor, Tensor, Tensor], a: Tensor) -> Tensor:
        made, mean, logvar = said
        wrong = F.binary_cross_entropy(made, a, reduction="sum")
        return wrong - 0.5 * (1 + logvar - mean.pow(2) - logvar.exp()).sum()

    model = Vae()
    optimizer = torch.optim.Adam(model.parameters())
    with doctor.watch(model, optimizer) as watch:
        for step, (a, _) in enumerate(data.batches(x, rows.y, 100, 700, seed)):
            loss = bound(model(a), a)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 70 == 69:
                with torch.no_grad():
                    watch.dev_loss(bound(model(held[:100]), held[:100]))
    with torch.no_grad():
        return below((model(held)[0] - held).pow(2).mean() / (held - held.mean(0)).pow(2).mean(), 0.85)


@healthy(
    project="pranjaldatta/Denoising-Autoencoder-in-Pytorch",
    source="github.com/pranjaldatta/Denoising-Autoencoder-in-Pytorch",
)
def digits_cleaned_of_noise(doctor: Doctor, seed: int) -> Score:
    """Noisy digits in, clean ones out, through a narrow middle and a sigmoid, by plain descent with decay."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    clean, held = rows.x.flatten(1), rows.held_x.flatten(1)

    def noisy(a: Tensor) -> Tensor:
        return a + 0.25 * torch.randn(a.shape, generator=generator)

    model = nn.Sequential(
        nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 24), nn.ReLU(), nn.Linear(24, 96), nn.ReLU(), nn.Linear(96, 64), nn.Sigmoid()
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9, weight_decay=1e-5)
    parts = data.Split(clean, clean, noisy(held), held)
    doctor.task(model, [(noisy(a), b) for a, b in data.few(clean, clean, 32, seed)], F.mse_loss, optimizer)
    batches = ((noisy(a), b) for a, b in data.batches(clean, clean, 32, 900, seed))
    fit(doctor, model, optimizer, F.mse_loss, batches, parts, every=84)
    with torch.no_grad():
        return below(F.mse_loss(model(parts.held_x), held) / (held - held.mean(0)).pow(2).mean(), 0.6)


@healthy(project="dome272/Diffusion-Models-pytorch", source="github.com/dome272/Diffusion-Models-pytorch")
def points_of_a_cross_drawn_from_noise(doctor: Doctor, seed: int) -> Score:
    """Noise is told from points on two lines; what draws in the end is a slow average of the net."""
    generator = torch.Generator().manual_seed(seed)
    steps = 50
    beta = torch.linspace(1e-3, 0.15, steps)
    kept = (1 - beta).cumprod(0)

    def real(count: int) -> Tensor:
        along = 2 * torch.rand(count, 1, generator=generator) - 1
        side = torch.rand(count, 1, generator=generator) < 0.5
        points = torch.where(side, torch.cat([along, along], 1), torch.cat([along, -along], 1))
        return 1.5 * points + 0.03 * torch.randn(count, 2, generator=generator)

    class Noise(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into, self.time = nn.Linear(2, 96), nn.Linear(6, 96)
            self.net = nn.Sequential(nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, 2))

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            turn = t[:, None] / steps * torch.tensor([1.0, 3.0, 9.0])
            return self.net(self.into(x) + self.time(torch.cat([turn.sin(), turn.cos()], 1)))

    model = Noise()
    slow = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for step in range(1400):
            x, t = real(128), torch.randint(steps, (128,), generator=generator)
            noise = torch.randn(128, 2, generator=generator)
            loss = F.mse_loss(model(kept[t, None].sqrt() * x + (1 - kept[t, None]).sqrt() * noise, t), noise)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            with torch.no_grad():
                for far, near in zip(slow.parameters(), model.parameters(), strict=True):
                    far.lerp_(near, 1.0 if step < 200 else 0.01)
    x = torch.randn(500, 2, generator=generator)
    with torch.no_grad():
        for k in reversed(range(steps)):
            x = (x - beta[k] / (1 - kept[k]).sqrt() * slow(x, torch.full((500,), k))) / (1 - beta[k]).sqrt()
            if k:
                x = x + beta[k].sqrt() * torch.randn(500, 2, generator=generator)
    return below((x[:, 0].abs() - x[:, 1].abs()).abs().mean(), 0.3)
