"""Faults of numbers: divided by nothing, steps that grow too large, sums of many neighbours, days and amounts as they come."""

from __future__ import annotations

import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Shares:
    """Weights of several losses by how much each one varies beside its own mean, kept as they come."""

    def __init__(self, count: int, eps: float) -> None:
        self.seen, self.eps = 0, eps
        self.mean, self.mean_ratio, self.spread = torch.zeros(count), torch.zeros(count), torch.zeros(count)

    def __call__(self, losses: Tensor) -> Tensor:
        """The losses (K,) as one, each by its share."""
        now = losses.detach()
        ratio = now / ((self.mean if self.seen else now) + self.eps)
        if self.seen < 2:
            share = torch.full_like(now, 1 / len(now))
        else:
            varied = (self.spread / self.seen).sqrt() / (self.mean_ratio + self.eps)
            share = varied / varied.sum()
        self.seen += 1
        before, keep = self.mean_ratio, 1 - 1 / self.seen
        self.mean_ratio = keep * before + (1 - keep) * ratio
        self.spread = self.spread + (ratio - before) * (ratio - self.mean_ratio)
        self.mean = keep * self.mean + (1 - keep) * now
        return (share * losses).sum()


@fault(
    kind="non-finite",
    project="rickgroen/cov-weighting",
    source="github.com/rickgroen/cov-weighting/issues/3",
)
def a_share_of_a_loss_that_is_nothing(doctor: Doctor, seed: int, cured: bool) -> Score:
    """How near each pixel is, by three losses that share by their variation: one is 0, and so is what it is divided by."""
    x, _, masks = data.shapes(800, seed)
    near = F.avg_pool2d(masks[:, None].float(), 5, 1, 2) * 0.8 + 0.1
    rows = data.split(x, near, seed)
    model = nn.Sequential(
        nn.Conv2d(1, 12, 5, padding=2), nn.ReLU(), nn.Conv2d(12, 12, 5, padding=2), nn.ReLU(), nn.Conv2d(12, 1, 3, padding=1)
    )
    nn.init.constant_(model[4].bias, 0.3)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    shares = Shares(3, 1e-8 if cured else 0.0)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 8, 130, seed):
            said = model(a)
            edges = [(said.diff(dim=d) - b.diff(dim=d)).abs().mean() for d in (2, 3)]
            outside = ((said - 2).relu() + (-1 - said).relu()).mean()
            loss = shares(torch.stack([(said - b).abs().mean(), edges[0] + edges[1], outside]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.5)


@fault(
    kind="non-finite",
    project="mihaidusmanu/d2-net",
    source="github.com/mihaidusmanu/d2-net/issues/78",
)
def a_place_where_no_feature_fires(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Which shape, from the places that stand out: each feature is divided by the largest there, which is 0 in padding."""
    x, y, _ = data.shapes(900, seed)
    generator = torch.Generator().manual_seed(seed)
    padded = (torch.rand(900, 1, 1, 1, generator=generator) < 1 / 30) & (torch.arange(16) > 10)
    rows = data.split(x.masked_fill(padded, 0.0), y, seed)
    eps = 1e-8 if cured else 0.0

    class Detect(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Sequential(
                nn.Conv2d(1, 16, 5, padding=2, bias=False),
                nn.ReLU(),
                nn.Conv2d(16, 16, 3, padding=1, bias=False),
                nn.ReLU(),
            )
            self.head = nn.Linear(32, 4)

        def forward(self, seen: Tensor) -> Tensor:
            h = self.dense(seen)
            peak = h.flatten(1).amax(1)[:, None, None, None] + eps
            soft = (h / peak).exp()
            local = soft / (9 * F.avg_pool2d(soft, 3, 1, 1))
            across = h / (h.amax(1, keepdim=True) + eps)
            score = (local * across).amax(1, keepdim=True)
            score = score / score.sum((2, 3), keepdim=True)
            return self.head(torch.cat([(h * score).sum((2, 3)), h.amax((2, 3))], 1))

    model = Detect()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 12, 180, seed), rows, every=56)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.7)


@fault(
    kind="learning-rate-too-high",
    also=("saturation", "dead-units"),
    project="athena-team/athena",
    source="github.com/athena-team/athena/issues/148",
)
def right_for_a_while_and_then_never(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Which sound each frame belongs to, by attention: the rate climbs for 150 steps, and `k` lets it climb far too high."""
    generator = torch.Generator().manual_seed(seed)
    voices = torch.randn(8, 12, generator=generator)

    def spoken(count: int) -> tuple[Tensor, Tensor]:
        """Frames (N, 12, 12) of three sounds of four frames each, and which sound each frame is of (N, 12)."""
        said = torch.randint(8, (count, 3), generator=generator).repeat_interleave(4, 1)
        return voices[said] + 1.5 * torch.randn(count, 12, 12, generator=generator), said

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.place = nn.Linear(12, 32), nn.Parameter(torch.randn(12, 32) * 0.1)
            layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
            self.body, self.out = nn.TransformerEncoder(layer, 2), nn.Linear(32, 8)

        def forward(self, frames: Tensor) -> Tensor:
            return self.out(self.body(self.enter(frames) + self.place))

    model = Encoder()
    k, warm = 0.4 if cured else 12.0, 150
    optimizer = torch.optim.Adam(model.parameters(), lr=1.0, betas=(0.9, 0.98), eps=1e-9)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: k * 32**-0.5 * min((step + 1) ** -0.5, (step + 1) * warm**-1.5)
    )
    with doctor.watch(model, optimizer) as watch:
        for _ in range(280):
            frames, said = spoken(16)
            loss = F.cross_entropy(model(frames).flatten(0, 1), said.flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
    frames, said = spoken(300)
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(frames), said), 0.65)


