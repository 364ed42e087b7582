"""Faults of losses and targets: forecasts, words, outlines, several tasks, what users like."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="target-scale",
    also=("initial-loss", "underfitting", "gradient-scale"),
    project="sktime/pytorch-forecasting",
    source="github.com/sktime/pytorch-forecasting/pull/2413",
)
def window_normalised_but_not_its_future(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Each window of the past gets mean 0 and variance 1; the future is left in its own units, around 100."""
    generator = torch.Generator().manual_seed(seed)
    level, size = (torch.rand(1600, 1, generator=generator) for _ in range(2))
    period, phase = 8 + 8 * torch.rand(1600, 1, generator=generator), 6.3 * torch.rand(1600, 1, generator=generator)
    wave = torch.sin(phase + 6.283 * torch.arange(36) / period)
    series = 60 + 80 * level + (3 + 5 * size) * (wave + 0.1 * torch.randn(1600, 36, generator=generator))
    rows = data.split(series[:, :24], series[:, 24:], seed)

    def moments(past: Tensor) -> tuple[Tensor, Tensor]:
        return past.mean(1, keepdim=True), past.std(1, keepdim=True)

    def prepared(past: Tensor, future: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = moments(past)
        return (past - mean) / std, (future - mean) / std if cured else future

    x, y = prepared(rows.x, rows.y)
    held = data.Split(x, y, *prepared(rows.held_x, rows.held_y))
    model = nn.Sequential(nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 12))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(x, y, 64, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(x, y, 64, 500, seed), held, every=100)
    said = model(held.held_x)
    mean, std = moments(rows.held_x)
    said = said * std + mean if cured else said
    naive = (rows.held_y - mean).pow(2).mean()
    return above(1 - (said - rows.held_y).pow(2).mean() / naive, 0.7)


