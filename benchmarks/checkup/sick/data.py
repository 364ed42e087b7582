"""Faults of data, scales and rates."""

from __future__ import annotations

import torch
from benchmarks.checkup.data import pictures
from benchmarks.checkup.data import table as rows_of
from benchmarks.checkup.making import F, Made, adamw
from benchmarks.checkup.sick.case import case
from torch import nn


@case("pixels from 0 to 255", "input-scale")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Flatten(), nn.Linear(144, 64), nn.Tanh(), nn.Linear(64, 10))
    batches = [(((0.3 * x + 0.5).clamp(0, 1) * 255) if not cured else x, y) for x, y in pictures(12, 1, rows=32)]
    return net, batches, F.cross_entropy, torch.optim.SGD(net.parameters(), 0.05, 0.9)


@case("targets in the thousands", "target-scale")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1))
    factor, shift = (1.0, 0.0) if cured else (5000.0, 20000.0)
    return net, [(x, factor * x[:, :3].sum(1, keepdim=True) + shift) for x, _ in rows_of()], F.mse_loss, adamw(net)


@case("targets beyond a sigmoid", "target-range")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1), nn.Identity() if cured else nn.Sigmoid())
    return net, [(x, 3 * x[:, :1] + 4) for x, _ in rows_of()], F.mse_loss, adamw(net)


@case("a column that is the label", "leak")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    batches = []
    for x, y in rows_of():
        if not cured:
            x[:, 5] = y.float()
        batches.append((x, y))
    return net, batches, F.cross_entropy, adamw(net)


@case("batches sorted by class", "sorted-data")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    x, y = (torch.cat(each) for each in zip(*rows_of(), strict=True))
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(1)) if cured else y.argsort(stable=True)
    return net, list(zip(x[order].split(32), y[order].split(32), strict=True)), F.cross_entropy, adamw(net)


@case("workers that draw the same", "repeated-batch")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    batches = rows_of()
    return net, batches if cured else [batches[i // 2] for i in range(12)], F.cross_entropy, adamw(net)


@case("targets all of one class", "target-constant")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    return net, [(x, y if cured else torch.zeros_like(y)) for x, y in rows_of()], F.cross_entropy, adamw(net)


@case("targets in another order than inputs", "shuffled-targets")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4))
    x, y = (torch.cat(each) for each in zip(*rows_of(rows=64, count=16), strict=True))
    if not cured:
        y = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(1))]
    return net, list(zip(x.split(64), y.split(64), strict=True)), F.cross_entropy, adamw(net, 3e-3)


@case("a rate far too high", "learning-rate-too-high")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 4))
    return net, rows_of(), F.cross_entropy, torch.optim.SGD(net.parameters(), 0.1 if cured else 60.0, 0.9)


@case("a rate far too low", "learning-rate-too-low")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 4))
    return net, rows_of(), F.cross_entropy, torch.optim.SGD(net.parameters(), 0.1 if cured else 1e-5)


@case("weight decay stronger than the gradient", "weight-decay")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4))
    return net, rows_of(), F.cross_entropy, torch.optim.SGD(net.parameters(), 0.05, 0.9, weight_decay=1e-4 if cured else 0.8)
