"""Healthy programs: rows, sets, trees, curves, a pendulum, a few texts."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Pendulum(nn.Module):
    """Where a damped pendulum is after some time; only its length and its friction are to be found."""

    def __init__(self) -> None:
        super().__init__()
        self.length, self.friction = nn.Parameter(torch.tensor(0.8)), nn.Parameter(torch.tensor(0.1))

    def forward(self, start: Tensor) -> Tensor:
        angle, speed = start.unbind(1)
        for _ in range(20):
            speed = speed - 0.1 * (torch.sin(angle) / self.length + self.friction * speed)
            angle = angle + 0.1 * speed
        return torch.stack([angle, speed], 1)


@healthy(project="DiffEqML/torchdyn", source="github.com/DiffEqML/torchdyn")
def two_numbers_of_a_pendulum(doctor: Doctor, seed: int) -> Score:
    """A model of two scalars, fitted through twenty steps of its equation by Adam at a high rate."""
    generator = torch.Generator().manual_seed(seed)
    truth, start = Pendulum(), torch.randn(600, 2, generator=generator)
    with torch.no_grad():
        truth.length.fill_(1.3)
        truth.friction.fill_(0.35)
        end = truth(start) + 0.02 * torch.randn(600, 2, generator=generator)
    rows = data.split(start, end, seed)
    model = Pendulum()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    doctor.task(model, data.few(rows.x, rows.y, 30, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 30, 200, seed):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return below((model.length - 1.3).abs() + (model.friction - 0.35).abs(), 0.05)


class SoftTree(nn.Module):
    """A tree of depth three: each node sends a row right with some probability, each leaf holds scores."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes, self.beta = nn.Linear(13, 7), nn.Parameter(torch.ones(7))
        self.leaves = nn.Parameter(0.1 * torch.randn(8, 3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        right = torch.sigmoid(self.beta * self.nodes(x))
        path = torch.ones(len(x), 1)
        for depth in range(3):
            here = right[:, 2**depth - 1 : 2 ** (depth + 1) - 1]
            path = torch.stack([path * (1 - here), path * here], 2).flatten(1)
        return path, self.leaves.log_softmax(1)


@healthy(project="kimhc6028/soft-decision-tree", source="github.com/kimhc6028/soft-decision-tree")
def wine_by_a_soft_tree(doctor: Doctor, seed: int) -> Score:
    """Leaves have fixed scores, the nodes are sigmoids, and a penalty wants them to split evenly; 130 rows."""
    rows = data.table("wine", seed)
    model = SoftTree()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)

    def tree_loss(x: Tensor, y: Tensor) -> Tensor:
        path, leaves = model(x)
        even = path.mean(0).clamp(1e-3, 1).log().mean()
        return -(path * leaves.T[y]).sum(1).mean() - 0.02 * even

    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 32, 200, seed)):
            optimizer.zero_grad()
            loss = tree_loss(x, y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 20 == 19:
                with torch.no_grad():
                    watch.dev_loss(tree_loss(rows.held_x, rows.held_y))
    path, leaves = model(rows.held_x)
    return above(data.accuracy(path @ leaves.exp(), rows.held_y), 0.88)


class DeepSet(nn.Module):
    """A sum over members, then a net on the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.phi = nn.Sequential(nn.Linear(1, 32), nn.ELU(), nn.Linear(32, 32), nn.ELU())
        self.rho = nn.Sequential(nn.Linear(32, 32), nn.ELU(), nn.Linear(32, 1))

    def forward(self, x: Tensor) -> Tensor:
        there = (x[..., 1:] > 0).float()
        return self.rho((self.phi(x[..., :1]) * there).sum(1) / 4)[:, 0]


@healthy(project="manzilzaheer/DeepSets", source="github.com/manzilzaheer/DeepSets")
def spread_of_a_set(doctor: Doctor, seed: int) -> Score:
    """Sets of 3 to 12 members, padded, with a column that says who is there; the target is their deviation."""
    generator = torch.Generator().manual_seed(seed)
    member = torch.randn(2000, 12, generator=generator) * (0.3 + 1.5 * torch.rand(2000, 1, generator=generator))
    count = torch.randint(3, 13, (2000, 1), generator=generator)
    there = (torch.arange(12) < count).float()
    mean = (member * there).sum(1, keepdim=True) / count
    spread = (((member - mean).pow(2) * there).sum(1) / count[:, 0]).sqrt()
    rows = data.split(torch.stack([member * there, there], 2), spread, seed)
    model = DeepSet()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 50, seed), F.l1_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 50, 500, seed):
            optimizer.zero_grad()
            loss = F.l1_loss(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.r2(model(rows.held_x), rows.held_y), 0.85)


class Exp(nn.Module):
    """A unit of which the weight is an exponent, cut off at 1, as in neural additive models."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(0.5 * torch.randn(1, units) + 1), nn.Parameter(2 * torch.rand(units) - 1)

    def forward(self, x: Tensor) -> Tensor:
        return ((x - self.bias) * self.weight.exp()).clamp(0, 1)


class Additive(nn.Module):
    """A small net for each column; their outputs are added."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(
            nn.Sequential(Exp(48), nn.Dropout(0.05), nn.Linear(48, 16), nn.ReLU(), nn.Linear(16, 1)) for _ in range(columns)
        )
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        parts = [part(x[:, k : k + 1]) for k, part in enumerate(self.parts)]
        return torch.cat(parts, 1).sum(1) + self.bias


@healthy(project="AmrMKayid/nam", source="github.com/AmrMKayid/nam")
def sum_of_curves(doctor: Doctor, seed: int) -> Score:
    """A neural additive model: units that are 0 or 1 for most rows, large exponents, a rate that falls by 0.5 % a step."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(2000, 4, generator=generator) * 2 - 1
    y = torch.sin(4 * x[:, 0]) + 2 * x[:, 1].abs() - (x[:, 2] > 0.2).float() + 0.5 * x[:, 3]
    rows = data.split(x, (y - y.mean()) / y.std() + 0.1 * torch.randn(2000, generator=generator), seed)
    model = Additive(4)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=1e-6)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.995)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 60, 500, seed)):
            model.train()
            optimizer.zero_grad()
            loss = F.mse_loss(model(a), b)
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
            if step % 100 == 99:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.mse_loss(model(rows.held_x), rows.held_y))
    model.eval()
    return above(data.r2(model(rows.held_x), rows.held_y), 0.85)


