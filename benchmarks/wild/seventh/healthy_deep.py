"""Healthy programs: counts of genes, tasks in a row, a painted picture, energies, key points, restarts, views."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Genes(nn.Module):
    """A variational autoencoder of counts: shares of genes times the size of the cell, and a dispersion for each gene."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(40, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 8))
        self.decoder = nn.Sequential(nn.Linear(4, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 40))
        self.px_r = nn.Parameter(torch.zeros(40))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, spread = self.encoder((x + 1).log()).chunk(2, 1)
        z = mean + (spread / 2).exp() * torch.randn_like(mean) if self.training else mean
        return self.decoder(z).softmax(1) * x.sum(1, keepdim=True), mean, spread


@healthy(project="scverse/scvi-tools", source="github.com/scverse/scvi-tools")
def counts_of_genes(doctor: Doctor, seed: int) -> Score:
    """A negative binomial likelihood in the hundreds, counts as inputs, a divergence that is let in over the first half."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(5, (1500,), generator=generator)
    profile = (1.2 * torch.randn(5, 40, generator=generator)).softmax(1)[kind]
    size = 200 * torch.randn(1500, 1, generator=generator).mul(0.5).exp()
    x = torch.poisson(profile * size * torch.randn(1500, 40, generator=generator).mul(0.3).exp(), generator=generator)
    x = x + 1.0 * (x.sum(1, keepdim=True) == 0)
    rows = data.split(x, kind, seed)
    model = Genes()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3, eps=0.01, weight_decay=1e-6)

    def elbo(a: Tensor, weight: float) -> Tensor:
        rate, mean, spread = model(a)
        r = model.px_r.exp()
        nb = torch.lgamma(a + r) - torch.lgamma(r) - torch.lgamma(a + 1)
        nb = nb + r * (r / (r + rate)).log() + a * ((rate + 1e-8) / (r + rate)).log()
        divergence = 0.5 * (spread.exp() + mean.pow(2) - 1 - spread).sum(1)
        return (weight * divergence - nb.sum(1)).mean()

    with doctor.watch(model, optimizer) as watch:
        for step, (a, _) in enumerate(data.batches(rows.x, rows.y, 64, 400, seed)):
            model.train()
            loss = elbo(a, min(1.0, step / 200))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 80 == 79:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(elbo(rows.held_x, min(1.0, step / 200)))
    model.eval()
    with torch.no_grad():
        seen, new = model(rows.x)[1], model(rows.held_x)[1]
    return above((rows.y[torch.cdist(new, seen).argmin(1)] == rows.held_y).float().mean(), 0.9)


@healthy(project="moskomule/ewc.pytorch", source="github.com/moskomule/ewc.pytorch")
def one_task_after_another(doctor: Doctor, seed: int) -> Score:
    """Elastic weights: after each task a penalty ties what mattered; the loss jumps up at the new task and comes down again."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    tasks = [torch.arange(64), torch.randperm(64, generator=generator)]
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.5)
    x, held = rows.x.flatten(1), rows.held_x.flatten(1)
    kept: list[tuple[dict[str, Tensor], dict[str, Tensor]]] = []
    with doctor.watch(model, optimizer) as watch:
        for order in tasks:
            for a, b in data.batches(x[:, order], rows.y, 40, 250, seed):
                loss = F.cross_entropy(model(a), b)
                for old, weight in kept:
                    loss = loss + 50 * sum((weight[n] * (p - old[n]).pow(2)).sum() for n, p in model.named_parameters())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            fisher = {n: torch.zeros_like(p) for n, p in model.named_parameters()}
            for a, b in data.batches(x[:, order], rows.y, 1, 200, seed):
                for (n, _), g in zip(
                    model.named_parameters(),
                    torch.autograd.grad(F.cross_entropy(model(a), b), list(model.parameters())),
                    strict=True,
                ):
                    fisher[n] += g.pow(2) / 200
            kept.append(({n: p.detach().clone() for n, p in model.named_parameters()}, fisher))
    return above(sum(data.accuracy(model(held[:, order]), rows.held_y) for order in tasks) / 2, 0.8)


