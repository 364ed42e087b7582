"""What is not read, read too late, or read in another form than it was written in."""

from __future__ import annotations

import torch
from benchmarks.checkup.data import pictures, short_texts, waves
from benchmarks.checkup.data import table as rows_of
from benchmarks.checkup.making import F, Made, adamw
from benchmarks.checkup.sick.case import case
from torch import Tensor, nn


@case("first state of a recurrent net where the last is meant", "unused-input")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.out = nn.GRU(4, 24, batch_first=True), nn.Linear(24, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.rnn(x)[0][:, -1 if cured else 0])

    net = Net()
    return net, waves(), F.cross_entropy, adamw(net, 3e-3)


@case("sum over places divided by the length of the longest", "padding")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.out = nn.Embedding(41, 32), nn.Linear(32, 3)

        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            h = self.embed(x).masked_fill(mask[..., None] == 0, 0.0).sum(1)
            return self.out(h / (mask.sum(1, keepdim=True) if cured else x.shape[1]))

    net = Net()
    return net, [((x, mask), y) for x, mask, y in short_texts()], F.cross_entropy, adamw(net, 3e-3)


@case("padding among the tags", "padding-counted")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.rnn, self.out = nn.Embedding(41, 16), nn.GRU(16, 24, batch_first=True), nn.Linear(24, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.rnn(self.embed(x))[0]).transpose(1, 2)

    net, g, batches = Net(), torch.Generator().manual_seed(7), []
    for _ in range(12):
        length = torch.randint(2, 9, (32, 1), generator=g)
        there = torch.arange(40) < length
        x = torch.randint(1, 41, (32, 40), generator=g) * there
        batches.append((x, (x % 3 + 1) * there))  # a tag for each token, 0 for padding
    return net, batches, nn.CrossEntropyLoss(ignore_index=0 if cured else -100), adamw(net, 3e-3)


@case("last state of a recurrent net, behind the padding", "padding", "rnn")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.rnn, self.out = nn.Embedding(41, 16), nn.GRU(16, 24, batch_first=True), nn.Linear(24, 4)

        def forward(self, x: Tensor) -> Tensor:
            states = self.rnn(self.embed(x))[0]
            return self.out(states[torch.arange(len(x)), (x != 0).sum(1) - 1] if cured else states[:, -1])

    net, g, batches = Net(), torch.Generator().manual_seed(7), []
    for _ in range(12):
        y, length = torch.randint(4, (32,), generator=g), torch.randint(3, 9, (32, 1), generator=g)
        x = torch.randint(5, 41, (32, 40), generator=g)
        x[:, :2] = y[:, None] + 1
        batches.append((x * (torch.arange(40) < length), y))
    return net, batches, F.cross_entropy, adamw(net, 3e-3)


@case("softmax before cross-entropy", "probabilities-as-logits")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4), nn.Identity() if cured else nn.Softmax(1))
    return net, rows_of(), F.cross_entropy, adamw(net, 1e-2)


@case("weights so small that signals die out", "activation-scale")
def _(cured: bool) -> Made:
    layers: list[nn.Module] = []
    for width in (16, *([48] * 8)):
        layers += [nn.Linear(width, 48), nn.Tanh()]
        nn.init.normal_(layers[-2].weight, std=width**-0.5 if cured else 0.02)
    net = nn.Sequential(*layers, nn.Linear(48, 4))
    return net, rows_of(), F.cross_entropy, adamw(net)


@case("running statistics that never move", "norm-statistics", "1")
def _(cured: bool) -> Made:
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16, momentum=0.1 if cured else 0.0), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10)
    )
    batches = pictures(16)
    net(batches[0][0])
    net[1].reset_running_stats()
    return net, batches, F.cross_entropy, adamw(net)


@case("linear layers with nothing between them", "underfitting")
def _(cured: bool) -> Made:
    bend = nn.ReLU if cured else nn.Identity
    net = nn.Sequential(nn.Linear(16, 64), bend(), nn.Linear(64, 64), bend(), nn.Linear(64, 2))
    return net, [(x, (x[:, 0] * x[:, 1] > 0).long()) for x, _ in rows_of(rows=128)], F.cross_entropy, adamw(net, 3e-3)


@case("pictures divided by 255 twice", "input-scale")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))
    scale = 1.0 if cured else 1e-3
    return (
        net,
        [(x * scale, y) for x, y in pictures(16)],
        F.cross_entropy,
        torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9),
    )


@case("one answer held against several targets", "broadcast")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4 if cured else 1))
    return net, [(x, x[:, :4].sin()) for x, _ in rows_of()], F.mse_loss, adamw(net, 3e-3)
