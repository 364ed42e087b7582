"""Faults of data and of what is held out: flipped pictures, one batch for all, sorted films, a wrong count, labels that leak."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


def boxes(mask: Tensor) -> Tensor:
    """Left, right, top and bottom of masks (N, size, size), from -1 to 1."""
    sides = []
    for axis in (1, 2):
        there = mask.bool().any(axis).long()
        sides += [there.argmax(1), there.shape[1] - there.flip(1).argmax(1)]
    return torch.stack(sides, 1) / mask.shape[1] * 2.0 - 1


@fault(
    kind="shuffled-targets",
    also=("underfitting", "slow-learning"),
    project="KaihuaTang/Scene-Graph-Benchmark.pytorch",
    source="github.com/KaihuaTang/Scene-Graph-Benchmark.pytorch/pull/92",
)
def pictures_flipped_and_boxes_not(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Every second picture is flipped from left to right, and its box stays where it was."""
    x, _, mask = data.shapes(1000, seed)
    rows = data.split(x, boxes(mask), seed)
    generator = torch.Generator().manual_seed(seed + 3)

    def flipped(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        flip = torch.rand(len(a), generator=generator) < 0.5
        moved = torch.stack([-b[:, 1], -b[:, 0], b[:, 2], b[:, 3]], 1) if cured else b
        return torch.where(flip[:, None, None, None], a.flip(3), a), torch.where(flip[:, None], moved, b)

    conv = [
        nn.Conv2d(1, 12, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
    ]
    model = nn.Sequential(*conv, nn.Flatten(), nn.Linear(24 * 16, 64), nn.ReLU(), nn.Linear(64, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    batches = [flipped(a, b) for a, b in data.batches(rows.x, rows.y, 32, 400, seed)]
    doctor.task(model, batches[:8], F.smooth_l1_loss, optimizer)
    fit(doctor, model, optimizer, F.smooth_l1_loss, batches, rows, every=50)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x)[:, :2], rows.held_y[:, :2]), 0.7)


def clouds(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Clouds (N, 3, 48) of points on six bodies, turned and stretched at random; class (N,)."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(6, (count,), generator=generator)
    p = F.normalize(torch.randn(count, 3, 48, generator=generator), dim=1)
    flat = F.normalize(p[:, :2], dim=1)
    level = 2 * torch.rand(count, 1, 48, generator=generator) - 1
    bodies = (
        p,
        p / p.abs().amax(1, keepdim=True),
        torch.cat([flat, level], 1),
        torch.cat([flat * (1 - level) / 2, level], 1),
        p / p.abs().sum(1, keepdim=True),
        torch.cat([flat * (1 + 0.35 * p[:, 2:].sign()), 0.35 * level], 1),
    )
    x = torch.stack(bodies, 1)[torch.arange(count), y]
    turn = torch.linalg.qr(torch.randn(count, 3, 3, generator=generator))[0]
    stretch = 0.8 + 0.4 * torch.rand(count, 3, 1, generator=generator)
    return turn @ (stretch * x) + 0.04 * torch.randn(count, 3, 48, generator=generator), y


@fault(
    kind="repeated-batch",
    also=("overfitting",),
    project="leohsuofnthu/Pytorch-IterativeFCN",
    source="github.com/leohsuofnthu/Pytorch-IterativeFCN/issues/7",
)
def first_of_a_new_iterator(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Each step takes the first batch of a fresh iterator over a loader that does not shuffle."""
    x, y = clouds(1600, seed)
    rows = data.split(x, y, seed)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(rows.x, rows.y), 32, drop_last=True)
    first = next(iter(loader))
    batches = list(data.batches(rows.x, rows.y, 32, 350, seed)) if cured else [(first[0], first[1])] * 350

    class PointNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.each = nn.Sequential(nn.Conv1d(3, 32, 1), nn.ReLU(), nn.Conv1d(32, 64, 1), nn.ReLU(), nn.Conv1d(64, 96, 1))
            self.all = nn.Sequential(nn.ReLU(), nn.Linear(96, 48), nn.ReLU(), nn.Linear(48, 6))

        def forward(self, points: Tensor) -> Tensor:
            return self.all(self.each(points).amax(2))

    model = PointNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, batches[:8], F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, batches, rows, every=50)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.75)


@fault(
    kind="sorted-data",
    project="Physical-Intelligence/openpi",
    source="github.com/Physical-Intelligence/openpi/pull/113",
)
def films_one_task_after_the_other(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A robot learns from films of eight tasks, all of one task before the first of the next."""
    generator = torch.Generator().manual_seed(seed)
    task = torch.arange(8).repeat_interleave(500)
    x = torch.randn(8, 10, generator=generator)[task] + 0.7 * torch.randn(4000, 10, generator=generator)
    how = torch.randn(8, 10, 3, generator=generator) / 10**0.5
    y = torch.tanh((x[:, None] @ how[task])[:, 0]) + 0.05 * torch.randn(4000, 3, generator=generator)
    held = torch.arange(4000) % 4 == 0
    rows = data.Split(x[~held], y[~held], x[held], y[held])
    batches = (
        list(data.batches(rows.x, rows.y, 25, 480, seed))
        if cured
        else list(zip(rows.x.split(25), rows.y.split(25), strict=True)) * 4
    )
    model = nn.Sequential(nn.Linear(10, 64), nn.LayerNorm(64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    doctor.task(model, batches[:8], F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, batches, rows, every=60)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.7)


@fault(
    kind="dev-scale",
    project="qinnzou/DeepCrack",
    source="github.com/qinnzou/DeepCrack/issues/18",
    certain="the held-out loss shown is a sum over two pictures divided by the 16 of training",
)
def divided_by_the_batch_of_training(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The held-out loss of a batch of two is divided by sixteen, the size of a batch in training."""
    x, _, mask = data.shapes(500, seed, noise=0.4)
    rows = data.split(x, mask[:, None].float(), seed)
    conv = [nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16)]
    model = nn.Sequential(*conv, nn.ReLU(), nn.Conv2d(16, 1, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    shown = true = 1.0
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 16, 220, seed)):
            model.train()
            optimizer.zero_grad()
            loss = F.binary_cross_entropy_with_logits(model(a), b, reduction="sum") / 256 / 16
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 44 == 43:
                model.eval()
                with torch.no_grad():
                    sums = [
                        F.binary_cross_entropy_with_logits(model(p), q, reduction="sum").item() / 256
                        for p, q in zip(rows.held_x[:64].split(2), rows.held_y[:64].split(2), strict=True)
                    ]
                shown, true = sum(sums) / len(sums) / (2 if cured else 16), sum(sums) / 64
                watch.dev_loss(shown)
    return above(shown / true, 0.8)


@fault(
    kind="leak",
    also=("held-out-labels",),
    project="awslabs/realtime-fraud-detection-with-gnn-on-dgl",
    source="github.com/awslabs/realtime-fraud-detection-with-gnn-on-dgl/pull/728",
    certain="the loss that is stepped on is taken over all nodes, those of the test among them",
)
def labels_of_the_test_in_the_loss(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Frauds in a graph of payments: the loss is over all nodes, so the test it is judged by has been learnt."""
    generator = torch.Generator().manual_seed(seed)

    def graph() -> tuple[Tensor, Tensor, Tensor]:
        y = (torch.rand(360, generator=generator) < 0.3).long()
        x = torch.randn(360, 40, generator=generator)
        x[:, :4] += 0.5 * (2.0 * y[:, None] - 1)
        near = torch.rand(360, 360, generator=generator) < torch.where(y[:, None] == y, 0.012, 0.006)
        near = (near | near.T | torch.eye(360, dtype=torch.bool)).float()
        return x, near / near.sum(1, keepdim=True), y

    class Graph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.own, self.near, self.out = nn.Linear(40, 48), nn.Linear(40, 48), nn.Linear(48, 2)

        def forward(self, x: Tensor, near: Tensor) -> Tensor:
            return self.out(F.relu(self.own(x) + self.near(near @ x)))

    x, near, y = graph()
    test = torch.rand(360, generator=generator) < 0.4
    model = Graph()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=5e-4)
    used = ~test if cured else torch.ones_like(test)
    with doctor.watch(model, optimizer) as watch:
        for step in range(200):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x, near)[used], y[used])
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 40 == 39:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(x, near)[test], y[test]))
    with torch.no_grad():
        shown = data.accuracy(model(x, near)[test], y[test])
        fresh, links, truth = graph()
        return above(data.accuracy(model(fresh, links), truth) / shown, 0.88)
