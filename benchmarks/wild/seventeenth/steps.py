"""Faults of steps: a rate that falls after one epoch, one that falls for each pair, gradients that are never cleared."""

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
    kind="missing-zero-grad",
    where="judge",
    project="Adversarial-Deep-Learning/code-soup",
    source="github.com/Adversarial-Deep-Learning/code-soup/pull/73",
)
def a_judge_who_forgets_nothing(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits by two nets: the judge's gradients are never cleared, and those by which the maker fools it stay in them too."""
    rows = data.digits(seed)
    x = rows.x.flatten(1) * 2 - 1
    generator = torch.Generator().manual_seed(seed)
    maker = nn.Sequential(
        nn.Linear(24, 96),
        nn.LeakyReLU(0.2),
        nn.Linear(96, 96),
        nn.BatchNorm1d(96),
        nn.LeakyReLU(0.2),
        nn.Linear(96, 64),
        nn.Tanh(),
    )
    judge = nn.Sequential(
        nn.Linear(64, 96),
        nn.LeakyReLU(0.2),
        nn.Dropout(0.3),
        nn.Linear(96, 48),
        nn.LeakyReLU(0.2),
        nn.Linear(48, 1),
        nn.Sigmoid(),
    )
    model = nn.ModuleDict({"maker": maker, "judge": judge})
    first, second = (torch.optim.Adam(each.parameters(), lr=1e-3, betas=(0.5, 0.999)) for each in (maker, judge))
    one, nought = torch.ones(64, 1), torch.zeros(64, 1)
    with doctor.watch(model, [first, second]) as watch:
        for a, _ in data.batches(x, rows.y, 64, 600, seed):
            if cured:
                judge.zero_grad()
            F.binary_cross_entropy(judge(a), one).backward()
            made = maker(torch.randn(64, 24, generator=generator))
            wrong = F.binary_cross_entropy(judge(made.detach()), nought)
            wrong.backward()
            second.step()
            maker.zero_grad()
            fooled = F.binary_cross_entropy(judge(made), one)
            fooled.backward()
            first.step()
            watch.loss(fooled)
    model.eval()
    with torch.no_grad():
        made = maker(torch.randn(500, 24, generator=generator))
    off = (made.mean(0) - x.mean(0)).abs().mean() + (made.std(0) - x.std(0)).abs().mean()
    return below(off, 0.35)
