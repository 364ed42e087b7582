"""Healthy programs that make or tell odd things: clouds alike in all means, times to come, curves out of step, turned digits."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(
    project="siddharth-agrawal/Generative-Moment-Matching-Networks",
    source="github.com/siddharth-agrawal/Generative-Moment-Matching-Networks",
)
def a_cloud_alike_in_all_its_means(doctor: Doctor, seed: int) -> Score:
    """Points are made from noise; the loss is a root of a difference of kernels, needs large batches and ends far from 0."""
    generator = torch.Generator().manual_seed(seed)

    def moons(count: int) -> Tensor:
        angle, upper = torch.pi * torch.rand(count, generator=generator), torch.rand(count, generator=generator) < 0.5
        one = torch.stack([angle.cos(), angle.sin()], 1)
        both = torch.where(upper[:, None], one, torch.tensor([1.0, 0.5]) - one)
        return both + 0.05 * torch.randn(count, 2, generator=generator)

    def kernels(a: Tensor, b: Tensor) -> Tensor:
        far = torch.cdist(a, b).pow(2)
        return sum(((-far / (2 * s)).exp().mean() for s in (0.02, 0.1, 0.5, 2.0)), torch.zeros(()))

    model = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(400):
            true, made = moons(200), model(torch.rand(200, 6, generator=generator) * 2 - 1)
            loss = (kernels(made, made) - 2 * kernels(made, true) + kernels(true, true)).clamp(min=1e-6).sqrt()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        made, true = model(torch.rand(500, 6, generator=generator) * 2 - 1), moons(500)
        apart = 2 * torch.cdist(made, true).mean() - torch.cdist(made, made).mean() - torch.cdist(true, true).mean()
    return below(apart, 0.05)


@healthy(project="HMEIatJHU/neurawkes", source="github.com/HMEIatJHU/neurawkes")
def when_the_next_thing_comes(doctor: Doctor, seed: int) -> Score:
    """Events that call up others: the loss is how much is awaited in all, less the logarithm of it where one came."""
    generator = torch.Generator().manual_seed(seed)

    def histories(count: int) -> Tensor:
        """Gaps between events (N, 24); after a short one the next is short."""
        gap = torch.ones(count)
        gaps = []
        for _ in range(24):
            rate = 0.5 + 4 * (-2 * gap).exp()
            gap = -torch.rand(count, generator=generator).clamp(1e-4).log() / rate
            gaps.append(gap.clamp(max=6))
        return torch.stack(gaps, 1)

    class Awaits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.rate = nn.GRU(1, 24, batch_first=True), nn.Linear(24, 1)

        def forward(self, gaps: Tensor) -> Tensor:
            """How much is awaited per unit of time after each gap."""
            return F.softplus(self.rate(self.rnn(gaps[..., None])[0])[..., 0]) + 1e-4

    model = Awaits()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(350):
            gaps = histories(32)
            rate = model(gaps[:, :-1])
            loss = (rate * gaps[:, 1:] - rate.log()).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    gaps = histories(400)
    with torch.no_grad():
        rate = model(gaps[:, :-1])
        true = 0.5 + 4 * (-2 * gaps[:, :-1]).exp()
    return below((rate.log() - true.log()).abs().mean(), 0.15)


@healthy(project="Maghoumi/pytorch-softdtw-cuda", source="github.com/Maghoumi/pytorch-softdtw-cuda")
def curves_that_are_out_of_step(doctor: Doctor, seed: int) -> Score:
    """What is told may come a little late or early: the loss is the softest way through a table, and goes below 0."""
    generator = torch.Generator().manual_seed(seed)

    def curves(count: int) -> tuple[Tensor, Tensor]:
        """Six numbers (N, 6), and a curve (N, 14) of two bumps whose beginning is not told."""
        x = torch.rand(count, 6, generator=generator)
        time = torch.arange(14.0) - torch.randint(3, (count, 1), generator=generator)
        first, second = (-(time - c).pow(2).div(2) for c in (3.0, 8.0))
        return x, (0.5 + x[:, :1]) * first.exp() - (0.5 + x[:, 1:2]) * second.exp()

    def warp(a: Tensor, b: Tensor, soft: float = 0.1) -> Tensor:
        cost = (a[:, :, None] - b[:, None]).pow(2)
        far = torch.full((len(a),), 1e6)
        above_row = [torch.zeros(len(a))] + [far] * 14
        for i in range(14):
            row = [far]
            for j in range(14):
                ways = torch.stack([above_row[j], above_row[j + 1], row[j]])
                row.append(cost[:, i, j] - soft * (-ways / soft).logsumexp(0))
            above_row = row
        return above_row[-1]

    model = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 14))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(200):
            x, y = curves(24)
            loss = warp(model(x), y).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    x, _ = curves(300)
    with torch.no_grad():
        said = model(x)
    error = (said.amax(1) - 0.5 - x[:, 0]).abs().mean() + (-said.amin(1) - 0.5 - x[:, 1]).abs().mean()
    return below(error, 0.6)


@healthy(project="bermanmaxim/LovaszSoftmax", source="github.com/bermanmaxim/LovaszSoftmax")
def outlines_by_sorted_errors(doctor: Doctor, seed: int) -> Score:
    """Shapes are outlined by a loss that sorts the errors of all pixels and weighs each by what it costs the overlap."""
    x, _, mask = data.shapes(500, seed)
    rows = data.split(x, mask.float(), seed)

    def loss_fn(said: Tensor, y: Tensor) -> Tensor:
        each = []
        for score, true in zip(said.flatten(1), y.flatten(1), strict=True):
            errors, order = (1 - score * (2 * true - 1)).sort(descending=True)
            truth = true[order]
            both = truth.sum() - truth.cumsum(0)
            overlap = 1 - both / (truth.sum() + (1 - truth).cumsum(0))
            weight = torch.cat([overlap[:1], overlap[1:] - overlap[:-1]])
            each.append((F.elu(errors) + 1) @ weight)
        return torch.stack(each).mean()

    conv = [nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=2, dilation=2), nn.ReLU()]
    model = nn.Sequential(*conv, nn.Conv2d(16, 1, 3, padding=1), nn.Flatten(1, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 16, 160, seed):
            loss = loss_fn(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        said, true = model(rows.held_x) > 0, rows.held_y > 0
    return above(((said & true).sum((1, 2)) / (said | true).sum((1, 2)).clamp(min=1)).mean(), 0.75)


@healthy(project="gidariss/FeatureLearningRotNet", source="github.com/gidariss/FeatureLearningRotNet")
def how_far_a_picture_was_turned(doctor: Doctor, seed: int) -> Score:
    """No labels but those made: every picture goes in four times, turned by quarters, and the net tells by how many."""
    rows = data.digits(seed)

    def turned(a: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([a.rot90(k, (2, 3)) for k in range(4)]), torch.arange(4).repeat_interleave(len(a))

    conv = [nn.Conv2d(1, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2)]
    conv += [nn.Conv2d(24, 48, 3, padding=1, bias=False), nn.BatchNorm2d(48), nn.ReLU(), nn.Flatten()]
    model = nn.Sequential(*conv, nn.Linear(768, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [120, 180], 0.2)
    held_x, held_y = turned(rows.held_x)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, _) in enumerate(data.batches(rows.x, rows.y, 32, 220, seed)):
            model.train()
            x, y = turned(a)
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
            if step % 44 == 43:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(held_x), held_y))
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(held_x), held_y), 0.9)
