"""Faults of a loss by overlap: all kinds in one sum, no sum over the picture, and the overlap itself made small."""

from __future__ import annotations

import numpy as np
import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


def overlap(said: Tensor, mask: Tensor) -> float:
    """Twice what both mark, as a share of what each marks."""
    return (2 * (said & mask).sum() / (said.sum() + mask.sum()).clamp(min=1)).item()


def unet(kinds: int, width: int = 12) -> nn.Module:
    """Down once and up again, and across."""

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
            self.deep = nn.Sequential(nn.Conv2d(width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU())
            self.up = nn.ConvTranspose2d(2 * width, width, 2, 2)
            self.last = nn.Sequential(nn.Conv2d(2 * width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, kinds, 1))

        def forward(self, x: Tensor) -> Tensor:
            across = self.down(x)
            return self.last(torch.cat([across, self.up(self.deep(F.max_pool2d(across, 2)))], 1))

    return UNet()


def scans(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Slices (N, 1, 24, 24) with an organ, and in it a lesion of some pixels that is a little brighter; kinds (N, 24, 24)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:24, :24]
    pictures, kinds = [], []
    for _ in range(count):
        r, c, reach = rng.uniform(9, 15), rng.uniform(9, 15), rng.uniform(5, 8)
        kind = (np.hypot(rows - r, columns - c) < reach).astype(int)
        turn, far = rng.uniform(0, 6.28), rng.uniform(0, reach - 2)
        kind[np.hypot(rows - r - far * np.sin(turn), columns - c - far * np.cos(turn)) < 1.2] = 2
        kinds.append(kind)
        pictures.append(np.array([0.0, 0.8, 2.0])[kind] + rng.normal(0, 0.25, (24, 24)))
    return torch.tensor(np.stack(pictures), dtype=torch.float32)[:, None], torch.tensor(np.stack(kinds))


@fault(
    kind="other-loss",
    also=("majority-class",),
    project="ProjectNeura/MIPCandy",
    source="github.com/ProjectNeura/MIPCandy/pull/125",
)
def a_lesion_in_the_sum_of_all_kinds(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Organ and lesion in a slice: the overlap is taken of all kinds together, so that a lesion of five pixels is nothing."""
    torch.manual_seed(seed)
    rows = data.split(*scans(320, seed), seed)
    model = unet(3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

    def dice_and_entropy(logits: Tensor, kind: Tensor) -> Tensor:
        share, truth = logits.softmax(1), F.one_hot(kind, 3).permute(0, 3, 1, 2).float()
        over = (0, 2, 3) if cured else (0, 1, 2, 3)
        dice = 2 * (share * truth).sum(over) / (share.sum(over) + truth.sum(over) + 1e-5)
        entropy = F.binary_cross_entropy_with_logits(logits, truth)
        return 0.1 * entropy + 1 - (dice[1:].mean() if cured else dice)

    doctor.task(model, data.few(rows.x, rows.y, 8, seed), dice_and_entropy, optimizer)
    fit(doctor, model, optimizer, dice_and_entropy, data.batches(rows.x, rows.y, 8, 300, seed), held=rows, every=60)
    with torch.no_grad():
        return above(overlap(model(rows.held_x).argmax(1) == 2, rows.held_y == 2), 0.5)


@fault(
    kind="other-loss",
    also=("majority-class", "underfitting"),
    project="MaybeShewill-CV/lanenet-lane-detection",
    source="github.com/MaybeShewill-CV/lanenet-lane-detection/issues/399",
)
def lanes_by_each_pixel_alone(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Two thin lanes on a road: the overlap is taken at each pixel and then averaged, so nearly all pixels ask for no lane."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    at = 2 + 20 * torch.rand(320, 2, 1, 1, generator=generator)
    lean = 0.6 * torch.rand(320, 2, 1, 1, generator=generator) - 0.3
    line = (torch.arange(24.0) - (at + lean * torch.arange(-12.0, 12)[:, None])).abs() < 0.6
    mask = line.any(1).long()
    x = 0.8 * mask[:, None] + 0.7 * torch.randn(320, 1, 24, 24, generator=generator)
    rows = data.split(x, mask, seed)
    model = unet(2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    seen = torch.bincount(rows.y.flatten(), minlength=2).float()
    inverse = 1 / (seen / seen.sum() + 1.02).log()

    def dice_loss(logits: Tensor, mask: Tensor) -> Tensor:
        share, truth, weight = logits.softmax(1), F.one_hot(mask, 2).permute(0, 3, 1, 2).float(), inverse[mask][:, None]
        over: tuple[int, ...] = (0, 2, 3) if cured else (0, 1)
        both = 2 * (share * truth * weight).sum(over)
        return 1 - ((both + 1e-5) / ((share * weight).sum(over) + (truth * weight).sum(over) + 1e-5)).mean()

    doctor.task(model, data.few(rows.x, rows.y, 4, seed), dice_loss, optimizer)
    fit(doctor, model, optimizer, dice_loss, data.batches(rows.x, rows.y, 4, 200, seed), held=rows, every=50)
    with torch.no_grad():
        return above(overlap(model(rows.held_x).argmax(1) == 1, rows.held_y == 1), 0.4)


@fault(
    kind="other-loss",
    also=("majority-class", "dead-units", "saturation"),
    project="akirasosa/mobile-semantic-segmentation",
    source="github.com/akirasosa/mobile-semantic-segmentation/issues/24",
)
def hair_by_the_overlap_itself(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Where the hair is in a portrait: what is made small is the overlap, and not 1 less the overlap."""
    torch.manual_seed(seed)
    pictures, _, masks = data.shapes(360, seed, noise=0.3)
    rows = data.split(pictures, masks[:, None].float(), seed)

    class Separable(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers: list[nn.Module] = [nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU6()]
            for _ in range(2):
                layers += [nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Conv2d(16, 16, 1), nn.BatchNorm2d(16), nn.ReLU6()]
            self.body, self.last = nn.Sequential(*layers), nn.Conv2d(16, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.body(x)).sigmoid()

    def dice(said: Tensor, mask: Tensor) -> Tensor:
        both = (said * mask).sum()
        share = (2 * both + 1) / (said.sum() + mask.sum() + 1)
        return 1 - share if cured else share

    model = Separable()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), dice, optimizer)
    fit(doctor, model, optimizer, dice, data.batches(rows.x, rows.y, 16, 200, seed), held=rows)
    with torch.no_grad():
        return above(overlap(model(rows.held_x) > 0.5, rows.held_y.bool()), 0.7)
