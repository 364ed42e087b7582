"""Faults of the head and its loss: labels a sigmoid cannot tell, attention of one to each, a root of nothing."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="target-range",
    also=("saturation", "target-scale"),
    project="microsoft/CNTK",
    source="github.com/microsoft/CNTK/issues/903",
)
def minus_one_from_a_sigmoid(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Tumours are benign or malign, as -1 and 1; the last layer is a sigmoid, from which no -1 comes."""
    rows = data.table("breast_cancer", seed)
    sign = 2.0 * rows.y[:, None] - 1
    last: nn.Module = nn.Tanh() if cured else nn.Sigmoid()
    model = nn.Sequential(nn.Linear(30, 50), nn.ReLU(), nn.Linear(50, 50), nn.ReLU(), nn.Linear(50, 1), last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    doctor.task(model, data.few(rows.x, sign, 25, seed), F.mse_loss, optimizer)
    held = 2.0 * rows.held_y[:, None] - 1
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, sign, 25, 300, seed), rows._replace(held_y=held))
    with torch.no_grad():
        return below(F.mse_loss(model(rows.held_x), held), 0.25)


@fault(
    kind="softmax-axis",
    project="catalyst-team/catalyst",
    source="github.com/catalyst-team/catalyst/pull/285",
)
def attention_of_one_to_each_moment(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A history of 24 moments is pooled by attention; the softmax is over an axis of size one, so each moment weighs 1."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1800, 24, 8, generator=generator)
    at, y = torch.randint(24, (1800,), generator=generator), torch.randint(4, (1800,), generator=generator)
    x[..., 0] = 0.3 * x[..., 0]
    x[torch.arange(1800), at, 0] = 3.0
    x[torch.arange(1800), at, 1:] = (2 * torch.randn(4, 7, generator=generator))[y] + 0.6 * torch.randn(
        1800, 7, generator=generator
    )
    rows = data.split(x, y, seed)

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.each, self.attend = nn.Linear(8, 16), nn.Linear(8, 1)
            self.out = nn.Linear(16, 4)

        def forward(self, history: Tensor) -> Tensor:
            weight = self.attend(history).softmax(1 if cured else 2)
            return self.out((weight * self.each(history)).sum(1))

    model = Pooled()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    doctor.task(model, data.few(rows.x, rows.y, 40, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 40, 400, seed), rows)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@fault(
    kind="non-finite",
    project="tilman151/rul-adapt",
    source="github.com/tilman151/rul-adapt/pull/22",
)
def root_of_a_distance_to_itself(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Engines of two plants are brought together by the distances of all pairs, those of an engine to itself among them."""
    generator = torch.Generator().manual_seed(seed)
    life, other = torch.rand(1000, 1, generator=generator), torch.rand(1000, 1, generator=generator)
    sense = torch.randn(1, 12, generator=generator) * 2

    def sensors(left: Tensor, shift: float) -> Tensor:
        return torch.tanh(left @ sense - sense / 2 + shift) + 0.1 * torch.randn(len(left), 12, generator=generator)

    x, there = sensors(life, 0.0), sensors(other, 0.25)
    body = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 8))
    model = nn.ModuleDict({"body": body, "out": nn.Linear(8, 1)})
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def apart(a: Tensor, b: Tensor) -> Tensor:
        square = (a[:, None] - b).pow(2).sum(2)
        return (square + 1e-8 if cured else square).sqrt().mean()

    with doctor.watch(model, optimizer) as watch:
        for at, _ in data.batches(torch.arange(750), life[:750], 40, 400, seed):
            one, two = body(x[at]), body(there[at])
            energy = 2 * apart(one, two) - apart(one, one) - apart(two, two)
            loss = F.mse_loss(model["out"](F.relu(one)), life[at]) + 0.05 * energy
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return below((model["out"](F.relu(body(there[750:]))) - other[750:]).abs().mean(), 0.12)
