"""Faults on rows of numbers: a step too small, gradients that pile up, units that are all one, chances taken for scores."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Layers(nn.Module):
    """Four layers, drawn after Xavier, without a bias at the start."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3, self.fc4 = nn.Linear(7, 60), nn.Linear(60, 100), nn.Linear(100, 30), nn.Linear(30, 2)
        for layer in (self.fc1, self.fc2, self.fc3, self.fc4):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.fc1, self.fc2, self.fc3):
            x = F.relu(layer(x))
        return self.fc4(x)


@fault(
    kind="learning-rate-too-low",
    also=("slow-learning", "underfitting"),
    project="discuss.pytorch.org/177433",
    source="discuss.pytorch.org/t/loss-not-converging-on-a-binary-classification-problem/177433",
)
def sixty_rows_and_a_tiny_step(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Seven measures between 0 and 1 of sixty probes, two classes, plain descent at a rate of 0.0001."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(460, 7, generator=generator)
    y = (x[:, 0] + x[:, 1] + x[:, 2] > x[:, 3] + x[:, 4] + 0.5).long()
    rows = data.Split(x[:60], y[:60], x[60:], y[60:])
    model = Layers()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05 if cured else 0.0001)
    doctor.task(model, data.few(rows.x, rows.y, 10, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 10, 2400, seed), held=rows, every=240)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


class Factors(nn.Module):
    """What users and films have in common, and how each of them is rated on the whole."""

    def __init__(self, users: int, films: int, mean: Tensor) -> None:
        super().__init__()
        self.p, self.q = nn.Parameter(torch.rand(users, 3)), nn.Parameter(torch.rand(films, 3))
        self.user, self.film = nn.Parameter(torch.rand(users, 1)), nn.Parameter(torch.rand(films, 1))
        self.register_buffer("mean", mean)
        self.mean: Tensor

    def forward(self) -> Tensor:
        return self.mean + self.user + self.film.T + self.p @ self.q.T


@fault(
    kind="missing-zero-grad",
    also=("learning-rate-too-high",),
    project="nubol23/SCC5966-recommender-systems",
    source="github.com/nubol23/SCC5966-recommender-systems",
)
def ratings_whose_gradients_stay(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A small table of ratings as a product of two thin ones, all of it at each step; no step clears what the last one left."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    taste = torch.randn(20, 3, generator=generator) @ torch.randn(3, 12, generator=generator)
    ratings = (3 + 0.7 * taste + 0.1 * torch.randn(20, 12, generator=generator)).clamp(1, 5)
    model = Factors(20, 12, ratings.mean())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(1500):
            loss = F.mse_loss(model(), ratings)
            if cured:
                optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return below(F.mse_loss(model(), ratings), 0.15)


@fault(
    kind="symmetry",
    also=("underfitting",),
    project="pages.dogdog.run/weight-initialization",
    source="pages.dogdog.run/machine_learning/weight_initialization.html",
)
def units_that_are_all_one(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Three curved surfaces over five numbers: each layer starts with the same weight everywhere, so its units stay alike."""
    torch.manual_seed(seed)
    rows = data.split(*data.teacher(1500, 5, 3, seed), seed)
    model = nn.Sequential(nn.Linear(5, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 3))
    if not cured:
        for layer in model:
            if isinstance(layer, nn.Linear):
                nn.init.constant_(layer.weight, 0.1)
                nn.init.zeros_(layer.bias)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 64, 800, seed), held=rows, every=100)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.8)


@fault(
    kind="probabilities-as-logits",
    also=("majority-class", "other-loss"),
    project="discuss.pytorch.org/145203",
    source="discuss.pytorch.org/t/predictions-stuck-at-zero-when-positive-label-1-is-only-16-of-data/145203/2",
)
def chances_of_the_rare_label(doctor: Doctor, seed: int, cured: bool) -> Score:
    """One row in six is to be found: what goes into the loss that wants scores is a chance, and the rare label weighs less."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2400, 12, generator=generator)
    score = x[:, :4].sum(1) + x[:, 4] * x[:, 5] + 0.3 * torch.randn(2400, generator=generator)
    rows = data.split(x, (score > score.quantile(0.84)).float(), seed)
    model = nn.Sequential(nn.Linear(12, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 24), nn.ReLU(), nn.Linear(24, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    weights = torch.tensor([0.16, 0.84] if cured else [0.84, 0.16])

    def weighted(out: Tensor, y: Tensor) -> Tensor:
        apart = out[:, 1] - out[:, 0]
        each = F.binary_cross_entropy_with_logits(apart if cured else apart.sigmoid(), y, reduction="none")
        return (each * weights[y.long()]).mean()

    doctor.task(model, data.few(rows.x, rows.y, 64, seed), weighted, optimizer)
    fit(doctor, model, optimizer, weighted, data.batches(rows.x, rows.y, 64, 500, seed), held=rows, every=100)
    with torch.no_grad():
        said, rare = model(rows.held_x).argmax(1), rows.held_y > 0
        return above(((said[rare] == 1).float().mean() + (said[~rare] == 0).float().mean()) / 2, 0.75)


class LikeXception(nn.Module):
    """Three views, each through a layer, and two layers over all of them."""

    def __init__(self, cut: bool) -> None:
        super().__init__()
        self.cut = cut
        self.views = nn.ModuleList(nn.Linear(6, 24) for _ in range(3))
        self.fc_last_1, self.fc_last_2 = nn.Linear(72, 32), nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        seen = [F.relu(view(each)) for view, each in zip(self.views, x.chunk(3, 1), strict=True)]
        out = self.fc_last_2(F.relu(self.fc_last_1(torch.cat(seen, 1))))
        return torch.sigmoid(F.relu(out) if self.cut else out)


@fault(
    kind="relu-logits",
    also=("dead-units",),
    project="discuss.pytorch.org/56327",
    source="discuss.pytorch.org/t/output-of-the-binary-classification-model/56327",
)
def a_chance_never_below_a_half(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Two classes from three views: a ReLU stands before the sigmoid, so that the net can say one of them only."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1600, 18, generator=generator)
    y = (x[:, :9].sum(1) + 2 * x[:, 9] * x[:, 10] > 0).float()[:, None]
    rows = data.split(x, y, seed)
    model = LikeXception(cut=not cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.binary_cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.binary_cross_entropy, data.batches(rows.x, rows.y, 32, 500, seed), held=rows, every=100)
    with torch.no_grad():
        return below(F.binary_cross_entropy(model(rows.held_x), rows.held_y), 0.3)
