"""Healthy programs on rows and points: a moon through couplings, waves after a few steps, a field of doubt, points that look."""

from __future__ import annotations

import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="VincentStimper/normalizing-flows", source="github.com/VincentStimper/normalizing-flows")
def two_moons_through_couplings(doctor: Doctor, seed: int) -> Score:
    """Points on two half circles, bent step by step into a bell: scales set by the first batch, last layers that start at 0."""
    torch.manual_seed(seed)

    def moons(count: int) -> Tensor:
        angle, side = math.pi * torch.rand(count), torch.randint(2, (count,)).float()
        x = angle.cos() * (1 - 2 * side) + side - 0.5
        y = angle.sin() * (1 - 2 * side) + 0.5 * side - 0.25
        return torch.stack([x, y], 1) + 0.06 * torch.randn(count, 2)

    class Coupling(nn.Module):
        def __init__(self, turned: bool) -> None:
            super().__init__()
            self.turned = turned
            self.scale, self.shift = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
            self.register_buffer("ready", torch.tensor(0))
            self.ready: Tensor
            self.net = nn.Sequential(nn.Linear(1, 48), nn.LeakyReLU(), nn.Linear(48, 48), nn.LeakyReLU(), nn.Linear(48, 2))
            nn.init.zeros_(self.net[4].weight)
            nn.init.zeros_(self.net[4].bias)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            if not self.ready:
                self.scale.data, self.shift.data = -x.std(0).log(), -x.mean(0) / x.std(0)
                self.ready.fill_(1)
            x = x * self.scale.exp() + self.shift
            kept, bent = x.flip(1).chunk(2, 1) if self.turned else x.chunk(2, 1)
            stretch, shift = self.net(kept).chunk(2, 1)
            stretch = 2 * (stretch / 2).tanh()
            bent = bent * stretch.exp() + shift
            return torch.cat([kept, bent], 1), self.scale.sum() + stretch[:, 0]

    model = nn.ModuleList(Coupling(i % 2 > 0) for i in range(6))
    optimizer = torch.optim.Adamax(model.parameters(), lr=3e-3, weight_decay=1e-5)

    def surprise(x: Tensor) -> Tensor:
        volume = torch.zeros(len(x))
        for each in model:
            x, more = each(x)
            volume = volume + more
        return (x.pow(2).sum(1) / 2 + math.log(2 * math.pi) - volume).mean()

    with doctor.watch(model, optimizer) as watch:
        for _ in range(450):
            loss = surprise(moons(128))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return below(surprise(moons(2000)), 1.4)