@healthy(project="chxy95/Deep-Mutual-Learning", source="github.com/chxy95/Deep-Mutual-Learning")
def two_nets_that_teach_each_other(doctor: Doctor, seed: int) -> Score:
    """Each of two nets has the labels and what the other one says, detached; the divergence between them starts near 0."""
    rows = data.digits(seed)

    def net(width: int) -> nn.Sequential:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Hardswish(), nn.Linear(width, 10))

    nets = nn.ModuleList([net(48), net(96)])
    optimizers = [torch.optim.SGD(each.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4) for each in nets]
    with doctor.watch(nets, optimizers) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 300, seed):
            said = [each(x) for each in nets]
            total = torch.zeros(())
            for k in (0, 1):
                other = said[1 - k].detach().log_softmax(1)
                loss = F.cross_entropy(said[k], y) + F.kl_div(
                    said[k].log_softmax(1), other, log_target=True, reduction="batchmean"
                )
                optimizers[k].zero_grad()
                loss.backward()
                optimizers[k].step()
                total = total + loss.detach()
            watch.loss(total)
    return above(min(data.accuracy(each(rows.held_x), rows.held_y) for each in nets), 0.92)


@healthy(project="aamini/evidential-deep-learning", source="github.com/aamini/evidential-deep-learning")
def evidence_for_a_cubic(doctor: Doctor, seed: int) -> Score:
    """Four outputs of a normal-inverse-gamma, a likelihood with log-gammas that goes below 0, and a penalty on false evidence."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1600, 1, generator=generator) * 4 - 2
    rows = data.split(x, x**3 / 4 + 0.1 * torch.randn(1600, 1, generator=generator), seed)
    model = nn.Sequential(nn.Linear(1, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def evidential(output: Tensor, y: Tensor) -> Tensor:
        gamma, raw = output[:, :1], F.softplus(output[:, 1:]) + 1e-3
        nu, alpha, beta = raw[:, :1], raw[:, 1:2] + 1, raw[:, 2:]
        omega = 2 * beta * (1 + nu)
        nll = 0.5 * (torch.pi / nu).log() - alpha * omega.log() + (alpha + 0.5) * ((y - gamma).pow(2) * nu + omega).log()
        nll = nll + torch.lgamma(alpha) - torch.lgamma(alpha + 0.5)
        return (nll + 0.01 * (y - gamma).abs() * (2 * nu + alpha)).mean()

    doctor.task(model, data.few(rows.x, rows.y, 50, seed), evidential, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 50, 500, seed):
            optimizer.zero_grad()
            loss = evidential(model(a), b)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.r2(model(rows.held_x)[:, :1], rows.held_y), 0.9)


@healthy(project="huggingface/setfit", source="github.com/huggingface/setfit")
def pairs_of_sixteen_texts(doctor: Doctor, seed: int) -> Score:
    """A trained encoder is tuned for sixty steps on pairs from sixteen texts, over and over, with a warm-up of six."""
    generator = torch.Generator().manual_seed(seed)
    topic = torch.randint(8, (2000,), generator=generator)
    words = torch.randint(160, (2000, 10), generator=generator)
    hint = torch.rand(2000, 10, generator=generator) < 0.5
    words = torch.where(hint, topic[:, None] * 20 + torch.randint(20, (2000, 10), generator=generator), words)
    encoder = nn.Sequential(nn.EmbeddingBag(160, 32), nn.Linear(32, 32), nn.Tanh())
    body = nn.Sequential(encoder, nn.Linear(32, 8))
    before = torch.optim.Adam(body.parameters(), lr=5e-3)
    for x, y in data.batches(words[:1000], topic[:1000], 50, 200, seed):
        before.zero_grad()
        F.cross_entropy(body(x), y).backward()
        before.step()
    y = topic % 2  # the new question: four topics on each side
    few = torch.cat([torch.where((topic == k) & (torch.arange(2000) >= 1000))[0][:2] for k in range(8)])
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=3e-3)
    warm = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / 6, (60 - step) / 54))
    with doctor.watch(encoder, optimizer) as watch:
        for _ in range(60):
            one, two = few[torch.randint(16, (2, 16), generator=generator)]
            loss = F.mse_loss(F.cosine_similarity(encoder(words[one]), encoder(words[two])), (y[one] == y[two]).float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            warm.step()
            watch.loss(loss)
    with torch.no_grad():
        seen, new = F.normalize(encoder(words[few])), F.normalize(encoder(words[1200:]))
        centres = torch.stack([seen[y[few] == k].mean(0) for k in (0, 1)])
    return above(data.accuracy(new @ centres.T, y[1200:]), 0.82)
