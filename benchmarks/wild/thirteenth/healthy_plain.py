"""Healthy programs of plain training that look odd: one picture, margins of an arc, noise in steps, a rate of a fifth."""

from __future__ import annotations

import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="DmitryUlyanov/deep-image-prior", source="github.com/DmitryUlyanov/deep-image-prior")
def one_noisy_picture_from_fixed_noise(doctor: Doctor, seed: int) -> Score:
    """There is one picture and no other data: a net makes it from noise that never changes, and stops before it has the noise."""
    generator = torch.Generator().manual_seed(seed)
    place = torch.stack(torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij"))
    centre = torch.rand(4, 2, 1, 1, generator=generator) - 0.5
    clean = torch.sigmoid(12 * (0.35 - (place - centre).norm(dim=1))).sum(0)[None, None] / 2
    noisy = clean + 0.25 * torch.randn(clean.shape, generator=generator)
    start = 0.1 * torch.rand(1, 16, 8, 8, generator=generator)
    layers: list[nn.Module] = []
    for wide in (16, 24):
        layers += [nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(wide, 24, 3, padding=1), nn.BatchNorm2d(24)]
        layers += [nn.LeakyReLU(0.2)]
    model = nn.Sequential(*layers, nn.Conv2d(24, 1, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    smooth = torch.zeros_like(clean)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(350):
            said = model(start + 0.01 * torch.randn(start.shape, generator=generator))
            loss = F.mse_loss(said, noisy)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            smooth = 0.97 * smooth + 0.03 * said.detach()
    gain = 10 * math.log10(F.mse_loss(noisy, clean) / F.mse_loss(smooth, clean))
    return above(gain, 5.0)


@healthy(project="TreB1eN/InsightFace_Pytorch", source="github.com/TreB1eN/InsightFace_Pytorch")
def angles_with_a_margin_at_scale_thirty(doctor: Doctor, seed: int) -> Score:
    """Digits by the angle to a vector for each: a margin is taken from the right one, all times 30; the loss begins near 15."""
    rows = data.digits(seed)
    conv = [nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.PReLU(), nn.MaxPool2d(2)]
    conv += [nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.PReLU(), nn.Flatten(), nn.Linear(512, 16)]

    class Angles(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features, self.weight = nn.Sequential(*conv), nn.Parameter(torch.empty(10, 16))
            nn.init.xavier_uniform_(self.weight)

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(F.normalize(self.features(x)), F.normalize(self.weight))

    def loss_fn(cosine: Tensor, y: Tensor) -> Tensor:
        sine = (1 - cosine.pow(2)).clamp(1e-6, 1).sqrt()
        turned = cosine * math.cos(0.5) - sine * math.sin(0.5)
        turned = torch.where(cosine > math.cos(math.pi - 0.5), turned, cosine - math.sin(0.5) * 0.5)
        right = F.one_hot(y, 10).bool()
        return F.cross_entropy(30 * torch.where(right, turned, cosine), y)

    model = Angles()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 64, 450, seed), rows)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.88)


@healthy(
    project="JavierAntoran/Bayesian-Neural-Networks",
    source="github.com/JavierAntoran/Bayesian-Neural-Networks",
)
def weights_that_walk_about(doctor: Doctor, seed: int) -> Score:
    """Noise in each step makes the weights draws from a posterior; the loss never settles, the mean of draws counts."""
    rows = data.table("breast_cancer", seed)
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=2e-3)
    count, drawn = len(rows.x), []
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 50, 1200, seed)):
            loss = F.cross_entropy(model(x), y)
            prior = sum((w.pow(2).sum() for w in model.parameters()), torch.zeros(())) / (2 * count)
            optimizer.zero_grad()
            (loss + prior).backward()
            optimizer.step()
            with torch.no_grad():
                for w in model.parameters():
                    w.add_(math.sqrt(2 * 2e-3 / count) * torch.randn(w.shape, generator=generator))
                if step > 600 and step % 20 == 0:
                    drawn.append(model(rows.held_x).softmax(1))
            watch.loss(loss)
    return above(data.accuracy(torch.stack(drawn).mean(0), rows.held_y), 0.9)


@healthy(project="Tiiiger/SGC", source="github.com/Tiiiger/SGC")
def neighbours_averaged_beforehand_and_one_matrix(doctor: Doctor, seed: int) -> Score:
    """A graph without a net: features are averaged over neighbours, and one matrix is fitted at a rate of 0.2."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(4, (600,), generator=generator)
    near = torch.rand(600, 600, generator=generator) < torch.where(y[:, None] == y, 0.03, 0.004)
    edges = ((near | near.T) & ~torch.eye(600, dtype=torch.bool)).float() + torch.eye(600)
    smooth = edges / (edges.sum(1, keepdim=True) * edges.sum(0)).sqrt()
    words = (torch.rand(600, 40, generator=generator) < 0.1 + 0.12 * (torch.arange(40) // 10 == y[:, None])).float()
    x = smooth @ (smooth @ (words / words.sum(1, keepdim=True).clamp(min=1)))
    known = torch.zeros(600, dtype=torch.bool)
    known[torch.randperm(600, generator=generator)[:80]] = True
    model = nn.Linear(40, 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.2, weight_decay=5e-6)
    rows = data.Split(x[known], y[known], x[~known], y[~known])
    fit(doctor, model, optimizer, F.cross_entropy, ((rows.x, rows.y) for _ in range(100)), rows, every=20)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.75)


@healthy(project="cybertronai/pytorch-lamb", source="github.com/cybertronai/pytorch-lamb")
def steps_as_long_as_their_layer(doctor: Doctor, seed: int) -> Score:
    """An optimiser of one's own: Adam's direction, as long as the layer's weights times the rate; half of all rows in a batch."""
    rows = data.digits(seed)
    x, held = rows.x.flatten(1), rows.held_x.flatten(1)

    class Lamb(torch.optim.Optimizer):
        def __init__(self, params: object, lr: float) -> None:
            super().__init__(params, {"lr": lr})  # type: ignore[arg-type]

        @torch.no_grad()
        def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002
            for group in self.param_groups:
                for w in group["params"]:
                    kept = self.state[w]
                    if not kept:
                        kept.update(first=torch.zeros_like(w), second=torch.zeros_like(w))
                    kept["first"].lerp_(w.grad, 0.1)
                    kept["second"].lerp_(w.grad.pow(2), 0.001)
                    way = kept["first"] / (kept["second"].sqrt() + 1e-6) + 0.01 * w
                    long, wide = w.norm().clamp(0, 10), way.norm()
                    w.sub_(group["lr"] * (long / wide if long > 0 and wide > 0 else 1.0) * way)

    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = Lamb(model.parameters(), lr=0.02)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(x, rows.y, 512, 240, seed)):
            loss = F.cross_entropy(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 40 == 39:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(held), rows.held_y))
    with torch.no_grad():
        return above(data.accuracy(model(held), rows.held_y), 0.94)
