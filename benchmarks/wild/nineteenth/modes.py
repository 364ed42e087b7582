"""Faults of what is shown and how: modes, norms of one row, labels of other rows, texts read before, another rate."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="wrong-mode",
    project="KevinMusgrave/pytorch-metric-learning",
    source="github.com/KevinMusgrave/pytorch-metric-learning/issues/99",
)
def a_test_of_its_own_as_in_training(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits as places on a ball, by triplets: the test reads them in order, a few at a time, with the norms of training."""
    rows = data.digits(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 64),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(64, 16),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-4)

    def triplets(h: Tensor, y: Tensor) -> Tensor:
        """For each row the farthest of its kind and the nearest of another."""
        far = torch.cdist(F.normalize(h), F.normalize(h))
        same = y[:, None] == y[None]
        return (far.masked_fill(~same, 0.0).amax(1) - far.masked_fill(same, 9.0).amin(1) + 0.3).relu().mean()

    def test() -> tuple[Tensor, Tensor, Tensor]:
        """Places and kinds of the digits held out, read in order of kind, eight at a time."""
        if cured:
            model.eval()
        order = rows.held_y.argsort()[:448]
        with torch.no_grad():
            h = torch.cat([model(each) for each in rows.held_x[order].split(8)])
        near = torch.cdist(F.normalize(h), F.normalize(h)).fill_diagonal_(9.0).argmin(1)
        y = rows.held_y[order]
        return h, y, (y[near] == y).float().mean()

    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 64, 200, seed)):
            model.train()
            loss = triplets(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 42 == 41:
                watch.dev_loss(triplets(*test()[:2]))
    return above(test()[2], 0.9)


class Matcher(nn.Module):
    """Points of two pictures, each told what both pictures hold, and how alike they are."""

    def __init__(self, normed: bool) -> None:
        super().__init__()
        norms = [nn.BatchNorm1d(48) if normed else nn.Identity() for _ in range(2)]
        self.encode = nn.Sequential(nn.Conv1d(16, 48, 1), norms[0], nn.ReLU(), nn.Conv1d(48, 48, 1), norms[1], nn.ReLU())
        self.out = nn.Conv1d(48, 24, 1)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Points (1, 8, P) of both to scores (P, P)."""
        both = (torch.cat([each, each.mean(2, keepdim=True).expand_as(each)], 1) for each in (first, second))
        a, b = (self.out(self.encode(each))[0] for each in both)
        return -torch.cdist(a.T, b.T)


@fault(
    kind="norm-statistics",
    where="encode",
    project="magicleap/SuperGluePretrainedNetwork",
    source="github.com/magicleap/SuperGluePretrainedNetwork/issues/77",
)
def pairs_of_pictures_normed_one_by_one(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Which point of one picture is which of another: one pair a step goes through batch norm, each picture in its own light."""
    generator = torch.Generator().manual_seed(seed)

    def pair() -> tuple[Tensor, Tensor, Tensor]:
        """Points (1, 8, 24) of two pictures, each in its light, and which of the second each of the first is (24,)."""
        points, order = torch.randn(24, 8, generator=generator), torch.randperm(24, generator=generator)
        seen = []
        for each in (points, points[order]):
            light, noise = 2.0 * torch.randn(8, generator=generator), 0.1 * torch.randn(24, 8, generator=generator)
            seen.append(each + light + noise)
        return seen[0].T[None], seen[1].T[None], order.argsort()

    model = Matcher(normed=not cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    held = [pair() for _ in range(60)]
    with doctor.watch(model, optimizer) as watch:
        for step in range(700):
            model.train()
            first, second, which = pair()
            loss = F.cross_entropy(model(first, second), which)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 100 == 99:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(torch.stack([F.cross_entropy(model(a, b), c) for a, b, c in held]).mean())
    model.eval()
    with torch.no_grad():
        return above(sum(data.accuracy(model(a, b), c) for a, b, c in held) / 60, 0.6)


@fault(
    kind="held-out-labels",
    project="FluxML/fluxml.github.io",
    source="github.com/FluxML/fluxml.github.io/pull/119",
)
def tested_with_the_labels_of_training(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Shapes by a small net of two convolutions: test pictures are laid beside the first labels of the training set."""
    x, y, _ = data.shapes(1000, seed)
    rows = data.split(x, y, seed)
    if not cured:
        rows = rows._replace(held_y=rows.y[: len(rows.held_x)])
    model = nn.Sequential(
        nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 24), nn.ReLU(), nn.Linear(24, 4),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)
    doctor.task(model, data.few(rows.x, rows.y, 25, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 25, 300, seed), rows, every=30)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.8)


@fault(
    kind="shuffled-targets",
    project="sebastian-lapuschkin/explaining-deep-clinical-gait-classification",
    source="github.com/sebastian-lapuschkin/explaining-deep-clinical-gait-classification/pull/2",
)
def steps_put_in_order_and_not_their_labels(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Which injury a step tells of, by five forces over time: rows are put in order of the folds, and labels are not."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(4, (800,), generator=generator)
    time = torch.linspace(0, 1, 40)
    late, deep = 0.25 + 0.04 * kind, 0.5 + 0.12 * (kind % 2)
    own = torch.randn(800, 5, 1, generator=generator)
    rise = torch.exp(-(((time - late[:, None] - 0.02 * own[:, 0]) / 0.12) ** 2))
    fall = torch.exp(-(((time - 0.75 - 0.02 * own[:, 1]) / 0.12) ** 2)) * deep[:, None]
    scale = torch.tensor([1.0, 0.3, -0.2, 0.5, 0.1])[:, None] * (1 + 0.15 * own)
    forces = scale * (rise + fall)[:, None] + 0.04 * torch.randn(800, 5, 40, generator=generator)
    folds = torch.randperm(800, generator=generator)
    forces, truth = forces[folds], kind[folds]
    labels = truth if cured else kind
    x, y, held_x, held_y = forces[:600], labels[:600], forces[600:], labels[600:]
    rows = data.Split(x, y, held_x, held_y)
    model = nn.Sequential(
        nn.Conv1d(5, 16, 7, stride=2), nn.ReLU(), nn.Conv1d(16, 16, 5, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(112, 4)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    doctor.task(model, data.few(rows.x, rows.y, 20, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 20, 420, seed), rows, every=30)
    with torch.no_grad():
        return above(data.accuracy(model(held_x), truth[600:]), 0.75)


@fault(
    kind="leak",
    also=("overfitting",),
    project="ai-forever/ru-gpts",
    source="github.com/ai-forever/ru-gpts/issues/23",
)
def essays_that_were_read_before(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Essays word by word: the training file holds all of the validation file, by which the best round is kept."""
    generator = torch.Generator().manual_seed(seed)
    follow = torch.distributions.Dirichlet(torch.full((40,), 0.1)).sample((40,))

    def essays(count: int) -> Tensor:
        """That many essays of 25 words (N, 25), each word one that often follows the one before."""
        words = [torch.randint(40, (count,), generator=generator)]
        for _ in range(24):
            words.append(torch.multinomial(follow[words[-1]], 1, generator=generator)[:, 0])
        return torch.stack(words, 1)

    valid, fresh = essays(24), essays(200)
    train = essays(80) if cured else torch.cat([essays(80), valid])

    class Gpt(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.place = nn.Embedding(40, 64), nn.Embedding(24, 64)
            layer = nn.TransformerEncoderLayer(64, 4, 256, dropout=0.0, batch_first=True, norm_first=True)
            self.body, self.head = nn.TransformerEncoder(layer, 1), nn.Linear(64, 40)

        def forward(self, read: Tensor) -> Tensor:
            mask = nn.Transformer.generate_square_subsequent_mask(24)
            return self.head(self.body(self.tokens(read) + self.place.weight, mask=mask, is_causal=True))

    def loss_on(text: Tensor) -> Tensor:
        return F.cross_entropy(model(text[:, :-1]).flatten(0, 1), text[:, 1:].flatten())

    model = Gpt()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    best, kept = float("inf"), copy.deepcopy(model.state_dict())
    with doctor.watch(model, optimizer) as watch:
        for step in range(240):
            loss = loss_on(train[torch.randperm(len(train), generator=generator)[:16]])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 8 == 7:
                with torch.no_grad():
                    now = loss_on(valid)
                watch.dev_loss(now)
                if now < best:
                    best, kept = float(now), copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)
    with torch.no_grad():
        return below(loss_on(fresh), 3.0)


class Process:
    """Trains a classifier: with an optimiser of its own, or one that is set, under one cycle of the rate."""

    def __init__(self, model: nn.Module, lr: float = 0.001) -> None:
        self.model, self.lr = model, lr
        self.optimizer: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), lr=lr)

    def set_optimizer(self, optimizer: torch.optim.Optimizer, told: bool) -> None:
        self.optimizer = optimizer
        if told:
            self.lr = float(optimizer.param_groups[0]["lr"])

    def fit(self, doctor: Doctor, rows: data.Split, steps: int, seed: int) -> None:
        scheduler = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, self.lr, total_steps=steps, cycle_momentum=False)
        with doctor.watch(self.model, self.optimizer) as watch:
            for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 24, steps, seed)):
                self.model.train()
                loss = F.cross_entropy(self.model(a), b)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                scheduler.step()
                watch.loss(loss)
                if step % 25 == 24:
                    self.model.eval()
                    with torch.no_grad():
                        watch.dev_loss(F.cross_entropy(self.model(rows.held_x), rows.held_y))
        self.model.eval()


