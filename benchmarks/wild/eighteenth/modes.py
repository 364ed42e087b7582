"""Faults of what is shown and how: modes, scales, orders, ways back from the future."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="wrong-mode",
    project="zhang-can/ECO-pytorch",
    source="github.com/zhang-can/ECO-pytorch/issues/48",
)
def one_clip_at_a_time_as_in_training(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Which way a shape moves through a clip: tested with one clip at a time, in train mode."""
    generator = torch.Generator().manual_seed(seed)
    x, _, _ = data.shapes(700, seed, size=10, noise=0.1)
    way = torch.randint(4, (700,), generator=generator)
    bright = 0.5 + torch.rand(700, 1, 1, 1, 1, generator=generator)
    moved = [
        [each.roll(t * (1 - 2 * (w % 2)), dims=1 + w // 2) for t in range(4)] for each, w in zip(x, way.tolist(), strict=True)
    ]
    clips = torch.stack([torch.stack(each, 1) for each in moved])
    rows = data.split(clips * bright, way, seed, held=0.2)
    model = nn.Sequential(
        nn.Conv3d(1, 16, 3, padding=1),
        nn.BatchNorm3d(16),
        nn.ReLU(),
        nn.MaxPool3d((1, 2, 2)),
        nn.Conv3d(16, 16, 3, padding=(0, 1, 1)),
        nn.BatchNorm3d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(16, 4),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)

    def test() -> Tensor:
        if cured:
            model.eval()
        with torch.no_grad():
            return torch.cat([model(each) for each in rows.held_x.split(1)])

    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 20, 140, seed)):
            model.train()
            loss = F.cross_entropy(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 28 == 27:
                watch.dev_loss(F.cross_entropy(test(), rows.held_y))
    return above(data.accuracy(test(), rows.held_y), 0.85)


@fault(
    kind="wrong-mode",
    project="zhixinshu/DeformingAutoencoders-pytorch",
    source="github.com/zhixinshu/DeformingAutoencoders-pytorch/issues/2",
)
def pictures_that_change_with_their_neighbours(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits through a narrow code: two are looked at together, in train mode, and each one depends on the other."""
    rows = data.digits(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(256, 24, bias=False),
        nn.BatchNorm1d(24),
        nn.Tanh(),
        nn.Linear(24, 256, bias=False),
        nn.BatchNorm1d(256),
        nn.ReLU(),
        nn.Linear(256, 64),
        nn.Sigmoid(),
        nn.Unflatten(1, (1, 8, 8)),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, betas=(0.5, 0.999))
    held = rows.held_x[rows.held_y.argsort()][:440]

    def again() -> Tensor:
        if cured:
            model.eval()
        with torch.no_grad():
            return torch.cat([model(each) for each in held.split(2)])

    with doctor.watch(model, optimizer) as watch:
        for step, (a, _) in enumerate(data.batches(rows.x, rows.y, 50, 270, seed)):
            model.train()
            loss = F.mse_loss(model(a), a)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 54 == 53:
                watch.dev_loss(F.mse_loss(again(), held))
    return below(F.mse_loss(again(), held) / (held - held.mean(0)).pow(2).mean(), 0.45)


@fault(
    kind="dev-scale",
    project="JeasunLok/ResNet-pytorch",
    source="github.com/JeasunLok/ResNet-pytorch/issues/1",
)
def normalised_for_training_alone(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits brought to mean 0 and spread 1 for training, by a small residual net; the test pictures stay as they are."""
    rows = data.digits(seed, scale=1.0)
    mean, std = rows.x.mean(), rows.x.std()
    rows = rows._replace(x=(rows.x - mean) / std, held_x=(rows.held_x - mean) / std if cured else rows.held_x)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(16, 16, 3, padding=1, bias=False),
                nn.BatchNorm2d(16),
                nn.ReLU(),
                nn.Conv2d(16, 16, 3, padding=1, bias=False),
                nn.BatchNorm2d(16),
            )

        def forward(self, h: Tensor) -> Tensor:
            return (h + self.body(h)).relu()

    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), Block(), Block(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 200, seed), rows, every=42)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@fault(
    kind="future-leak",
    where="lstm",
    project="discuss.pytorch.org/175731",
    source="discuss.pytorch.org/t/one-layer-bilstm-is-not-learning/175731",
)
def told_by_the_way_back(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Each value of a series is to name the one after it: an LSTM in both directions has read that one already."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(3000.0)
    series = torch.sin(time * 0.9) + torch.sin(time * 0.37 + 1) + 0.15 * torch.randn(3000, generator=generator)
    windows = series.unfold(0, 49, 1)[..., None]
    rows = data.split(windows[:, :-1], windows[:, 1:], seed)

    class Lstm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(1, 32, batch_first=True, bidirectional=not cured)
            self.fc = nn.Linear(32, 1)

        def forward(self, seen: Tensor) -> Tensor:
            out = self.lstm(seen)[0]
            return self.fc(out if cured else out[..., :32] + out[..., 32:])

    model = Lstm()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 32, 120, seed), rows)
    with torch.no_grad():
        return below(F.mse_loss(model(rows.held_x)[:, -1], rows.held_y[:, -1]) / series.var(), 0.15)


