"""Healthy programs on pictures: capsules, hard boxes only, tables of steps, layers begun at 0, two branches shaken."""

from __future__ import annotations

from typing import Any

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


def squash(x: Tensor) -> Tensor:
    """Vectors of length below 1."""
    square = x.pow(2).sum(-1, keepdim=True)
    return square / (1 + square) * x / (square + 1e-8).sqrt()


class Capsules(nn.Module):
    """Capsules of 8 that agree on capsules of 12, one for each digit; answers with their lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 24, 3), nn.Conv2d(24, 32, 3, stride=2)
        self.votes = nn.Parameter(0.1 * torch.randn(16, 10, 8, 12))

    def forward(self, x: Tensor) -> Tensor:
        h = self.second(F.relu(self.first(x))).view(len(x), 4, 8, 4).transpose(2, 3).flatten(1, 2)
        votes = torch.einsum("npi,pkio->npko", squash(h), self.votes)
        agreed = torch.zeros(votes.shape[:3])
        for turn in range(3):
            out = squash((agreed.softmax(2)[..., None] * votes).sum(1))
            if turn < 2:
                agreed = agreed + (votes.detach() * out.detach()[:, None]).sum(3)
        return (out.pow(2).sum(2) + 1e-8).sqrt()


@healthy(project="gram-ai/capsule-networks", source="github.com/gram-ai/capsule-networks")
def capsules_that_agree(doctor: Doctor, seed: int) -> Score:
    """A margin on the lengths of capsules; the routes between them are found in each pass without a gradient."""
    rows = data.digits(seed)

    def loss_fn(lengths: Tensor, y: Tensor) -> Tensor:
        own = F.one_hot(y, 10).float()
        wrong = own * F.relu(0.9 - lengths).pow(2) + 0.5 * (1 - own) * F.relu(lengths - 0.1).pow(2)
        return wrong.sum(1).mean()

    model = Capsules()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 48, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 48, 250, seed), rows, every=50)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@healthy(project="amdegroot/ssd.pytorch", source="github.com/amdegroot/ssd.pytorch")
def three_hard_boxes_for_each_right_one(doctor: Doctor, seed: int) -> Score:
    """One shape among sixteen cells, against the three others that look most like one; the rest has no say."""
    x, kind, mask = data.shapes(900, seed)
    grid = torch.stack(torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij"))
    centre = (mask[:, None] * grid).sum((2, 3)) / mask.sum((1, 2))[:, None]
    cell = (centre[:, 0] // 4 * 4 + centre[:, 1] // 4).long()
    off = centre % 4 / 4 - 0.5
    conv = [
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
    ]
    conv += [nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 7, 3, padding=1)]
    model = nn.Sequential(*conv)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)
    every = torch.arange(900)
    with doctor.watch(model, optimizer) as watch:
        for at, _ in data.batches(every[:700], kind[:700], 24, 350, seed):
            said = model(x[at]).flatten(2).transpose(1, 2)
            truth = torch.zeros(24, 16, dtype=torch.long)
            truth[torch.arange(24), cell[at]] = kind[at] + 1
            wrong = F.cross_entropy(said[..., :5].transpose(1, 2), truth, reduction="none")
            right = truth > 0
            hard = wrong.detach().masked_fill(right, 0.0).topk(3, 1).indices
            used = right.scatter(1, hard, src=torch.ones_like(hard, dtype=torch.bool))
            place = F.smooth_l1_loss(said[right][:, 5:], off[at], reduction="sum")
            loss = ((wrong * used).sum() + place) / 24
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        said = model(x[700:]).flatten(2)
        best = said[:, :5].softmax(1)[:, 1:].flatten(1).argmax(1)
        near = ((best % 16) == cell[700:]) & ((best // 16) == kind[700:])
        return above(near.float().mean(), 0.6)


class Fixed(nn.Module):
    """A residual block without a norm: scalars, and a last convolution that begins at 0."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
        self.biases, self.scale = nn.Parameter(torch.zeros(4)), nn.Parameter(torch.ones(()))
        nn.init.normal_(self.first.weight, std=(2 / (width * 9)) ** 0.5 * depth**-0.5)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.first(x + self.biases[0]) + self.biases[1])
        out: Tensor = F.relu(x + self.scale * self.second(h + self.biases[2]) + self.biases[3])
        return out


