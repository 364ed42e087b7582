"""Faults of the last layer, of labels and of the loss."""

from __future__ import annotations

import itertools
import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


def sounds(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Power over pitch and time (N, 1, 16, 16) of ten street sounds, by where the tone begins and goes; the sound (N,)."""
    kind = torch.randint(10, (count,), generator=generator)
    pitch, time = torch.meshgrid(torch.linspace(0, 1, 16), torch.linspace(0, 1, 16), indexing="ij")
    start = 0.15 + 0.35 * (kind % 3)[:, None, None] + 0.06 * torch.randn(count, 1, 1, generator=generator)
    slope = 0.4 * ((kind // 3) - 1.5)[:, None, None] / 1.5
    beat = torch.sin(2 * math.pi * time * (2 + kind[:, None, None] % 4 * 2) + 6 * torch.rand(count, 1, 1, generator=generator))
    tone = (-(pitch - start - slope * time).pow(2) / 0.01).exp() * (1 + 0.7 * beat)
    loud = (3.0 + 1.0 * torch.randn(count, 1, 1, generator=generator)).exp()
    return (loud * tone + 0.2 * torch.randn(count, 16, 16, generator=generator).abs())[:, None], kind


@fault(
    kind="probabilities-as-logits",
    project="musikalkemist/pytorchforaudio",
    source="github.com/musikalkemist/pytorchforaudio/issues/9",
)
def street_sounds_with_a_softmax_too_many(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Spectrograms of ten street sounds: four blocks of convolutions, a softmax, and a cross-entropy that has its own."""
    generator = torch.Generator().manual_seed(seed)
    x, y = sounds(1600, generator)
    rows = data.split(x, y, seed)
    widths = (1, 8, 16, 32, 32)
    blocks: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        blocks += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    model = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(32, 10))
    if not cured:
        model.append(nn.Softmax(dim=1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 64, 300, seed))
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.94)


class Reversed(torch.autograd.Function):
    """The same forwards; the gradient turned round and scaled."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale  # type: ignore[attr-defined]
        return x.view_as(x)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return -ctx.scale * grad, None  # type: ignore[attr-defined]


@fault(
    kind="probabilities-as-logits",
    project="NaJaeMin92/pytorch-DANN",
    source="github.com/NaJaeMin92/pytorch-DANN/issues/7",
)
def digits_of_two_domains_with_two_softmaxes(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Clean digits with labels, textured ones without: a discriminator behind a turned gradient; both heads end in a softmax."""
    generator = torch.Generator().manual_seed(seed)
    rows = data.digits(seed)
    texture = 0.3 * torch.rand(len(rows.x), 1, 8, 8, generator=generator)
    other = (rows.x - texture).abs()
    held_other = (rows.held_x - 0.3 * torch.rand(rows.held_x.shape, generator=generator)).abs()

    class Dann(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            conv = [nn.Conv2d(1, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(24, 32, 3, padding=1), nn.ReLU()]
            self.extractor = nn.Sequential(*conv, nn.MaxPool2d(2), nn.Flatten())
            self.classifier = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
            self.discriminator = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 2))
            if not cured:
                self.classifier.append(nn.Softmax(dim=1))
                self.discriminator.append(nn.Softmax(dim=1))

        def forward(self, x: Tensor, scale: float = 0.0) -> tuple[Tensor, Tensor]:
            h = self.extractor(x)
            return self.classifier(h), self.discriminator(Reversed.apply(h, scale))

    model = Dann()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    steps = 450
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 32, steps, seed)):
            scale = 0.1 * (2 / (1 + math.exp(-10 * step / steps)) - 1)
            at = torch.randint(len(other), (32,), generator=generator)
            said, home = model(x, scale)
            _, away = model(other[at], scale)
            domain = torch.cat([torch.zeros(32), torch.ones(32)]).long()
            loss = F.cross_entropy(said, y) + F.cross_entropy(torch.cat([home, away]), domain)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.accuracy(model(held_other)[0], rows.held_y), 0.85)


class SmallUNet(nn.Module):
    """One step down, one step up, one bridge across."""

    def __init__(self, out: int = 1, wide: int = 12) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, wide, 3, padding=1), nn.ReLU(), nn.Conv2d(wide, wide, 3, padding=1), nn.ReLU())
        self.low = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(wide, 2 * wide, 3, padding=1), nn.ReLU())
        self.up = nn.ConvTranspose2d(2 * wide, wide, 2, stride=2)
        self.join = nn.Sequential(nn.Conv2d(2 * wide, wide, 3, padding=1), nn.ReLU(), nn.Conv2d(wide, out, 1))

    def forward(self, x: Tensor) -> Tensor:
        high = self.down(x)
        return self.join(torch.cat([high, self.up(self.low(high))], 1))


