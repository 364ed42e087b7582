"""Healthy programs on rows and lines: a curve at once, houses, a book's net, a walk, bells, tumours, tags."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="rfeinman/pytorch-minimize", source="github.com/rfeinman/pytorch-minimize")
def a_cubic_found_by_lbfgs(doctor: Doctor, seed: int) -> Score:
    """Three powers of a number, each brought to size 1, and a line through them: all rows at once, by a method that bends."""
    torch.manual_seed(seed)
    x = 4 * torch.rand(120, 1) - 2
    y = 0.5 * x.pow(3) - x + 0.3 + 0.2 * torch.randn(120, 1)
    powers = torch.cat([x, x.pow(2), x.pow(3)], 1)
    powers = (powers - powers.mean(0)) / powers.std(0)
    model = nn.Linear(3, 1)
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(40):

            def closure() -> Tensor:
                optimizer.zero_grad()
                loss = F.mse_loss(model(powers), y)
                loss.backward()
                return loss

            watch.loss(optimizer.step(closure))
    with torch.no_grad():
        return above(data.r2(model(powers), y), 0.9)


@healthy(project="fastai/fastbook", source="github.com/fastai/fastbook")
def districts_by_numbers_and_by_kind(doctor: Doctor, seed: int) -> Score:
    """What a district is worth from five numbers and its shore, one of four kinds; raw numbers pass a batch norm first."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    z, shore = torch.randn(1600, 5, generator=generator), torch.randint(4, (1600, 1), generator=generator)
    worth = 2 + 0.8 * z[:, :1] - 0.5 * (z[:, 1:2] * z[:, 2:3]) + torch.tensor([0.0, 0.6, 1.4, -0.8])[shore]
    worth = worth + 0.2 * torch.randn(1600, 1, generator=generator)
    raw = torch.tensor([3.9, 28.0, 5.4, 1425.0, 3.0]) + torch.tensor([1.9, 12.0, 2.0, 1100.0, 1.0]) * z
    rows = data.split(torch.cat([raw, shore.float()], 1), worth, seed)

    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.shore = nn.BatchNorm1d(5), nn.Embedding(4, 4)
            self.body = nn.Sequential(
                nn.Linear(9, 64), nn.ReLU(), nn.Dropout(0.05), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1)
            )

        def forward(self, x: Tensor) -> Tensor:
            return self.body(torch.cat([self.norm(x[:, :5]), self.shore(x[:, 5].long())], 1))

    model = Table()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-3)
    loss_fn = nn.SmoothL1Loss()
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 64, 500, seed), held=rows)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.7)


@healthy(project="kdexd/digit-classifier", source="github.com/kdexd/digit-classifier")
def thirty_sigmoids_of_a_book(doctor: Doctor, seed: int) -> Score:
    """Digits by thirty sigmoids and ten, quadratic cost, batches of ten, no momentum: old, slow, and right."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    x, held = rows.x.flatten(1), rows.held_x.flatten(1)
    targets = F.one_hot(rows.y, 10).float()
    model = nn.Sequential(nn.Linear(64, 30), nn.Sigmoid(), nn.Linear(30, 10), nn.Sigmoid())
    for layer in (model[0], model[2]):
        nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
        nn.init.normal_(layer.bias, std=0.5)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.5)

    def cost(said: Tensor, target: Tensor) -> Tensor:
        return 0.5 * (said - target).pow(2).sum(1).mean()

    doctor.task(model, data.few(x, targets, 10, seed), cost, optimizer)
    fit(doctor, model, optimizer, cost, data.batches(x, targets, 10, 2600, seed))
    with torch.no_grad():
        return above(data.accuracy(model(held), rows.held_y), 0.88)


@healthy(project="qfettes/DeepRL-Tutorials", source="github.com/qfettes/DeepRL-Tutorials")
def a_walk_to_the_door(doctor: Doctor, seed: int) -> Score:
    """A room of 6 by 6 with a door in a corner: the worth of four moves, from a memory, with a slow copy for what comes after."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    moves = torch.tensor([[0, 1], [0, -1], [1, 0], [-1, 0]])

    def walk(place: Tensor, move: Tensor) -> tuple[Tensor, Tensor]:
        place = (place + moves[move]).clamp(0, 5)
        return place, (place == 5).all(1).float()

    def seen(place: Tensor) -> Tensor:
        return torch.cat([F.one_hot(place[:, 0], 6), F.one_hot(place[:, 1], 6)], 1).float()

    model = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 4))
    slow = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    place = torch.randint(6, (3000, 2), generator=generator)
    place = place[~(place == 5).all(1)]
    move = torch.randint(4, (len(place),), generator=generator)
    after, done = walk(place, move)
    with doctor.watch(model, optimizer) as watch:
        for step in range(900):
            rows = torch.randint(len(place), (64,), generator=generator)
            worth = model(seen(place[rows])).gather(1, move[rows, None])[:, 0]
            with torch.no_grad():
                ahead = seen(after[rows])
                best = model(ahead).argmax(1, keepdim=True)
                target = done[rows] + 0.9 * (1 - done[rows]) * slow(ahead).gather(1, best)[:, 0]
            loss = F.smooth_l1_loss(worth, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                slow.load_state_dict(model.state_dict())
    place, there = torch.cartesian_prod(torch.arange(6), torch.arange(6))[:-1], torch.zeros(35)
    for _ in range(10):
        with torch.no_grad():
            place, done = walk(place, model(seen(place)).argmax(1))
        there = torch.maximum(there, done)
        place = torch.where(there[:, None] > 0, torch.tensor([[5, 5]]), place)
    return above(there.mean(), 0.9)


@healthy(project="rssalessio/PytorchRBFLayer", source="github.com/rssalessio/PytorchRBFLayer")
def a_wave_by_thirty_bells(doctor: Doctor, seed: int) -> Score:
    """A wave of one number by thirty bells, whose middles and widths are learned, and a line over what they say."""
    torch.manual_seed(seed)
    x = torch.rand(1000, 1)
    y = (14 * x).sin() + 0.5 * (25 * x).cos() + 0.05 * torch.randn(1000, 1)
    rows = data.split(x, y, seed)

    class Bells(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.middles = nn.Parameter(torch.linspace(0, 1, 30)[:, None])
            self.log_widths = nn.Parameter(torch.full((30,), -3.0))
            self.out = nn.Linear(30, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.out((-((torch.cdist(x, self.middles) / self.log_widths.exp()) ** 2)).exp())

    model = Bells()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 64, 500, seed), held=rows)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.9)