@healthy(project="hongyi-zhang/Fixup", source="github.com/hongyi-zhang/Fixup")
def deep_without_a_norm(doctor: Doctor, seed: int) -> Score:
    """Ten residual blocks without any norm; the second convolution of each and the last layer begin at 0."""
    x, y, _ = data.shapes(900, seed)
    rows = data.split(x, y, seed)
    blocks = [Fixed(16, 10) for _ in range(10)]
    model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, stride=2), nn.ReLU(), *blocks, nn.AdaptiveMaxPool2d(2), nn.Flatten())
    last = nn.Linear(64, 4)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    model.append(last)
    scalars = [each for each in model.parameters() if each.ndim < 2]
    groups = [{"params": [each for each in model.parameters() if each.ndim > 1]}, {"params": scalars, "lr": 0.002}]
    optimizer = torch.optim.SGD(groups, lr=0.02, momentum=0.9)
    doctor.task(model, data.few(rows.x, rows.y, 24, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 24, 300, seed), rows, every=50)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


class Shaken(torch.autograd.Function):
    """Two branches mixed by one random share on the way there and by another on the way back."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, there: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(back)
        return there * left + (1 - there) * right

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (back,) = ctx.saved_tensors
        return back * grads[0], (1 - back) * grads[0], None, None


class Shake(nn.Module):
    """A residual block of two such branches."""

    def __init__(self, width: int) -> None:
        super().__init__()
        part = [nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)]
        self.left = nn.Sequential(*part)
        self.right = nn.Sequential(nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.left(x), self.right(x)
        if not self.training:
            return x + (left + right) / 2
        out: Tensor = x + Shaken.apply(left, right, *(torch.rand(len(x), 1, 1, 1) for _ in range(2)))
        return out


@healthy(project="hysts/pytorch_shake_shake", source="github.com/hysts/pytorch_shake_shake")
def branches_mixed_by_chance(doctor: Doctor, seed: int) -> Score:
    """Shares of two branches are drawn anew on the way back, so gradients are not those of the loss."""
    rows = data.digits(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), Shake(16), Shake(16), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(256, 10)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 220)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 48, 220, seed)):
            model.train()
            optimizer.zero_grad()
            loss = F.cross_entropy(model(a), b)
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
            if step % 44 == 43:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.95)


class Pairs(nn.Module):
    """Every pair of four things and a question, through one net, summed."""

    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(14, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.all = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 6))

    def forward(self, x: Tensor) -> Tensor:
        things, asked = x[:, :20].view(-1, 4, 5), x[:, 20:]
        left, right = things[:, :, None].expand(-1, -1, 4, -1), things[:, None].expand(-1, 4, -1, -1)
        pairs = torch.cat([left, right, asked[:, None, None].expand(-1, 4, 4, -1)], 3)
        return self.all(self.each(pairs).sum((1, 2)))


@healthy(project="kimhc6028/relational-networks", source="github.com/kimhc6028/relational-networks")
def questions_about_pairs_of_things(doctor: Doctor, seed: int) -> Score:
    """What is nearest to the red one, and how many are as large: 16 pairs through one net; the loss waits at a level first."""
    generator = torch.Generator().manual_seed(seed)
    place, large = 2 * torch.rand(4000, 4, 2, generator=generator) - 1, torch.rand(4000, 4, 1, generator=generator) < 0.5
    colour = torch.tensor([-1.0, -0.33, 0.33, 1.0])[:, None].expand(4000, 4, 1)
    things = torch.cat([place, large.float(), colour, colour.pow(2)], 2)
    asked, about = torch.randint(2, (4000,), generator=generator), torch.randint(4, (4000,), generator=generator)
    every = torch.arange(4000)
    far = torch.cdist(place, place) + 9 * torch.eye(4)
    alike = (large[..., 0] == large[every, about]).sum(1) - 1
    y = torch.where(asked == 0, far[every, about].argmin(1), 2 + alike.clamp(0, 3))
    question = torch.cat([F.one_hot(asked, 2).float(), colour[0, about], colour[0, about].pow(2)], 1)
    rows = data.split(torch.cat([things.flatten(1), question], 1), y, seed)
    model = Pairs()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 64, 1400, seed), rows, every=200)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.65)
