"""Healthy programs on tables and graphs: numbers as waves, a low and a high guess, tastes, three tasks, papers that cite."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="yandex-research/tabular-dl-num-embeddings", source="github.com/yandex-research/tabular-dl-num-embeddings")
def tumours_by_numbers_as_waves(doctor: Doctor, seed: int) -> Score:
    """Good or bad tumours: each number becomes a few learned waves before the layers; the best epoch is kept, then it stops."""
    rows = data.table("breast_cancer", seed)

    class Waves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.turn = nn.Parameter(0.2 * torch.randn(30, 4))
            self.weight, self.bias = nn.Parameter(torch.randn(30, 8, 6) / 8**0.5), nn.Parameter(torch.zeros(30, 6))

        def forward(self, x: Tensor) -> Tensor:
            turn = 6.28 * self.turn * x[:, :, None]
            h = torch.cat([turn.cos(), turn.sin()], 2)
            return (torch.einsum("nfi,fio->nfo", h, self.weight) + self.bias).relu().flatten(1)

    model = nn.Sequential(Waves(), nn.Linear(180, 48), nn.ReLU(), nn.Dropout(0.2), nn.Linear(48, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    best, best_loss, waited = copy.deepcopy(model.state_dict()), 9.0, 0
    with doctor.watch(model, optimizer) as watch:
        for epoch in range(40):
            model.train()
            for x, y in data.batches(rows.x, rows.y, 32, 13, seed + epoch):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            model.eval()
            with torch.no_grad():
                held = float(F.cross_entropy(model(rows.held_x), rows.held_y))
            watch.dev_loss(held)
            waited = 0 if held < best_loss else waited + 1
            if waited == 0:
                best, best_loss = copy.deepcopy(model.state_dict()), held
            elif waited == 4:
                break
    model.load_state_dict(best)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@healthy(project="yromano/cqr", source="github.com/yromano/cqr")
def a_low_and_a_high_guess(doctor: Doctor, seed: int) -> Score:
    """Something whose spread grows along the way: two guesses that one in ten is below and above, set right on rows held back."""
    generator = torch.Generator().manual_seed(seed)
    x = 3 * torch.rand(2400, 3, generator=generator)
    spread = 0.2 + 0.4 * x[:, 0]
    y = (2 * x[:, 0]).sin() + 0.5 * x[:, 1] + spread * torch.randn(2400, generator=generator)
    y = (y - y.mean()) / y.std()
    levels = torch.tensor([0.1, 0.9])

    def pinball(said: Tensor, y: Tensor) -> Tensor:
        gap = y[:, None] - said
        return torch.maximum(levels * gap, (levels - 1) * gap).mean()

    model = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Dropout(0.05), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-6)
    x = (x - 1.5) / 0.87
    doctor.task(model, data.few(x[:1600], y[:1600], 64, seed), pinball, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(x[:1600], y[:1600], 64, 700, seed)):
            model.train()
            optimizer.zero_grad()
            loss = pinball(model(a), b)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 100 == 99:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(pinball(model(x[1600:2000]), y[1600:2000]))
    model.eval()
    with torch.no_grad():
        low, high = model(x[1600:]).unbind(1)
    off = torch.maximum(low - y[1600:], y[1600:] - high)
    more = off[:400].quantile(0.8)
    inside = (off[400:] <= more).float().mean()
    narrow = float((high - low + 2 * more)[400:].mean() < 2.4)
    return below((inside - 0.8).abs() + (1 - narrow), 0.1)


@healthy(project="khanhnamle1994/transfer-rec", source="github.com/khanhnamle1994/transfer-rec")
def tastes_and_films_multiplied(doctor: Doctor, seed: int) -> Score:
    """Stars people give to films, few of all pairs: a product of learned tastes beside what each person and film gets anyway."""
    generator = torch.Generator().manual_seed(seed)
    people, films = torch.randn(120, 3, generator=generator), torch.randn(80, 3, generator=generator)
    kind, good = 0.5 * torch.randn(120, generator=generator), 0.5 * torch.randn(80, generator=generator)
    who, what = torch.randint(120, (5000,), generator=generator), torch.randint(80, (5000,), generator=generator)
    stars = 3.2 + kind[who] + good[what] + 0.5 * (people[who] * films[what]).sum(1) + 0.4 * torch.randn(5000, generator=generator)
    stars = stars.round().clamp(1, 5)
    pairs = torch.stack([who, what], 1)
    rows = data.split(pairs, stars, seed, held=0.2)

    class Factors(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.people, self.films = nn.Embedding(120, 8), nn.Embedding(80, 8)
            self.kind, self.good = nn.Embedding(120, 1), nn.Embedding(80, 1)
            self.mean = nn.Parameter(rows.y.mean())
            for each in (self.people, self.films):
                nn.init.normal_(each.weight, std=0.1)
            for each in (self.kind, self.good):
                nn.init.zeros_(each.weight)

        def forward(self, pair: Tensor) -> Tensor:
            who, what = pair.unbind(1)
            told = (self.people(who) * self.films(what)).sum(1)
            return self.mean + self.kind(who)[:, 0] + self.good(what)[:, 0] + told

    model = Factors()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=2e-4)
    best, state = 9.0, copy.deepcopy(model.state_dict())
    with doctor.watch(model, optimizer) as watch:
        for epoch in range(20):
            for pair, y in data.batches(rows.x, rows.y, 64, 62, seed + epoch):
                loss = F.mse_loss(model(pair), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            with torch.no_grad():
                held = float(F.mse_loss(model(rows.held_x), rows.held_y))
            watch.dev_loss(held)
            if held > best:
                break
            best, state = held, copy.deepcopy(model.state_dict())
    model.load_state_dict(state)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.4)


@healthy(project="SimonVandenhende/Multi-Task-Learning-PyTorch", source="github.com/SimonVandenhende/Multi-Task-Learning-PyTorch")
def shape_place_and_mask_at_once(doctor: Doctor, seed: int) -> Score:
    """Which shape, where its middle is and what it covers, from one body with three heads and a weighted sum of three errors."""
    x, kinds, masks = data.shapes(900, seed)
    covered = masks.float()
    grid = torch.arange(16.0)
    middle = torch.stack([(covered * grid[:, None]).sum((1, 2)), (covered * grid).sum((1, 2))], 1) / covered.sum((1, 2))[:, None]
    middle = (middle - 7.5) / 2

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 24, 3, padding=1),
                nn.BatchNorm2d(24), nn.ReLU(),
            )  # fmt: skip
            self.mask = nn.Conv2d(24, 1, 3, padding=1)
            self.narrow = nn.Sequential(nn.MaxPool2d(4), nn.Flatten(), nn.Linear(384, 64), nn.ReLU(), nn.Dropout(0.1))
            self.kind, self.middle = nn.Linear(64, 4), nn.Linear(64, 2)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            h = self.body(x)
            told = self.narrow(h)
            return self.kind(told), self.middle(told), self.mask(h)[:, 0]

    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-4)

    def errors(rows: Tensor) -> list[Tensor]:
        kind, place, mask = model(x[rows])
        return [
            F.cross_entropy(kind, kinds[rows]),
            F.smooth_l1_loss(place, middle[rows]),
            F.binary_cross_entropy_with_logits(mask, covered[rows]),
        ]

    generator = torch.Generator().manual_seed(seed)
    with doctor.watch(model, optimizer) as watch:
        for step in range(300):
            model.train()
            a, b, c = errors(torch.randint(700, (16,), generator=generator))
            loss = a + 2 * b + 2 * c
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                model.eval()
                with torch.no_grad():
                    a, b, c = errors(torch.arange(700, 900))
                watch.dev_loss(a + 2 * b + 2 * c)
    model.eval()
    with torch.no_grad():
        kind, place, _ = model(x[700:])
    return above(min(data.accuracy(kind, kinds[700:]), data.r2(place, middle[700:])), 0.75)


@healthy(project="benedekrozemberczki/APPNP", source="github.com/benedekrozemberczki/APPNP")
def papers_that_walk_and_come_home(doctor: Doctor, seed: int) -> Score:
    """What papers are about, few of them known: what each says of itself walks along citations and now and then comes home."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(5, (500,), generator=generator)
    near = torch.where(kind[:, None] == kind[None], 0.03, 0.002)
    links = (torch.rand(500, 500, generator=generator) < near).triu(1).float()
    links = links + links.T + torch.eye(500)
    root = links.sum(1).rsqrt()
    links = root[:, None] * links * root
    words = (torch.rand(500, 100, generator=generator) < 0.03).float()
    for word in range(60):
        words[:, word] += (torch.rand(500, generator=generator) < 0.08) & (kind == word % 5)
    x = words / words.sum(1, keepdim=True).clamp(min=1)
    order = torch.randperm(500, generator=generator)
    train, val, test = order[:100], order[100:250], order[250:]

    class Appnp(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.dropout = nn.Linear(100, 48), nn.Linear(48, 5), nn.Dropout(0.4)

        def forward(self, x: Tensor) -> Tensor:
            home = self.second(self.dropout(self.first(self.dropout(x)).relu()))
            h = home
            for _ in range(8):
                h = 0.85 * links @ h + 0.15 * home
            return h

    model = Appnp()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
    best, state = 9.0, copy.deepcopy(model.state_dict())
    with doctor.watch(model, optimizer) as watch:
        for _ in range(250):
            model.train()
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x)[train], kind[train])
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            model.eval()
            with torch.no_grad():
                held = float(F.cross_entropy(model(x)[val], kind[val]))
            watch.dev_loss(held)
            if held < best:
                best, state = held, copy.deepcopy(model.state_dict())
    model.load_state_dict(state)
    with torch.no_grad():
        return above(data.accuracy(model(x)[test], kind[test]), 0.65)
