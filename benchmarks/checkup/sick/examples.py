"""Examples that are mixed with one another, and losses that compare each with every other."""

from __future__ import annotations

import torch
from benchmarks.checkup.data import table as rows_of
from benchmarks.checkup.data import waves
from benchmarks.checkup.making import F, Made, adamw
from benchmarks.checkup.sick.case import case
from torch import Tensor, nn


@case("softmax over the batch", "batch-mixing")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x).log_softmax(1 if cured else 0)

    net = Net()
    return net, rows_of(), F.nll_loss, adamw(net)


@case("LSTM that takes the batch for time", "batch-mixing", "rnn")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.out = nn.LSTM(4, 24, batch_first=cured), nn.Linear(24, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.rnn(x)[0][:, -1])

    net = Net()
    return net, waves(), F.cross_entropy, adamw(net, 3e-3)


@case("transformer that takes the batch for time", "batch-mixing", "layers.0.self_attn")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside, self.place = nn.Linear(4, 32), nn.Parameter(torch.randn(24, 32) * 0.1)
            self.body = nn.TransformerEncoder(
                nn.TransformerEncoderLayer(32, 4, 64, batch_first=cured), 1, enable_nested_tensor=False
            )
            self.out = nn.Linear(32, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.body(self.inside(x) + self.place).mean(1))

    net = Net()
    return net, waves(), F.cross_entropy, adamw(net)


@case("heads merged by a view that mixes the batch", "batch-mixing")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside, self.out = nn.Linear(4, 32), nn.Linear(32, 4)

        def forward(self, x: Tensor) -> Tensor:
            b, t, _ = x.shape
            h = torch.relu(self.inside(x)).transpose(0, 1).contiguous()  # (T, B, 32)
            h = h.transpose(0, 1) if cured else h.view(b, t, 32)
            return self.out(h.mean(1))

    net = Net()
    return net, waves(), F.cross_entropy, adamw(net, 3e-3)


@case("features standardised over the batch, in eval mode too", "batch-mixing")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(16, 32), nn.Linear(32, 4)

        def forward(self, x: Tensor) -> Tensor:
            h = self.a(x)
            axis = 1 if cured else 0
            h = (h - h.mean(axis, keepdim=True)) / (h.std(axis, keepdim=True) + 1e-5)
            return self.b(torch.relu(h))

    net = Net()
    return net, rows_of(), F.cross_entropy, adamw(net)


@case("outputs (N, 1), targets (N,)", "broadcast")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1))
    batches = [(x, x[:, :3].sum(1, keepdim=True) if cured else x[:, :3].sum(1)) for x, _ in rows_of()]
    return net, batches, nn.MSELoss(), adamw(net)


@case("outputs (N,), targets (N, 1), L1", "broadcast")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))
    batches = [(x, x[:, :3].sum(1, keepdim=not cured)) for x, _ in rows_of()]
    return net, batches, nn.L1Loss(), adamw(net)
