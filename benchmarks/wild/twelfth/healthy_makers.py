"""Healthy programs that make things: parts named by a judge, a prior by kernels, one-step draws, choices, pictures that grow."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


def energy(made: Tensor, true: Tensor) -> Tensor:
    """How far two clouds of points are apart; near 0 if they are drawn alike."""
    return 2 * torch.cdist(made, true).mean() - torch.cdist(made, made).mean() - torch.cdist(true, true).mean()


@healthy(project="openai/InfoGAN", source="github.com/openai/InfoGAN")
def codes_found_by_the_judge(doctor: Doctor, seed: int) -> Score:
    """A GAN of five heaps of points with a code of five: the judge's body also guesses the code, which the generator helps."""
    generator = torch.Generator().manual_seed(seed)
    angle = torch.arange(5) * 6.283 / 5
    heaps = 2 * torch.stack([angle.cos(), angle.sin()], 1)
    make = nn.Sequential(nn.Linear(9, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    body = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.1), nn.Linear(64, 64), nn.LeakyReLU(0.1))
    judge, guess = nn.Linear(64, 1), nn.Linear(64, 5)
    model = nn.ModuleDict({"make": make, "body": body, "judge": judge, "guess": guess})
    first = torch.optim.Adam([*make.parameters(), *guess.parameters()], lr=1e-3, betas=(0.5, 0.99))
    second = torch.optim.Adam([*body.parameters(), *judge.parameters()], lr=1e-3, betas=(0.5, 0.99))
    bce = F.binary_cross_entropy_with_logits
    with doctor.watch(model, [first, second]) as watch:
        for _ in range(1000):
            code = torch.randint(5, (64,), generator=generator)
            real = heaps[torch.randint(5, (64,), generator=generator)] + 0.2 * torch.randn(64, 2, generator=generator)
            fake = make(torch.cat([F.one_hot(code, 5).float(), torch.randn(64, 4, generator=generator)], 1))
            told = bce(judge(body(real)), torch.full((64, 1), 0.9)) + bce(judge(body(fake.detach())), torch.zeros(64, 1))
            second.zero_grad()
            told.backward()
            second.step()
            h = body(fake)
            loss = bce(judge(h), torch.ones(64, 1)) + F.cross_entropy(guess(h), code)
            first.zero_grad()
            loss.backward()
            first.step()
            watch.loss(loss)
    with torch.no_grad():
        code = torch.arange(500) % 5
        made = make(torch.cat([F.one_hot(code, 5).float(), torch.randn(500, 4, generator=generator)], 1))
        heap = torch.cdist(made, heaps).argmin(1)
        shares = torch.stack([torch.bincount(heap[code == k], minlength=5).float() / 100 for k in range(5)])
        return above(shares.amax(0).mean(), 0.7)


