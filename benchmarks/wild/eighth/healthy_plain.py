"""Healthy programs on tables, curves and points."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Columns(nn.Module):
    """Each column of a table is a token; one layer of attention; the class is read off a token of its own."""

    def __init__(self, columns: int, width: int = 16) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(columns, width) * width**-0.5)
        self.bias = nn.Parameter(torch.randn(columns, width) * width**-0.5)
        self.cls = nn.Parameter(torch.zeros(1, 1, width))
        self.layer = nn.TransformerEncoderLayer(width, 2, 32, dropout=0.1, batch_first=True, norm_first=True)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, 2))

    def forward(self, x: Tensor) -> Tensor:
        tokens = x[..., None] * self.weight + self.bias
        return self.head(self.layer(torch.cat([self.cls.expand(len(x), -1, -1), tokens], 1))[:, 0])


@healthy(project="Yura52/rtdl", source="github.com/Yura52/rtdl")
def tumours_by_attention_over_columns(doctor: Doctor, seed: int) -> Score:
    """No weight decay on the tokens, AdamW at a small rate, 200 steps."""
    rows = data.table("breast_cancer", seed)
    model = Columns(30)
    tokens = [model.weight, model.bias, model.cls]
    others = [*model.layer.parameters(), *model.head.parameters()]
    optimizer = torch.optim.AdamW([{"params": tokens, "weight_decay": 0.0}, {"params": others}], lr=2e-3, weight_decay=1e-4)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 200, seed), rows, every=40)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.93)


@healthy(project="kiryor/nnPUlearning", source="github.com/kiryor/nnPUlearning")
def positives_and_unlabelled(doctor: Doctor, seed: int) -> Score:
    """A risk that is kept from falling below 0: where it does, the step goes the other way."""
    generator = torch.Generator().manual_seed(seed)
    prior, shift = 0.4, torch.randn(8, generator=generator)
    shift = 2.6 * shift / shift.norm()

    def draw(count: int, share: float) -> tuple[Tensor, Tensor]:
        y = (torch.rand(count, generator=generator) < share).float()
        return torch.randn(count, 8, generator=generator) + y[:, None] * shift, y

    positive, unlabelled, (held_x, held_y) = draw(300, 1.0)[0], draw(1500, prior)[0], draw(600, prior)
    model = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4)
    with doctor.watch(model, optimizer) as watch:
        for p, u in data.batches(positive.repeat(5, 1), unlabelled, 100, 300, seed):
            known, unknown = model(p), model(u)
            wrong = prior * torch.sigmoid(-known).mean()
            rest = torch.sigmoid(unknown).mean() - prior * torch.sigmoid(known).mean()
            optimizer.zero_grad()
            (wrong + rest if rest >= 0 else -rest).backward()
            optimizer.step()
            watch.loss(wrong + rest.clamp(min=0))
    return above(((model(held_x)[:, 0] > 0) == (held_y > 0.5)).float().mean(), 0.85)


@healthy(
    project="google-research/google-research", source="github.com/google-research/google-research/tree/master/logit_adjustment"
)
def long_tail_with_adjusted_logits(doctor: Doctor, seed: int) -> Score:
    """Classes from 700 rows down to 12: logarithms of their shares are added to the logits while training."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.tensor([700, 250, 90, 33, 12])
    middle = 1.6 * torch.randn(5, 10, generator=generator)
    y = torch.arange(5).repeat_interleave(counts)
    x = middle[y] + torch.randn(len(y), 10, generator=generator)
    held_y = torch.arange(5).repeat(100)
    held_x = middle[held_y] + torch.randn(500, 10, generator=generator)
    prior = (counts / counts.sum()).log()
    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)

    def loss_fn(output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output + prior, target)

    doctor.task(model, data.few(x, y, 64, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(x, y, 64, 400, seed))
    return above(data.accuracy(model(held_x), held_y), 0.85)


class Decomposed(nn.Module):
    """The moving average of a window and what is left of it, each continued by one linear layer."""

    def __init__(self, past: int, future: int) -> None:
        super().__init__()
        self.trend, self.season = nn.Linear(past, future), nn.Linear(past, future)
        for layer in (self.trend, self.season):
            nn.init.constant_(layer.weight, 1 / past)

    def forward(self, x: Tensor) -> Tensor:
        smooth = F.avg_pool1d(F.pad(x[:, None], (6, 6), mode="replicate"), 13, 1)[:, 0]
        return self.trend(smooth) + self.season(x - smooth)


@healthy(project="cure-lab/LTSF-Linear", source="github.com/cure-lab/LTSF-Linear")
def forecast_by_two_linear_layers(doctor: Doctor, seed: int) -> Score:
    """All weights of a layer start at one over the window's length; nothing in it bends."""
    generator = torch.Generator().manual_seed(seed)
    t = torch.arange(1400.0)
    series = torch.sin(t * 6.283 / 12) + 0.6 * torch.sin(t * 6.283 / 30 + 1) + 0.0015 * t
    series = series + 0.2 * torch.randn(1400, generator=generator)
    series = (series - series[:1000].mean()) / series[:1000].std()
    pieces = series.unfold(0, 60, 1)
    train, held = pieces[:940], pieces[1000:]
    rows = data.Split(train[:, :48], train[:, 48:], held[:, :48], held[:, 48:])
    model = Decomposed(48, 12)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 32, 300, seed), rows)
    return above(data.r2(model(rows.held_x), rows.held_y), 0.85)


