"""Healthy programs on pictures: squeezed and excited, wide, in few levels, finer than seen, told by comparing."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="lukemelas/EfficientNet-PyTorch", source="github.com/lukemelas/EfficientNet-PyTorch")
def digits_squeezed_and_excited(doctor: Doctor, seed: int) -> Score:
    """Digits by inverted bottlenecks: channels widened, seen one by one, weighed by a glance at all; blocks left out by luck."""
    rows = data.digits(seed)

    class Block(nn.Module):
        def __init__(self, before: int, after: int, stride: int, dropped: float) -> None:
            super().__init__()
            wide = 4 * before
            self.widen = nn.Sequential(nn.Conv2d(before, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.SiLU())
            self.look = nn.Sequential(
                nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.SiLU()
            )
            self.glance = nn.Sequential(
                nn.AdaptiveAvgPool2d(1), nn.Conv2d(wide, before // 4, 1), nn.SiLU(), nn.Conv2d(before // 4, wide, 1), nn.Sigmoid()
            )
            self.narrow = nn.Sequential(nn.Conv2d(wide, after, 1, bias=False), nn.BatchNorm2d(after))
            self.dropped, self.skips = dropped, before == after and stride == 1

        def forward(self, x: Tensor) -> Tensor:
            h = self.look(self.widen(x))
            h = self.narrow(h * self.glance(h))
            if not self.skips:
                return h
            if self.training and self.dropped:
                keep = 1 - self.dropped
                h = h * (torch.rand(len(h), 1, 1, 1) < keep).float() / keep
            return x + h

    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.SiLU(), Block(8, 8, 1, 0.0), Block(8, 12, 2, 0.0),
        Block(12, 12, 1, 0.1), nn.Conv2d(12, 48, 1, bias=False), nn.BatchNorm2d(48), nn.SiLU(), nn.AdaptiveAvgPool2d(2),
        nn.Flatten(), nn.Dropout(0.2), nn.Linear(192, 10),
    )  # fmt: skip
    optimizer = torch.optim.RMSprop(model.parameters(), lr=2e-3, alpha=0.9, momentum=0.9, eps=1e-3, weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.97)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 32, 300, seed)):
            model.train()
            loss = F.cross_entropy(model(a), b, label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 15 == 14:
                schedule.step()
            if step % 60 == 59:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@healthy(project="szagoruyko/wide-residual-networks", source="github.com/szagoruyko/wide-residual-networks")
def digits_by_a_wide_net(doctor: Doctor, seed: int) -> Score:
    """Digits by wide blocks whose norms come first, with luck between convolutions; the rate falls to a fifth, twice."""
    rows = data.digits(seed)
    noise = torch.Generator().manual_seed(seed)

    class Wide(nn.Module):
        def __init__(self, before: int, after: int, stride: int) -> None:
            super().__init__()
            self.first, self.second = nn.BatchNorm2d(before), nn.BatchNorm2d(after)
            self.a = nn.Conv2d(before, after, 3, stride, 1, bias=False)
            self.b = nn.Conv2d(after, after, 3, 1, 1, bias=False)
            self.luck = nn.Dropout(0.3)
            self.way = nn.Conv2d(before, after, 1, stride, bias=False)
            for each in (self.a, self.b, self.way):
                nn.init.kaiming_normal_(each.weight)

        def forward(self, x: Tensor) -> Tensor:
            h = self.first(x).relu()
            return self.way(h) + self.b(self.luck(self.second(self.a(h)).relu()))

    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), Wide(8, 24, 1), Wide(24, 48, 2), nn.BatchNorm2d(48), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 10),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4, dampening=0)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [120, 180], 0.2)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 32, 220, seed)):
            model.train()
            shift = torch.randint(-1, 2, (2,), generator=noise).tolist()
            loss = F.cross_entropy(model(a.roll(shift, (2, 3))), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
            if step % 44 == 43:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


@healthy(project="666DZY666/micronet", source="github.com/666DZY666/micronet")
def digits_with_weights_of_fifteen_levels(doctor: Doctor, seed: int) -> Score:
    """Digits by a net whose weights and answers are rounded to few levels; the slope goes through as if they were not."""
    rows = data.digits(seed)

    def rounded(x: Tensor, levels: int, top: Tensor) -> Tensor:
        scale = top.detach().clamp(min=1e-6) / levels
        return x + ((x / scale).round() * scale - x).detach()

    class Few(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            weight = rounded(self.weight, 7, self.weight.abs().amax())
            return F.conv2d(x, weight, self.bias, self.stride, self.padding)

    class Clipped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return rounded(x.clamp(0, 4), 15, torch.tensor(4.0))

    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), Clipped(), Few(16, 24, 3, stride=2, padding=1), nn.BatchNorm2d(24),
        Clipped(), Few(24, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), Clipped(), nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 320, seed), rows, every=50)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@healthy(project="sanghyun-son/EDSR-PyTorch", source="github.com/sanghyun-son/EDSR-PyTorch")
def digits_finer_than_they_were_seen(doctor: Doctor, seed: int) -> Score:
    """Digits from pictures half as fine: blocks without norms, added at a tenth, and channels laid out as places."""
    rows = data.digits(seed)
    coarse, held = F.avg_pool2d(rows.x, 2), F.avg_pool2d(rows.held_x, 2)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1))

        def forward(self, x: Tensor) -> Tensor:
            return x + 0.1 * self.body(x)

    class Edsr(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Conv2d(1, 32, 3, padding=1)
            self.body = nn.Sequential(Block(), Block(), Block(), nn.Conv2d(32, 32, 3, padding=1))
            self.tail = nn.Sequential(nn.Conv2d(32, 128, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(32, 1, 3, padding=1))

        def forward(self, x: Tensor) -> Tensor:
            h = self.head(x - 0.3)
            return self.tail(h + self.body(h)) + 0.3

    model = Edsr()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 160, 0.5)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(coarse, rows.x, 16, 400, seed)):
            turn = step % 4
            loss = F.l1_loss(model(a.rot90(turn, (2, 3))), b.rot90(turn, (2, 3)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
            if step % 80 == 79:
                with torch.no_grad():
                    watch.dev_loss(F.l1_loss(model(held), rows.held_x))
    with torch.no_grad():
        usual = F.interpolate(held, scale_factor=2, mode="bilinear", align_corners=False)
        error = (model(held) - rows.held_x).pow(2).mean() / (usual - rows.held_x).pow(2).mean()
    return above(1 - error, 0.2)


@healthy(project="floodsung/LearningToCompare_FSL", source="github.com/floodsung/LearningToCompare_FSL")
def signs_told_by_comparing(doctor: Doctor, seed: int) -> Score:
    """Signs of kinds never seen before, by one example each: a net says how alike two are, asked to say 1 or 0."""
    generator = torch.Generator().manual_seed(seed)
    signs = F.interpolate(torch.randn(120, 1, 4, 4, generator=generator), size=12, mode="bilinear").sign()

    def episode(first: int, last: int) -> tuple[Tensor, Tensor, Tensor]:
        """One example of five kinds (5, 1, 12, 12), twenty to be told (20, 1, 12, 12) and their kinds (20,)."""
        kinds = torch.randperm(last - first, generator=generator)[:5] + first
        y = torch.randint(5, (20,), generator=generator)
        pick = torch.cat([kinds, kinds[y]])
        x = signs[pick] + 1.2 * torch.randn(25, 1, 12, 12, generator=generator)
        return x[:5], x[5:], y

    class Relation(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Sequential(
                nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(24, 24, 3, padding=1),
                nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2),
            )  # fmt: skip
            self.relate = nn.Sequential(
                nn.Conv2d(48, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(288, 32), nn.ReLU(),
                nn.Linear(32, 1), nn.Sigmoid(),
            )  # fmt: skip

        def forward(self, shown: Tensor, asked: Tensor) -> Tensor:
            """How alike each asked one is to each shown one (20, 5)."""
            h = self.embed(torch.cat([shown, asked]))
            pairs = torch.cat([h[None, :5].expand(20, 5, 24, 3, 3), h[5:, None].expand(20, 5, 24, 3, 3)], 2)
            return self.relate(pairs.flatten(0, 1)).view(20, 5)

    model = Relation()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 200, 0.5)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(450):
            shown, asked, y = episode(0, 90)
            loss = F.mse_loss(model(shown, asked), F.one_hot(y, 5).float())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            schedule.step()
            watch.loss(loss)
    judge = copy.deepcopy(model).eval()
    right = []
    with torch.no_grad():
        for _ in range(20):
            shown, asked, y = episode(90, 120)
            right.append(data.accuracy(judge(shown, asked), y))
    return above(sum(right) / len(right), 0.6)
