"""Faults on rows of numbers: a learner that only says so, a row against itself, rare labels, a wrong name, a sum over all."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Learner:
    """Holds a net, and says whether it trains or evaluates; only a good one tells the net."""

    def __init__(self, model: nn.Module, tells: bool) -> None:
        self.model, self.tells, self.training = model, tells, True

    def train(self, mode: bool = True) -> None:
        self.training = mode
        if self.tells:
            self.model.train(mode)

    def __call__(self, x: Tensor) -> Tensor:
        return self.model(x)


@fault(
    kind="wrong-mode",
    also=("eval-dropout",),
    project="raharth/PyMatch",
    source="github.com/raharth/PyMatch/issues/17",
)
def a_learner_that_only_says_it_evaluates(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Two curved surfaces, asked for twice: what holds the net is told that it is looked at now, and keeps that to itself."""
    torch.manual_seed(seed)
    rows = data.split(*data.teacher(1600, 8, 2, seed), seed)
    model = nn.Sequential(nn.Linear(8, 96), nn.ReLU(), nn.Dropout(0.3), nn.Linear(96, 96), nn.ReLU(), nn.Dropout(0.3))
    model.append(nn.Linear(96, 2))
    learner = Learner(model, tells=cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 32, 1000, seed)):
            learner.train()
            loss = F.mse_loss(learner(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 100 == 99:
                learner.train(mode=False)
                with torch.no_grad():
                    watch.dev_loss(F.mse_loss(learner(rows.held_x), rows.held_y))
    learner.train(mode=False)
    with torch.no_grad():
        return below((learner(rows.held_x) - learner(rows.held_x)).abs().mean(), 0.05)


class Rare(nn.Module):
    """A net for one number, and how much noise there is around what it says."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1))
        self.sigma = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.body(x), self.sigma.expand(len(x), 1)], 1)


def balanced(out: Tensor, y: Tensor) -> Tensor:
    """Which of the targets of the batch belongs to what was said, weighed by the noise."""
    said, spread = out[:, :1], out[0, 1].pow(2)
    loss = F.cross_entropy(-(said - y.T).pow(2) / (2 * spread), torch.arange(len(y)))
    return loss * (2 * spread).detach()


@fault(
    kind="no-gradient",
    also=("never-moved", "other-loss", "softmax-axis", "target-constant"),
    project="jiawei-ren/BalancedMSE",
    source="github.com/jiawei-ren/BalancedMSE/issues/19",
)
def a_row_against_itself(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A number is found among those of the batch, and a batch is a single row."""
    torch.manual_seed(seed)
    rows = data.split(*data.teacher(1600, 8, 1, seed), seed)
    size = 32 if cured else 1
    model = Rare()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, size, seed), balanced, optimizer)
    fit(doctor, model, optimizer, balanced, data.batches(rows.x, rows.y, size, 1000, seed))
    with torch.no_grad():
        return above(data.r2(model(rows.held_x)[:, :1], rows.held_y), 0.7)


@fault(
    kind="majority-class",
    also=("other-loss",),
    project="errorhandle.ai/multilabel",
    source="errorhandle.ai/multilabel-classification-converges-to-all-zeroes",
)
def labels_that_hardly_ever_hold(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Sixteen labels, each of which holds for one row in thirty: nobody makes up for that."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(5000, 24, generator=generator)
    mix = torch.randn(24, 16, generator=torch.Generator().manual_seed(seed + 5)) / 24**0.5
    y = (torch.rand(5000, 16, generator=generator) < (1.3 * x @ mix - 4).sigmoid()).float()
    rows = data.split(x, y, seed)
    model = nn.Sequential(nn.Linear(24, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 16))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    weight = ((1 - rows.y).sum(0) / rows.y.sum(0)) if cured else None

    def told(said: Tensor, y: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(said, y, pos_weight=weight)

    doctor.task(model, data.few(rows.x, rows.y, 64, seed), told, optimizer)
    fit(doctor, model, optimizer, told, data.batches(rows.x, rows.y, 64, 500, seed), held=rows, every=100)
    with torch.no_grad():
        said, true = model(rows.held_x) > 0, rows.held_y > 0
        return above(((said & true).sum() / true.sum() + (~said & ~true).sum() / (~true).sum()) / 2, 0.65)


class Criterion:
    """Says the loss, and keeps the number; whoever walks back from here walks back from the number."""

    def __init__(self) -> None:
        self.kept = torch.zeros(())

    def __call__(self, said: Tensor, y: Tensor) -> Tensor:
        cost = F.binary_cross_entropy_with_logits(said, y)
        self.kept = torch.tensor(cost.item(), requires_grad=True)
        return cost

    def backward(self) -> None:
        self.kept.backward()


@fault(
    kind="no-gradient",
    also=("never-moved", "frozen-random"),
    project="e-com-net.com/loss-at-0.69",
    source="e-com-net.com/article/1619816447322652672.htm",
)
def a_way_back_under_a_wrong_name(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Round or straight: the cost is said by a criterion, and it is the criterion that is asked for the gradients."""
    torch.manual_seed(seed)
    x, kind, _ = data.shapes(900, seed)
    rows = data.split(x, (kind > 1).float()[:, None], seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()
    )
    model.extend([nn.MaxPool2d(2), nn.Flatten(), nn.Linear(512, 1)])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss = Criterion()
    with doctor.watch(model, optimizer) as watch:
        for step, (seen, y) in enumerate(data.batches(rows.x, rows.y, 32, 200, seed)):
            model.train()
            cost = loss(model(seen), y)
            model.zero_grad()
            if cured:
                cost.backward()
            else:
                loss.backward()
            optimizer.step()
            watch.loss(cost)
            if step % 50 == 49:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(loss(model(rows.held_x), rows.held_y))
    model.eval()
    with torch.no_grad():
        return above(((model(rows.held_x) > 0).float() == rows.held_y).float().mean(), 0.8)


@fault(
    kind="learning-rate-too-high",
    also=("non-finite", "gradient-scale"),
    project="math.techqa.club/rss-as-loss",
    source="math.techqa.club/using-rss-as-loss-function-for-linear-regression-does-not-work-3265384",
)
def a_sum_over_all_the_houses(doctor: Doctor, seed: int, cured: bool) -> Score:
    """What fifteen thousand houses cost, by a straight line through eight measures: squared errors are summed, not averaged."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(20000, 8, generator=generator) @ (torch.eye(8) + 0.3 * torch.randn(8, 8, generator=generator))
    x = (x - x.mean(0)) / x.std(0)
    y = 2 + x @ torch.randn(8, 1, generator=generator) / 3 + 0.5 * torch.randn(20000, 1, generator=generator)
    model = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1 if cured else 1e-4)
    train = slice(0, 15000)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(300):
            loss = F.mse_loss(model(x[train]), y[train], reduction="mean" if cured else "sum")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.r2(model(x[15000:]), y[15000:]), 0.5)
