"""Faults of data and of what is held out: a file in order cut in two, fields in their own units."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="sorted-data",
    also=("held-out-labels",),
    project="khanrc/pt.darts",
    source="github.com/khanrc/pt.darts/issues/24",
)
def the_second_half_holds_other_kinds(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Pictures lie in the file kind by kind, and the file is cut in two: none of the kinds asked were ever shown."""
    generator = torch.Generator().manual_seed(seed)
    sketch = F.interpolate(torch.randn(8, 1, 4, 4, generator=generator), 12, mode="bilinear")
    y = torch.arange(8).repeat_interleave(180)
    x = sketch[y].roll(1, 2) + 0.8 * torch.randn(1440, 1, 12, 12, generator=generator)
    order = torch.randperm(1440, generator=generator) if cured else torch.arange(1440)
    first, second = order.chunk(2)
    rows = data.Split(x[first], y[first], x[second], y[second])
    conv = [nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)]
    conv += [nn.Conv2d(16, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU(), nn.AdaptiveAvgPool2d(3)]
    model = nn.Sequential(*conv, nn.Flatten(), nn.Linear(216, 8))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=3e-4)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 200, seed), rows, every=22)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.8)


@fault(
    kind="dev-scale",
    also=("held-out-labels",),
    project="PolymathicAI/the_well",
    source="github.com/PolymathicAI/the_well/issues/68",
)
def fields_held_out_in_their_own_units(doctor: Doctor, seed: int, cured: bool) -> Score:
    """How a fluid flows on: fields to learn from are standardised; those held out were forgotten as loaders were rewritten."""
    generator = torch.Generator().manual_seed(seed)
    place = torch.arange(32) / 32 * 2 * torch.pi
    wave = torch.randn(900, 4, 1, generator=generator) * torch.cos(
        torch.arange(1, 5)[:, None] * (place + 6 * torch.rand(900, 4, 1, generator=generator))
    )
    speed = wave.sum(1)
    films = [speed]
    for _ in range(8):
        slope = (films[-1].roll(-1, 1) - films[-1].roll(1, 1)) / 2
        bend = films[-1].roll(-1, 1) - 2 * films[-1] + films[-1].roll(1, 1)
        films.append(films[-1] - 0.15 * films[-1].tanh() * slope + 0.2 * bend)
    scale, shift = torch.tensor([[40.0]]), torch.tensor([[250.0]])
    before, after = (films[k][:, None] * scale + shift for k in (0, 8))
    rows = data.split(before, after, seed)
    mean, spread = rows.x.mean(), rows.x.std()
    even = rows._replace(x=(rows.x - mean) / spread, y=(rows.y - mean) / spread)
    if cured:
        even = even._replace(held_x=(rows.held_x - mean) / spread, held_y=(rows.held_y - mean) / spread)

    class Flow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            into = [nn.Conv1d(1, 24, 5, padding=2, padding_mode="circular"), nn.GELU()]
            into += [nn.Conv1d(24, 24, 5, padding=2, padding_mode="circular"), nn.GELU()]
            self.net = nn.Sequential(*into, nn.Conv1d(24, 1, 5, padding=2, padding_mode="circular"))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.net(x)

    model = Flow()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(even.x, even.y, 32, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(even.x, even.y, 32, 400, seed), even, every=40)
    with torch.no_grad():
        return above(data.r2(model(even.held_x), even.held_y), 0.9)
