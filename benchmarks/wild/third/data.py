"""Faults of data, of what is held out, and of statistics."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(kind="target-range", also=("target-scale",), project="soumith/ganhacks", source="github.com/soumith/ganhacks/issues/75")
def tanh_for_eight_hundred(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Pictures of labels from 0 to 800, by a network whose last word is tanh."""
    x, _, mask = data.shapes(700, seed, size=12)
    picture = (mask * (1 + x[:, 0].abs()) * 300).clamp(0, 800)[:, None]
    rows = data.split(x, picture / 400 - 1 if cured else picture, seed)
    stem = nn.Sequential(nn.Conv2d(1, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 24, 3, padding=1), nn.ReLU())
    model = nn.Sequential(stem, nn.Conv2d(24, 1, 3, padding=1), nn.Tanh())
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 16, 400, seed):
            loss = F.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.r2(model(rows.held_x), rows.held_y), 0.8)


@fault(
    kind="input-scale",
    also=("slow-learning", "learning-rate-too-low"),
    project="facebookresearch/InterHand2.6M",
    source="github.com/facebookresearch/InterHand2.6M/issues/110",
)
def divided_by_255_twice(doctor: Doctor, seed: int, cured: bool) -> Score:
    """ToTensor has brought the pictures to 0..1; the data set divides them by 255 once more."""
    x, _, mask = data.shapes(900, seed)
    place = torch.stack([mask.float().sum(k) @ torch.arange(16.0) / mask.sum((1, 2)) for k in (2, 1)], 1) / 4 - 2
    pictures = (x.clamp(0, 1) * 255).round() / 255
    rows = data.split(pictures if cured else pictures / 255, place, seed)
    body = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Flatten())
    model = nn.Sequential(body, nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 32, 500, seed):
            loss = F.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.r2(model(rows.held_x), rows.held_y), 0.8)


class Unrolled(nn.Module):
    """A recurrent net whose one batch norm stands in every time step, where the input is of another size each time."""

    def __init__(self, steps: int, cured: bool) -> None:
        super().__init__()
        self.into, self.again = nn.Linear(3, 32), nn.Linear(32, 32)
        self.norms = nn.ModuleList(nn.BatchNorm1d(32) for _ in range(steps if cured else 1))
        self.out = nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(len(x), 32)
        for step in range(x.shape[1]):
            h = torch.tanh(self.norms[step % len(self.norms)](self.into(x[:, step])) + self.again(h))
        return self.out(h)


