"""Numbers that are lost, wrong or not finite."""

from __future__ import annotations

from typing import Any

import torch
from benchmarks.checkup.data import table as rows_of
from benchmarks.checkup.making import F, Made, adamw
from benchmarks.checkup.sick.case import case
from torch import Tensor, nn


class WrongSquare(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * ctx.saved_tensors[0]  # the 2 is missing


class RightSquare(WrongSquare):
    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * 2 * ctx.saved_tensors[0]


@case("a backward pass with a factor missing", "wrong-backward")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(16, 32), nn.Linear(32, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.b((RightSquare if cured else WrongSquare).apply(self.a(x)))

    net = Net()
    return net, rows_of(), F.cross_entropy, adamw(net)


@case("a difference of large numbers", "precision", "lost")
def _(cured: bool) -> Made:
    class Lost(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if cured else (x + 1e6) - 1e6

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.lost, self.b = nn.Linear(16, 32), Lost(), nn.Linear(32, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(torch.tanh(self.lost(self.a(x))))

    net = Net()
    return net, rows_of(), F.cross_entropy, adamw(net)


@case("softmax over one unit", "softmax-axis", "weight")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1), nn.Sigmoid() if cured else nn.Softmax(1))
    return net, [(x, (x[:, :1] > 0).float()) for x, _ in rows_of()], F.binary_cross_entropy, adamw(net)


@case("logarithm of 0 in a layer", "non-finite", "logs")
def _(cured: bool) -> Made:
    class Logs(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.log(torch.relu(x) + (1.0 if cured else 0.0))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.logs, self.b = nn.Linear(16, 32), Logs(), nn.Linear(32, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.logs(self.a(x)))

    net = Net()
    return net, rows_of(), F.cross_entropy, adamw(net)