@fault(
    kind="underfitting",
    also=("slow-learning",),
    project="caoyu-noob/D3",
    source="github.com/caoyu-noob/D3/issues/3",
)
def stopped_after_32_batches(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Whether one sentence follows from another: a line left in from trying things out ends each round after 32 batches."""
    generator = torch.Generator().manual_seed(seed)
    other = torch.randperm(100, generator=generator)

    def pairs(count: int) -> tuple[Tensor, Tensor]:
        """Two sentences of 6 words (N, 2, 6) and whether the second says the same, the contrary or another thing (N,)."""
        first, kind = torch.randint(100, (count, 6), generator=generator), torch.randint(3, (count,), generator=generator)
        new = torch.randint(100, (count, 6), generator=generator)
        mixed = first[:, torch.randperm(6, generator=generator)]
        second = torch.where(kind[:, None] == 0, mixed, torch.where(kind[:, None] == 1, other[mixed] + 100, new))
        swap = torch.rand(count, 6, generator=generator) < 0.3
        return torch.stack([first, torch.where(swap, torch.randint(200, (count, 6), generator=generator), second)], 1), kind

    class Nli(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(200, 32)
            self.head = nn.Sequential(nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 3))

        def forward(self, pair: Tensor) -> Tensor:
            first, second = self.words(pair).mean(2).unbind(1)
            return self.head(torch.cat([first * second * 4, (first - second).abs(), first + second], 1))

    rows = data.split(*pairs(8000), seed, held=0.1)
    model = Nli()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with doctor.watch(model, optimizer) as watch:
        for epoch in range(3):
            model.train()
            for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 16, 450, seed + epoch)):
                loss = F.cross_entropy(model(a), b)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.loss(loss)
                if not cured and step >= 32:
                    break
            model.eval()
            with torch.no_grad():
                watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.8)


@fault(
    kind="sorted-data",
    project="meta-pytorch/data",
    source="github.com/meta-pytorch/data/issues/302",
)
def shuffled_after_the_shards_were_cut(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits in order of class, cut into five shards: each is shuffled in itself, and they are read one after the other."""
    rows = data.digits(seed)
    order = rows.y.argsort()
    x, y = rows.x[order], rows.y[order]
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(192, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(8):
            model.train()
            if cured:
                shards = torch.randperm(len(x), generator=generator).chunk(5)
            else:
                shards = tuple(each[torch.randperm(len(each), generator=generator)] for each in torch.arange(len(x)).chunk(5))
            for shard in shards:
                for pick in shard.split(32)[:-1]:
                    loss = F.cross_entropy(model(x[pick]), y[pick])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    watch.loss(loss)
            model.eval()
            with torch.no_grad():
                watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)
