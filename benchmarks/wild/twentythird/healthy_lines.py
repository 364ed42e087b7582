"""Healthy programs on rows and roads: several answers, another step, kinds of roads, small batches, a mean of nets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Mixture(nn.Module):
    """For each place the shares, the middles and the widths of four bells."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh())
        self.pi, self.mu, self.sigma = nn.Linear(32, 4), nn.Linear(32, 4), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.body(x)
        return self.pi(h).log_softmax(1), self.mu(h), self.sigma(h)


@healthy(project="sagelywizard/pytorch-mdn", source="github.com/sagelywizard/pytorch-mdn")
def heights_of_a_curve_on_its_side(doctor: Doctor, seed: int) -> Score:
    """A curve laid on its side, so that one place has three heights: how unlikely the heights are, which falls below nought."""
    torch.manual_seed(seed)
    height = 2 * torch.rand(1600, 1) - 1
    place = 0.6 * (7 * height).sin() + 0.7 * height + 0.02 * torch.randn(1600, 1)
    rows = data.split(place, height, seed)
    model = Mixture()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

    def unlikely(said: tuple[Tensor, Tensor, Tensor], target: Tensor) -> Tensor:
        share, middle, width = said
        inside = -0.5 * ((target - middle) / width.exp()).pow(2) - width - 0.919
        return -(share + inside).logsumexp(1).mean()

    doctor.task(model, data.few(rows.x, rows.y, 64, seed), unlikely, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 900, seed):
            optimizer.zero_grad()
            loss = unlikely(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return below(unlikely(model(rows.held_x), rows.held_y), 0.05)


class Ranger(torch.optim.Optimizer):
    """Steps of Adam without a bias at first, gradients less their mean, and every sixth step half way back to a slower copy."""

    def __init__(self, params: Iterable[Any], lr: float = 1e-3) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        if closure is not None:
            raise ValueError("a step takes no closure here")
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                grad, state = parameter.grad, self.state[parameter]
                if grad.dim() > 1:
                    grad = grad - grad.mean(tuple(range(1, grad.dim())), keepdim=True)
                if not state:
                    state["step"], state["slow"] = 0, parameter.clone()
                    state["mean"], state["square"] = torch.zeros_like(grad), torch.zeros_like(grad)
                state["step"] += 1
                t = state["step"]
                state["mean"].lerp_(grad, 0.05)
                state["square"].lerp_(grad.pow(2), 0.001)
                length = 1999 - 2 * t * 0.999**t / (1 - 0.999**t)
                moved = state["mean"] / (1 - 0.95**t)
                if length > 5:
                    sure = math.sqrt((length - 4) * (length - 2) * 1999 / (1995 * 1997 * length))
                    moved = sure * moved / ((state["square"] / (1 - 0.999**t)).sqrt() + 1e-8)
                parameter.sub_(group["lr"] * moved)
                if t % 6 == 0:
                    state["slow"].lerp_(parameter, 0.5)
                    parameter.copy_(state["slow"])


@healthy(project="lessw2020/Ranger-Deep-Learning-Optimizer", source="github.com/lessw2020/Ranger-Deep-Learning-Optimizer")
def tumours_by_a_ranger(doctor: Doctor, seed: int) -> Score:
    """Is a tumour benign, by an optimizer of three ideas, with a rate that is flat and then falls along a cosine."""
    torch.manual_seed(seed)
    rows = data.table("breast_cancer", seed)
    model = nn.Sequential(nn.Linear(30, 32), nn.Mish(), nn.Linear(32, 16), nn.Mish(), nn.Linear(16, 2))
    optimizer = Ranger(model.parameters(), lr=5e-3)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 1.0 if step < 200 else 0.5 * (1 + math.cos(math.pi * min(1.0, (step - 200) / 80)))
    )
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 32, 280, seed):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            scheduler.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.92)


class Relational(nn.Module):
    """For each kind of road a sum of two shared matrices, means over its roads, and a town's own matrix."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.bases = nn.Parameter(nn.init.xavier_uniform_(torch.empty(2, into, out)))
        self.shares = nn.Parameter(torch.randn(3, 2))
        self.own = nn.Linear(into, out)

    def forward(self, x: Tensor, roads: Tensor) -> Tensor:
        weights = torch.einsum("rb,bio->rio", self.shares, self.bases)
        return self.own(x) + torch.einsum("rnm,mi,rio->no", roads, x, weights)


class Net(nn.Module):
    """Two rounds."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Relational(16, 32), Relational(32, 3)

    def forward(self, x: Tensor, roads: Tensor) -> Tensor:
        return self.second(F.dropout(F.relu(self.first(x, roads)), 0.3, self.training), roads)


@healthy(project="tkipf/relational-gcn", source="github.com/tkipf/relational-gcn")
def towns_by_three_kinds_of_roads(doctor: Doctor, seed: int) -> Score:
    """Which of three lands a town is in: one road kind stays within a land, one leads on, one is chance; a fifth is labelled."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    land = torch.randint(3, (240,), generator=generator)
    x = F.one_hot(land, 16).float() + 1.5 * torch.randn(240, 16, generator=generator)
    chance = torch.rand(3, 240, 240, generator=generator)
    same, on = land[:, None] == land, land[:, None] == (land + 1) % 3
    roads = torch.stack([(chance[0] < 0.06) & same, (chance[1] < 0.06) & on, chance[2] < 0.02]).float()
    roads = roads / roads.sum(2, keepdim=True).clamp(min=1)
    labelled = torch.rand(240, generator=generator) < 0.25
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
    with doctor.watch(model, optimizer) as watch:
        for step in range(200):
            model.train()
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x, roads)[labelled], land[labelled])
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 40 == 39:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(x, roads)[~labelled], land[~labelled]))
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(x, roads)[~labelled], land[~labelled]), 0.75)


@healthy(project="davidtvs/pytorch-lr-finder", source="github.com/davidtvs/pytorch-lr-finder")
def four_small_batches_for_one_step(doctor: Doctor, seed: int) -> Score:
    """Wines, eight rows at a time: the gradients of four batches are added, each a quarter, before a step is made."""
    torch.manual_seed(seed)
    rows = data.table("wine", seed)
    model = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with doctor.watch(model, optimizer) as watch:
        optimizer.zero_grad()
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 8, 480, seed)):
            loss = F.cross_entropy(model(x), y) / 4
            loss.backward()
            watch.loss(loss)
            if step % 4 == 3:
                optimizer.step()
                optimizer.zero_grad()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@healthy(project="lucidrains/ema-pytorch", source="github.com/lucidrains/ema-pytorch")
def sugar_by_the_mean_of_nets(doctor: Doctor, seed: int) -> Score:
    """How an illness goes on, with dropout and decay; the net that is used is a running mean of the one that is trained."""
    torch.manual_seed(seed)
    rows = data.table("diabetes", seed)
    middle, size = rows.y.mean(), rows.y.std()
    y = ((rows.y - middle) / size)[:, None]
    model = nn.Sequential(nn.Linear(10, 24), nn.SiLU(), nn.Dropout(0.1), nn.Linear(24, 1))
    mean = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.98))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.1)
    doctor.task(model, data.few(rows.x, y, 32, seed), F.smooth_l1_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for batch, target in data.batches(rows.x, y, 32, 300, seed):
            optimizer.zero_grad()
            loss = F.smooth_l1_loss(model(batch), target)
            loss.backward()
            optimizer.step()
            mean.update_parameters(model)
            watch.loss(loss)
    mean.eval()
    with torch.no_grad():
        return above(data.r2(size * mean(rows.held_x)[:, 0] + middle, rows.held_y), 0.25)
