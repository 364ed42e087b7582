"""Faults of steps: a rate that falls after one epoch, one that falls for each pair, a graph cut too early."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="schedule-to-zero",
    also=("learning-rate-too-low", "slow-learning", "underfitting"),
    project="cherubicXN/hawp",
    source="github.com/cherubicXN/hawp/issues/3",
)
def a_rate_that_falls_after_the_first_epoch(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Ends of strokes on a grid of cells: the rate is to fall near the end of training and falls after the first epoch."""
    generator = torch.Generator().manual_seed(seed)
    count = 640
    first = torch.randint(16, (count, 2), generator=generator)
    second = torch.randint(16, (count, 2), generator=generator)
    along = torch.linspace(0, 1, 24)[:, None, None]
    path = (first + along * (second - first)).round().long()
    x = torch.zeros(count, 1, 16, 16)
    for spot in path:
        x[torch.arange(count), 0, spot[:, 0], spot[:, 1]] = 1.0
    ends = torch.zeros(count, 1, 16, 16)
    for spot in (first, second):
        ends[torch.arange(count), 0, spot[:, 0], spot[:, 1]] = 1.0
    rows = data.split(x + 0.1 * torch.randn(x.shape, generator=generator), ends, seed)
    model = nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 1, 3, padding=1)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-4, amsgrad=True)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [25] if cured else [1], gamma=0.1)
    batches = data.batches(rows.x, rows.y, 32, 450, seed)
    loss_fn = F.binary_cross_entropy_with_logits
    with doctor.watch(model, optimizer) as watch:
        for _ in range(30):
            for _ in range(15):
                a, b = next(batches)
                loss = loss_fn(model(a), b)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            schedule.step()
            with torch.no_grad():
                watch.dev_loss(loss_fn(model(rows.held_x), rows.held_y))
    with torch.no_grad():
        best = model(rows.held_x).flatten(1).topk(2).indices
        return above(rows.held_y.flatten(1).gather(1, best).mean(), 0.6)


@fault(
    kind="schedule-to-zero",
    also=("learning-rate-too-low", "slow-learning", "underfitting"),
    project="amoudgl/pygoturn",
    source="github.com/amoudgl/pygoturn/issues/16",
)
def a_rate_that_falls_for_each_pair(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Where a blob went: pairs are gathered for a batch, and at the step at which the rate is to fall it falls with each pair."""
    generator = torch.Generator().manual_seed(seed)
    axis = torch.linspace(-1, 1, 12)

    def blob(place: Tensor) -> Tensor:
        far = (axis - place[:, :1, None]).pow(2) + (axis[:, None] - place[:, 1:, None]).pow(2)
        return (-far / 0.08).exp()

    def pairs(count: int) -> tuple[Tensor, Tensor]:
        """Two frames (N, 2, 12, 12) and how far the blob moved (N, 2)."""
        before = torch.rand(count, 2, generator=generator) * 0.8 - 0.4
        moved = torch.rand(count, 2, generator=generator) - 0.5
        return torch.stack([blob(before), blob(before + moved)], 1), moved

    model = nn.Sequential(
        nn.Conv2d(2, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(576, 64), nn.ReLU(), nn.Linear(64, 2)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1)
    held_x, held_y = pairs(300)
    with doctor.watch(model, optimizer) as watch:
        for step in range(500):
            gathered: list[tuple[Tensor, Tensor]] = []
            while len(gathered) < 20:
                gathered.append(pairs(1))
                if step > 0 and step % 250 == 0 and (len(gathered) == 20 or not cured):
                    schedule.step()
            x, y = (torch.cat(each) for each in zip(*gathered, strict=True))
            loss = F.l1_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                with torch.no_grad():
                    watch.dev_loss(F.l1_loss(model(held_x), held_y))
    with torch.no_grad():
        return below(F.l1_loss(model(held_x), held_y), 0.025)


@fault(
    kind="no-gradient",
    also=("other-loss",),
    project="imatif17/Prototype-Mean-Teacher",
    source="github.com/imatif17/Prototype-Mean-Teacher/issues/14",
)
def prototypes_cut_off_one_line_too_early(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits by two cameras: prototypes of a class attract, those of two classes repel, but are detached before they do so."""
    rows = data.digits(seed)
    x, held = rows.x.flatten(1), rows.held_x.flatten(1)
    model = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 16))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def prototypes(seen: Tensor, y: Tensor) -> Tensor:
        """Mean features of each class (10, 16)."""
        share = F.one_hot(y, 10).float()
        return (share.T @ model(seen)) / share.sum(0)[:, None].clamp(min=1)

    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(x, rows.y, 120, 600, seed):
            first, second = prototypes(a[:60], b[:60]), prototypes(1 - 0.7 * a[60:], b[60:])
            near = F.cosine_similarity(first, second, dim=1).abs().mean()
            if not cured:
                first, second = first.detach(), second.detach()
            between = [F.cosine_similarity(each[:, None], each[None], dim=2).abs() for each in (first, second)]
            contrast = sum((each.sum() - 10) / 90 for each in between)
            loss = contrast - near
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        kinds = F.normalize(prototypes(x, rows.y), dim=1)
        return above(data.accuracy(model(1 - 0.7 * held) @ kinds.T, rows.held_y), 0.75)
