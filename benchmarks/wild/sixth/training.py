"""Faults of optimisation, of scale and of statistics."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Factors(nn.Module):
    """Rating of an item by a user: a product of two vectors, and two biases."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(120, 12), nn.Embedding(90, 12)
        self.user_bias, self.item_bias = nn.Embedding(120, 1), nn.Embedding(90, 1)
        for table in (self.user, self.item):
            nn.init.normal_(table.weight, std=0.3)
        for table in (self.user_bias, self.item_bias):
            nn.init.zeros_(table.weight)

    def forward(self, pair: Tensor) -> Tensor:
        user, item = pair[:, 0], pair[:, 1]
        score = (self.user(user) * self.item(item)).sum(1)
        return score + self.user_bias(user)[:, 0] + self.item_bias(item)[:, 0]


@fault(
    kind="weight-decay",
    project="maciejkula/triplet_recommendations_keras",
    source="github.com/maciejkula/triplet_recommendations_keras/issues/10",
)
def tastes_decayed_away(doctor: Doctor, seed: int, cured: bool) -> Score:
    """L2 on whole embedding tables, most rows of which are not in the batch: all vectors go to 0, and so do the scores."""
    generator = torch.Generator().manual_seed(seed)
    user, item = torch.randn(120, 3, generator=generator), torch.randn(90, 3, generator=generator)
    pair = torch.stack([torch.randint(120, (6000,), generator=generator), torch.randint(90, (6000,), generator=generator)], 1)
    liking = (user[pair[:, 0]] * item[pair[:, 1]]).sum(1) / 3**0.5 + 0.2 * torch.randn(6000, generator=generator)
    rows = data.split(pair, liking, seed)
    model = Factors()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=1e-5 if cured else 5e-2)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 64, 600, seed)):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 100 == 99:
                with torch.no_grad():
                    watch.dev_loss(F.mse_loss(model(rows.held_x), rows.held_y))
    return above(data.r2(model(rows.held_x), rows.held_y), 0.6)


@fault(
    kind="norm-statistics",
    also=("shared-norm", "sorted-data"),
    project="pytorch/pytorch",
    source="github.com/pytorch/pytorch/issues/4741",
)
def batches_from_one_recording(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Each batch holds windows of one recording with a level of its own: batch norm takes it away, running averages do not."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(3, (40, 48), generator=generator)
    speed = torch.tensor([0.25, 0.5, 1.0])[y][..., None]
    wave = torch.sin(speed * torch.arange(40) + 6 * torch.rand(40, 48, 1, generator=generator))
    wave = wave + 0.3 * torch.randn(40, 48, 40, generator=generator)
    level, gain = 12 * torch.randn(40, 1, 1, generator=generator), torch.randn(40, 1, 1, generator=generator).exp()
    x = (wave * gain + level)[:, :, None]  # (recordings, windows, 1, time)
    model = nn.Sequential(
        nn.Conv1d(1, 16, 7, padding=3),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Conv1d(16, 16, 5, 2, 2),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(4),
        nn.Flatten(),
        nn.Linear(64, 3),
    )
    if cured:  # each window by itself
        x = (x - x.mean(3, keepdim=True)) / x.std(3, keepdim=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with doctor.watch(model, optimizer) as watch:
        for step in range(320):
            model.train()
            one = int(torch.randint(30, (1,), generator=generator))
            loss = F.cross_entropy(model(x[one]), y[one])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 40 == 39:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(x[30:].flatten(0, 1)), y[30:].flatten()))
    model.eval()
    return above(data.accuracy(model(x[30:].flatten(0, 1)), y[30:].flatten()), 0.8)


class Views(nn.Module):
    """Features of a picture for contrast with others."""

    def __init__(self, cured: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 128))
        self.scale = nn.LayerNorm(128)
        self.cured = cured

    def forward(self, x: Tensor) -> Tensor:
        z = self.scale(self.body(x))
        return F.normalize(z, dim=1) if self.cured else z


@fault(
    kind="initial-loss",
    also=("activation-scale",),
    project="Link-Li/CLMLF",
    source="github.com/Link-Li/CLMLF/issues/3",
)
def contrast_of_features_as_they_are(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Products of features that nobody brought to length 1, divided by 0.07: the first losses are hundreds, not ln(batch)."""
    rows = data.digits(seed)
    model = Views(cured)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)

    def contrast(x: Tensor) -> Tensor:
        one, two = (model(x + 0.25 * torch.randn_like(x)) for _ in range(2))
        return F.cross_entropy(one @ two.T / 0.07, torch.arange(len(x)))

    with doctor.watch(model, optimizer) as watch:
        for x, _ in data.batches(rows.x, rows.y, 64, 200, seed):
            optimizer.zero_grad()
            loss = contrast(x)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    found = []
    with torch.no_grad():
        for x in rows.held_x.split(64)[:6]:
            one, two = (model(x + 0.25 * torch.randn_like(x)) for _ in range(2))
            found.append(data.accuracy(one @ two.T, torch.arange(64)))
    return above(sum(found) / 6, 0.8)


class Encoder(nn.Module):
    """One transformer layer over a text, and a head on the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.place = nn.Embedding(60, 32), nn.Embedding(12, 32)
        self.layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True)
        self.classifier = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.layer(self.words(x) + self.place.weight).mean(1))


@fault(
    kind="schedule-to-zero",
    project="huggingface/transformers",
    source="github.com/huggingface/transformers/issues/324",
)
def total_of_one_epoch(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Warm-up and linear decay over t_total steps; t_total counts those of one epoch, and there are ten."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(4, (1280,), generator=generator)
    x = torch.randint(60, (1280, 12), generator=generator)
    hint = torch.rand(1280, 12, generator=generator) < 0.4
    rows = data.split(torch.where(hint, y[:, None] * 15 + torch.randint(15, (1280, 12), generator=generator), x), y, seed)
    epoch = len(rows.x) // 32
    total = 10 * epoch if cured else epoch

    def multiplier(step: int) -> float:
        return min((step + 1) / (0.1 * total), max(0.0, (total - step) / (0.9 * total)))

    model = Encoder()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, multiplier)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 32, 10 * epoch, seed)):
            model.train()
            loss = F.cross_entropy(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            watch.loss(loss)
            if step % epoch == epoch - 1:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    model.eval()
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.75)