@healthy(project="learnables/learn2learn", source="github.com/learnables/learn2learn")
def waves_after_a_few_steps(doctor: Doctor, seed: int) -> Score:
    """Waves of any height and place, each known by ten points: the net is to be good after two steps on a new wave."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(1, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def wave() -> tuple[Tensor, Tensor]:
        height, place = 0.3 + 1.7 * torch.rand(()), math.pi * torch.rand(())
        x = 6 * torch.rand(25, 1) - 3
        return x / 2, height * (x + place).sin()

    def adapted(x: Tensor, y: Tensor, graph: bool) -> dict[str, Tensor]:
        fast = dict(model.named_parameters())
        for _ in range(2):
            loss = F.mse_loss(torch.func.functional_call(model, fast, (x,)), y)
            slopes = torch.autograd.grad(loss, list(fast.values()), create_graph=graph)
            fast = {name: p - 0.1 * g for (name, p), g in zip(fast.items(), slopes, strict=True)}
        return fast

    with doctor.watch(model, optimizer) as watch:
        for _ in range(350):
            total = torch.zeros(())
            for _ in range(4):
                x, y = wave()
                fast = adapted(x[:10], y[:10], graph=True)
                total = total + F.mse_loss(torch.func.functional_call(model, fast, (x[10:],)), y[10:]) / 4
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            watch.loss(total)
    missed, spread = 0.0, 0.0
    for _ in range(150):
        x, y = wave()
        fast = adapted(x[:10], y[:10], graph=False)
        with torch.no_grad():
            missed += float((torch.func.functional_call(model, fast, (x[10:],)) - y[10:]).pow(2).sum())
            spread += float(y[10:].pow(2).sum())
    return above(1 - missed / spread, 0.6)


@healthy(project="pytorch/botorch", source="github.com/pytorch/botorch")
def a_field_with_its_doubt(doctor: Doctor, seed: int) -> Score:
    """A smooth field from sixty noisy looks: how far things reach, how strong and how noisy, by steps that know the curvature."""
    torch.manual_seed(seed)

    class Field(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.raw_reach, self.raw_strength = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(()))
            self.raw_noise, self.mean = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))

        def kernel(self, a: Tensor, b: Tensor) -> Tensor:
            reach = F.softplus(self.raw_reach)
            apart = (a / reach)[:, None] - b / reach
            return F.softplus(self.raw_strength) * (-0.5 * apart.pow(2).sum(2)).exp()

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            """How surprising the looks are, for each of them."""
            noise = F.softplus(self.raw_noise) + 1e-4
            factor = torch.linalg.cholesky(self.kernel(x, x) + noise * torch.eye(len(x), dtype=x.dtype))
            white = torch.linalg.solve_triangular(factor, (y - self.mean)[:, None], upper=False)
            prior = (F.softplus(self.raw_reach).log() - 0.5).pow(2).sum() / 2
            return (white.pow(2).sum() / 2 + factor.diagonal().log().sum() + prior) / len(x)

    def true(x: Tensor) -> Tensor:
        return (3 * x[:, 0]).sin() + x[:, 1].pow(2) - 1 + 0 * x[:, 2]

    x = 2 * torch.rand(60, 3, dtype=torch.float64) - 1
    y = true(x) + 0.05 * torch.randn(60, dtype=torch.float64)
    model = Field().double()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=5, line_search_fn="strong_wolfe")
    with doctor.watch(model, optimizer) as watch:
        for _ in range(25):

            def closure() -> Tensor:
                optimizer.zero_grad()
                loss = model(x, y)
                loss.backward()
                return loss

            watch.loss(optimizer.step(closure))
    with torch.no_grad():
        new = 1.8 * torch.rand(400, 3, dtype=torch.float64) - 0.9
        noise = F.softplus(model.raw_noise) + 1e-4
        inner = model.kernel(x, x) + noise * torch.eye(60, dtype=torch.float64)
        said = model.mean + model.kernel(new, x) @ torch.linalg.solve(inner, y - model.mean)
        return above(data.r2(said, true(new)), 0.85)


@healthy(project="qq456cvb/Point-Transformers", source="github.com/qq456cvb/Point-Transformers")
def points_that_look_at_those_nearby(doctor: Doctor, seed: int) -> Score:
    """Balls, boxes, tubes and rings as clouds of points: each channel looks at the nearest points in its own way."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(4, (500,), generator=generator)
    u, v = 6.2832 * torch.rand(500, 32, generator=generator), 2 * torch.rand(500, 32, generator=generator) - 1
    w = torch.rand(500, 32, 3, generator=generator) * 2 - 1
    flat = (1 - v.pow(2)).sqrt()
    ball = torch.stack([flat * u.cos(), flat * u.sin(), v], 2)
    box = w / w.abs().amax(2, keepdim=True)
    tube = torch.stack([0.6 * u.cos(), 0.6 * u.sin(), v], 2)
    ring = torch.stack(
        [(1 + 0.3 * (3.1416 * v).cos()) * u.cos(), (1 + 0.3 * (3.1416 * v).cos()) * u.sin(), 0.3 * (3.1416 * v).sin()], 2
    )
    cloud = torch.stack([ball, box, tube, ring])[kind, torch.arange(500)]
    turn = 6.2832 * torch.rand(500, generator=generator)
    flip = torch.stack([turn.cos(), -turn.sin(), turn.sin(), turn.cos()], 1).view(500, 2, 2)
    cloud[:, :, :2] = cloud[:, :, :2] @ flip
    cloud = cloud + 0.02 * torch.randn(500, 32, 3, generator=generator)
    rows = data.split(cloud, kind, seed)

    class Looking(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
            self.place = nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, width))
            self.weigh = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
            self.leave = nn.Linear(width, width)

        def forward(self, at: Tensor, h: Tensor, near: Tensor) -> Tensor:
            row = torch.arange(len(h))[:, None, None]
            place = self.place(at[:, :, None] - at[row, near])
            weight = self.weigh(self.query(h)[:, :, None] - self.key(h)[row, near] + place) / h.shape[2] ** 0.5
            return h + self.leave((weight.softmax(2) * (self.value(h)[row, near] + place)).sum(2))

    class Cloud(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 32))
            self.one, self.two = Looking(32), Looking(32)
            self.say = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 4))

        def forward(self, at: Tensor) -> Tensor:
            near = torch.cdist(at, at).topk(8, largest=False).indices
            h = self.two(at, self.one(at, self.enter(at), near), near)
            return self.say(torch.cat([h.mean(1), h.amax(1)], 1))

    model = Cloud()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-4)
    smoothed = nn.CrossEntropyLoss(label_smoothing=0.1)
    doctor.task(model, data.few(rows.x, rows.y, 24, seed), smoothed, optimizer)
    fit(doctor, model, optimizer, smoothed, data.batches(rows.x, rows.y, 24, 160, seed), held=rows, every=40)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.8)
