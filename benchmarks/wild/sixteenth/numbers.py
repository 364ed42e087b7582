"""Faults of numbers: logarithms of nothing, pictures divided twice, a rate that is too high, too few epochs, the wrong mode."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="input-scale",
    also=("target-scale",),
    project="anishmadan23/deep3d-pytorch",
    source="github.com/anishmadan23/deep3d-pytorch/issues/1",
)
def both_views_divided_once_more(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The right view from the left: pictures between 0 and 1 are divided by 255 again, and all errors are next to nothing."""
    generator = torch.Generator().manual_seed(seed)
    axis = torch.linspace(-1, 1, 12)
    place = torch.rand(700, 2, 1, 1, generator=generator) * 1.2 - 0.6
    wide = 0.15 + 0.2 * torch.rand(700, 1, 1, generator=generator)

    def view(shift: Tensor) -> Tensor:
        far = (axis - place[:, 0] - shift).pow(2) + (axis[:, None] - place[:, 1]).pow(2)
        return (-far / wide.pow(2) / 2).exp()[:, None]

    left, right = view(torch.zeros(1)), view(0.6 * wide)
    scale = 1.0 if cured else 255.0
    rows = data.split(left / scale, right / scale, seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(16, 16, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(16, 1, 5, padding=2),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), F.l1_loss, optimizer)
    fit(doctor, model, optimizer, F.l1_loss, data.batches(rows.x, rows.y, 16, 600, seed), rows)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.8)


