"""Healthy programs that make things: adversaries, a variational autoencoder, a plain one, a diffusion."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, below, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="vltkv/Generate-faces-with-GAN", source="github.com/vltkv/Generate-faces-with-GAN")
def faces_of_rings_by_two_adversaries(doctor: Doctor, seed: int) -> Score:
    """A convolutional maker and a convolutional judge of round faces: weights of spread 0.02, Adam with 0.5, in turns."""
    generator = torch.Generator().manual_seed(seed)
    axis = torch.linspace(-1, 1, 8)

    def real(count: int) -> Tensor:
        """Rings (N, 1, 8, 8) between -1 and 1 of many radii."""
        radius = 0.4 + 0.4 * torch.rand(count, 1, 1, generator=generator)
        far = (axis[:, None].pow(2) + axis.pow(2)).sqrt()
        return (2 * (-(far - radius).pow(2) / 0.04).exp() - 1)[:, None]

    maker = nn.Sequential(
        nn.ConvTranspose2d(16, 48, 4, bias=False),
        nn.BatchNorm2d(48),
        nn.ReLU(),
        nn.ConvTranspose2d(48, 1, 4, 2, 1, bias=False),
        nn.Tanh(),
    )
    judge = nn.Sequential(
        nn.Conv2d(1, 24, 4, 2, 1, bias=False),
        nn.LeakyReLU(0.2),
        nn.Conv2d(24, 1, 4, bias=False),
        nn.Flatten(),
    )
    model = nn.ModuleDict({"maker": maker, "judge": judge})
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1, 0.02)
    first = torch.optim.Adam(maker.parameters(), lr=1e-3, betas=(0.5, 0.999))
    second = torch.optim.Adam(judge.parameters(), lr=1e-3, betas=(0.5, 0.999))
    loss_fn = F.binary_cross_entropy_with_logits
    yes, no = torch.ones(48, 1), torch.zeros(48, 1)
    with doctor.watch(model, [second, first]) as watch:
        for _ in range(500):
            made = maker(torch.randn(48, 16, 1, 1, generator=generator))
            told = loss_fn(judge(real(48)), yes) + loss_fn(judge(made.detach()), no)
            second.zero_grad()
            told.backward()
            second.step()
            fooled = loss_fn(judge(made), yes)
            first.zero_grad()
            fooled.backward()
            first.step()
            watch.loss(told)
    with torch.no_grad():
        made, wanted = maker(torch.randn(400, 16, 1, 1, generator=generator)), real(400)
    return below((made.mean(0) - wanted.mean(0)).abs().mean(), 0.2)


@healthy(project="mechaGabe/NPR-DeepfakeDetection", source="github.com/mechaGabe/NPR-DeepfakeDetection")
def digits_by_the_evidence_bound(doctor: Doctor, seed: int) -> Score:
    """Digits through a code of eight normal numbers: summed error and divergence, averaged over the batch."""
    rows = data.digits(seed)
    x, held = rows.x.flatten(1), rows.held_x.flatten(1)

    class Vae(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 16))
            self.decode = nn.Sequential(nn.Linear(8, 128), nn.ReLU(), nn.Linear(128, 64))

        def forward(self, a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            mean, logvar = self.encode(a).chunk(2, 1)
            code = mean + (0.5 * logvar).exp() * torch.randn_like(mean)
            return self.decode(code), mean, logvar

    def bound(a: Tensor, said: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        made, mean, logvar = said
        divergence = -0.5 * (1 + logvar - mean.pow(2) - logvar.exp()).sum(1)
        return ((made - a).pow(2).sum(1) / (2 * 0.1) + divergence).mean()

    model = Vae()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, _) in enumerate(data.batches(x, rows.y, 64, 500, seed)):
            loss = bound(a, model(a))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 60 == 59:
                with torch.no_grad():
                    watch.dev_loss(bound(held, model(held)))
    with torch.no_grad():
        return below((model(held)[0] - held).pow(2).mean() / (held - held.mean(0)).pow(2).mean(), 0.65)


@healthy(
    project="udacity/deep-learning-v2-pytorch",
    source="github.com/udacity/deep-learning-v2-pytorch/tree/master/autoencoder",
)
def digits_through_a_code_of_sixteen(doctor: Doctor, seed: int) -> Score:
    """A linear autoencoder with one hidden layer and a sigmoid at the end, for pictures between 0 and 1."""
    rows = data.digits(seed)
    x, held = rows.x.flatten(1), rows.held_x.flatten(1)
    parts = data.Split(x, x, held, held)
    model = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 64), nn.Sigmoid())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    doctor.task(model, data.few(x, x, 20, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(x, x, 20, 1200, seed), parts, every=134)
    with torch.no_grad():
        return below(F.mse_loss(model(held), held) / (held - held.mean(0)).pow(2).mean(), 0.5)


@healthy(project="IIT-DM/diffusion_model", source="github.com/IIT-DM/diffusion_model")
def noise_is_told_from_a_ring(doctor: Doctor, seed: int) -> Score:
    """Points of a ring under ever more noise: a net tells the noise; then points are made from noise, step by step."""
    generator = torch.Generator().manual_seed(seed)
    steps = 50
    beta = torch.linspace(1e-3, 0.15, steps)
    kept = (1 - beta).cumprod(0)

    def real(count: int) -> Tensor:
        angle = 6.283 * torch.rand(count, 1, generator=generator)
        return torch.cat([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(count, 2, generator=generator)

    class Noise(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(8, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 2))

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return self.net(
                torch.cat([x, *(wave(t[:, None] / steps * k) for k in (1, 3, 9) for wave in (torch.sin, torch.cos))], 1)
            )

    model = Noise()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(1500):
            x, t = real(128), torch.randint(steps, (128,), generator=generator)
            noise = torch.randn(128, 2, generator=generator)
            seen = kept[t, None].sqrt() * x + (1 - kept[t, None]).sqrt() * noise
            loss = F.mse_loss(model(seen, t), noise)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    x = torch.randn(500, 2, generator=generator)
    with torch.no_grad():
        for k in reversed(range(steps)):
            said = model(x, torch.full((500,), k))
            x = (x - beta[k] / (1 - kept[k]).sqrt() * said) / (1 - beta[k]).sqrt()
            if k:
                x = x + beta[k].sqrt() * torch.randn(500, 2, generator=generator)
    return below((x.norm(dim=1) - 1).abs().mean(), 0.3)