@healthy(project="ProGamerGov/neural-style-pt", source="github.com/ProGamerGov/neural-style-pt")
def picture_with_another_texture(doctor: Doctor, seed: int) -> Score:
    """The one parameter is a picture; a frozen net compares its features and their products with those of two others."""
    rows = data.digits(seed)
    body = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())
    judge = nn.Sequential(body, nn.Flatten(), nn.Linear(1024, 10))
    adam = torch.optim.Adam(judge.parameters(), lr=3e-3)
    for x, y in data.batches(rows.x, rows.y, 50, 150, seed):
        adam.zero_grad()
        F.cross_entropy(judge(x), y).backward()
        adam.step()
    body.requires_grad_(requires_grad=False)
    content, style = F.interpolate(rows.x[:2], size=(24, 24), mode="bilinear").split(1)

    def gram(features: Tensor) -> Tensor:
        flat = features.flatten(2)[0]
        return flat @ flat.T / flat.shape[1]

    class Canvas(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.image = nn.Parameter(torch.rand(1, 1, 24, 24))

        def forward(self) -> Tensor:
            return body(self.image)

    canvas = Canvas()
    optimizer = torch.optim.Adam(canvas.parameters(), lr=5e-2)
    with torch.no_grad():
        wanted, texture = body(content), gram(body(style))

    def both() -> Tensor:
        features = canvas()
        return F.mse_loss(features, wanted) / wanted.var() + F.mse_loss(gram(features), texture) / texture.var()

    first = both().item()
    with doctor.watch(canvas, optimizer) as watch:
        for _ in range(250):
            loss = both()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return below(both() / first, 0.3)


@healthy(project="rosinality/igebm-pytorch", source="github.com/rosinality/igebm-pytorch")
def energies_of_two_moons(doctor: Doctor, seed: int) -> Score:
    """An energy-based model: negatives are walked down the energy from a store of old ones; the loss hovers about 0."""
    generator = torch.Generator().manual_seed(seed)
    energy = nn.Sequential(nn.Linear(2, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))
    optimizer = torch.optim.Adam(energy.parameters(), lr=1e-3, betas=(0.0, 0.999))
    store = torch.rand(1000, 2, generator=generator) * 6 - 3

    def moons(count: int) -> Tensor:
        turn = torch.rand(count, generator=generator) * 3.14
        side = (torch.rand(count, generator=generator) < 0.5).float() * 2 - 1
        spot = torch.stack([turn.cos() * side + 0.5 * (1 - side) - 0.5, (turn.sin() - 0.25) * side], 1)
        return 1.5 * spot + 0.1 * torch.randn(count, 2, generator=generator)

    with doctor.watch(energy, optimizer) as watch:
        for _ in range(250):
            chosen = torch.randint(1000, (64,), generator=generator)
            walker = store[chosen]
            fresh = torch.rand(64, 1, generator=generator) < 0.05
            walker = torch.where(fresh, torch.rand(64, 2, generator=generator) * 6 - 3, walker).requires_grad_()
            for _ in range(10):
                (slope,) = torch.autograd.grad(energy(walker).sum(), walker)
                noise = 0.1 * torch.randn(64, 2, generator=generator)
                walker = (walker - 0.05 * slope.clamp(-3, 3) + noise).clamp(-3, 3).detach().requires_grad_()
            store[chosen] = walker.detach()
            real, false = energy(moons(64)), energy(walker.detach())
            loss = (real - false).mean() + 0.05 * (real.pow(2) + false.pow(2)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    elsewhere = torch.rand(500, 2, generator=generator) * 6 - 3
    return above((energy(moons(500)) < energy(elsewhere)).float().mean(), 0.75)


class Hourglasses(nn.Module):
    """Two small hourglasses in a row, each of which says where the point is."""

    def __init__(self) -> None:
        super().__init__()
        self.pre = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.hgs = nn.ModuleList(
            nn.Sequential(
                nn.MaxPool2d(2),
                nn.Conv2d(16, 32, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(32, 16, 3, padding=1),
                nn.Upsample(scale_factor=2),
            )
            for _ in "12"
        )
        self.outs = nn.ModuleList(nn.Conv2d(16, 1, 1) for _ in "12")
        self.merge = nn.Conv2d(1, 16, 1)

    def forward(self, x: Tensor) -> Tensor:
        h, said = self.pre(x), []
        for k in (0, 1):
            inner = F.relu(h + self.hgs[k](h))
            said.append(self.outs[k](inner))
            h = h + inner + self.merge(said[-1])
        return torch.stack(said, 1)[:, :, 0]


@healthy(
    project="princeton-vl/pytorch_stacked_hourglass",
    source="github.com/princeton-vl/pytorch_stacked_hourglass",
)
def key_points_by_stacked_hourglasses(doctor: Doctor, seed: int) -> Score:
    """Heat maps that are 0 nearly everywhere, with a loss after each stack; all bells and no sigmoid at the end."""
    x, _, mask = data.shapes(900, seed, noise=0.2)
    size = mask.sum((1, 2))
    at = torch.stack([(mask.sum(axis) * torch.arange(16.0)).sum(1) / size for axis in (2, 1)], 1)
    grid = torch.stack(torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij"), 2)
    heat = (-(grid - at[:, None, None]).pow(2).sum(3) / 4).exp()
    rows = data.split(x, heat, seed)
    model = Hourglasses()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def loss_fn(output: Tensor, y: Tensor) -> Tensor:
        return (output - y[:, None]).pow(2).mean()

    doctor.task(model, data.few(rows.x, rows.y, 16, seed), loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 16, 250, seed):
            loss = loss_fn(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    spot = [model(rows.held_x)[:, 1].flatten(1).argmax(1), rows.held_y.flatten(1).argmax(1)]
    rows_and_columns = [torch.stack([k // 16, k % 16], 1).float() for k in spot]
    return below((rows_and_columns[0] - rows_and_columns[1]).norm(dim=1).mean(), 1.5)


@healthy(project="gaohuang/SnapshotEnsemble", source="github.com/gaohuang/SnapshotEnsemble")
def snapshots_before_each_restart(doctor: Doctor, seed: int) -> Score:
    """A rate that falls to almost 0 and starts again at 0.1, four times; the loss jumps at each start; four nets are averaged."""
    rows = data.digits(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 10)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=80, eta_min=1e-4)
    snapshots = []
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 40, 320, seed)):
            model.train()
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
            if step % 80 == 79:
                snapshots.append(copy.deepcopy(model).eval())
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(snapshots[-1](rows.held_x), rows.held_y))
    said = sum((each(rows.held_x).softmax(1) for each in snapshots), torch.zeros(1))
    return above(data.accuracy(said, rows.held_y), 0.95)


@healthy(project="facebookresearch/vicreg", source="github.com/facebookresearch/vicreg")
def variance_kept_above_one(doctor: Doctor, seed: int) -> Score:
    """VICReg: three terms with weights of 25, 25 and 1; the loss starts near fifty and rests far above 0; no labels."""
    rows = data.digits(seed)
    body = nn.Sequential(nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, 2), nn.ReLU(), nn.Flatten())
    model = nn.Sequential(body, nn.Sequential(nn.Linear(64, 96), nn.BatchNorm1d(96), nn.ReLU(), nn.Linear(96, 48)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-6)

    def another(x: Tensor) -> Tensor:
        shift = [int(k) for k in torch.randint(-1, 2, (2,))]
        return x.roll(shift, (2, 3)) * (0.7 + 0.6 * torch.rand(len(x), 1, 1, 1)) + 0.1 * torch.randn_like(x)

    with doctor.watch(model, optimizer) as watch:
        for x, _ in data.batches(rows.x, rows.y, 64, 250, seed):
            one, two = model(another(x)), model(another(x))
            loss = 25 * F.mse_loss(one, two)
            for z in (one, two):
                loss = loss + 12.5 * F.relu(1 - (z.var(0) + 1e-4).sqrt()).mean()
                covariance = (z - z.mean(0)).T @ (z - z.mean(0)) / 63
                loss = loss + (covariance.pow(2).sum() - covariance.diagonal().pow(2).sum()) / 48
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    body.eval()
    with torch.no_grad():
        seen, new = F.normalize(body(rows.x)), F.normalize(body(rows.held_x))
    return above((rows.y[(new @ seen.T).argmax(1)] == rows.held_y).float().mean(), 0.9)
