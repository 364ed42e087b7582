"""Faults of optimisation and of padding."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Listener(nn.Module):
    """A word for some frames of sound."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gru, self.out = nn.Conv1d(8, 24, 3, 2, 1), nn.GRU(24, 32, batch_first=True), nn.Linear(32, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.gru(F.relu(self.conv(x)).transpose(1, 2))[0].mean(1))


def spoken(seed: int) -> data.Split:
    """Frames (N, 8, 20) in which a pattern of one of six words is hidden."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(6, (1600,), generator=generator)
    patterns = torch.randn(6, 8, 6, generator=generator)
    x = torch.randn(1600, 8, 20, generator=generator)
    start = torch.randint(14, (1600,), generator=generator)
    for k in range(6):
        x[torch.arange(1600), :, start + k] += 1.2 * patterns[y, :, k]
    return data.split(x, y, seed)


@fault(
    kind="learning-rate-too-high",
    also=("gradient-scale",),
    project="hirofumi0810/neural_sp",
    source="github.com/hirofumi0810/neural_sp/issues/168",
)
def eight_batches_added_up(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Gradients of 8 small batches are summed and never divided: each step is 8 times as long as it was meant."""
    rows = spoken(seed)
    model = Listener()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.4, momentum=0.9)
    with doctor.watch(model, optimizer) as watch:
        optimizer.zero_grad()
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 8, 8 * 100, seed)):
            loss = F.cross_entropy(model(x), y)
            (loss / 8 if cured else loss).backward()
            watch.loss(loss)
            if step % 8 == 7:
                optimizer.step()
                optimizer.zero_grad()
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.8)


@fault(
    kind="missing-zero-grad",
    project="wenet-e2e/wekws",
    source="github.com/wenet-e2e/wekws/pull/73",
)
def keywords_without_zero_grad(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The executor clips and steps, and never clears: the direction is that of all gradients so far."""
    rows = spoken(seed)
    model = Listener()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 32, 400, seed)):
            loss = F.cross_entropy(model(x), y)
            if cured:
                optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            watch.loss(loss)
            if step % 37 == 36:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


class Sentence(nn.Module):
    """A score for a text: the mean of what is known of its words, through one layer."""

    def __init__(self, cured: bool) -> None:
        super().__init__()
        self.words = nn.Embedding(80, 24)
        self.layer = nn.Sequential(nn.Linear(24, 24), nn.GELU(), nn.Linear(24, 24))
        self.head = nn.Linear(24, 1)
        self.cured = cured

    def forward(self, ids: Tensor) -> Tensor:
        h = self.words(ids)
        h = h + self.layer(h)
        if self.cured:
            mask = (ids != 0)[..., None]
            pooled = (h * mask).sum(1) / mask.sum(1)
        else:
            pooled = h.mean(1)
        return self.head(pooled)[:, 0]


@fault(kind="padding", project="HKUDS/LightRAG", source="github.com/HKUDS/LightRAG/pull/3675")
def mean_over_padding(doctor: Doctor, seed: int, cured: bool) -> Score:
    """last_hidden_state.mean(dim=1): a text of three words is averaged with 37 places of padding."""
    generator = torch.Generator().manual_seed(seed)
    worth = torch.randn(80, generator=generator)
    ids = torch.randint(1, 80, (2000, 40), generator=generator)
    length = 2 + (torch.rand(2000, 1, generator=generator).pow(2) * 38).long()
    ids[torch.arange(40) >= length] = 0
    value = (worth[ids] * (ids != 0)).sum(1) / length[:, 0]
    rows = data.split(ids, value / value.std(), seed)
    model = Sentence(cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 40, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 40, 500, seed)):
            optimizer.zero_grad()
            loss = F.mse_loss(model(a), b)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 100 == 99:
                with torch.no_grad():
                    watch.dev_loss(F.mse_loss(model(rows.held_x), rows.held_y))
    return above(data.r2(model(rows.held_x), rows.held_y), 0.85)