@fault(
    kind="shared-norm",
    where="norms",
    also=("norm-statistics",),
    project="pytorch/pytorch",
    source="github.com/pytorch/pytorch/issues/1738",
)
def one_norm_for_all_steps(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The same BatchNorm at all time steps: in eval mode its one mean and variance fit none of them."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1500, 6, 3, generator=generator) * torch.arange(1, 7)[:, None] ** 1.3
    y = (x / torch.arange(1, 7)[:, None] ** 1.3).sum(1).argmax(1)
    rows = data.split(x, y, seed)
    model = Unrolled(6, cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 50, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 50, 500, seed)):
            loss = F.cross_entropy(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
                model.train()
    with torch.no_grad():
        by_batch = F.cross_entropy(model(rows.held_x), rows.held_y)
    model.eval()
    return below(F.cross_entropy(model(rows.held_x), rows.held_y) - by_batch, 0.03)


@fault(
    kind="norm-statistics",
    where="bn",
    project="Cadene/pretrained-models.pytorch",
    source="github.com/Cadene/pretrained-models.pytorch/issues/5",
)
def statistics_that_never_move(doctor: Doctor, seed: int, cured: bool) -> Score:
    """BatchNorm2d(momentum=0), taken over from elsewhere: running mean and variance stay at 0 and 1 for ever."""
    rows = data.digits(seed)

    class Basic(nn.Module):
        def __init__(self, before: int, after: int, **kwargs: int) -> None:
            super().__init__()
            self.conv = nn.Conv2d(before, after, bias=False, **kwargs)
            self.bn = nn.BatchNorm2d(after, eps=0.001, momentum=0.1 if cured else 0)

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.bn(self.conv(x)))

    body = nn.Sequential(
        Basic(1, 16, kernel_size=3, padding=1), Basic(16, 24, kernel_size=3, stride=2), Basic(24, 32, kernel_size=3)
    )
    model = nn.Sequential(body, nn.Flatten(), nn.Linear(32, 10))
    optimizer = torch.optim.RMSprop(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 48, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 48, 350, seed)):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
                model.train()
    model.eval()
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@fault(kind="leak", project="li-neo/SpaceExploreAI", source="github.com/li-neo/SpaceExploreAI/issues/1")
def tomorrow_among_the_inputs(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Returns of a price, five indicators a day; the column of the next day's return was left in the inputs."""
    generator = torch.Generator().manual_seed(seed)
    move = torch.randn(2200, generator=generator)
    for day in range(2, 2200):
        move[day] += 0.25 * move[day - 1] - 0.15 * move[day - 2]
    window = move.unfold(0, 11, 1)
    past, tomorrow = window[:, :10], window[:, 10:]
    volume = torch.rand(len(window), 3, generator=generator)
    columns = torch.cat([past, volume] + ([] if cured else [tomorrow]), 1)
    rows = data.split(columns, (tomorrow[:, 0] > 0).long(), seed)
    width = columns.shape[1]
    model = nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 64, 300, seed)):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 30 == 29:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
                model.train()
    model.eval()
    shown = data.accuracy(model(rows.held_x), rows.held_y)
    used = rows.held_x.clone()
    used[:, 13:] = 0  # tomorrow is not known today
    return above(data.accuracy(model(used), rows.held_y) - shown, -0.02)


@fault(
    kind="dev-scale",
    project="deepmodeling/DeePTB",
    source="github.com/deepmodeling/DeePTB/issues/53",
    certain="what is shown as the held-out loss is the sum over its batches",
)
def held_out_loss_added_up(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The validation loss is the sum of the losses of all its batches; the training loss is that of one."""
    x, y = data.teacher(2400, 14, 3, seed)
    rows = data.split(x, y, seed)
    model = nn.Sequential(nn.Linear(14, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    criterion = nn.SmoothL1Loss()
    doctor.task(model, data.few(rows.x, rows.y, 40, seed), criterion, optimizer)
    shown = 0.0
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 40, 700, seed)):
            loss = criterion(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 70 == 69:
                with torch.no_grad():
                    parts = [
                        criterion(model(a), b).item() for a, b in zip(rows.held_x.split(40), rows.held_y.split(40), strict=True)
                    ]
                shown = sum(parts) / (len(parts) if cured else 1)
                watch.dev_loss(shown)
    return below(shown / criterion(model(rows.held_x), rows.held_y).item(), 1.2)


@fault(kind="repeated-batch", project="xingyizhou/CenterNet", source="github.com/xingyizhou/CenterNet/issues/233")
def noise_seeded_each_epoch(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Examples are drawn at random, but each epoch the workers start from the same seed: the same 6 batches come again."""
    model = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 48), nn.ReLU(), nn.Linear(48, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    epoch = lambda k: data.shapes(192, seed + 50 + (k if cured else 0), noise=0.4)[:2]  # noqa: E731
    held_x, held_y, _ = data.shapes(400, seed, noise=0.4)
    parts = [pair for k in (0, 1) for pair in zip(*(part.split(32) for part in epoch(k)), strict=True)]
    doctor.task(model, parts, F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for k in range(50):
            x, y = epoch(k)
            for a, b in zip(x.split(32), y.split(32), strict=True):
                loss = F.cross_entropy(model(a), b)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            if k % 5 == 4:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(held_x), held_y))
    return above(data.accuracy(model(held_x), held_y), 0.8)