@healthy(project="GRAAL-Research/poutyne", source="github.com/GRAAL-Research/poutyne")
def tumours_with_a_rate_that_waits(doctor: Doctor, seed: int) -> Score:
    """Is a tumour benign: two layers, and a rate that falls to a third when the held-out loss has not for three epochs."""
    torch.manual_seed(seed)
    rows = data.table("breast_cancer", seed)
    y, held_y = rows.y[:, None].float(), rows.held_y[:, None].float()
    model = nn.Sequential(nn.Linear(30, 24), nn.GELU(), nn.Dropout(0.2), nn.Linear(24, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.3, patience=3, min_lr=1e-4)
    loss_fn = F.binary_cross_entropy_with_logits
    doctor.task(model, data.few(rows.x, y, 32, seed), loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for epoch in range(20):
            model.train()
            for inputs, target in data.batches(rows.x, y, 32, 13, seed + epoch):
                optimizer.zero_grad()
                loss = loss_fn(model(inputs), target)
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            model.eval()
            with torch.no_grad():
                held = loss_fn(model(rows.held_x), held_y)
            watch.dev_loss(held)
            scheduler.step(held)
    with torch.no_grad():
        return above(((model(rows.held_x)[:, 0] > 0) == rows.held_y.bool()).float().mean(), 0.92)


@healthy(project="Alibaba-MIIL/ASL", source="github.com/Alibaba-MIIL/ASL")
def rare_tags_with_a_lopsided_loss(doctor: Doctor, seed: int) -> Score:
    """Twelve tags, each on one article in six: what is surely not there counts for little in the loss."""
    torch.manual_seed(seed)
    x, scores = data.teacher(2000, 24, 12, seed)
    rows = data.split(x, (scores > 1.0).float(), seed)
    model = nn.Sequential(nn.Linear(24, 96), nn.ReLU(), nn.Linear(96, 12))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def lopsided(said: Tensor, tags: Tensor) -> Tensor:
        there, gone = said.sigmoid(), (1 - said.sigmoid() + 0.05).clamp(max=1)
        log = tags * there.clamp(min=1e-8).log() + (1 - tags) * (1 - gone).pow(2) * gone.clamp(min=1e-8).log()
        return -log.sum(1).mean()

    doctor.task(model, data.few(rows.x, rows.y, 50, seed), lopsided, optimizer)
    fit(doctor, model, optimizer, lopsided, data.batches(rows.x, rows.y, 50, 500, seed), held=rows)
    with torch.no_grad():
        said = model(rows.held_x) > 0.5
    hit = (said & rows.held_y.bool()).sum()
    return above(2 * hit / (said.sum() + rows.held_y.sum()), 0.65)
