"""Faults of optimisation: gradients clipped while scaled, a rate of one, gradients of a judge that are never cleared."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="clip-before-unscale",
    also=("learning-rate-too-low", "slow-learning", "never-moved"),
    project="NCAR/miles-credit",
    source="github.com/NCAR/miles-credit/pull/141",
)
def clipped_while_scaled(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The weather of the next hour on a round earth; gradients are clipped to 1 while they are still 65536 times too large."""
    generator = torch.Generator().manual_seed(seed)
    waves = torch.randn(700, 2, 8, 16, generator=generator)
    for _ in range(2):
        waves = F.avg_pool2d(F.pad(waves, (1, 1, 1, 1), mode="circular"), 3, 1) * 2.2
    wind = torch.randint(1, 3, (700,), generator=generator)
    moved = torch.stack([each.roll(int(w), 2) for each, w in zip(waves, wind, strict=True)])
    x = torch.cat([waves, wind[:, None, None, None].expand(-1, 1, 8, 16) - 1.5], 1)
    rows = data.split(x, (0.9 * moved + 0.1 * moved.flip(1)) * 0.8, seed)
    conv = [
        nn.Conv2d(3, 24, 5, padding=2, padding_mode="circular"),
        nn.GELU(),
        nn.Conv2d(24, 24, 3, padding=1, padding_mode="circular"),
    ]
    model = nn.Sequential(*conv, nn.GELU(), nn.Conv2d(24, 2, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=65536.0)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 16, 250, seed)):
            optimizer.zero_grad()
            loss = F.mse_loss(model(a), b)
            scaler.scale(loss).backward()
            if cured:
                scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            watch.loss(loss)
            if step % 50 == 49:
                with torch.no_grad():
                    watch.dev_loss(F.mse_loss(model(rows.held_x), rows.held_y))
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.7)


@fault(
    kind="learning-rate-too-high",
    also=("dead-units", "activation-scale", "gradient-scale", "non-finite"),
    project="PENGLU-WashU/IMC_Denoise",
    source="github.com/PENGLU-WashU/IMC_Denoise/issues/11",
)
def a_first_rate_of_one(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Counts of ions with hot pixels are made smooth by their neighbours; the first rate of Adam is set to 1."""
    generator = torch.Generator().manual_seed(seed)
    field = torch.randn(500, 1, 14, 14, generator=generator)
    for _ in range(2):
        field = F.avg_pool2d(F.pad(field, (1, 1, 1, 1), mode="replicate"), 3, 1) * 2
    clean = F.softplus(2 * field)
    counts = torch.poisson(3 * clean, generator=generator) / 3
    hot = torch.rand(counts.shape, generator=generator) < 0.05
    rows = data.split(torch.log1p(torch.where(hot, counts + 6, counts)), torch.log1p(clean), seed)
    conv = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1)]
    model = nn.Sequential(*conv)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3 if cured else 1.0)
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 16, 250, seed), rows, every=50)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.5)


@fault(
    kind="missing-zero-grad",
    also=("learning-rate-too-high",),
    project="Adversarial-Deep-Learning/code-soup",
    source="github.com/Adversarial-Deep-Learning/code-soup/issues/69",
)
def a_judge_that_forgets_nothing(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A generator of points on a bent line, and a judge whose gradients are never cleared, those of fooling it among them."""
    generator = torch.Generator().manual_seed(seed)

    def real(count: int) -> Tensor:
        along = torch.randn(count, 1, generator=generator)
        return torch.cat([along, 0.5 * along**2 - 0.5], 1) + 0.1 * torch.randn(count, 2, generator=generator)

    make = nn.Sequential(nn.Linear(4, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))
    judge = nn.Sequential(nn.Linear(2, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1))
    model = nn.ModuleDict({"generator": make, "discriminator": judge})
    first = torch.optim.Adam(make.parameters(), lr=1e-3, betas=(0.5, 0.999))
    second = torch.optim.Adam(judge.parameters(), lr=2e-3, betas=(0.5, 0.999))
    yes, no = torch.ones(64, 1), torch.zeros(64, 1)
    bce = F.binary_cross_entropy_with_logits
    with doctor.watch(model, [first, second]) as watch:
        for _ in range(900):
            fake = make(torch.randn(64, 4, generator=generator))
            if cured:
                second.zero_grad()
            told = bce(judge(real(64)), yes) + bce(judge(fake.detach()), no)
            told.backward()
            second.step()
            first.zero_grad()
            fooled = bce(judge(fake), yes)
            fooled.backward()
            first.step()
            watch.loss(fooled)
    with torch.no_grad():
        made, true = make(torch.randn(600, 4, generator=generator)), real(600)
        energy = 2 * torch.cdist(made, true).mean() - torch.cdist(made, made).mean() - torch.cdist(true, true).mean()
        return below(energy, 0.1)