@healthy(project="schelotto/Wasserstein-AutoEncoders", source="github.com/schelotto/Wasserstein-AutoEncoders")
def hidden_places_like_a_bell(doctor: Doctor, seed: int) -> Score:
    """Digits by an encoder without noise; a kernel between the codes of a batch and fresh normal draws keeps them like a bell."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    code = nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.BatchNorm1d(96), nn.ReLU(), nn.Linear(96, 6))
    back = nn.Sequential(nn.Linear(6, 96), nn.BatchNorm1d(96), nn.ReLU(), nn.Linear(96, 64), nn.Sigmoid())
    model = nn.Sequential(code, back)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        far = torch.cdist(a, b).pow(2)
        return torch.stack([12 * s / (12 * s + far) for s in (0.1, 0.5, 1.0, 2.0, 10.0)]).sum(0)

    with doctor.watch(model, optimizer) as watch:
        for x, _ in data.batches(rows.x, rows.y, 100, 400, seed):
            model.train()
            z = code(x)
            bell = torch.randn(100, 6, generator=generator)
            off = 1 - torch.eye(100)
            apart = ((kernel(z, z) + kernel(bell, bell)) * off).sum() / 9900 - 2 * kernel(z, bell).mean()
            loss = F.mse_loss(back(z), x.flatten(1), reduction="sum") / 100 + 10 * apart
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        z = code(rows.held_x)
        good = data.r2(back(z), rows.held_x.flatten(1))
        return above(good - 10 * max(0.0, energy(z, torch.randn(450, 6, generator=generator)).item() - 0.1), 0.5)


@healthy(project="openai/consistency_models", source="github.com/openai/consistency_models")
def all_of_a_path_to_its_beginning(doctor: Doctor, seed: int) -> Score:
    """Points of one noisy path are to have one answer, that of a slow copy nearer to its beginning; the loss begins small."""
    generator = torch.Generator().manual_seed(seed)

    def real(count: int) -> Tensor:
        turn = 6.283 * torch.rand(count, 1, generator=generator)
        out: Tensor = torch.cat([turn.cos(), turn.sin()], 1) + 0.05 * torch.randn(count, 2, generator=generator)
        return out

    class Path(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(10, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, 2))

        def forward(self, x: Tensor, size: Tensor) -> Tensor:
            later = size - 0.02
            level = size.log() / 2 * torch.tensor([1.0, 2.0, 3.0, 4.0])
            said = self.body(torch.cat([x / (size**2 + 0.5).sqrt(), level.sin(), level.cos()], 1))
            out: Tensor = 0.5 / (later**2 + 0.5) * x + later * 0.7 / (size**2 + 0.5).sqrt() * said
            return out

    model = Path()
    slow = copy.deepcopy(model).requires_grad_(requires_grad=False)
    optimizer = torch.optim.RAdam(model.parameters(), lr=2e-3)
    sizes = torch.linspace(0.02 ** (1 / 3), 4.0 ** (1 / 3), 18) ** 3
    with doctor.watch(model, optimizer) as watch:
        for _ in range(1200):
            clean, noise = real(128), torch.randn(128, 2, generator=generator)
            at = torch.randint(17, (128,), generator=generator)
            near, far = sizes[at][:, None], sizes[at + 1][:, None]
            with torch.no_grad():
                wanted = slow(clean + near * noise, near)
            loss = ((model(clean + far * noise, far) - wanted).pow(2).sum(1) + 1e-4).sqrt().mean() - 0.01
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            with torch.no_grad():
                for mine, its in zip(slow.parameters(), model.parameters(), strict=True):
                    mine.lerp_(its, 0.05)
    with torch.no_grad():
        drawn = model(4 * torch.randn(600, 2, generator=generator), torch.full((600, 1), 4.0))
        return below(energy(drawn, real(600)), 0.1)


@healthy(project="YongfeiYan/Gumbel_Softmax_VAE", source="github.com/YongfeiYan/Gumbel_Softmax_VAE")
def choices_that_harden(doctor: Doctor, seed: int) -> Score:
    """Digits through twelve choices of one in eight; the heat of the choices falls, and they harden."""
    rows = data.digits(seed)
    x = (rows.x > 0.5).float().flatten(1)
    generator = torch.Generator().manual_seed(seed)
    code = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 96))
    back = nn.Sequential(nn.Linear(96, 128), nn.ReLU(), nn.Linear(128, 64))
    model = nn.Sequential(code, back)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, _) in enumerate(data.batches(x, rows.y, 64, 700, seed)):
            heat = max(0.4, 1.0 * 0.998**step)
            scores = code(a).view(64, 12, 8)
            drawn = -torch.empty(64, 12, 8).exponential_(generator=generator).log()
            soft = ((scores + drawn) / heat).softmax(2)
            share = scores.softmax(2)
            spread = (share * (share * 8 + 1e-9).log()).sum((1, 2)).mean()
            loss = F.binary_cross_entropy_with_logits(back(soft.flatten(1)), a, reduction="sum") / 64 + 0.3 * spread
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    held = (rows.held_x > 0.5).float().flatten(1)
    with torch.no_grad():
        hard = F.one_hot(code(held).view(-1, 12, 8).argmax(2), 8).float().flatten(1)
        return above(((back(hard) > 0) == (held > 0.5)).float().mean(), 0.85)


@healthy(project="akanimax/pro_gan_pytorch", source="github.com/akanimax/pro_gan_pytorch")
def pictures_that_grow(doctor: Doctor, seed: int) -> Score:
    """Digits are first made whole at 4 by 4; layers for 8 by 8 are faded in at half time, and the loss goes up when they come."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)

    class Grown(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.code = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 12))
            self.small = nn.Sequential(nn.Linear(12, 256), nn.ReLU(), nn.Unflatten(1, (16, 4, 4)))
            self.large = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())
            self.rough, self.fine = nn.Conv2d(16, 1, 1), nn.Conv2d(16, 1, 3, padding=1)
            self.fade = 0.0

        def forward(self, x: Tensor) -> Tensor:
            h = self.small(self.code(x))
            low = self.rough(h)
            if self.fade == 0:
                return low
            return (1 - self.fade) * F.interpolate(low, scale_factor=2) + self.fade * self.fine(self.large(h))

    model = Grown()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, _) in enumerate(data.batches(rows.x, rows.y, 48, 600, seed)):
            model.fade = min(1.0, max(0.0, (step - 250) / 150))
            wanted = x if model.fade else F.avg_pool2d(x, 2)
            loss = F.mse_loss(model(x + 0.1 * torch.randn(x.shape, generator=generator)), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x).flatten(1), rows.held_x.flatten(1)), 0.7)
