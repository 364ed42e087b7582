"""Faults of wiring: no way back from the loss, parameters the optimiser never got, tables where a column was meant."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="no-gradient",
    also=("never-moved",),
    project="Goingqs/PyramidBox",
    source="github.com/Goingqs/PyramidBox/issues/7",
)
def a_loss_nobody_takes_back(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Where a shape is and which: two errors are added, the optimiser steps, and nobody asks for gradients in between."""
    x, y, masks = data.shapes(900, seed)
    grid = torch.linspace(-1, 1, 16)
    mass = masks.float() / masks.sum((1, 2), keepdim=True)
    middle = torch.stack([(mass.sum(2) * grid).sum(1), (mass.sum(1) * grid).sum(1)], 1)
    rows = data.split(x, torch.cat([y[:, None].float(), middle], 1), seed)

    class Box(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(1, 12, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(12, 16, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
            )
            self.loc, self.conf = nn.Linear(256, 2), nn.Linear(256, 4)

        def forward(self, seen: Tensor) -> tuple[Tensor, Tensor]:
            h = self.body(seen).flatten(1)
            return self.loc(h), self.conf(h)

    model = Box()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 16, 250, seed):
            loc, conf = model(a)
            optimizer.zero_grad()
            loss = F.smooth_l1_loss(loc, b[:, 1:]) + F.cross_entropy(conf, b[:, 0].long())
            if cured:
                loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x)[1], rows.held_y[:, 0].long()), 0.75)


class Flow(nn.Module):
    """One level of a pyramid: a guess from matches, a finer one from what is left, and both made plausible."""

    def __init__(self) -> None:
        super().__init__()
        self.matching = nn.Sequential(nn.Linear(25, 32), nn.LeakyReLU(0.1), nn.Linear(32, 2))
        self.subpixel = nn.Sequential(nn.Linear(25, 32), nn.LeakyReLU(0.1), nn.Linear(32, 2))
        self.regularise = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.1), nn.Linear(16, 2))

    def forward(self, first: Tensor, second: Tensor, flow: Tensor) -> Tensor:
        flow = flow + self.matching(matches(first, warped(second, flow)))
        flow = flow + self.subpixel(matches(first, warped(second, flow)))
        return flow + self.regularise(flow)


def warped(picture: Tensor, flow: Tensor) -> Tensor:
    """Pictures (N, 1, S, S) read at places moved by a flow (N, 2) in pixels."""
    size = picture.shape[-1]
    turn = torch.zeros(len(picture), 2, 3)
    turn[:, 0, 0] = turn[:, 1, 1] = 1
    turn[:, :, 2] = flow.detach() * 2 / size
    return F.grid_sample(picture, F.affine_grid(turn, list(picture.shape), align_corners=False), align_corners=False)


def matches(first: Tensor, second: Tensor) -> Tensor:
    """How alike two pictures are, the second one moved by -2 to 2 pixels both ways: (N, 25)."""
    size = first.shape[-1]
    moved = F.unfold(second, size, padding=2).unflatten(1, (1, -1))
    return (moved * first.flatten(2)[..., None]).mean(2).flatten(1) * 3


