"""Faults of what is joined to what: terms left out, layers in a list, a loop without steps, a decoder that is told nothing."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="no-gradient",
    also=("never-moved", "other-loss"),
    project="tom-roddick/oft",
    source="github.com/tom-roddick/oft/issues/6",
)
def only_the_score_is_learned(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Sticks seen from above: is one there, where, how long and which way; a line left from a test learns the first alone."""
    generator = torch.Generator().manual_seed(seed)

    def scenes(count: int) -> tuple[Tensor, Tensor]:
        """Pictures (N, 1, 16, 16), and whether there is a stick, its place, half length and way as sine and cosine (N, 6)."""
        there = (torch.rand(count, generator=generator) < 0.8).float()
        middle = 5 + 6 * torch.rand(count, 2, generator=generator)
        half, turn = 2 + 3 * torch.rand(count, generator=generator), 3.14 * torch.rand(count, generator=generator)
        grid = torch.stack(torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij"), -1) + 0.5
        gap = grid - middle[:, None, None]
        way = torch.stack([turn.cos(), turn.sin()], 1)[:, None, None]
        along = (gap * way).sum(-1)
        across = gap[..., 0] * way[..., 1] - gap[..., 1] * way[..., 0]
        stick = ((along.abs() < half[:, None, None]) & (across.abs() < 1)).float() * there[:, None, None]
        told = [there, *((middle - 8) / 3).unbind(1), half - 3.5, (2 * turn).sin(), (2 * turn).cos()]
        return (stick + 0.15 * torch.randn(count, 16, 16, generator=generator))[:, None], torch.stack(told, 1)

    class Oft(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
                nn.Flatten(), nn.Linear(512, 64), nn.ReLU(),
            )  # fmt: skip
            self.score, self.position = nn.Linear(64, 1), nn.Linear(64, 2)
            self.dimension, self.angle = nn.Linear(64, 1), nn.Linear(64, 2)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = self.body(x)
            return self.score(h)[:, 0], torch.cat([self.position(h), self.dimension(h), self.angle(h)], 1)

    model = Oft()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    x, y = scenes(1200)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(x, y, 24, 450, seed):
            score, box = model(a)
            losses = {"score": F.binary_cross_entropy_with_logits(score, b[:, 0])}
            for name, at in (("position", slice(0, 2)), ("dimension", slice(2, 3)), ("angle", slice(3, 5))):
                losses[name] = (F.l1_loss(box[:, at], b[:, 1:][:, at], reduction="none").sum(1) * b[:, 0]).mean()
            total = torch.stack(list(losses.values())).sum()
            optimizer.zero_grad()
            (total if cured else losses["score"]).backward()
            optimizer.step()
            watch.loss(total)
    x, y = scenes(300)
    with torch.no_grad():
        box = model(x)[1]
    there = y[:, 0] > 0.5
    return above(data.r2(box[there], y[there, 1:]), 0.5)


@fault(
    kind="unregistered",
    where="laterals",
    also=("not-optimised", "frozen-random", "never-moved"),
    project="facebookresearch/detectron2",
    source="github.com/facebookresearch/detectron2/issues/739",
)
def a_list_of_convolutions_not_kept(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits by features of three sizes, brought to one width by a list of convolutions; the net is saved and made again."""
    rows = data.digits(seed)

    class Pyramid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stages = nn.ModuleList(
                nn.Sequential(nn.Conv2d(before, after, 3, stride=stride, padding=1), nn.ReLU())
                for before, after, stride in ((1, 16, 1), (16, 24, 2), (24, 32, 2))
            )
            laterals = [nn.Conv2d(width, 24, 1) for width in (16, 24, 32)]
            self.laterals = nn.ModuleList(laterals) if cured else laterals
            self.head = nn.Linear(24 * 16, 10)

        def forward(self, x: Tensor) -> Tensor:
            total = torch.zeros(len(x), 24, 4, 4)
            for stage, lateral in zip(self.stages, self.laterals, strict=True):
                x = stage(x)
                total = total + F.adaptive_avg_pool2d(lateral(x), 4) if x.shape[2] >= 4 else total + F.interpolate(lateral(x), 4)
            return self.head(total.relu().flatten(1))

    model = Pyramid()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 300, seed), rows)
    kept = model.state_dict()
    again = Pyramid()
    again.load_state_dict(kept)
    with torch.no_grad():
        return above(data.accuracy(again(rows.held_x), rows.held_y), 0.85)


@fault(
    kind="never-moved",
    also=("not-optimised",),
    project="discuss.pytorch.org",
    source="discuss.pytorch.org, yangqie, 2017-09-20: Linear Regression in PyTorch",
)
def a_line_that_takes_no_step(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Years told by height and weight on a line: what the optimiser does is commented out, and the cost stands still."""
    generator = torch.Generator().manual_seed(seed)
    height = 1 + 6 * torch.rand(60, 1, generator=generator)
    weight = height + 1 + 0.4 * torch.randn(60, 1, generator=generator)
    x = torch.cat([height, weight], 1)
    y = 3 + 1.5 * height + 0.8 * weight + 0.3 * torch.randn(60, 1, generator=generator)
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(1500):
            if cured:
                optimizer.zero_grad()
            cost = F.mse_loss(model(x), y)
            cost.backward()
            if cured:
                optimizer.step()
            watch.loss(cost)
    with torch.no_grad():
        return above(data.r2(model(x), y), 0.8)


@fault(
    kind="no-gradient",
    also=("never-moved", "underfitting", "symmetry"),
    project="openillumi/en-pytorch-transformer-multidim-output-same-fix",
    source="openillumi.com/en/en-pytorch-transformer-multidim-output-same-fix",
)
def a_listener_told_only_noughts(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Sounds of two bands and their echo: the decoder gets noughts where the steps before belong, and says the same at each."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(8.0)
    speed = 0.2 + 0.5 * torch.rand(900, 2, 1, generator=generator)
    start = 6.28 * torch.rand(900, 2, 1, generator=generator)
    sound = torch.sin(speed * time + start).transpose(1, 2)
    x, y = sound, sound.flip(2)

    class Listener(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.source, self.target = nn.Linear(2, 32), nn.Linear(2, 32)
            self.place = nn.Parameter(0.3 * torch.randn(8, 32))
            self.body = nn.Transformer(32, 4, 1, 1, 64, dropout=0.0, batch_first=True)
            self.out = nn.Linear(32, 2)

        def forward(self, heard: Tensor, said: Tensor) -> Tensor:
            mask = nn.Transformer.generate_square_subsequent_mask(said.shape[1])
            return self.out(self.body(self.source(heard) + self.place, self.target(said), tgt_mask=mask))

    def before(y: Tensor) -> Tensor:
        return torch.cat([torch.zeros(len(y), 1, 2), y[:, :-1]], 1) if cured else torch.zeros_like(y)

    model = Listener()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(x[:700], y[:700], 32, 500, seed):
            loss = F.mse_loss(model(a, before(b)), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    heard, said = x[700:], torch.zeros(200, 1, 2)
    with torch.no_grad():
        if not cured:
            said = model(heard, torch.zeros(200, 8, 2))
        while said.shape[1] < 9 and cured:
            said = torch.cat([said, model(heard, said)[:, -1:]], 1)
    return above(data.r2(said[:, -8:], y[700:]), 0.6)
