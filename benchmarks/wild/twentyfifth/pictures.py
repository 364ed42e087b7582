"""Faults on pictures: a softmax over one channel, twos that norm each other, a step that bursts, a pupil that hardly moves."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Segmenter(nn.Module):
    """Down once, up once, with a way across; so many channels out."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU())
        self.deep = nn.Sequential(nn.Conv2d(12, 24, 3, 2, 1), nn.BatchNorm2d(24), nn.ReLU())
        self.up = nn.ConvTranspose2d(24, 12, 2, 2)
        self.say = nn.Conv2d(24, classes, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        near = self.down(x)
        return self.say(torch.cat([near, self.up(self.deep(near))], 1))


@fault(
    kind="no-gradient",
    also=("softmax-axis", "other-loss", "never-moved", "target-constant"),
    project="GeorgeSeif/Semantic-Segmentation-Suite",
    source="github.com/GeorgeSeif/Semantic-Segmentation-Suite/issues/52",
)
def a_softmax_over_one_channel(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A thing before a ground: the mask is a single channel of 0 and 1, and so is the softmax that is held against it."""
    torch.manual_seed(seed)
    x, _, mask = data.shapes(500, seed)
    inside = mask[:, None].float()
    rows = data.split(x, torch.cat([1 - inside, inside], 1) if cured else inside, seed)
    model = Segmenter(2 if cured else 1)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 16, 200, seed), held=rows)
    with torch.no_grad():
        said = model(rows.held_x).argmax(1) if cured else model(rows.held_x)[:, 0] > 0.5
        true = rows.held_y[:, -1] > 0
        said = said > 0
        return above((said & true).sum() / (said | true).sum().clamp(min=1), 0.6)


class Signs(nn.Linear):
    """A layer that uses the signs of its weights; the gradient passes as if it had used the weights."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight + (self.weight.sign() - self.weight).detach()) / self.in_features**0.5


@fault(
    kind="wrong-mode",
    also=("norm-statistics", "batch-mixing"),
    project="itayhubara/BinaryNet.tf",
    source="github.com/itayhubara/BinaryNet.tf/issues/9",
)
def two_that_norm_each_other(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits through layers of signs: they are looked at two by two afterwards, and the norms take their sizes from these two."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    model = nn.Sequential(
        nn.Flatten(),
        Signs(64, 128, bias=False),
        nn.BatchNorm1d(128),
        nn.Hardtanh(),
        Signs(128, 128, bias=False),
        nn.BatchNorm1d(128),
        nn.Hardtanh(),
        Signs(128, 10, bias=False),
        nn.BatchNorm1d(10),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

    def looked_at() -> Tensor:
        if cured:
            model.eval()
        with torch.no_grad():
            return torch.cat([model(pair) for pair in rows.held_x.split(2)])

    with doctor.watch(model, optimizer) as watch:
        model.train()
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 64, 400, seed)):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 100 == 99:
                watch.dev_loss(F.cross_entropy(looked_at(), rows.held_y))
                model.train()
    return above(data.accuracy(looked_at(), rows.held_y), 0.85)


class Detector(nn.Module):
    """Features of a grown-up net for raw pixels, and three heads on a grid of four by four: a thing, its box, its kind."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU())
        with torch.no_grad():
            for each in self.body[0].parameters():
                each.div_(64)
        self.mix = nn.Sequential(nn.Conv2d(32, 48, 3, padding=1), nn.ReLU())
        self.thing, self.box, self.kind = nn.Conv2d(48, 1, 1), nn.Conv2d(48, 4, 1), nn.Conv2d(48, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.mix(self.body(x))
        return torch.cat([self.thing(h), self.box(h), self.kind(h)], 1).flatten(2).transpose(1, 2)


def boxed(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pictures in shades of 0 to 255 less their mean; the cell, the box in quarters of the picture and the kind (N, 6)."""
    x, kind, mask = data.shapes(count, seed)
    across, down = mask.amax(1), mask.amax(2)
    place = torch.arange(16.0)
    edges = []
    for line in (across, down):
        inside = torch.where(line > 0, place, torch.nan)
        edges += [inside.nan_to_num(99).amin(1), inside.nan_to_num(-99).amax(1)]
    left, right, top, bottom = edges
    middle = torch.stack([(left + right) / 2, (top + bottom) / 2], 1)
    cell = (middle // 4).clamp(0, 3)
    inside = middle / 4 - cell - 0.5
    size = torch.stack([(right - left + 1), (bottom - top + 1)], 1).log() - 1.5
    shades = 255 * x.clamp(0, 1)
    return shades - shades.mean(), torch.cat([(4 * cell[:, 1:] + cell[:, :1]), inside, size, kind[:, None].float()], 1)


def detection(said: Tensor, y: Tensor) -> Tensor:
    """Where something is, and at that place its box and kind."""
    cell = y[:, 0].long()
    at = said[torch.arange(len(y)), cell]
    there = F.one_hot(cell, 16).float()
    return (
        F.binary_cross_entropy_with_logits(said[:, :, 0], there)
        + F.smooth_l1_loss(at[:, 1:5], y[:, 1:5])
        + F.cross_entropy(at[:, 5:], y[:, 5].long())
    )


@fault(
    kind="learning-rate-too-high",
    also=("non-finite", "input-scale", "activation-scale", "gradient-scale"),
    project="endernewton/tf-faster-rcnn",
    source="github.com/endernewton/tf-faster-rcnn/issues/458",
)
def boxes_at_a_rate_that_bursts(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Things found in pictures with raw shades, by descent with momentum at a rate of 0.01."""
    torch.manual_seed(seed)
    rows = data.split(*boxed(800, seed), seed)
    model = Detector()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3 if cured else 1e-2, momentum=0.9, weight_decay=1e-4)
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), detection, optimizer)
    fit(doctor, model, optimizer, detection, data.batches(rows.x, rows.y, 16, 600, seed), held=rows, every=100)
    with torch.no_grad():
        said, cell = model(rows.held_x), rows.held_y[:, 0].long()
        found = said[:, :, 0].argmax(1) == cell
        named = said[torch.arange(len(cell)), cell, 5:].argmax(1) == rows.held_y[:, 5]
        return above((found & named).float().mean(), 0.6)


@fault(
    kind="learning-rate-too-low",
    also=("slow-learning", "underfitting"),
    project="a7b23/Distilling-the-knowledge-in-neural-network",
    source="github.com/a7b23/Distilling-the-knowledge-in-neural-network/issues/1",
)
def a_pupil_that_hardly_moves(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A small net for digits learns from labels and from what a large one says, softened; the rate is far too small for it."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    first = torch.optim.Adam(teacher.parameters(), lr=2e-3)
    for x, y in data.batches(rows.x, rows.y, 64, 250, seed):
        first.zero_grad()
        F.cross_entropy(teacher(x), y).backward()
        first.step()
    teacher.requires_grad_(requires_grad=False)
    pupil = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(pupil.parameters(), lr=0.2 if cured else 0.005)
    with doctor.watch(pupil, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 64, 800, seed)):
            said, taught = pupil(x), teacher(x)
            soft = -((taught / 2).softmax(1) * (said / 2).log_softmax(1)).sum(1).mean()
            loss = F.cross_entropy(said, y) + soft
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 200 == 199:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(pupil(rows.held_x), rows.held_y))
    with torch.no_grad():
        return above(data.accuracy(pupil(rows.held_x), rows.held_y), 0.88)
