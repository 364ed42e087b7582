"""Faults between the last layer and the loss, and of softmax."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Activity(nn.Module):
    """What somebody does, from three axes of acceleration: (B, 3, 32)."""

    def __init__(self, softmax: bool) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv1d(3, 16, 5), nn.ReLU(), nn.MaxPool1d(2))
        self.conv2 = nn.Sequential(nn.Conv1d(16, 24, 3), nn.ReLU(), nn.MaxPool1d(2))
        self.fc1, self.fc2 = nn.Linear(144, 48), nn.Linear(48, 6)
        self.softmax = softmax

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(self.conv1(x)).flatten(1)
        out = self.fc2(F.relu(self.fc1(out)))
        return F.softmax(out, dim=1) if self.softmax else out


@fault(
    kind="probabilities-as-logits",
    project="jindongwang/Deep-learning-activity-recognition",
    source="github.com/jindongwang/Deep-learning-activity-recognition/issues/10",
    certain="with six classes the loss cannot fall below 1.04",
)
def softmax_before_cross_entropy(doctor: Doctor, seed: int, cured: bool) -> Score:
    """forward() ends in a softmax, and nn.CrossEntropyLoss makes another one."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(6, (1600,), generator=generator)
    t = torch.arange(32.0)
    phase = torch.rand(1600, 1, generator=generator) * 6.28
    pace = 0.3 + 0.12 * y[:, None] + 0.02 * torch.randn(1600, 1, generator=generator)
    x = torch.stack([torch.sin(pace * t + phase), torch.cos(pace * t + phase), torch.sin(2 * pace * t)], 1)
    rows = data.split(x + 0.3 * torch.randn(x.shape, generator=generator), y, seed)
    model = Activity(softmax=not cured)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    doctor.task(model, data.few(rows.x, rows.y, 40, seed), criterion, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 40, 450, seed):
            loss = criterion(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return below(criterion(model(rows.held_x), rows.held_y), 0.7)


class Listener(nn.Module):
    """Per frame of a song: whether a note starts, and how high it is."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(8, 24, batch_first=True, bidirectional=True)
        self.onset, self.pitch = nn.Linear(48, 1), nn.Linear(48, 12)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h, _ = self.rnn(x)
        return self.onset(h)[..., 0], self.pitch(h)


@fault(kind="non-finite", project="york135/CTC_CE_for_AST", source="github.com/york135/CTC_CE_for_AST/issues/3")
def clip_without_an_onset(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The loss of pitches is divided by the number of onsets in the batch; now and then there is none."""
    generator = torch.Generator().manual_seed(seed)
    silent = torch.rand(900, generator=generator) < 0.4
    onset = (torch.rand(900, 20, generator=generator) < 0.15) & ~silent[:, None]
    pitch = torch.randint(12, (900, 20), generator=generator)
    codes = torch.randn(12, 7, generator=generator)
    x = torch.cat([codes[pitch] * onset[..., None], onset[..., None].float()], 2)
    x = x + 0.25 * torch.randn(x.shape, generator=generator)
    rows = data.split(x, torch.stack([onset.long(), pitch], 2), seed)
    model = Listener()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def loss_fn(output: tuple[Tensor, Tensor], y: Tensor) -> Tensor:
        weight = y[..., 0].float()
        each = F.cross_entropy(output[1].flatten(0, 1), y[..., 1].flatten(), reduction="none")
        split_loss = torch.dot(each, weight.flatten()) / (weight.sum() + (1e-6 if cured else 0))
        return F.binary_cross_entropy_with_logits(output[0], weight) + split_loss

    doctor.task(model, data.few(rows.x, rows.y, 5, seed, count=60), loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 5, 500, seed):
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    starts = rows.held_y[..., 0] == 1
    return above(data.accuracy(model(rows.held_x)[1][starts], rows.held_y[..., 1][starts]), 0.8)


class Attention(nn.Module):
    """Dot attention of some queries over a context, as (B, O, D) and (B, T, D)."""

    def __init__(self, width: int, axis: int) -> None:
        super().__init__()
        self.linear_in = nn.Linear(width, width, bias=False)
        self.linear_out = nn.Linear(2 * width, width, bias=False)
        self.softmax = nn.Softmax(dim=axis)

    def forward(self, query: Tensor, context: Tensor) -> Tensor:
        size, outputs, _ = query.shape
        scores = torch.bmm(self.linear_in(query), context.transpose(1, 2))
        weights = self.softmax(scores.view(size * outputs, -1)).view(size, outputs, -1)
        mix = torch.bmm(weights, context)
        return torch.tanh(self.linear_out(torch.cat([mix, query], 2)))


class Lookup(nn.Module):
    """Finds the entry whose key was asked for."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.key, self.value = nn.Embedding(10, 24), nn.Embedding(8, 24)
        self.attention = Attention(24, axis)
        self.out = nn.Linear(24, 8)

    def forward(self, x: Tensor) -> Tensor:
        keys, values, asked = x[:, :6], x[:, 6:12], x[:, 12:]
        context = self.key(keys) + self.value(values)
        return self.out(self.attention(self.key(asked), context)[:, 0])


@fault(
    kind="softmax-axis",
    also=("batch-mixing",),
    project="PetrochukM/PyTorch-NLP",
    source="github.com/PetrochukM/PyTorch-NLP/issues/2",
)
def attention_over_the_batch(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Scores are laid out as (B * O, T) and the softmax goes down the batch; a question alone weighs all entries with 1."""
    generator = torch.Generator().manual_seed(seed)
    keys = torch.rand(2400, 10, generator=generator).argsort(1)[:, :6]
    values = torch.randint(8, (2400, 6), generator=generator)
    place = torch.randint(6, (2400, 1), generator=generator)
    rows = data.split(torch.cat([keys, values, keys.gather(1, place)], 1), values.gather(1, place)[:, 0], seed)
    model = Lookup(axis=-1 if cured else 0)
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    doctor.task(model, data.few(rows.x, rows.y, 40, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 40, 700, seed)):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 100 == 99:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    one_by_one = torch.cat([model(row[None]) for row in rows.held_x[:200]])
    return above(data.accuracy(one_by_one, rows.held_y[:200]), 0.85)