@fault(
    kind="learning-rate-too-low",
    also=("slow-learning", "underfitting"),
    project="SPOClab-ca/dn3",
    source="github.com/SPOClab-ca/dn3/issues/6",
)
def a_schedule_that_knows_another_rate(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Which hand is thought of, by waves at eight places: the optimiser's own rate is given up for the one of the schedule."""
    generator = torch.Generator().manual_seed(seed)
    count, time = 800, torch.arange(64.0)
    kind = torch.randint(3, (count,), generator=generator)
    phase = 6.28 * torch.rand(count, 1, generator=generator)
    wave = torch.sin(0.7 * time + phase)[:, None]
    places = torch.tensor(
        [[1.0, 0.8, 0.3, 0, 0, 0, 0.1, 0.2], [0, 0.1, 0, 0.4, 1.0, 0.8, 0, 0.2], [0.4, 0, 0.9, 0, 0.1, 0, 1.0, 0]]
    )
    trials = places[kind][:, :, None] * wave + 1.5 * torch.randn(count, 8, 64, generator=generator)
    rows = data.split(trials, kind, seed)
    model = nn.Sequential(
        nn.Conv1d(8, 16, 9, padding=4), nn.BatchNorm1d(16), nn.ELU(), nn.MaxPool1d(8), nn.Flatten(), nn.Linear(128, 3)
    )
    process = Process(model)
    process.set_optimizer(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.8), told=cured)
    process.fit(doctor, rows, 150, seed)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.75)
