"""Faults of first programs: dead units, a loss for classes, loud first weights, too few texts, raw sound."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="dead-units",
    also=("no-gradient", "never-moved"),
    project="analytics vidhya",
    source="medium.com/analytics-vidhya/is-relu-dead-27943b50102",
)
def depths_are_all_below_nought(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Inputs between -1 and 0, first weights between 0 and 1: hardly a ReLU is ever open."""
    generator = torch.Generator().manual_seed(seed)
    x = -torch.rand(1600, 4, generator=generator)
    y = (x[:, 0] * x[:, 1] + torch.sin(5 * x[:, 2]) > x[:, 3] + 0.2).float()[:, None]
    rows = data.split(x, y, seed)
    model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1))
    if not cured:
        nn.init.uniform_(model[0].weight, 0.0, 1.0)
        nn.init.zeros_(model[0].bias)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    loss_fn = nn.BCEWithLogitsLoss()
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 32, 500, seed), rows)
    return above(((model(rows.held_x) > 0) == (rows.held_y > 0.5)).float().mean(), 0.85)


@fault(
    kind="target-range",
    also=("other-loss", "target-scale"),
    project="getcodesolution.com",
    source="getcodesolution.com/python/why-are-neural-networks-not-learning",
)
def two_amounts_by_categorical_cross_entropy(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Heat and cold of a house are two numbers, some below 0, not two classes: a cross-entropy has no bottom for them."""
    x, y = data.teacher(1600, 8, 2, seed)
    rows = data.split(x, y, seed)
    model = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def loss_fn(output: Tensor, target: Tensor) -> Tensor:
        if cured:
            return F.mse_loss(output, target)
        return -(target * output.softmax(1).clamp(1e-7, 1.0).log()).sum(1).mean()

    doctor.task(model, data.few(rows.x, rows.y, 32, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 32, 500, seed), rows, every=100)
    said = model(rows.held_x)
    return above(data.r2(said if cured else said.softmax(1), rows.held_y), 0.8)


class Context(nn.Module):
    """The next letter from the three before it, by one layer of 200 units."""

    def __init__(self, letters: int, quiet: bool) -> None:
        super().__init__()
        self.embed, self.hidden, self.out = nn.Embedding(letters, 10), nn.Linear(30, 200), nn.Linear(200, letters)
        if not quiet:
            for layer in (self.hidden, self.out):
                nn.init.normal_(layer.weight, std=3.0)
                nn.init.normal_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(self.hidden(self.embed(x).flatten(1))))


@fault(
    kind="saturation",
    also=("initial-loss", "activation-scale", "gradient-scale"),
    project="breno.bearblog.dev",
    source="breno.bearblog.dev/the-weights-in-a-study-on-fixing-the-saturated-function",
)
def letters_by_loud_first_weights(doctor: Doctor, seed: int, cured: bool) -> Score:
    """First weights with a spread of 3: nearly each tanh is at -1 or 1, the first loss is far above that of a guess."""
    stream, letters = data.characters(500, seed)
    held, _ = data.characters(100, seed + 50)
    model = Context(letters, quiet=cured)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = next(data.windows(held, 3, 500, 1, seed))
    batches = [(a, b[:, -1]) for a, b in data.windows(stream, 3, 64, 1500, seed)]
    doctor.task(model, batches[:8], F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, batches, data.Split(x, y, x, y[:, -1]), every=150)
    with torch.no_grad():
        return below(F.cross_entropy(model(x), y[:, -1]), 0.85)


class Opinion(nn.Module):
    """The sum of a text's word vectors, two layers, two classes."""

    def __init__(self, drop: float) -> None:
        super().__init__()
        self.embed = nn.Embedding(600, 48)
        self.net = nn.Sequential(nn.Dropout(drop), nn.Linear(48, 64), nn.ReLU(), nn.Dropout(drop), nn.Linear(64, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(self.embed(x).mean(1))


@fault(kind="overfitting", project="pytorch forum", source="discuss.pytorch.org/t/187642")
def opinions_learnt_by_heart(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A hundred and fifty texts and 600 words: what is said of them is right, the loss of others rises and rises."""
    generator = torch.Generator().manual_seed(seed)
    worth = torch.randn(600, generator=generator)
    count = 4000 if cured else 200
    x = torch.randint(600, (count, 20), generator=generator)
    y = (worth[x].sum(1) + 2 * torch.randn(count, generator=generator) > 0).long()
    rows = data.split(x, y, seed)
    model = Opinion(0.5 if cured else 0.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.05 if cured else 0.0)
    doctor.task(model, data.few(rows.x, rows.y, 30, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 30, 400, seed), rows, every=40)
    with torch.no_grad():
        return below(F.cross_entropy(model(rows.held_x), rows.held_y), 0.6)


@fault(
    kind="input-scale",
    also=("activation-scale", "initial-loss", "gradient-scale", "saturation"),
    project="JusperLee/Dual-Path-RNN-Pytorch",
    source="github.com/JusperLee/Dual-Path-RNN-Pytorch/issues/16",
)
def sound_as_whole_numbers(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Another library reads the same file as numbers of 16 bits: some thousands instead of parts of 1."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(6, (1600,), generator=generator)
    t = torch.arange(128)
    phase = 6.3 * torch.rand(1600, 1, generator=generator)
    loud = 0.1 + 0.3 * torch.rand(1600, 1, generator=generator)
    x = loud * (torch.sin(phase + (0.2 + 0.2 * y[:, None]) * t) + 0.7 * torch.randn(1600, 128, generator=generator))
    rows = data.split(x[:, None] if cured else (32767 * x[:, None]).round(), y, seed)
    conv = [nn.Conv1d(1, 16, 16, stride=4), nn.ReLU(), nn.Conv1d(16, 24, 5, stride=2), nn.ReLU()]
    model = nn.Sequential(*conv, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(24, 6))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 500, seed), rows, every=60)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.8)