@fault(
    kind="no-gradient",
    where="coarse",
    also=("never-moved", "frozen-random"),
    project="erizmr/UnLiteFlowNet-PIV",
    source="github.com/erizmr/UnLiteFlowNet-PIV/issues/4",
)
def a_flow_found_without_gradients(doctor: Doctor, seed: int, cured: bool) -> Score:
    """How far particles moved between two pictures: the three parts of a level of the pyramid run where no gradient is kept."""
    generator = torch.Generator().manual_seed(seed)

    def pairs(count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Two pictures (N, 1, 16, 16) of one field of particles, and by how many pixels it moved (N, 2)."""
        field = F.avg_pool2d(torch.randn(count, 1, 38, 38, generator=generator), 7, 1) * 7
        moved = torch.randint(-6, 7, (count, 2), generator=generator)
        at = torch.arange(16) + 8
        row, column = at + moved[:, 1:], at + moved[:, :1]
        pick = torch.arange(count)[:, None, None]
        return field[:, :, 8:24, 8:24], field[pick, 0, row[:, :, None], column[:, None]][:, None], -moved.float()

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.coarse, self.fine = Flow(), Flow()

        def forward(self, first: Tensor, second: Tensor) -> Tensor:
            none = torch.zeros(len(first), 2)
            small, other = F.avg_pool2d(first, 2), F.avg_pool2d(second, 2)
            with torch.set_grad_enabled(cured and torch.is_grad_enabled()):
                flow = self.coarse(small, other, none)
            return self.fine(first, second, 2 * flow)

    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(330):
            first, second, flow = pairs(32)
            loss = (model(first, second) - flow).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    first, second, flow = pairs(500)
    with torch.no_grad():
        return below((model(first, second) - flow).abs().mean(), 1.6)


class Spike(torch.autograd.Function):
    """A step, whose slope is taken to be that of a fast sigmoid."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, level: Tensor) -> Tensor:
        ctx.save_for_backward(level)
        return (level > 0).float()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:
        (level,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return grad / (2 * level.abs() + 1) ** 2


@fault(
    kind="not-optimised",
    where="v1",
    also=("never-moved", "frozen-random"),
    project="fzenke/spytorch",
    source="github.com/fzenke/spytorch/issues/7",
)
def recurrent_spikes_left_alone(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Which of two spoken spikes came early, told late: the weights from spike to spike are not among those to be trained."""
    generator = torch.Generator().manual_seed(seed)

    def sounds(count: int) -> tuple[Tensor, Tensor]:
        """Spikes (N, 12, 20) of a kind in the first steps, then noise, and the kind (N,)."""
        kind = torch.randint(4, (count,), generator=generator)
        rate = torch.full((count, 12, 20), 0.04)
        for k in range(4):
            rate[kind == k, :4, 5 * k : 5 * k + 5] = 0.8
        return (torch.rand(rate.shape, generator=generator) < rate).float(), kind

    class Spiking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w1, self.v1 = nn.Parameter(torch.randn(20, 48) * 0.3), nn.Parameter(torch.randn(48, 48) * 0.1)
            self.w2 = nn.Parameter(torch.randn(48, 4) * 0.1)

        def forward(self, seen: Tensor) -> Tensor:
            level, out = torch.zeros(len(seen), 48), torch.zeros(len(seen), 48)
            said = torch.zeros(len(seen), 4)
            for now in seen.unbind(1):
                level = 0.6 * level * (1 - out.detach()) + now @ self.w1 + out @ self.v1
                out = Spike.apply(level - 1)  # type: ignore[no-untyped-call]
                said = 0.5 * said + out @ self.w2
            return said

    model = Spiking()
    trained = [model.w1, model.w2, model.v1] if cured else [model.w1, model.w2]
    optimizer = torch.optim.Adamax(trained, lr=1e-2)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(250):
            seen, kind = sounds(48)
            loss = F.cross_entropy(model(seen), kind)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    seen, kind = sounds(600)
    with torch.no_grad():
        return above(data.accuracy(model(seen), kind), 0.8)


@fault(
    kind="not-optimised",
    where="down",
    also=("never-moved", "frozen-random"),
    project="ohhhyeahhh/SiamCAR",
    source="github.com/ohhhyeahhh/SiamCAR/issues/18",
    certain="`down` stays as it was drawn; by luck of the draw it may do, as it did in the report.",
)
def three_answers_brought_down_at_random(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Where a patch is in a picture: matches by three layers of known filters are brought down to one channel, untrained."""
    generator = torch.Generator().manual_seed(seed)
    looks = (torch.rand(8, 1, 5, 5, generator=generator) < 0.5).float()

    def scenes(count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Patches (N, 1, 5, 5), pictures (N, 1, 13, 13) with it and another one, and which of 81 places it is at (N,)."""
        which = torch.stack([torch.randperm(8, generator=generator)[:2] for _ in range(count)])
        at = torch.randint(9, (count, 2, 2), generator=generator)
        picture = torch.rand(count, 1, 13, 13, generator=generator)
        for k in (1, 0):
            for n, (row, column) in enumerate(at[:, k].tolist()):
                picture[n, :, row : row + 5, column : column + 5] = looks[which[n, k]]
        return looks[which[:, 0]], picture, at[:, 0, 0] * 9 + at[:, 0, 1]

    class Tracker(nn.Module):
        first: Tensor
        later: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("first", torch.randn(8, 1, 3, 3, generator=generator) / 2)
            self.register_buffer("later", torch.randn(2, 8, 8, 3, 3, generator=generator) / 6)
            self.down = nn.ConvTranspose2d(24, 1, 1)
            self.head = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1))

        def forward(self, patch: Tensor, picture: Tensor) -> Tensor:
            answers = []
            for known in (self.first, *self.later):
                patch, picture = (F.conv2d(each, known, padding=1).tanh() for each in (patch, picture))
                n, c = patch.shape[:2]
                flat = F.conv2d(picture.reshape(1, n * c, 13, 13), patch.reshape(n * c, 1, 5, 5), groups=n * c)
                answers.append(flat.view(n, c, 9, 9) / 5)
            return self.head(self.down(torch.cat(answers, 1))).flatten(1)

    model = Tracker()
    groups = [{"params": model.head.parameters()}]
    if cured:
        groups.append({"params": model.down.parameters()})
    optimizer = torch.optim.Adam(groups, lr=1e-2)
    x = scenes(600)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(130):
            pick = torch.randint(600, (24,), generator=generator)
            loss = F.cross_entropy(model(x[0][pick], x[1][pick]), x[2][pick])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    patch, picture, place = scenes(300)
    with torch.no_grad():
        return above(data.accuracy(model(patch, picture), place), 0.7)


@fault(
    kind="not-optimised",
    also=("never-moved",),
    project="mrdbourke/pytorch-deep-learning",
    source="github.com/mrdbourke/pytorch-deep-learning/issues/399",
)
def the_optimiser_of_the_model_before(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A line through points, the second time with a layer: the optimiser was handed the first model again."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(200, 1, generator=generator)
    rows = data.split(x, 0.7 * x + 1.3 + 0.01 * torch.randn(200, 1, generator=generator), seed)

    class Line(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear_layer = nn.Linear(1, 1)

        def forward(self, at: Tensor) -> Tensor:
            return self.linear_layer(at)

    model_0, model_1 = Line(), Line()
    optimizer = torch.optim.SGD((model_1 if cured else model_0).parameters(), lr=0.05)
    doctor.task(model_1, data.few(rows.x, rows.y, 50, seed), F.mse_loss, optimizer)
    fit(doctor, model_1, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 50, 900, seed), rows)
    with torch.no_grad():
        return above(data.r2(model_1(rows.held_x), rows.held_y), 0.8)
