"""Faults of optimisation and of statistics."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="learning-rate-too-high",
    also=("dead-units",),
    project="DeepLabCut/DeepLabCut",
    source="github.com/DeepLabCut/DeepLabCut/issues/2922",
)
def body_parts_that_stay_flat(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Heat maps of one body part: after a few steps at too high a rate the map is 0 everywhere, and the loss is a constant."""
    generator = torch.Generator().manual_seed(seed)
    at = torch.randint(2, 14, (600, 2), generator=generator)
    grid = torch.stack(torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij"), 2)
    heat = (-(grid - at[:, None, None]).pow(2).sum(3) / 3).exp()
    x = (heat > 0.5)[:, None].float() * 1.5 + 0.4 * torch.randn(600, 1, 16, 16, generator=generator)
    rows = data.split(x, heat, seed)
    model = nn.Sequential(
        nn.Conv2d(1, 24, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(24, 24, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(24, 24, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(24, 1, 1),
        nn.Flatten(1, 2),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3 if cured else 0.15)
    doctor.task(model, data.few(rows.x, rows.y, 8, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 8, 300, seed):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return below(F.mse_loss(model(rows.held_x), rows.held_y) / rows.held_y.var(), 0.3)


class Caption(nn.Module):
    """What a picture holds, from the words about it."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(300, 24)
        self.out = nn.Sequential(nn.Linear(24, 48), nn.GELU(), nn.Linear(48, 6))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.words(x).mean(1))


@fault(
    kind="eps-underflow",
    also=("non-finite",),
    project="afiaka87/glide-finetune",
    source="github.com/afiaka87/glide-finetune/issues/5",
)
def captions_in_half_precision(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Weights are float16, where Adam's 1e-8 is 0: words that no caption of the batch has get 0 / 0."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(300, (1200, 8), generator=generator)
    meaning = torch.randn(300, 6, generator=generator)
    rows = data.split(words, meaning[words].mean(1).half() * 2.5, seed)
    model = Caption().half()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3, eps=1e-4 if cured else 1e-8)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 32, 400, seed):
            loss = F.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return below(F.mse_loss(model(rows.held_x), rows.held_y).float() / rows.held_y.float().var(), 0.7)


class Bottle(nn.Module):
    """An inverted bottleneck."""

    def __init__(self, width: int, momentum: float) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(width, 3 * width, 1, bias=False),
            nn.BatchNorm2d(3 * width, momentum=momentum, eps=1e-3),
            nn.Hardswish(),
            nn.Conv2d(3 * width, 3 * width, 3, padding=1, groups=3 * width, bias=False),
            nn.BatchNorm2d(3 * width, momentum=momentum, eps=1e-3),
            nn.Hardswish(),
            nn.Conv2d(3 * width, width, 1, bias=False),
            nn.BatchNorm2d(width, momentum=momentum, eps=1e-3),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)


@fault(
    kind="norm-statistics",
    project="kazuto1011/deeplab-pytorch",
    source="github.com/kazuto1011/deeplab-pytorch/issues/79",
    certain="running statistics are those of the last small batch alone",
)
def momentum_of_the_other_framework(doctor: Doctor, seed: int, cured: bool) -> Score:
    """momentum=0.999 means the opposite here: the statistics used in eval mode are those of the last four pictures."""
    x, y, _ = data.shapes(800, seed, noise=0.3)
    rows = data.split(x, y, seed)
    momentum = 0.05 if cured else 0.999
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, 2, 1, bias=False),
        nn.BatchNorm2d(12, momentum=momentum),
        nn.ReLU(),
        Bottle(12, momentum),
        Bottle(12, momentum),
        nn.AdaptiveMaxPool2d(2),
        nn.Flatten(),
        nn.Linear(48, 32, bias=False),
        nn.BatchNorm1d(32, momentum=momentum),
        nn.ReLU(),
        nn.Linear(32, 4),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    shown = []
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 4, 450, seed)):
            loss = F.cross_entropy(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 45 == 44:
                model.eval()
                with torch.no_grad():
                    shown.append(F.cross_entropy(model(rows.held_x), rows.held_y))
                watch.dev_loss(shown[-1])
                model.train()
    return below(torch.stack(shown[-6:]).max(), 1.0)


@fault(
    kind="missing-zero-grad",
    project="Hsintien-Ng/idinvert_pytorch-reproduced",
    source="github.com/Hsintien-Ng/idinvert_pytorch-reproduced/issues/1",
)
def critic_never_cleared(doctor: Doctor, seed: int, cured: bool) -> Score:
    """optimizer_D.zero_grad() is missing: the critic steps along all gradients so far, those meant for the encoder too."""
    generator = torch.Generator().manual_seed(seed)
    encoder = nn.Sequential(nn.Linear(4, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 2))
    critic = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
    model = nn.ModuleDict({"encoder": encoder, "discriminator": critic})
    optimizer_e = torch.optim.Adam(encoder.parameters(), lr=1e-3, betas=(0.5, 0.99))
    optimizer_d = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.99))
    with doctor.watch(model, [optimizer_e, optimizer_d]) as watch:
        for _ in range(700):
            real = torch.randn(64, 2, generator=generator) * 0.15 + torch.tensor([1.5, -1.0])
            fake = encoder(torch.randn(64, 4, generator=generator))
            if cured:
                optimizer_d.zero_grad()
            d_loss = F.softplus(-critic(real)).mean() + F.softplus(critic(fake.detach())).mean()
            d_loss.backward()
            optimizer_d.step()
            optimizer_e.zero_grad()
            e_loss = F.softplus(-critic(fake)).mean()
            e_loss.backward()
            optimizer_e.step()
            watch.loss(d_loss + e_loss)
    made = encoder(torch.randn(800, 4, generator=generator))
    return below((made.mean(0) - torch.tensor([1.5, -1.0])).norm() + (made.std(0) - 0.15).abs().mean(), 0.35)
