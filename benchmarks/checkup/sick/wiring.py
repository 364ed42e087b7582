"""Parts that are not registered, not optimised, detached, frozen, shared, or random where they should not be."""

from __future__ import annotations

from typing import Any

import torch
from benchmarks.checkup.data import pictures, texts
from benchmarks.checkup.data import table as rows_of
from benchmarks.checkup.making import F, Made, adamw
from benchmarks.checkup.sick.attention import Attention
from benchmarks.checkup.sick.case import case
from torch import Tensor, nn


class Stack(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        made = [nn.Linear(16, 16) for _ in range(2)]
        self.layers: Any = {"list": made, "module list": nn.ModuleList(made)}.get(how)
        self.scale: Any = nn.Parameter(torch.ones(16)) if how != "tensor" else torch.ones(16, requires_grad=True)
        self.parts = {"first": made[0]} if how == "dict" else None
        if how == "module dict":
            self.parts = nn.ModuleDict({"first": made[0]})  # type: ignore[assignment]
        self.out = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers or (self.parts or {}).values():
            x = torch.tanh(layer(x))
        return self.out(x * self.scale)


for _sick, _well, _where in (
    ("list", "module list", "layers[0].weight"),
    ("dict", "module dict", "parts['first'].weight"),
    ("tensor", "list of none", "scale"),
):

    @case(f"layers in a plain {_sick}", "unregistered", _where)
    def _(cured: bool, sick: str = _sick, well: str = _well) -> Made:
        net = Stack(well if cured else sick)
        return net, rows_of(), F.cross_entropy, adamw(net)


@case("dropout called without training", "eval-dropout")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(16, 64), nn.Linear(64, 4)

        def forward(self, x: Tensor) -> Tensor:
            h = torch.relu(self.a(x))
            return self.b(F.dropout(h, 0.5, training=self.training) if cured else F.dropout(h, 0.5))

    net = Net()
    return net, rows_of(), F.cross_entropy, adamw(net)


@case("attention that drops in eval mode", "eval-dropout", "attend")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.attend, self.out = nn.Embedding(41, 32), Attention(), nn.Linear(32, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.attend(self.embed(x), rate=0.3 if self.training or not cured else 0.0).mean(1))

    net = Net()
    return net, [(x, x[:, 0] % 3) for x in texts()], F.cross_entropy, adamw(net)


@case("dropout module made anew in each pass", "eval-dropout")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.drop, self.b = nn.Linear(16, 64), nn.Dropout(0.5), nn.Linear(64, 4)

        def forward(self, x: Tensor) -> Tensor:
            drop = self.drop if cured else nn.Dropout(0.5)
            return self.b(drop(torch.relu(self.a(x))))

    net = Net()
    return net, rows_of(), F.cross_entropy, adamw(net)


@case("one batch norm in three places", "shared-norm", "norm")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (
                nn.Conv2d(1, 16, 3, padding=1),
                nn.Conv2d(16, 16, 3, padding=1),
                nn.Conv2d(16, 16, 3, padding=1),
            )
            self.norm = nn.BatchNorm2d(16)
            self.second, self.third = (nn.BatchNorm2d(16), nn.BatchNorm2d(16)) if cured else (self.norm, self.norm)
            self.out = nn.Linear(16, 10)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.relu(self.norm(self.a(x)))
            x = F.max_pool2d(torch.relu(self.second(self.b(x))), 2)
            return self.out(torch.relu(self.third(self.c(x))).mean((2, 3)))

    net = Net()
    return net, pictures(12, 1, rows=32), F.cross_entropy, torch.optim.SGD(net.parameters(), 0.02, 0.9)


@case("fresh layers frozen", "frozen-random", "0.0.weight")
def _(cured: bool) -> Made:
    body = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)
    )
    net = nn.Sequential(body, nn.Flatten(), nn.Linear(96, 10))
    if not cured:
        body.requires_grad_(requires_grad=False)
    wanted = [each for each in net.parameters() if each.requires_grad]
    return net, pictures(12, 1, rows=32), F.cross_entropy, torch.optim.SGD(wanted, 0.02, 0.9)


@case("head added after the optimiser was made", "not-optimised", "2.weight")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 9))
    optimizer = adamw(net)
    net[2] = nn.Linear(32, 4)
    return net, rows_of(), F.cross_entropy, adamw(net) if cured else optimizer


@case("features detached on the way", "no-gradient", "a.weight")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(16, 32), nn.Linear(32, 4)

        def forward(self, x: Tensor) -> Tensor:
            h = torch.relu(self.a(x))
            return self.b(h if cured else torch.tensor(h.detach().numpy()))

    net = Net()
    return net, rows_of(), F.cross_entropy, adamw(net)


@case("Adam's eps in half precision", "eps-underflow")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)).half()
    batches = [(x.half(), y) for x, y in rows_of()]
    return (
        net,
        batches,
        lambda out, y: F.cross_entropy(out.float(), y),
        torch.optim.Adam(net.parameters(), 1e-3, eps=1e-4 if cured else 1e-8),
    )


@case("a layer's weight kept as a plain tensor, trained by hand", "save-load", "shift")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(16, 4)
            self.register_buffer("shift", torch.zeros(16), persistent=cured)

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                self.shift = 0.5 * self.shift + 0.5 * x.detach().mean(0)
            return self.out(x - self.shift)

    net = Net()
    return net, [(x + 2, y) for x, y in rows_of()], F.cross_entropy, adamw(net)


@case("one of two inputs forgotten", "unused-input")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.out = nn.Linear(8, 16), nn.Linear(8, 16), nn.Linear(32, 4)

        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            return self.out(torch.relu(torch.cat([self.a(left), self.b(right if cured else left)], 1)))

    net = Net()
    return net, [((x[:, :8], x[:, 8:]), y) for x, y in rows_of()], F.cross_entropy, adamw(net)