@fault(
    kind="activation-scale",
    also=("initial-loss", "gradient-scale"),
    project="sufeidechabei/graphnets_gcn",
    source="github.com/sufeidechabei/graphnets_gcn/issues/1",
)
def papers_that_sum_up_all_they_cite(doctor: Doctor, seed: int, cured: bool) -> Score:
    """What a paper is about, by two rounds of asking those it cites: answers are summed and not divided by how many there are."""
    generator = torch.Generator().manual_seed(seed)
    count, classes = 500, 6
    y = torch.randint(classes, (count,), generator=generator)
    known = (1 - torch.rand(count, generator=generator)).pow(-1.0).clamp(max=120)
    same = (y[:, None] == y[None]).float() * 0.9 + 0.1
    chance = known[:, None] * known[None] * same / known.sum() * 2.5
    linked = (torch.rand(count, count, generator=generator) < chance).triu(1).float()
    linked = linked + linked.T + torch.eye(count)
    if cured:
        many = linked.sum(1).rsqrt()
        linked = many[:, None] * linked * many[None]
    topics = torch.rand(classes, 200, generator=generator).pow(4)
    words = (torch.rand(count, 200, generator=generator) < 0.01 + 0.16 * topics[y]).float()
    order = torch.randperm(count, generator=generator)
    shown, held = order[:120], order[200:]

    class Gcn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(200, 16), nn.Linear(16, classes)
            self.drop = nn.Dropout(0.5)

        def forward(self, h: Tensor) -> Tensor:
            h = (linked @ self.first(self.drop(h))).relu()
            return linked @ self.second(self.drop(h))

    model = Gcn()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
    with doctor.watch(model, optimizer) as watch:
        for step in range(120):
            model.train()
            loss = F.cross_entropy(model(words)[shown], y[shown])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 20 == 19:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(words)[order[120:200]], y[order[120:200]]))
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(words)[held], y[held]), 0.73)


@fault(
    kind="input-scale",
    also=("initial-loss", "activation-scale", "gradient-scale"),
    project="RUCAIBox/RecBole",
    source="github.com/RUCAIBox/RecBole/issues/1109",
)
def days_and_amounts_as_they_come(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Who buys what: ids in tables, and days, amounts, rates and times as numbers in their own units, by pairs and by depth."""
    generator = torch.Generator().manual_seed(seed)
    count = 7000
    user, item = torch.randint(60, (count,), generator=generator), torch.randint(40, (count,), generator=generator)
    plain = torch.randn(count, 4, generator=generator)
    taste = torch.randn(60, 4, generator=generator)[user] * torch.randn(40, 4, generator=generator)[item]
    want = 0.9 * taste.sum(1) + 1.5 * plain[:, 0] - plain[:, 1] + plain[:, 2] - 2.5
    bought = (torch.rand(count, generator=generator) < want.sigmoid()).float()
    unit, middle = torch.tensor([120.0, 8.0e4, 0.002, 3.0e6]), torch.tensor([576.0, 2.4e5, 0.036, 1.63e9])
    floats = middle + unit * plain
    if cured:
        floats = (floats - floats.amin(0)) / (floats.amax(0) - floats.amin(0))
    rows = data.split(torch.cat([user[:, None], item[:, None], floats], 1), bought, seed)

    class DeepFm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.user, self.item = nn.Embedding(60, 8), nn.Embedding(40, 8)
            self.number, self.first = nn.Parameter(torch.randn(4, 8) * 0.3), nn.Linear(4, 1)
            self.deep = nn.Sequential(nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1))

        def forward(self, row: Tensor) -> Tensor:
            ids, values = row[:, :2].long(), row[:, 2:]
            fields = torch.cat([self.user(ids[:, :1]), self.item(ids[:, 1:]), values[:, :, None] * self.number], 1)
            pairs = 0.5 * (fields.sum(1).pow(2) - fields.pow(2).sum(1)).sum(1, keepdim=True)
            return (self.first(values) + pairs + self.deep(fields.flatten(1)))[:, 0]

    model = DeepFm()
    loss_fn = F.binary_cross_entropy_with_logits
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 64, 500, seed), rows, every=82)
    with torch.no_grad():
        said = model(rows.held_x)
    before = said[rows.held_y == 1][:, None] > said[rows.held_y == 0]
    return above(before.float().mean() if math.isfinite(said.sum()) else math.nan, 0.735)
