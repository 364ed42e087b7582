"""Healthy programs on pictures: a queue, a mixer, noise, side outputs."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="facebookresearch/moco", source="github.com/facebookresearch/moco")
def views_against_a_queue(doctor: Doctor, seed: int) -> Score:
    """A slowly following copy makes the keys, 256 of which wait in a queue; its weights are moved by no optimiser."""
    rows = data.digits(seed)
    conv = [nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)]
    conv += [nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()]
    model = nn.Sequential(*conv, nn.Flatten(), nn.Linear(512, 32), nn.BatchNorm1d(32, affine=False))
    keys = copy.deepcopy(model).requires_grad_(requires_grad=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.06, momentum=0.9, weight_decay=1e-4)
    generator = torch.Generator().manual_seed(seed)
    queue = F.normalize(torch.randn(256, 32, generator=generator), dim=1)

    def view(x: Tensor) -> Tensor:
        moved = torch.stack([x.roll(each, (2, 3)) for each in ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))])
        x = moved[torch.randint(5, (len(x),), generator=generator), torch.arange(len(x))]
        return x * (0.7 + 0.6 * torch.rand(len(x), 1, 1, 1, generator=generator)) + 0.1 * torch.randn(
            x.shape, generator=generator
        )

    with doctor.watch(model, optimizer) as watch:
        for x, _ in data.batches(rows.x, rows.y, 64, 300, seed):
            q = F.normalize(model(view(x)), dim=1)
            with torch.no_grad():
                for slow, fast in zip(keys.parameters(), model.parameters(), strict=True):
                    slow.lerp_(fast, 0.02)
                k = F.normalize(keys(view(x)), dim=1)
            logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.T], 1) / 0.2
            loss = F.cross_entropy(logits, torch.zeros(len(x), dtype=torch.long))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            queue = torch.cat([k, queue])[:256]
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        known, asked = (F.normalize(model(view(x)), dim=1) for x in (rows.x, rows.held_x))
    return above((rows.y[(asked @ known.T).argmax(1)] == rows.held_y).float().mean(), 0.87)


class Mixer(nn.Module):
    """Sixteen patches of a digit; a net over the patches and a net over the features, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 32, 2, stride=2)
        self.norms = nn.ModuleList(nn.LayerNorm(32) for _ in range(5))
        self.across = nn.ModuleList(nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16)) for _ in range(2))
        self.within = nn.ModuleList(nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32)) for _ in range(2))
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x).flatten(2).transpose(1, 2)
        for i in range(2):
            h = h + self.across[i](self.norms[2 * i](h).transpose(1, 2)).transpose(1, 2)
            h = h + self.within[i](self.norms[2 * i + 1](h))
        return self.head(self.norms[4](h).mean(1))


@healthy(project="lucidrains/mlp-mixer-pytorch", source="github.com/lucidrains/mlp-mixer-pytorch")
def patches_mixed_with_decay(doctor: Doctor, seed: int) -> Score:
    """Label smoothing 0.1, a weight decay of 0.1, a warm-up of a tenth and then a cosine."""
    rows = data.digits(seed)
    model = Mixer()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.1)
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=30)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 270)
    schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, [warm, fall], milestones=[30])
    loss_fn = nn.CrossEntropyLoss(label_smoothing=0.1)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 48, 300, seed)):
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
            if step % 50 == 49:
                with torch.no_grad():
                    watch.dev_loss(loss_fn(model(rows.held_x), rows.held_y))
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.92)


@healthy(project="joeylitalien/noise2noise-pytorch", source="github.com/joeylitalien/noise2noise-pytorch")
def noise_learnt_from_noise(doctor: Doctor, seed: int) -> Score:
    """The target is another noisy picture of the same: the loss cannot fall below the noise, the pictures get clean."""
    clean, _, _ = data.shapes(900, seed, noise=0.0)
    generator = torch.Generator().manual_seed(seed)
    x, y = (clean + 0.5 * torch.randn(clean.shape, generator=generator) for _ in range(2))
    rows, truth = data.split(x, y, seed), data.split(x, clean, seed)
    conv = [nn.Conv2d(1, 16, 3, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(16, 16, 3, padding=1), nn.LeakyReLU(0.1)]
    conv += [nn.Conv2d(16, 16, 3, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(16, 1, 3, padding=1)]
    model = nn.Sequential(*conv)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, betas=(0.9, 0.99))
    doctor.task(model, data.few(rows.x, rows.y, 24, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 24, 250, seed), rows, every=50)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), truth.held_y), 0.7)


class Nested(nn.Module):
    """Outlines at full, half and quarter size; each of the three answers is told what is right."""

    def __init__(self) -> None:
        super().__init__()
        wide = ((1, 12), (12, 16), (16, 24))
        self.down = nn.ModuleList(nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU()) for a, b in wide)
        self.up = nn.ModuleList([nn.Conv2d(40, 16, 3, padding=1), nn.Conv2d(28, 12, 3, padding=1)])
        self.side = nn.ModuleList([nn.Conv2d(24, 1, 1), nn.Conv2d(16, 1, 1), nn.Conv2d(12, 1, 1)])

    def forward(self, x: Tensor) -> list[Tensor]:
        first = self.down[0](x)
        second = self.down[1](F.max_pool2d(first, 2))
        h = self.down[2](F.max_pool2d(second, 2))
        said = [self.side[0](h)]
        for layer, side, beside in zip(self.up, self.side[1:], (second, first), strict=True):
            h = F.relu(layer(torch.cat([F.interpolate(h, scale_factor=2.0), beside], 1)))
            said.append(side(h))
        return [F.interpolate(each, size=x.shape[2:]) for each in said]


@healthy(project="4uiiurz1/pytorch-nested-unet", source="github.com/4uiiurz1/pytorch-nested-unet")
def outlines_at_three_sizes(doctor: Doctor, seed: int) -> Score:
    """Cross-entropy and overlap at three depths are added: the coarse one never gets low."""
    x, _, mask = data.shapes(700, seed)
    rows = data.split(x, mask[:, None].float(), seed)
    model = Nested()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 200, 1e-5)

    def loss_fn(output: list[Tensor], target: Tensor) -> Tensor:
        total = torch.zeros(())
        for each in output:
            p = each.sigmoid()
            dice = (2 * (p * target).sum((1, 2, 3)) + 1e-5) / ((p + target).sum((1, 2, 3)) + 1e-5)
            total = total + 0.5 * F.binary_cross_entropy_with_logits(each, target) + 1 - dice.mean()
        return total / len(output)

    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 16, 200, seed)):
            model.train()
            optimizer.zero_grad()
            loss = loss_fn(model(a), b)
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
            if step % 40 == 39:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(loss_fn(model(rows.held_x), rows.held_y))
    model.eval()
    with torch.no_grad():
        said, truth = model(rows.held_x)[-1] > 0, rows.held_y > 0.5
    return above((said & truth).sum() / (said | truth).sum(), 0.8)