class Energy(nn.Module):
    """What moves (B, 2) where the energy of place and momentum leads it."""

    def __init__(self) -> None:
        super().__init__()
        self.energy = nn.Sequential(nn.Linear(2, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            slope = torch.autograd.grad(self.energy(x).sum(), x, create_graph=True)[0]
        return torch.stack([slope[:, 1], -slope[:, 0]], 1)


@healthy(project="greydanus/hamiltonian-nn", source="github.com/greydanus/hamiltonian-nn")
def pendulum_from_its_energy(doctor: Doctor, seed: int) -> Score:
    """The loss is about derivatives of the net, and goes through it twice."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(800, 2, generator=generator) * 5 - 2.5
    y = torch.stack([x[:, 1], -2 * torch.sin(x[:, 0])], 1) + 0.1 * torch.randn(800, 2, generator=generator)
    rows = data.split(x, y, seed)
    model = Energy()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-4)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 50, 400, seed), rows, every=80)
    return above(data.r2(model(rows.held_x), rows.held_y), 0.95)


class Uncertain(nn.Module):
    """A linear layer whose weights have a mean and a spread."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.randn(outputs, inputs + 1) / (inputs + 1) ** 0.5)
        self.rho = nn.Parameter(torch.full((outputs, inputs + 1), -4.0))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.mean
        if self.training:
            weight = weight + F.softplus(self.rho) * torch.randn_like(weight)
        return F.linear(x, weight[:, :-1], weight[:, -1])

    def divergence(self) -> Tensor:
        """From a normal distribution of spread 0.5."""
        spread = F.softplus(self.rho) / 0.5
        return (0.5 * (spread.pow(2) + 4 * self.mean.pow(2) - 1) - spread.log()).sum()


@healthy(project="nitarshan/bayes-by-backprop", source="github.com/nitarshan/bayes-by-backprop")
def weights_with_a_spread(doctor: Doctor, seed: int) -> Score:
    """Weights are drawn anew in each step; the divergence of thousands of them is most of the loss."""
    x, y = data.teacher(1200, 6, 1, seed, noise=0.1)
    rows = data.split(x, y, seed)
    model = nn.Sequential(Uncertain(6, 48), nn.ReLU(), Uncertain(48, 48), nn.ReLU(), Uncertain(48, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

    def loss_fn(output: Tensor, target: Tensor) -> Tensor:
        misfit = 0.5 * ((output - target) / 0.2).pow(2).mean()
        return misfit + sum((each.divergence() for each in model if isinstance(each, Uncertain)), torch.zeros(())) / len(rows.x)

    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 50, 500, seed), rows, every=100)
    return above(data.r2(model(rows.held_x), rows.held_y), 0.8)


@healthy(project="alphadl/lookahead.pytorch", source="github.com/alphadl/lookahead.pytorch")
def wine_looking_ahead(doctor: Doctor, seed: int) -> Score:
    """Each fifth step the weights go half way back to where they were: 60 steps in all."""
    rows = data.table("wine", seed)
    model = nn.Sequential(nn.Linear(13, 24), nn.Tanh(), nn.Linear(24, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    slow = [parameter.detach().clone() for parameter in model.parameters()]
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 16, 60, seed)):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 5 == 4:
                with torch.no_grad():
                    for kept, parameter in zip(slow, model.parameters(), strict=True):
                        kept.lerp_(parameter, 0.5)
                        parameter.copy_(kept)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)
