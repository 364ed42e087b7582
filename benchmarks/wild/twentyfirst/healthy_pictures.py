"""Healthy programs on pictures and sounds: channels weighed, places painted, boxes without anchors, noise, commands."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="moskomule/senet.pytorch", source="github.com/moskomule/senet.pytorch")
def digits_with_channels_weighed(doctor: Doctor, seed: int) -> Score:
    """Digits by residual blocks that weigh their channels by a glance at all of them; the rate falls in two steps."""
    rows = data.digits(seed)

    class Se(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.a, self.b = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
            self.norm_a, self.norm_b = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
            self.weigh = nn.Sequential(nn.Linear(width, width // 4), nn.ReLU(), nn.Linear(width // 4, width), nn.Sigmoid())

        def forward(self, x: Tensor) -> Tensor:
            h = self.norm_b(self.b(self.norm_a(self.a(x)).relu()))
            return (x + h * self.weigh(h.mean((2, 3)))[:, :, None, None]).relu()

    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), Se(16), nn.MaxPool2d(2), Se(16),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5], 0.2)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for epoch in range(6):
            model.train()
            for x, y in data.batches(rows.x, rows.y, 32, 42, seed + epoch):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            scheduler.step()
            model.eval()
            with torch.no_grad():
                watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@healthy(project="jfzhang95/pytorch-deeplab-xception", source="github.com/jfzhang95/pytorch-deeplab-xception")
def shapes_painted_at_several_reaches(doctor: Doctor, seed: int) -> Score:
    """Which shape each place belongs to, or none: looks of several reaches side by side, and a rate that falls as a power."""
    x, kinds, masks = data.shapes(500, seed)
    rows = data.split(x, masks * (kinds[:, None, None] + 1), seed)

    class Deeplab(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
            self.reaches = nn.ModuleList(
                nn.Sequential(nn.Conv2d(16, 12, 3, padding=d, dilation=d, bias=False), nn.BatchNorm2d(12), nn.ReLU())
                for d in (1, 3, 6)
            )
            self.join = nn.Sequential(nn.Conv2d(36, 24, 3, padding=2, dilation=2, bias=False), nn.BatchNorm2d(24), nn.ReLU())
            self.out = nn.Sequential(nn.Dropout(0.1), nn.Conv2d(24, 5, 1))

        def forward(self, x: Tensor) -> Tensor:
            h = self.body(x)
            return self.out(self.join(torch.cat([reach(h) for reach in self.reaches], 1)))

    model = Deeplab()
    steps = 250
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    weight = torch.tensor([0.4, 1.0, 1.0, 1.0, 1.0])
    with doctor.watch(model, optimizer) as watch:
        for step, (image, target) in enumerate(data.batches(rows.x, rows.y, 12, steps, seed)):
            model.train()
            for group in optimizer.param_groups:
                group["lr"] = 0.1 * (1 - step / steps) ** 0.9
            optimizer.zero_grad()
            loss = F.cross_entropy(model(image), target, weight=weight)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y, weight=weight))
    model.eval()
    with torch.no_grad():
        said = model(rows.held_x).argmax(1)
    there = rows.held_y > 0
    return above(((said == rows.held_y) & there).sum() / (there | (said > 0)).sum(), 0.4)


@healthy(project="tianzhi0549/FCOS", source="github.com/tianzhi0549/FCOS")
def boxes_told_from_each_place(doctor: Doctor, seed: int) -> Score:
    """A bright box in noise: each place of a coarse grid says whether it lies in one and how far its four sides are."""
    generator = torch.Generator().manual_seed(seed)

    def scenes(count: int) -> tuple[Tensor, Tensor]:
        """Pictures (N, 1, 24, 24) and boxes, left, top, right and bottom (N, 4)."""
        corner = 2 + 10 * torch.rand(count, 2, generator=generator)
        box = torch.cat([corner, corner + 5 + 5 * torch.rand(count, 2, generator=generator)], 1)
        at = torch.arange(24) + 0.5
        wide = (at > box[:, :1]) & (at < box[:, 2:3])
        high = (at > box[:, 1:2]) & (at < box[:, 3:])
        inside = (high[:, :, None] & wide[:, None]).float()
        return (inside + 0.4 * torch.randn(count, 24, 24, generator=generator))[:, None], box

    spot = 4 * torch.arange(6) + 2.0
    across, down = spot.expand(6, 6), spot[:, None].expand(6, 6)

    class Fcos(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(1, 16, 3, 2, 1), nn.GroupNorm(4, 16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.GroupNorm(4, 32),
                nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.GroupNorm(4, 32), nn.ReLU(),
            )  # fmt: skip
            self.kind, self.sides = nn.Conv2d(32, 1, 3, padding=1), nn.Conv2d(32, 4, 3, padding=1)
            self.scale = nn.Parameter(torch.tensor(1.0))
            nn.init.constant_(self.kind.bias, -2.0)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = self.body(x)
            return self.kind(h)[:, 0], (self.scale * self.sides(h)).exp()

    def overlap(sides: Tensor, truth: Tensor) -> Tensor:
        """Share that two boxes around one place have in common; sides (..., 4)."""
        least = torch.minimum(sides, truth)
        common = (least[..., 0] + least[..., 2]) * (least[..., 1] + least[..., 3])
        each = [(s[..., 0] + s[..., 2]) * (s[..., 1] + s[..., 3]) for s in (sides, truth)]
        return common / (each[0] + each[1] - common)

    def targets(box: Tensor) -> Tensor:
        left, top, right, bottom = (side[:, None, None] for side in box.unbind(1))
        return torch.stack([across - left, down - top, right - across, bottom - down], 3)

    model = Fcos()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-4)
    with doctor.watch(model, optimizer) as watch:
        for step in range(350):
            for group in optimizer.param_groups:
                group["lr"] = 3e-3 * min(1.0, (step + 1) / 50)
            image, box = scenes(24)
            kind, sides = model(image)
            truth = targets(box)
            inside = truth.amin(3) > 0
            share = overlap(sides.permute(0, 2, 3, 1)[inside], truth[inside])
            loss = F.binary_cross_entropy_with_logits(kind, inside.float()) + (1 - share).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            watch.loss(loss)
    image, box = scenes(200)
    with torch.no_grad():
        kind, sides = model(image)
    best = kind.flatten(1).argmax(1)
    some = torch.arange(200)
    return above(overlap(sides.flatten(2)[some, :, best], targets(box).flatten(1, 2)[some, best]).mean(), 0.6)


@healthy(project="cszn/KAIR", source="github.com/cszn/KAIR")
def noise_of_a_strength_told(doctor: Doctor, seed: int) -> Score:
    """Digits freed of noise whose strength is told on a plane of its own; orthogonal filters and a mean absolute error."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)

    def noisy(x: Tensor) -> Tensor:
        strength = 0.5 * torch.rand(len(x), 1, 1, 1, generator=generator).expand_as(x)
        return torch.cat([x + strength * torch.randn(x.shape, generator=generator), strength], 1)

    model = nn.Sequential(
        nn.Conv2d(2, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 24, 3, padding=1),
        nn.ReLU(), nn.Conv2d(24, 1, 3, padding=1),
    )  # fmt: skip
    for layer in model:
        if isinstance(layer, nn.Conv2d):
            nn.init.orthogonal_(layer.weight, 1.0)
            nn.init.zeros_(layer.bias)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [250, 350], 0.5)
    with doctor.watch(model, optimizer) as watch:
        for x, _ in data.batches(rows.x, rows.y, 32, 400, seed):
            loss = F.l1_loss(model(noisy(x)), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            watch.loss(loss)
    seen = noisy(rows.held_x)
    with torch.no_grad():
        better = F.mse_loss(model(seen), rows.held_x) / F.mse_loss(seen[:, :1], rows.held_x)
    return above(1 - better, 0.5)


@healthy(project="tugstugi/pytorch-speech-commands", source="github.com/tugstugi/pytorch-speech-commands")
def commands_by_their_bands(doctor: Doctor, seed: int) -> Score:
    """Five spoken-like sounds, gliding up, down, even, twice or not at all, as loudness of bands in time, and half are mixed."""
    generator = torch.Generator().manual_seed(seed)
    time, bands = torch.linspace(0, 1, 20), torch.arange(16.0)[:, None]

    def sounds(count: int) -> tuple[Tensor, Tensor]:
        """Logarithms of how loud 16 bands are at 20 times (N, 1, 16, 20), and the kind."""
        kind = torch.randint(5, (count,), generator=generator)
        base, turn = 5 + 5 * torch.rand(count, 1, generator=generator), (kind == 0).float() - (kind == 1).float()
        pitch = base + 5 * turn[:, None] * (time - 0.5)
        loud = torch.exp(-((bands - pitch[:, None]) ** 2) / 3)
        gate = torch.where(kind[:, None] == 3, (torch.sin(12.6 * time) > 0).float(), torch.ones(20))
        loud = loud * (gate * (kind != 4).float()[:, None])[:, None]
        return (loud + 0.15 * torch.rand(count, 16, 20, generator=generator) + 0.05).log()[:, None], kind

    x, y = sounds(1200)
    mean, std = x.mean(), x.std()
    rows = data.split((x - mean) / std, y, seed)
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(12, 24, 3, padding=1),
        nn.BatchNorm2d(24), nn.ReLU(), nn.AdaptiveAvgPool2d((4, 5)), nn.Flatten(), nn.Dropout(0.3), nn.Linear(480, 5),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-2)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=2, factor=0.3)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 32, 300, seed)):
            model.train()
            other, share = torch.randperm(32, generator=generator), float(torch.rand((), generator=generator)) * (step % 2)
            said = model((1 - share) * a + share * a[other])
            loss = (1 - share) * F.cross_entropy(said, b) + share * F.cross_entropy(said, b[other])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 30 == 29:
                model.eval()
                with torch.no_grad():
                    held = F.cross_entropy(model(rows.held_x), rows.held_y)
                watch.dev_loss(held)
                scheduler.step(held)
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)