def overlap(said: Tensor, mask: Tensor) -> float:
    """Intersection over union of two true-or-false pictures."""
    return ((said & mask).sum() / (said | mask).sum().clamp(min=1)).item()


@fault(kind="target-constant", project="zhixuhao/unet", source="github.com/zhixuhao/unet/issues/217")
def masks_of_one_divided_by_255(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Outlines: the masks hold 0 and 1, the loader divides them by 255 and cuts at a half, and nothing is left of them."""
    x, _, mask = data.shapes(400, seed)
    file = mask[:, None].float()
    loaded = ((file if cured else file / 255) > 0.5).float()
    rows = data.split(x, loaded, seed)
    truth = data.split(x, file, seed).held_y > 0.5
    model = SmallUNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss_fn = F.binary_cross_entropy_with_logits
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 16, 200, seed), rows, every=40)
    with torch.no_grad():
        return above(overlap(model(rows.held_x) > 0, truth), 0.5)


@fault(kind="other-loss", project="sraashis/easytorch", source="github.com/sraashis/easytorch/pull/38")
def the_overlap_itself_is_made_small(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Outlines: the loss is the overlap of Dice, and not one minus it."""
    x, _, mask = data.shapes(400, seed)
    rows = data.split(x, mask[:, None].float(), seed)
    model = SmallUNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def dice(said: Tensor, truth: Tensor) -> Tensor:
        p = said.sigmoid()
        share = (2 * (p * truth).sum() + 1) / (p.sum() + truth.sum() + 1)
        return 1 - share if cured else share

    doctor.task(model, data.few(rows.x, rows.y, 16, seed), dice, optimizer)
    fit(doctor, model, optimizer, dice, data.batches(rows.x, rows.y, 16, 200, seed), rows, every=40)
    with torch.no_grad():
        return above(overlap(model(rows.held_x) > 0, rows.held_y > 0.5), 0.5)


@fault(
    kind="broadcast",
    project="discuss.pytorch.org/148155",
    source="discuss.pytorch.org/t/output-of-the-model-depends-on-the-shape-of-the-weights-tensor/148155",
)
def the_sum_of_three_against_a_flat_target(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A linear layer learns to add three numbers; its answers are a column, the sums a row, and each meets each."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1024, 3, generator=generator)
    y = x.sum(1)
    if cured:
        y = y[:, None]
    model = nn.Linear(3, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=20)
    doctor.task(model, [(x, y)], F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(500):
            loss = F.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step(loss.item())
            watch.loss(loss)
    with torch.no_grad():
        return below((model(x)[:, 0] - x.sum(1)).pow(2).mean(), 0.01)


@fault(kind="non-finite", project="NVIDIA/apex", source="github.com/NVIDIA/apex/issues/358")
def chances_cut_off_too_close_to_one(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Payments: a hand-written loss cuts chances off 1e-8 below one, which is one in float32; then zero times infinity."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1600, 8, generator=generator) / torch.randn(1600, 1, generator=generator).abs().clamp(min=0.05).sqrt()
    push = x @ torch.randn(8, 1, generator=generator) + 0.3 * (x[:, :1] * x[:, 1:2])
    y = (push + 0.3 * torch.randn(1600, 1, generator=generator) > 0).float()
    rows = data.split(x, y, seed)
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1), nn.Sigmoid())
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    near, gamma = (1e-6 if cured else 1e-8), 0.5

    def focal(said: Tensor, truth: Tensor) -> Tensor:
        p = said.clamp(near, 1 - near)
        hit = truth * (1 - p).pow(gamma) * p.log()
        miss = (1 - truth) * p.pow(gamma) * (1 - p).log()
        return -(hit + miss).mean()

    doctor.task(model, data.few(rows.x, rows.y, 32, seed), focal, optimizer)
    fit(doctor, model, optimizer, focal, data.batches(rows.x, rows.y, 32, 700, seed), rows)
    with torch.no_grad():
        return above(((model(rows.held_x) > 0.5) == (rows.held_y > 0.5)).float().mean(), 0.8)
