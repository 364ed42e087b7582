"""Faults of data and of what is held out: raw watts, pixels too dark, volumes of others, another list of kinds, too few films."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="target-scale",
    also=("slow-learning", "learning-rate-too-low", "initial-loss"),
    project="gitbooo/CrossViVit",
    source="github.com/gitbooo/CrossViVit/issues/5",
)
def sunlight_told_in_watts(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The sun of the next hours from the past day: what goes in is standardised, what is to come out is raw, up to 1000."""
    generator = torch.Generator().manual_seed(seed)
    hour = torch.randint(24, (1000, 1), generator=generator) + torch.arange(30)
    sky = 900 * torch.sin((hour % 24 - 6) / 12 * 3.1416).clamp(min=0)
    cloud = torch.randn(1000, 30, generator=generator).cumsum(1) * 0.35
    sun = sky * (0.35 + 0.65 * torch.sigmoid(cloud + torch.randn(1000, 1, generator=generator)))
    x = torch.stack([(sun - 300) / 320, (sky - 300) / 320, (hour % 24 - 12) / 7.0], 2)
    target = (sun[:, 24:] - 300) / 320 if cured else sun[:, 24:]
    rows = data.split(x[:, :24], target, seed)

    class Forecast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.place = nn.Linear(3, 32), nn.Parameter(0.1 * torch.randn(24, 32))
            layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
            self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.out = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 6))

        def forward(self, seen: Tensor) -> Tensor:
            return self.out(self.body(self.embed(seen) + self.place).mean(1))

    model = Forecast()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 32, 260, seed), rows)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.7)


@fault(
    kind="input-scale",
    also=("target-scale", "eps-underflow", "slow-learning"),
    project="zejinwang/Blind2Unblind",
    source="github.com/zejinwang/Blind2Unblind/issues/16",
)
def pixels_over_255_twice(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Noisy pictures and clean ones are brought to 0..1 by the transform and divided by 255 once more in the loop."""
    clean, _, _ = data.shapes(600, seed, noise=0.0)
    generator = torch.Generator().manual_seed(seed)
    clean = 0.2 + 0.6 * F.avg_pool2d(F.pad(clean, (1, 1, 1, 1), mode="replicate"), 3, 1)
    noisy = clean + 0.2 * torch.randn(clean.shape, generator=generator)
    scale = 1.0 if cured else 255.0
    rows = data.split(noisy / scale, clean / scale, seed)

    class Clean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(16, 16, 3, padding=1))
            self.low = nn.Sequential(
                nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.LeakyReLU(0.1), nn.Upsample(scale_factor=2)
            )
            self.up = nn.Sequential(nn.Conv2d(48, 16, 3, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(16, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            high = self.down(x)
            return self.up(torch.cat([high, self.low(high)], 1))

    model = Clean()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 16, 260, seed), rows)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.7)


@fault(
    kind="shuffled-targets",
    also=("underfitting",),
    project="mlcommons/GaNDLF",
    source="github.com/mlcommons/GaNDLF/pull/870",
)
def volumes_and_labels_in_two_orders(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Volumes and their labels come from two loaders, each with a shuffle of its own."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(3, (600,), generator=generator)
    axis = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, 10)] * 3, indexing="ij"))
    centre = 0.6 * torch.rand(600, 3, 1, 1, 1, generator=generator) - 0.3
    far = (axis - centre).abs()
    bodies = torch.stack([far.norm(dim=1) < 0.55, far.amax(1) < 0.45, far[:, :2].norm(dim=1) < 0.35], 1)
    x = bodies[torch.arange(600), y][:, None] + 0.5 * torch.randn(600, 1, 10, 10, 10, generator=generator)
    rows = data.split(x, y, seed)
    other = rows.y if cured else rows.y[torch.randperm(len(rows.y), generator=generator)]
    conv = [nn.Conv3d(1, 8, 3, padding=1), nn.InstanceNorm3d(8, affine=True), nn.ReLU(), nn.MaxPool3d(2)]
    conv += [nn.Conv3d(8, 16, 3, padding=1), nn.InstanceNorm3d(16, affine=True), nn.ReLU(), nn.MaxPool3d(2)]
    model = nn.Sequential(*conv, nn.Flatten(), nn.Linear(128, 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, other, 15, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, other, 15, 200, seed), rows, every=40)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.7)


@fault(
    kind="held-out-labels",
    also=("dev-scale",),
    project="weecology/DeepForest",
    source="github.com/weecology/DeepForest/pull/1147",
)
def kinds_numbered_by_each_folder(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Kinds of trees are numbered by the folders there are; the held-out half has none of the second, so all after it are off."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(6, (1300,), generator=generator)
    crown = F.interpolate(torch.randn(6, 3, 4, 4, generator=generator), 12, mode="bilinear")
    x = crown[y] + 0.9 * torch.randn(1300, 3, 12, 12, generator=generator)
    rows = data.split(x, y, seed)
    there = rows.held_y != 1
    held_y = rows.held_y[there]
    numbered = held_y if cured else held_y - (held_y > 1).long()
    rows = rows._replace(held_x=rows.held_x[there], held_y=numbered)
    conv = [nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 24, 3, padding=1)]
    model = nn.Sequential(*conv, nn.BatchNorm2d(24), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(216, 6))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 240, seed), rows, every=30)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.75)


@fault(
    kind="overfitting",
    also=("held-out-labels",),
    project="ChiWeiHsiao/DeepVO-pytorch",
    source="github.com/ChiWeiHsiao/DeepVO-pytorch/issues/60",
)
def the_way_from_a_few_films(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A net and an LSTM tell how a camera moved; twelve films with inexact paths are learnt by heart."""
    generator = torch.Generator().manual_seed(seed)
    turn = torch.randn(60, 2, generator=generator).div(2)

    def films(count: int) -> tuple[Tensor, Tensor]:
        """What is seen (N, 8, 60) and how the camera moved (N, 8, 2)."""
        moved = torch.randn(count, 8, 2, generator=generator)
        place = moved.cumsum(1) * 0.4
        return torch.sin(place @ turn.T + torch.arange(60.0)) + 0.4 * torch.randn(count, 8, 60, generator=generator), moved

    (x, y), (held_x, held_y) = films(800 if cured else 12), films(150)
    y = y + 0.5 * torch.randn(y.shape, generator=generator)

    class Odometry(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.see, self.rnn = nn.Sequential(nn.Linear(60, 64), nn.ReLU()), nn.LSTM(64, 64, batch_first=True)
            self.out = nn.Linear(64, 2)

        def forward(self, film: Tensor) -> Tensor:
            return self.out(self.rnn(self.see(film))[0])

    model = Odometry()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(x, y, 6, seed), F.mse_loss, optimizer)
    batches = data.batches(x, y, 6, 500, seed)
    fit(doctor, model, optimizer, F.mse_loss, batches, data.Split(x, y, held_x, held_y), every=25)
    with torch.no_grad():
        return above(data.r2(model(held_x), held_y), 0.6)
