"""Healthy programs over pictures: attacked, mixed, cleaned, boxed, taught by another net, learned class after class."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="MadryLab/robustness", source="github.com/MadryLab/robustness")
def digits_pushed_where_it_hurts(doctor: Doctor, seed: int) -> Score:
    """Digits each changed within small bounds so that the net errs, by five steps uphill; the net learns from those alone."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 120, gamma=0.1)

    def pushed(x: Tensor, y: Tensor) -> Tensor:
        away = 0.1 * (2 * torch.rand(x.shape, generator=generator) - 1)
        for _ in range(5):
            away = away.detach().requires_grad_()
            (up,) = torch.autograd.grad(F.cross_entropy(model(x + away), y), away)
            away = (away + 0.03 * up.sign()).clamp(-0.1, 0.1)
        return (x + away.detach()).clamp(0, 1)

    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 32, 160, seed)):
            model.eval()
            hard = pushed(a, b)
            model.train()
            loss = F.cross_entropy(model(hard), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
            if step % 40 == 39:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    model.eval()
    hard = pushed(rows.held_x, rows.held_y)
    with torch.no_grad():
        return above(data.accuracy(model(hard), rows.held_y), 0.75)


@healthy(project="google-research/augmix", source="github.com/google-research/augmix")
def three_views_that_should_agree(doctor: Doctor, seed: int) -> Score:
    """Digits as they are and twice mixed of shifted, turned and dimmed ones: three answers should agree; the rate is a cosine."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)

    def mixed(x: Tensor) -> Tensor:
        views = [x.roll(int(torch.randint(-1, 2, (1,), generator=generator)), 2 + k) for k in (0, 1)]
        views.append(x * (0.5 + 0.5 * torch.rand(len(x), 1, 1, 1, generator=generator)))
        shares = torch.distributions.Dirichlet(torch.ones(3)).sample((len(x),))
        blend = sum(shares[:, k, None, None, None] * view for k, view in enumerate(views))
        keep = torch.rand(len(x), 1, 1, 1, generator=generator)
        return keep * x + (1 - keep) * blend

    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 200)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 32, 200, seed)):
            model.train()
            said = model(torch.cat([a, mixed(a), mixed(a)])).chunk(3)
            chances = [each.softmax(1) for each in said]
            middle = (sum(chances) / 3).clamp(1e-7, 1).log()
            agree = sum(F.kl_div(middle, each, reduction="batchmean") for each in chances) / 3
            loss = F.cross_entropy(said[0], b) + 4 * agree
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
            if step % 42 == 41:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@healthy(project="SaoYan/DnCNN-PyTorch", source="github.com/SaoYan/DnCNN-PyTorch")
def noise_told_and_taken_away(doctor: Doctor, seed: int) -> Score:
    """Shapes under noise: layers with norms tell the noise, summed and halved over the batch; the rate falls once."""
    x, _, _ = data.shapes(700, seed, noise=0.0)
    noise = 0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    rows = data.split(x + noise, noise, seed)
    layers: list[nn.Module] = [nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.ReLU()]
    for _ in range(3):
        layers += [nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Conv2d(16, 1, 3, padding=1, bias=False))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [110], gamma=0.1)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 12, 150, seed)):
            model.train()
            loss = (model(a) - b).pow(2).sum() / (2 * len(a))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
            if step % 43 == 42:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss((model(rows.held_x) - rows.held_y).pow(2).sum() / (2 * len(rows.held_x)))
    model.eval()
    with torch.no_grad():
        return below((model(rows.held_x) - rows.held_y).pow(2).mean() / rows.held_y.var(), 0.4)


@healthy(project="Megvii-BaseDetection/YOLOX", source="github.com/Megvii-BaseDetection/YOLOX")
def shapes_boxed_in_cells(doctor: Doctor, seed: int) -> Score:
    """Where a shape is, how large and which: cells tell a box, whether one is there and its class; an average of nets is kept."""
    x, y, masks = data.shapes(800, seed)
    at = torch.arange(16)

    def ends(there: Tensor) -> tuple[Tensor, Tensor]:
        return torch.where(there, at, 99).amin(1), torch.where(there, at, -1).amax(1) + 1

    (top, down), (left, right) = ends(masks.amax(2) > 0), ends(masks.amax(1) > 0)
    boxes = torch.stack([left, top, right, down], 1).float()
    rows = data.split(x, torch.cat([boxes, y[:, None].float()], 1), seed)

    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(
                nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.SiLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1),
                nn.BatchNorm2d(32), nn.SiLU(), nn.Conv2d(32, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.SiLU(),
                nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.SiLU(),
            )  # fmt: skip
            self.box, self.there, self.kind = nn.Conv2d(32, 4, 1), nn.Conv2d(32, 1, 1), nn.Conv2d(32, 4, 1)
            nn.init.constant_(self.there.bias, -2.0)  # type: ignore[arg-type]

        def forward(self, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            """Of sixteen cells each: a box (N, 16, 4), whether one is there (N, 16), its class (N, 16, 4)."""
            h = self.stem(seen)
            cell = torch.stack(torch.meshgrid(torch.arange(4), torch.arange(4), indexing="xy")).flatten(1).T * 4 + 2
            raw = self.box(h).flatten(2).transpose(1, 2)
            middle, size = cell + 4 * raw[..., :2], 6 * raw[..., 2:].clamp(max=2).exp()
            box = torch.cat([middle - size / 2, middle + size / 2], 2)
            return box, self.there(h).flatten(1), self.kind(h).flatten(2).transpose(1, 2)

    def overlap(a: Tensor, b: Tensor) -> Tensor:
        both = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
        return both / ((a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - both)

    model = Head()
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.95), use_buffers=True
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.03, total_steps=220, cycle_momentum=False)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 16, 220, seed):
            model.train()
            box, there, kind = model(a)
            own = ((b[:, :2] + b[:, 2:4]) / 2 // 4).long().clamp(max=3)
            cell, n = own[:, 1] * 4 + own[:, 0], torch.arange(len(a))
            wanted = F.one_hot(cell, 16).float()
            near = 1 - overlap(box[n, cell], b[:, :4]).pow(2)
            heard = F.binary_cross_entropy_with_logits(there, wanted, reduction="sum") / len(a)
            loss = 5 * near.mean() + heard + F.cross_entropy(kind[n, cell], b[:, 4].long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            average.update_parameters(model)
            watch.loss(loss)
    average.eval()
    with torch.no_grad():
        box, there, kind = average(rows.held_x)
    n, cell = torch.arange(len(box)), there.argmax(1)
    right_kind = kind[n, cell].argmax(1) == rows.held_y[:, 4]
    return above(((overlap(box[n, cell], rows.held_y[:, :4]) > 0.5) & right_kind).float().mean(), 0.6)


@healthy(project="szagoruyko/attention-transfer", source="github.com/szagoruyko/attention-transfer")
def looking_where_the_teacher_looks(doctor: Doctor, seed: int) -> Score:
    """Digits by a narrow net that is asked to look where a wide one looks, which was trained before."""
    rows = data.digits(seed)

    class Net(nn.Module):
        def __init__(self, wide: int) -> None:
            super().__init__()
            self.one = nn.Sequential(nn.Conv2d(1, wide, 3, padding=1), nn.BatchNorm2d(wide), nn.ReLU())
            self.two = nn.Sequential(nn.Conv2d(wide, wide, 3, stride=2, padding=1), nn.BatchNorm2d(wide), nn.ReLU())
            self.out = nn.Linear(16 * wide, 10)
            self.maps: list[Tensor] = []

        def forward(self, seen: Tensor) -> Tensor:
            one = self.one(seen)
            two = self.two(one)
            self.maps = [F.normalize(each.pow(2).mean(1).flatten(1)) for each in (one, two)]
            return self.out(two.flatten(1))

    teacher, student = Net(32), Net(6)
    first = torch.optim.SGD(teacher.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    fit(Doctor(), teacher, first, F.cross_entropy, data.batches(rows.x, rows.y, 32, 130, seed), rows, every=42)
    for each in teacher.parameters():
        each.requires_grad_(requires_grad=False)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    with doctor.watch(student, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 32, 260, seed):
            student.train()
            said = student(a)
            with torch.no_grad():
                teacher(a)
            looks = sum((s - t).pow(2).mean() for s, t in zip(student.maps, teacher.maps, strict=True))
            loss = F.cross_entropy(said, b) + 100 * looks
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    student.eval()
    with torch.no_grad():
        return above(data.accuracy(student(rows.held_x), rows.held_y), 0.88)


@healthy(project="ContinualAI/avalanche", source="github.com/ContinualAI/avalanche")
def two_digits_after_two_others(doctor: Doctor, seed: int) -> Score:
    """Digits learned two kinds at a time, five times: half of each batch comes from a memory of those seen before."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    kept_x, kept_y = torch.empty(0, 1, 8, 8), torch.empty(0, dtype=torch.long)
    with doctor.watch(model, optimizer) as watch:
        for task in range(5):
            own = (rows.y // 2) == task
            x, y = rows.x[own], rows.y[own]
            for a, b in data.batches(x, y, 16, 70, seed + task):
                if len(kept_x):
                    pick = torch.randint(len(kept_x), (32,), generator=generator)
                    a, b = torch.cat([a, kept_x[pick]]), torch.cat([b, kept_y[pick]])  # noqa: PLW2901
                loss = F.cross_entropy(model(a), b)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            pick = torch.randperm(len(x), generator=generator)[:80]
            kept_x, kept_y = torch.cat([kept_x, x[pick]]), torch.cat([kept_y, y[pick]])
    shown = copy.deepcopy(model).eval()
    with torch.no_grad():
        return above(data.accuracy(shown(rows.held_x), rows.held_y), 0.82)
