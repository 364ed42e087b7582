"""Healthy programs: tables, curves, pictures."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="scikit-learn/scikit-learn", source="github.com/scikit-learn/scikit-learn")
def linear_regression_by_sgd(doctor: Doctor, seed: int) -> Score:
    """Diabetes progression by one linear layer and plain SGD."""
    rows = data.table("diabetes", seed)
    scale = rows.y.std()
    y, held_y = (rows.y - rows.y.mean()) / scale, (rows.held_y - rows.y.mean()) / scale
    model = nn.Linear(10, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    doctor.task(model, data.few(rows.x, y[:, None], 32, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, y[:, None], 32, 500, seed):
            loss = F.mse_loss(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return below(F.mse_loss(model(rows.held_x)[:, 0], held_y), 0.65)


@healthy(project="pytorch-tabular/pytorch_tabular", source="github.com/pytorch-tabular/pytorch_tabular")
def wine_by_a_small_net(doctor: Doctor, seed: int) -> Score:
    """Three cultivars of wine, standardised; learned to the last row within a hundred steps, as this table is."""
    rows = data.table("wine", seed)
    model = nn.Sequential(nn.Linear(13, 24), nn.ReLU(), nn.Linear(24, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 16, 240, seed)):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 40 == 39:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.93)


class Residual(nn.Module):
    """Two convolutions with batch norm beside a short cut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


@healthy(project="kuangliu/pytorch-cifar", source="github.com/kuangliu/pytorch-cifar")
def resnet_with_one_cycle(doctor: Doctor, seed: int) -> Score:
    """A residual net on digits, SGD with momentum and weight decay, one-cycle schedule."""
    rows = data.digits(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        Residual(16),
        Residual(16),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=300)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 64, 300, seed)):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
            if step % 60 == 59:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
                model.train()
    model.eval()
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.96)


@healthy(project="pytorch/vision", source="github.com/pytorch/vision/tree/main/references/segmentation")
def segmentation_with_ignored_border(doctor: Doctor, seed: int) -> Score:
    """Where the shape is, pixel by pixel; the border of the pictures carries 255, which the loss ignores."""
    x, _, mask = data.shapes(700, seed)
    mask[:, 0], mask[:, -1], mask[:, :, 0], mask[:, :, -1] = 255, 255, 255, 255
    rows = data.split(x, mask, seed)
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=2, dilation=2), nn.ReLU(), nn.Conv2d(12, 2, 1)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    criterion = nn.CrossEntropyLoss(ignore_index=255)
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), criterion, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 16, 400, seed):
            loss = criterion(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    kept = rows.held_y != 255
    guess = model(rows.held_x).argmax(1)
    both = ((guess == 1) & (rows.held_y == 1) & kept).sum()
    return above(both / (((guess == 1) | (rows.held_y == 1)) & kept).sum(), 0.8)


@healthy(project="open-mmlab/mmpretrain", source="github.com/open-mmlab/mmpretrain/pull/130")
def several_labels_at_once(doctor: Doctor, seed: int) -> Score:
    """Six yes-or-no labels for each row, some rare, binary cross-entropy of logits."""
    x, scores = data.teacher(2400, 30, 6, seed)
    rare = torch.tensor([0.0, 0.0, 0.5, 0.5, 1.0, 1.4])
    rows = data.split(x, (scores > rare).float(), seed)
    model = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 6))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    doctor.task(model, data.few(rows.x, rows.y, 48, seed), F.binary_cross_entropy_with_logits, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 48, 500, seed):
            loss = F.binary_cross_entropy_with_logits(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    entropy = F.binary_cross_entropy(rows.held_y.mean(0).expand_as(rows.held_y), rows.held_y)
    return below(F.binary_cross_entropy_with_logits(model(rows.held_x), rows.held_y) / entropy, 0.6)


@healthy(project="pytorch/examples", source="github.com/pytorch/examples/tree/main/time_sequence_prediction")
def wave_by_lbfgs(doctor: Doctor, seed: int) -> Score:
    """A curve fitted by L-BFGS, whose closure runs the model several times in one step."""
    t = torch.linspace(-1, 1, 200)[:, None]
    y = torch.sin(4 * t) + 0.3 * torch.cos(11 * t)
    model = nn.Sequential(nn.Linear(1, 30), nn.Tanh(), nn.Linear(30, 30), nn.Tanh(), nn.Linear(30, 1))
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.8, max_iter=10)
    doctor.task(model, [(t, y)] * 4, F.mse_loss, optimizer)
    del seed

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.mse_loss(model(t), y)
        loss.backward()
        return loss

    with doctor.watch(model, optimizer) as watch:
        for _ in range(150):
            watch.loss(optimizer.step(closure))
    return below(F.mse_loss(model(t), y), 0.005)


