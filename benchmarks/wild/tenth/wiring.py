"""Faults of wiring: choices that cannot be learnt, frozen adapters, modes, statistics of the batch at hand."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Glance(nn.Module):
    """Looks at one of nine pieces of a picture; `scorer` says at which."""

    def __init__(self, soft: bool) -> None:
        super().__init__()
        self.scorer = nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 1))
        self.reader, self.soft = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10)), soft

    def forward(self, x: Tensor) -> Tensor:
        score = self.scorer(x)[..., 0]
        weight = score.softmax(1) if self.soft else F.one_hot(score.argmax(1), x.shape[1]).float()
        return self.reader((weight[..., None] * x).sum(1))


@fault(
    kind="no-gradient",
    also=("frozen-random", "never-moved"),
    where="scorer",
    certain="no gradient comes to the scorer",
    project="stack overflow",
    source="newbedev.com/how-does-pytorch-backprop-through-argmax",
)
def piece_chosen_by_argmax(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A digit lies in one of six pieces, the others are scrambled; argmax chooses one and lets no gradient through."""
    digits = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)

    def hidden(x: Tensor) -> Tensor:
        other = x.flatten(1)[torch.randint(len(x), (len(x), 6), generator=generator)]
        pieces = other.gather(2, torch.rand(len(x), 6, 64, generator=generator).argsort(2))
        pieces[torch.arange(len(x)), torch.randint(6, (len(x),), generator=generator)] = x.flatten(1)
        return pieces - 0.3

    rows = data.Split(hidden(digits.x), digits.y, hidden(digits.held_x), digits.held_y)
    model = Glance(soft=cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 400, seed), rows, every=80)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


class Low(nn.Module):
    """A fixed layer and a product of two thin matrices beside it, the second 0 at first."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base
        self.a = nn.Parameter(torch.randn(rank, base.in_features) / base.in_features**0.5)
        self.b = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + x @ self.a.T @ self.b.T


@fault(
    kind="never-moved",
    also=("not-optimised", "no-gradient", "frozen-random"),
    where="0",
    project="X-GenGroup/Flow-Factory",
    source="github.com/X-GenGroup/Flow-Factory/pull/56",
    certain="all but a bias is frozen, the thin matrices too, so nothing can be learnt",
)
def thin_matrices_frozen_with_the_rest(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The thin matrices were there already when all components were frozen, and the call that thaws them was skipped."""
    x, y = data.teacher(1600, 10, 4, seed)
    before, rows = data.split(x, y, seed), data.split(x.roll(2, 1), y.roll(1, 1), seed)
    body = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
    adam = torch.optim.Adam(body.parameters(), lr=3e-3)
    for a, b in data.batches(before.x, before.y, 40, 250, seed):
        adam.zero_grad()
        F.mse_loss(body(a), b).backward()
        adam.step()
    model = nn.Sequential(*(Low(each, 4) if isinstance(each, nn.Linear) else each for each in body))
    model.requires_grad_(requires_grad=False)
    model[4].base.bias.requires_grad_()
    if cured:
        for layer in model:
            if isinstance(layer, Low):
                layer.a.requires_grad_()
                layer.b.requires_grad_()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    doctor.task(model, data.few(rows.x, rows.y, 40, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 40, 500, seed), rows, every=100)
    return above(data.r2(model(rows.held_x), rows.held_y), 0.6)


class Adder(nn.Module):
    """Reads pairs of a number and a mark; the sum of the two marked numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(2, 32, batch_first=True)
        self.out = nn.Sequential(nn.BatchNorm1d(32), nn.Dropout(0.1), nn.Linear(32, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.gru(x)[0][:, -1])


@fault(
    kind="wrong-mode",
    project="tk-rusch/coRNN",
    source="github.com/tk-rusch/coRNN/issues/1",
    certain="after the first test batch norm and dropout never train again",
)
def tested_once_and_never_back(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The test in the middle says eval(); the training that goes on after it is in eval mode for good."""
    generator = torch.Generator().manual_seed(seed)
    values, marks = torch.rand(2000, 14, generator=generator), torch.zeros(2000, 14)
    row = torch.arange(2000)
    for low, high in ((0, 7), (7, 14)):
        marks[row, torch.randint(low, high, (2000,), generator=generator)] = 1.0
    rows = data.split(torch.stack([values, marks], 2), (values * marks).sum(1, keepdim=True), seed)
    model = Adder()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    training = []
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 40, 300, seed)):
            training.append(model.training)
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            watch.loss(loss)
            if step % 30 == 29:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.mse_loss(model(rows.held_x), rows.held_y))
                if cured:
                    model.train()
    return above(sum(training) / len(training), 0.99)


@fault(
    kind="batch-mixing",
    also=("norm-statistics", "shared-norm"),
    project="xu-ji/IIC",
    source="github.com/xu-ji/IIC/issues/49",
    certain="in use too, what is said of a picture depends on the others beside it",
)
def statistics_of_whoever_is_there(doctor: Doctor, seed: int, cured: bool) -> Score:
    """track_running_stats=False: tested class by class, each batch is centred on its own class and nothing is right."""
    x, y, _ = data.shapes(1200, seed)
    rows = data.split(x, y, seed)

    def norm(channels: int) -> nn.BatchNorm2d:
        return nn.BatchNorm2d(channels, track_running_stats=cured)

    conv = [nn.Conv2d(1, 12, 3, stride=2, padding=1, bias=False), norm(12), nn.ReLU()]
    conv += [nn.Conv2d(12, 24, 3, stride=2, padding=1, bias=False), norm(24), nn.ReLU()]
    conv += [nn.Conv2d(24, 32, 3, stride=2, padding=1, bias=False), norm(32), nn.ReLU()]
    model = nn.Sequential(*conv, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 250, seed), rows, every=50)
    right = torch.tensor(0.0)
    with torch.no_grad():
        for each in range(4):
            own = rows.held_y == each
            right += (model(rows.held_x[own]).argmax(1) == each).sum()
    return above(right / len(rows.held_y), 0.9)
