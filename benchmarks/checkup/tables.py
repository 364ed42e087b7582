"""Healthy models of the kinds that tutorials show, in plain PyTorch: tables, sets, graphs, games."""

from __future__ import annotations

from typing import Any

import torch
from benchmarks.checkup.data import pictures, table
from benchmarks.checkup.making import F, Made, adamw, model, sgd
from torch import Tensor, nn


@model("multi-layer perceptron with batch norm and dropout")
def _() -> Made:
    net = nn.Sequential(nn.Linear(16, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 4))
    return net, table(), F.cross_entropy, adamw(net)


class Factors(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.users, self.items, self.bias = nn.Embedding(30, 8), nn.Embedding(40, 8), nn.Embedding(40, 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return (self.users(user) * self.items(item)).sum(1) + self.bias(item).squeeze(1)


@model("matrix factors")
def _() -> Made:
    g = torch.Generator().manual_seed(11)
    u, v = torch.randn(30, 3, generator=g), torch.randn(40, 3, generator=g)
    net = Factors()
    batches = []
    for _ in range(12):
        user, item = torch.randint(30, (32,), generator=g), torch.randint(40, (32,), generator=g)
        batches.append(((user, item), (u[user] * v[item]).sum(1)))
    return net, batches, F.mse_loss, adamw(net, 1e-2)


class SetNet(nn.Module):
    """Points of a set (B, N, 3) look at each other."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.attend, self.out = nn.Linear(3, 32), nn.MultiheadAttention(32, 4, batch_first=True), nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.inside(x))
        return self.out(self.attend(h, h, h)[0].mean(1))


@model("attention over sets of points")
def _() -> Made:
    g = torch.Generator().manual_seed(12)
    net = SetNet()
    batches = []
    for _ in range(12):
        y = torch.randint(2, (16,), generator=g)
        batches.append((torch.randn(16, 20, 3, generator=g) * (1 + y[:, None, None]), y))
    return net, batches, F.cross_entropy, adamw(net, 3e-3)


@model("full-batch graph convolution, dense")
def _() -> Made:
    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(12, 16), nn.Linear(16, 3)

        def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
            return adjacency @ self.b(torch.relu(adjacency @ self.a(x)))

    g = torch.Generator().manual_seed(7)
    y = torch.randint(3, (40,), generator=g)
    adjacency = ((y[:, None] == y[None]) & (torch.rand(40, 40, generator=g) < 0.3)).float() + torch.eye(40)
    x = torch.randn(40, 12, generator=g)
    x[torch.arange(40), y] += 1.0
    net = Dense()
    return net, [((x, adjacency / adjacency.sum(1, keepdim=True)), y)] * 3, F.cross_entropy, adamw(net, 1e-2)


@model("regression by LBFGS")
def _() -> Made:
    net = nn.Sequential(nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 1))
    return (
        net,
        [(x, x[:, :1] * x[:, 1:2]) for x, _ in table(rows=64)],
        F.mse_loss,
        torch.optim.LBFGS(net.parameters(), lr=0.5, max_iter=5),
    )


@model("deep Q-learning step, target network inside")
def _() -> Made:
    class Agent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.online = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
            self.target = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
            self.target.load_state_dict(self.online.state_dict())
            self.target.requires_grad_(requires_grad=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.online(x)

    net = Agent()
    g = torch.Generator().manual_seed(13)
    batches = []
    for _ in range(12):
        s = torch.randn(32, 4, generator=g)
        a = torch.randint(2, (32,), generator=g)
        batches.append((s, a, s[:, 0] * (2 * a - 1), 0.9 * s + 0.1 * torch.randn(32, 4, generator=g)))

    def loss(model: Any, batch: Any) -> Tensor:
        s, a, r, then = batch
        best = model.target(then).amax(1)
        return F.smooth_l1_loss(model(s).gather(1, a[:, None]).squeeze(1), r + 0.9 * best)

    return net, batches, loss, torch.optim.Adam(net.online.parameters(), 1e-3)


@model("experts chosen by a gate")
def _() -> Made:
    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate = nn.Linear(16, 4)
            self.experts = nn.ModuleList(nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)) for _ in range(4))

        def forward(self, x: Tensor) -> Tensor:
            weights, chosen = self.gate(x).softmax(1).max(1)
            out = torch.zeros(len(x), 4, dtype=x.dtype)
            for number, expert in enumerate(self.experts):
                mine = chosen == number
                if mine.any():
                    out[mine] = weights[mine, None] * expert(x[mine])
            return out

    net = Experts()
    return net, table(), F.cross_entropy, adamw(net, 3e-3)


@model("fine-tuning with a frozen trained body")
def _() -> Made:
    body = nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    net = nn.Sequential(body, nn.Linear(64, 10))
    optimizer = adamw(net, 1e-2)
    for _ in range(4):
        for x, y in pictures(24, rows=16):
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
    body.requires_grad_(requires_grad=False)
    body.eval()
    net[1].reset_parameters()
    return net, pictures(24), F.cross_entropy, sgd(net[1], 0.05)
