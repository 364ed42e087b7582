"""Faults of the head and its loss: a last tanh for standardised pictures, outlines squashed twice."""

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
    project="yxgeee/FD-GAN",
    source="github.com/yxgeee/FD-GAN/issues/5",
)
def people_between_minus_one_and_one(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A person in another pose: the pictures are brought to mean 0 and spread 1, and the maker ends in a tanh."""
    generator = torch.Generator().manual_seed(seed)
    axis = torch.linspace(-1, 1, 12)
    pose = torch.rand(1200, 4, generator=generator) * 1.2 - 0.6
    colour = 0.4 + 0.6 * torch.rand(1200, 2, generator=generator)
    row = (axis - pose[:, :2, None]).pow(2)
    column = (axis - pose[:, 2:, None]).pow(2)
    body = (colour[..., None, None] * (-(row[..., None] + column[:, :, None]) / 0.08).exp()).sum(1)
    pictures = (body - body.mean()) / body.std()
    if cured:
        pictures = pictures / pictures.abs().max() * 0.95
    rows = data.split(torch.cat([pose, colour], 1), pictures.flatten(1), seed)
    model = nn.Sequential(nn.Linear(6, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 144), nn.Tanh())
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.l1_loss, optimizer)
    fit(doctor, model, optimizer, F.l1_loss, data.batches(rows.x, rows.y, 32, 700, seed), rows)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.6)


@fault(
    kind="probabilities-as-logits",
    also=("slow-learning", "underfitting"),
    project="avBuffer/UNet3plus_pth",
    source="github.com/avBuffer/UNet3plus_pth/issues/23",
)
def outlines_squashed_by_net_and_loss(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Outlines of shapes: the net ends in a sigmoid, the loss has one of its own, and the error stays above a half."""
    x, _, mask = data.shapes(500, seed)
    rows = data.split(x, mask[:, None].float(), seed)

    class Outline(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.high = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU())
            self.low = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(12, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU())
            self.out = nn.Sequential(nn.Conv2d(36, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 1, 1))

        def forward(self, seen: Tensor) -> Tensor:
            high = self.high(seen)
            said = self.out(torch.cat([high, F.interpolate(self.low(high), scale_factor=2)], 1))
            return said if cured else said.sigmoid()

    model = Outline()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3, weight_decay=1e-8, momentum=0.9)
    loss_fn = F.binary_cross_entropy_with_logits
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 16, 160, seed), rows, every=32)
    with torch.no_grad():
        return below(loss_fn(model(rows.held_x), rows.held_y), 0.3)