@healthy(project="tancik/fourier-feature-networks", source="github.com/tancik/fourier-feature-networks")
def picture_as_a_function_of_place(doctor: Doctor, seed: int) -> Score:
    """A coordinate network: Fourier features of a place in, its brightness out; nothing is held out but every fifth pixel."""
    rows_, columns = torch.meshgrid(torch.linspace(-1, 1, 40), torch.linspace(-1, 1, 40), indexing="ij")
    place = torch.stack([rows_, columns], -1).reshape(-1, 2)
    light = (torch.sin(7 * place[:, 0]) * torch.cos(5 * place[:, 1] + 2 * place[:, 0]) * 0.5 + 0.5)[:, None]
    frequencies = torch.randn(2, 24, generator=torch.Generator().manual_seed(seed)) * 3
    waves = torch.cat([torch.sin(place @ frequencies), torch.cos(place @ frequencies)], 1)
    rows = data.split(waves, light, seed, held=0.2)
    model = nn.Sequential(nn.Linear(48, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1), nn.Sigmoid())
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)
    doctor.task(model, data.few(rows.x, rows.y, 128, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 128, 800, seed):
            loss = F.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.r2(model(rows.held_x), rows.held_y), 0.95)


@healthy(project="huggingface/accelerate", source="github.com/huggingface/accelerate/tree/main/examples/by_feature")
def accumulated_gradients_with_cosine(doctor: Doctor, seed: int) -> Score:
    """Four micro-batches to a step, each loss divided by 4; cosine schedule; gradients clipped."""
    x, y = data.teacher(3000, 16, 2, seed)
    rows = data.split(x, y, seed)
    model = nn.Sequential(nn.Linear(16, 96), nn.GELU(), nn.LayerNorm(96), nn.Linear(96, 96), nn.GELU(), nn.Linear(96, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=300)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 16, 1200, seed)):
            loss = F.mse_loss(model(x), y) / 4
            loss.backward()
            if step % 4 == 3:
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
                watch.loss(loss)
    return above(data.r2(model(rows.held_x), rows.held_y), 0.85)


@healthy(project="tkipf/pygcn", source="github.com/tkipf/pygcn")
def graph_of_two_circles(doctor: Doctor, seed: int) -> Score:
    """Nodes of four communities, a graph convolution by hand, full batches, a fifth of the nodes labelled."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(4, (300,), generator=generator)
    likely = torch.where(y[:, None] == y, 0.12, 0.01)
    edges = (torch.rand(300, 300, generator=generator) < likely).float().triu(1)
    edges = edges + edges.T + torch.eye(300)
    degree = edges.sum(1).rsqrt()
    graph = degree[:, None] * edges * degree
    x = F.one_hot(y, 4).float() @ torch.randn(4, 20, generator=generator) * 0.4 + torch.randn(300, 20, generator=generator)
    known = torch.rand(300, generator=generator) < 0.2
    first, second, drop = nn.Linear(20, 16), nn.Linear(16, 4), nn.Dropout(0.5)
    model = nn.ModuleDict({"first": first, "second": second, "drop": drop})
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(250):
            optimizer.zero_grad()
            out = graph @ second(drop(F.relu(graph @ first(x))))
            loss = F.cross_entropy(out[known], y[known])
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    out = graph @ second(F.relu(graph @ first(x)))
    return above(data.accuracy(out[~known], y[~known]), 0.85)
