"""Healthy programs that see pictures: an old net, focal boxes, soft overlap, triplets, two views, frozen then free, a teacher."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="pytorch/blitz-tutorial", source="pytorch.org/tutorials/beginner/blitz/cifar10_tutorial.html")
def an_old_net_in_batches_of_four(doctor: Doctor, seed: int) -> Score:
    """Digits by two convolutions and three layers, four at a time, momentum and a rate of a thousandth."""
    rows = data.digits(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=4e-3, momentum=0.9)
    x = rows._replace(x=(rows.x - 0.5) / 0.5, held_x=(rows.held_x - 0.5) / 0.5)
    doctor.task(model, data.few(x.x, x.y, 4, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(x.x, x.y, 4, 1300, seed))
    with torch.no_grad():
        return above(data.accuracy(model(x.held_x), x.held_y), 0.85)


@healthy(project="kuangliu/pytorch-retinanet", source="github.com/kuangliu/pytorch-retinanet")
def rare_cells_by_a_focal_loss(doctor: Doctor, seed: int) -> Score:
    """One cell of 64 holds the middle of a shape: a focal loss, and a last bias that begins by expecting nothing."""
    x, _, mask = data.shapes(600, seed)
    axis = torch.arange(16).float()
    mass = mask.sum((1, 2)).clamp(min=1)
    down, across = (mask.sum(2) * axis).sum(1) / mass, (mask.sum(1) * axis).sum(1) / mass
    cell = F.one_hot((down // 2 * 8 + across // 2).long(), 64).float().view(-1, 1, 8, 8)
    rows = data.split(x, cell, seed)
    model = nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(24, 32, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(32, 32, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(32, 1, 1),
    )
    nn.init.constant_(model[-1].bias, -4.6)  # type: ignore[arg-type]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def focal(said: Tensor, wanted: Tensor) -> Tensor:
        p = said.sigmoid()
        near = torch.where(wanted > 0, p, 1 - p)
        weight = torch.where(wanted > 0, 0.25, 0.75) * (1 - near).pow(2)
        return (weight * F.binary_cross_entropy_with_logits(said, wanted, reduction="none")).sum() / wanted.sum()

    doctor.task(model, data.few(rows.x, rows.y, 16, seed), focal, optimizer)
    fit(doctor, model, optimizer, focal, data.batches(rows.x, rows.y, 16, 350, seed), rows)
    with torch.no_grad():
        best = model(rows.held_x).flatten(1).argmax(1)
    return above((best == rows.held_y.flatten(1).argmax(1)).float().mean(), 0.5)


@healthy(project="qubvel/segmentation_models.pytorch", source="github.com/qubvel/segmentation_models.pytorch")
def outlines_by_one_minus_the_overlap(doctor: Doctor, seed: int) -> Score:
    """Outlines by a small net with norms; the loss is one minus the soft overlap."""
    x, _, mask = data.shapes(400, seed)
    rows = data.split(x, mask[:, None].float(), seed)

    class Fpn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.high = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
            self.low = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU())
            self.side, self.out = nn.Conv2d(32, 16, 1), nn.Conv2d(16, 1, 3, padding=1)

        def forward(self, seen: Tensor) -> Tensor:
            high = self.high(seen)
            return self.out((high + F.interpolate(self.side(self.low(high)), scale_factor=2)).relu())

    def overlap(said: Tensor, truth: Tensor) -> Tensor:
        p = said.sigmoid()
        return 1 - 2 * (p * truth).sum() / (p.sum() + truth.sum()).clamp(min=1e-7)

    model = Fpn()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), overlap, optimizer)
    fit(doctor, model, optimizer, overlap, data.batches(rows.x, rows.y, 16, 250, seed), rows, every=18)
    with torch.no_grad():
        said, truth = model(rows.held_x) > 0, rows.held_y > 0.5
    return above((said & truth).sum() / (said | truth).sum(), 0.6)


@healthy(project="keras-team/keras-siamese", source="keras.io/examples/vision/siamese_network")
def nearer_to_its_like_by_a_margin(doctor: Doctor, seed: int) -> Score:
    """Triplets of digits: one is to be nearer to its like than to another by a margin of a half."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 64),
        nn.ReLU(),
        nn.Linear(64, 16),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def triplets(x: Tensor, y: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
        at = torch.randint(len(x), (count,), generator=generator)
        odds = (y[at][:, None] == y).float()
        like = torch.multinomial(odds, 1, generator=generator)[:, 0]
        other = torch.multinomial(1 - odds, 1, generator=generator)[:, 0]
        return x[at], x[like], x[other]

    with doctor.watch(model, optimizer) as watch:
        for _ in range(300):
            a, p, n = (model(each) for each in triplets(rows.x, rows.y, 48))
            loss = ((a - p).pow(2).sum(1) - (a - n).pow(2).sum(1) + 0.5).relu().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        a, p, n = (model(each) for each in triplets(rows.held_x, rows.held_y, 400))
    return above(((a - p).pow(2).sum(1) < (a - n).pow(2).sum(1)).float().mean(), 0.9)


@healthy(project="leftthomas/SimCLR", source="github.com/leftthomas/SimCLR")
def two_views_of_a_digit(doctor: Doctor, seed: int) -> Score:
    """Two moved and noisy views of each digit find each other at a temperature of a half; the nearest labelled one names it."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    base = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
    )
    head = nn.Sequential(nn.Linear(512, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32))
    model = nn.Sequential(base, head)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-6)

    def view(a: Tensor) -> Tensor:
        moved = torch.randint(-1, 2, (2,), generator=generator)
        return torch.roll(a, (int(moved[0]), int(moved[1])), (2, 3)) + 0.15 * torch.randn(a.shape, generator=generator)

    with doctor.watch(model, optimizer) as watch:
        for a, _ in data.batches(rows.x, rows.y, 64, 150, seed):
            z = F.normalize(torch.cat([model(view(a)), model(view(a))]), dim=1)
            alike = (z @ z.T / 0.5).exp() * (1 - torch.eye(128))
            loss = -(alike.diagonal(64).repeat(2) / alike.sum(1)).log().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        known, asked = F.normalize(base(rows.x), dim=1), F.normalize(base(rows.held_x), dim=1)
    return above((rows.y[(asked @ known.T).argmax(1)] == rows.held_y).float().mean(), 0.85)


@healthy(project="keras-team/keras-transfer", source="keras.io/guides/transfer_learning")
def frozen_first_and_then_set_free(doctor: Doctor, seed: int) -> Score:
    """A net of other digits is frozen and stays in eval mode under a new last layer; then all of it learns at a slow rate."""
    rows = data.digits(seed)
    base = nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(24, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
    )
    old = nn.Sequential(base, nn.Linear(128, 5))
    first = torch.optim.Adam(old.parameters(), lr=2e-3)
    low = rows.y < 5
    for x, y in data.batches(rows.x[low], rows.y[low], 32, 200, seed):
        first.zero_grad()
        F.cross_entropy(old(x), y).backward()
        first.step()
    held = rows.held_y >= 5
    new = data.Split(rows.x[~low], rows.y[~low] - 5, rows.held_x[held], rows.held_y[held] - 5)
    model = nn.Sequential(base, nn.Dropout(0.2), nn.Linear(128, 5))
    for rate, steps, free in ((5e-3, 120, False), (1e-4, 80, True)):
        base.requires_grad_(free)
        optimizer = torch.optim.Adam((each for each in model.parameters() if each.requires_grad), lr=rate)
        with doctor.watch(model, optimizer) as watch:
            for x, y in data.batches(new.x, new.y, 32, steps, seed + steps):
                model.train()
                base.eval()
                loss = F.cross_entropy(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.loss(loss)
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(new.held_x), new.held_y), 0.85)


@healthy(project="peterliht/knowledge-distillation-pytorch", source="github.com/peterliht/knowledge-distillation-pytorch")
def shapes_taught_at_a_temperature_of_six(doctor: Doctor, seed: int) -> Score:
    """A small net of convolutions learns shapes from a larger one's soft answers, mostly, and a little from the labels."""
    x, y, _ = data.shapes(900, seed)
    rows = data.split(x, y, seed)

    def net(wide: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for before, after in ((1, wide), (wide, 2 * wide)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * wide, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 4))

    teacher, model = net(16), net(8)
    first = torch.optim.Adam(teacher.parameters(), lr=1e-3)
    for a, b in data.batches(rows.x, rows.y, 32, 200, seed):
        first.zero_grad()
        F.cross_entropy(teacher(a), b).backward()
        first.step()
    teacher.eval()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 150, gamma=0.2)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 32, 350, seed + 1):
            with torch.no_grad():
                soft = (teacher(a) / 6).softmax(1)
            said = model(a)
            near = F.kl_div((said / 6).log_softmax(1), soft, reduction="batchmean")
            loss = 0.9 * 36 * near + 0.1 * F.cross_entropy(said, b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.88)