class Listener(nn.Module):
    """Log probabilities (T, B, letters and blank) of frames (B, T, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.out = nn.GRU(8, 32, batch_first=True, bidirectional=True), nn.Linear(64, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.gru(x)[0]).log_softmax(2).transpose(0, 1)


@fault(kind="non-finite", project="k2-fsa/icefall", source="github.com/k2-fsa/icefall/issues/1777")
def letters_twice_without_time_between(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Texts longer than their sound are left out, but a letter twice in a row needs a frame between: a loss is infinite."""
    generator = torch.Generator().manual_seed(seed)
    count = 1500
    length = torch.randint(3, 6, (count,), generator=generator)
    letters = torch.randint(1, 6, (count, 5), generator=generator)
    frames = torch.where(torch.rand(count, generator=generator) < 0.01, length, 3 * length)
    place = torch.arange(15)
    pace = (frames // length)[:, None]
    spoken = letters.gather(1, (place // pace).clamp(max=4))
    x = torch.randn(6, 8, generator=generator)[spoken] * torch.where(place % pace < 2, 2.0, 0.0)[..., None]
    x = x + 0.3 * torch.randn(count, 15, 8, generator=generator)
    need = length
    if cured:
        twice = (letters[:, 1:] == letters[:, :-1]) & (torch.arange(1, 5) < length[:, None])
        need = length + twice.sum(1)
    kept = (need <= frames).nonzero()[:, 0]
    train, held = kept[:1100], kept[1100:]
    model = Listener()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with doctor.watch(model, optimizer) as watch:
        for at, _ in data.batches(train, train, 32, 250, seed):
            loss = F.ctc_loss(model(x[at]), letters[at], frames[at], length[at])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            watch.loss(loss)
    best = model(x[held]).argmax(2).T
    right = 0
    for said, t, truth, size in zip(best, frames[held], letters[held], length[held], strict=True):
        runs = said[:t].unique_consecutive()
        right += int(runs[runs > 0].tolist() == truth[:size].tolist())
    return above(right / len(held), 0.8)


@fault(
    kind="shuffled-targets",
    also=("underfitting", "target-rows"),
    project="mdbloice/Augmentor",
    source="github.com/mdbloice/Augmentor/issues/209",
)
def outlines_turned_by_another_coin(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Picture and mask are turned and mirrored at random, each for itself: they rarely fit."""
    x, _, mask = data.shapes(600, seed)
    rows = data.split(x, mask[:, None].float(), seed)
    generator = torch.Generator().manual_seed(seed)
    conv = [nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 1, 1)]
    model = nn.Sequential(*conv)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loss_fn = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0))

    def turned(pictures: Tensor, coins: Tensor) -> Tensor:
        pictures = torch.where(coins[0][:, None, None, None], pictures.flip(2), pictures)
        pictures = torch.where(coins[1][:, None, None, None], pictures.flip(3), pictures)
        return torch.where(coins[2][:, None, None, None], pictures.transpose(2, 3), pictures)

    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 24, 250, seed):
            coins, others = (torch.rand(3, 24, generator=generator) < 0.5 for _ in range(2))
            loss = loss_fn(model(turned(a, coins)), turned(b, coins if cured else others))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    said, truth = model(rows.held_x) > 0, rows.held_y > 0.5
    return above((said & truth).sum() / (said | truth).sum(), 0.85)


class House(nn.Module):
    """A kind and a price from one small trunk."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(20, 24), nn.ReLU(), nn.Linear(24, 6), nn.Tanh())
        self.kind, self.price = nn.Linear(6, 4), nn.Linear(6, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.trunk(x)
        return self.kind(h), self.price(h)


@fault(
    kind="target-scale",
    also=("gradient-scale", "initial-loss", "underfitting"),
    project="ludwig-ai/ludwig",
    source="github.com/ludwig-ai/ludwig/issues/641",
)
def price_in_thousands_beside_a_kind(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A squared error of millions and a cross-entropy of 1.4 are added up: the shared layers serve the price alone."""
    x, price = data.teacher(1600, 20, 1, seed)
    generator = torch.Generator().manual_seed(seed + 7)
    kind = (x[:, 10:] @ torch.randn(10, 4, generator=generator)).argmax(1)
    price = price if cured else 3000 + 900 * price
    rows = data.split(x, torch.cat([kind[:, None].float(), price], 1), seed)
    model = House()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)

    def loss_fn(output: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
        return F.cross_entropy(output[0], target[:, 0].long()) + F.mse_loss(output[1], target[:, 1:])

    doctor.task(model, data.few(rows.x, rows.y, 40, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 40, 400, seed), rows, every=80)
    return above(data.accuracy(model(rows.held_x)[0], rows.held_y[:, 0].long()), 0.8)


class Taste(nn.Module):
    """How a user and a film go together, by a net on both their vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.film = nn.Embedding(80, 12), nn.Embedding(100, 12)
        self.net = nn.Sequential(nn.Linear(36, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, pair: Tensor) -> Tensor:
        u, f = self.user(pair[:, 0]), self.film(pair[:, 1])
        return self.net(torch.cat([u, f, u * f], 1))[:, 0]


@fault(
    kind="target-constant",
    project="hexiangnan/neural_collaborative_filtering",
    source="github.com/hexiangnan/neural_collaborative_filtering/issues/13",
)
def films_that_were_seen_and_no_others(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Only pairs that happened, all labelled 1: the loss goes to 0 and each film suits everyone."""
    generator = torch.Generator().manual_seed(seed)
    users, films = (torch.randn(n, 3, generator=generator) for n in (80, 100))
    scores = users @ films.T + 0.3 * torch.randn(80, 100, generator=generator)
    seen = scores > scores.quantile(0.75, dim=1, keepdim=True)
    pairs = seen.nonzero()
    pairs = pairs[torch.randperm(len(pairs), generator=generator)]
    cut = len(pairs) * 4 // 5
    held = pairs[cut:]
    model = Taste()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with doctor.watch(model, optimizer) as watch:
        for positive, _ in data.batches(pairs[:cut], pairs[:cut], 100, 500, seed):
            batch, y = positive, torch.ones(len(positive))
            if cured:
                others = positive.repeat(3, 1)
                others[:, 1] = torch.randint(100, (len(others),), generator=generator)
                batch, y = torch.cat([positive, others]), torch.cat([y, torch.zeros(len(others))])
            loss = F.binary_cross_entropy_with_logits(model(batch), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    unseen = (~seen).nonzero()
    with torch.no_grad():
        yes, no = model(held), model(unseen)
    return above((yes[:, None] > no).float().mean(), 0.65)