@fault(
    kind="non-finite",
    project="summerlvsong/Aggregation-Cross-Entropy",
    source="github.com/summerlvsong/Aggregation-Cross-Entropy/issues/2",
)
def the_logarithm_of_a_letter_never_read(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Letters of a line are counted: chances are averaged over it, and a letter that is nowhere has none to take a log of."""
    generator = torch.Generator().manual_seed(seed)
    letters = 8
    pair = torch.randint(1, letters, (1000, 2), generator=generator)
    written = pair.gather(1, torch.randint(2, (1000, 10), generator=generator))
    written = written.masked_fill(torch.rand(1000, 10, generator=generator) < 0.3, 0)
    look = torch.randn(letters, 16, generator=generator) * 120
    lines = look[written] + 20 * torch.randn(1000, 10, 16, generator=generator)
    counts = F.one_hot(written, letters).sum(1).float()
    rows = data.split(lines, counts, seed)
    model = nn.Sequential(nn.Linear(16, 48), nn.ReLU(), nn.Linear(48, letters))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def aggregated(said: Tensor, count: Tensor) -> Tensor:
        share = said.softmax(2).mean(1)
        if cured:
            share = share + 1e-10
        return -(count / 10 * share.log()).sum(1).mean()

    doctor.task(model, data.few(rows.x, rows.y, 25, seed), aggregated, optimizer)
    fit(doctor, model, optimizer, aggregated, data.batches(rows.x, rows.y, 25, 1200, seed), rows)
    with torch.no_grad():
        wrong = (model(rows.held_x).softmax(2).sum(1) - rows.held_y).abs().mean()
    return below(wrong, 1.0)


@fault(
    kind="non-finite",
    project="yym6472/ms_pointer_network",
    source="github.com/yym6472/ms_pointer_network/issues/1",
)
def the_logarithm_of_a_gate_quite_shut(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Copy a word or choose one: the logarithms of a gate and of what is left of it are taken, and one is shut for good."""
    generator = torch.Generator().manual_seed(seed)
    known = torch.randint(12, (1600, 4), generator=generator)
    copied = torch.rand(1600, generator=generator) < 0.5
    asked = torch.randint(4, (1600,), generator=generator)
    wanted = torch.where(copied, known.gather(1, asked[:, None])[:, 0], asked)
    about = torch.cat([F.one_hot(asked, 4).float(), torch.where(copied, 5.0, -5.0)[:, None]], 1)
    x = torch.cat([F.one_hot(known, 12).flatten(1).float(), about], 1)
    rows = data.split(x, wanted, seed)
    tiny = 1e-8 if cured else 0.0

    class Pointer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(53, 64), nn.ReLU())
            self.point, self.words = nn.Linear(64, 4), nn.Linear(64, 12)
            self.ask, self.key = nn.Linear(64, 128), nn.Linear(64, 128)

        def forward(self, seen: Tensor) -> Tensor:
            h = self.body(seen)
            gate = (self.ask(h) * self.key(h)).sum(1, keepdim=True).sigmoid()
            copy = torch.einsum("np,npw->nw", self.point(h).softmax(1), seen[:, :48].view(-1, 4, 12))
            first = (gate + tiny).log() + (copy + 1e-6).log()
            second = (1 - gate + tiny).log() + self.words(h).log_softmax(1)
            return torch.logaddexp(first, second)

    model = Pointer()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.nll_loss, optimizer)
    fit(doctor, model, optimizer, F.nll_loss, data.batches(rows.x, rows.y, 32, 600, seed), rows)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@fault(
    kind="learning-rate-too-high",
    project="cleverhans-lab/cleverhans",
    source="github.com/cleverhans-lab/cleverhans/pull/220",
)
def a_tenth_where_a_thousandth_belongs(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits by three strided convolutions and Adam with a rate of 0.1: what is right does not change from epoch to epoch."""
    rows = data.digits(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 24, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(24, 48, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(48, 48, 2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(48, 10),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3 if cured else 0.1)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 420, seed), rows, every=42)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@fault(
    kind="underfitting",
    also=("slow-learning",),
    project="open-mmlab/mmdetection",
    source="github.com/open-mmlab/mmdetection/issues/10369",
)
def a_detector_stopped_after_two_epochs(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Shapes on a grid of cells: two epochs at a slow rate, and no cell ever says that it holds anything."""
    x, _, mask = data.shapes(600, seed)
    axis = torch.arange(16).float()
    mass = mask.sum((1, 2)).clamp(min=1)
    down, across = (mask.sum(2) * axis).sum(1) / mass, (mask.sum(1) * axis).sum(1) / mass
    cell = F.one_hot((down // 4 * 4 + across // 4).long(), 16).float().view(-1, 1, 4, 4)
    rows = data.split(x, cell, seed)
    blocks: list[nn.Module] = []
    for before, after, pool in ((1, 16, False), (16, 16, True), (16, 32, False), (32, 32, True), (32, 32, False)):
        blocks += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
        if pool:
            blocks.append(nn.MaxPool2d(2))
    model = nn.Sequential(*blocks, nn.Conv2d(32, 1, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
    loss_fn = F.binary_cross_entropy_with_logits
    doctor.task(model, data.few(rows.x, rows.y, 15, seed), loss_fn, optimizer)
    steps = 30 * (30 if cured else 2)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 15, steps, seed), rows, every=30)
    with torch.no_grad():
        found = model(rows.held_x) > 0
    return above((found & (rows.held_y > 0)).sum() / len(rows.held_y), 0.6)


@fault(
    kind="wrong-mode",
    also=("eval-dropout",),
    project="sinhasam/vaal",
    source="github.com/sinhasam/vaal/issues/2",
)
def tested_without_leaving_train_mode(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Which digits to label next: a net with norms and dropout is tested after each round in the mode in which it learns."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(256, 64),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(64, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)
    labelled = torch.randperm(len(rows.x), generator=generator)[:200]
    right = 0.0
    with doctor.watch(model, optimizer) as watch:
        for _ in range(4):
            model.train()
            for a, b in data.batches(rows.x[labelled], rows.y[labelled], 25, 100, seed + len(labelled)):
                loss = F.cross_entropy(model(a), b)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            if cured:
                model.eval()
            hits, losses = [], []
            with torch.no_grad():
                for a, b in zip(rows.held_x.split(10), rows.held_y.split(10), strict=True):
                    said = model(a)
                    losses.append(F.cross_entropy(said, b))
                    hits.append(said.argmax(1) == b)
                unsure = model(rows.x).softmax(1).amax(1)
            watch.dev_loss(torch.stack(losses).mean())
            right = torch.cat(hits).float().mean().item()
            unsure[labelled] = 2.0
            labelled = torch.cat([labelled, unsure.argsort()[:150]])
    return above(right, 0.93)
