"""Healthy programs on rows: many answers at once, wrong labels, labels of its own, other ways back, no way back at all."""

from __future__ import annotations

from typing import Any

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="tonyduan/mixture-density-network", source="github.com/tonyduan/mixture-density-network")
def several_answers_to_one_question(doctor: Doctor, seed: int) -> Score:
    """An arc is turned on its side, so there are up to three answers; a mixture of five bells; the loss goes below 0."""
    generator = torch.Generator().manual_seed(seed)
    answer = torch.rand(2400, 1, generator=generator)
    asked = answer + 0.3 * torch.sin(6.283 * answer) + 0.02 * torch.randn(2400, 1, generator=generator)
    rows = data.split(2 * asked - 1, answer, seed)
    model = nn.Sequential(nn.Linear(1, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 15))

    def loss_fn(said: Tensor, y: Tensor) -> Tensor:
        share, mean, width = said.chunk(3, 1)
        bells = torch.distributions.Normal(mean, 0.02 + F.softplus(width - 2)).log_prob(y)
        return -(share.log_softmax(1) + bells).logsumexp(1).mean()

    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 64, 700, seed), rows, every=100)
    with torch.no_grad():
        return below(loss_fn(model(rows.held_x), rows.held_y), -0.7)


@healthy(project="AlanChou/Truncated-Loss", source="github.com/AlanChou/Truncated-Loss")
def four_labels_in_ten_are_wrong(doctor: Doctor, seed: int) -> Score:
    """A loss between cross entropy and absolute error; the loss ends high, for what is wrong is not to be learnt."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed + 4)
    wrong = torch.rand(len(rows.y), generator=generator) < 0.4
    y = torch.where(wrong, torch.randint(10, (len(rows.y),), generator=generator), rows.y)

    def loss_fn(said: Tensor, truth: Tensor) -> Tensor:
        return ((1 - said.softmax(1).gather(1, truth[:, None]) ** 0.7) / 0.7).mean()

    conv = [nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)]
    model = nn.Sequential(*conv, nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    doctor.task(model, data.few(rows.x, y, 64, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, y, 64, 240, seed), rows)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.88)


@healthy(project="iBelieveCJM/pseudo_label-pytorch", source="github.com/iBelieveCJM/pseudo_label-pytorch")
def its_own_labels_weigh_more_and_more(doctor: Doctor, seed: int) -> Score:
    """150 labels are given; what the net says of the rest is a label too, whose weight grows from 0."""
    rows = data.digits(seed)
    x, y, rest = rows.x[:150], rows.y[:150], rows.x[150:]
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    generator = torch.Generator().manual_seed(seed)
    with doctor.watch(model, optimizer) as watch:
        for step in range(500):
            weight = 1.0 * min(1.0, max(0.0, (step - 80) / 250))
            some = rest[torch.randint(len(rest), (64,), generator=generator)]
            given = torch.randint(150, (20,), generator=generator)
            said = model(torch.cat([x[given], some]))
            with torch.no_grad():
                guess = said[20:].argmax(1)
            loss = F.cross_entropy(said[:20], y[given]) + weight * F.cross_entropy(said[20:], guess)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.75)


class Aligned(torch.autograd.Function):
    """A linear map whose way back is a fixed random one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(x, back)
        return x @ weight.T + bias

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, back = ctx.saved_tensors
        return grads[0] @ back, grads[0].T @ x, grads[0].sum(0), None


class Fed(nn.Module):
    """A layer with such a way back."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(outputs, inputs)), nn.Parameter(torch.zeros(outputs))
        nn.init.kaiming_uniform_(self.weight, a=1)
        self.register_buffer("back", nn.init.kaiming_uniform_(torch.empty(outputs, inputs), a=1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = Aligned.apply(x, self.weight, self.bias, self.back)
        return out


@healthy(project="L0SG/feedback-alignment-pytorch", source="github.com/L0SG/feedback-alignment-pytorch")
def the_way_back_is_another(doctor: Doctor, seed: int) -> Score:
    """Errors go back through fixed random matrices, and the layers in front learn all the same."""
    rows = data.digits(seed)
    model = nn.Sequential(nn.Flatten(), Fed(64, 100), nn.Tanh(), Fed(100, 50), nn.Tanh(), Fed(50, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, weight_decay=1e-4)
    doctor.task(model, data.few(rows.x, rows.y, 50, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 50, 900, seed), rows, every=150)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.88)


@healthy(project="atgambardella/pytorch-es", source="github.com/atgambardella/pytorch-es")
def nothing_goes_back(doctor: Doctor, seed: int) -> Score:
    """A pole is balanced: weights are tried with noise, and the noise that went well is written into the gradients by hand."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 12), nn.Tanh(), nn.Linear(12, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    sizes = [each.numel() for each in model.parameters()]
    flat = lambda: torch.cat([each.detach().flatten() for each in model.parameters()])  # noqa: E731

    def balanced(weights: Tensor, steps: int) -> Tensor:
        """For how much of the time each of the nets (N, W) keeps the pole up."""
        first, low, second, last = weights.split(sizes, 1)
        state = 0.3 * torch.rand(len(weights), 4, generator=generator) - 0.15
        up, total = torch.ones(len(weights)), torch.zeros(len(weights))
        for _ in range(steps):
            hidden = torch.tanh((first.view(-1, 12, 4) @ state[:, :, None])[..., 0] + low)
            force = 10 * torch.tanh((hidden * second).sum(1) + last[:, 0])
            at, speed, angle, turn = state.T
            push = (force + 0.05 * turn**2 * angle.sin()) / 1.1
            turned = (9.8 * angle.sin() - angle.cos() * push) / (0.5 * (4 / 3 - 0.1 * angle.cos() ** 2 / 1.1))
            moved = push - 0.05 * turned * angle.cos() / 1.1
            state = torch.stack([at + 0.04 * speed, speed + 0.04 * moved, angle + 0.04 * turn, turn + 0.04 * turned], 1)
            up = up * (state[:, 2].abs() < 0.4) * (state[:, 0].abs() < 2.4)
            total += up
        return total / steps

    with doctor.watch(model, optimizer) as watch:
        for _ in range(60):
            noise = torch.randn(30, sum(sizes), generator=generator)
            both = torch.cat([noise, -noise])
            with torch.no_grad():
                worth = balanced(flat() + 0.2 * both, 80)
                better = (worth - worth.mean()) / (worth.std() + 1e-6)
                ways = (-better[:, None] * both).mean(0).split(sizes)
            for each, way in zip(model.parameters(), ways, strict=True):
                each.grad = way.view_as(each).clone()
            optimizer.step()
            watch.loss(-worth.mean())
    with torch.no_grad():
        return above(balanced(flat().expand(50, -1), 80).mean(), 0.8)
