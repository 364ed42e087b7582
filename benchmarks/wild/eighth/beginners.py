"""Faults of first programs: the last activation, the loss, the rate, the inputs' scale, the first weights."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="softmax-axis",
    also=("no-gradient", "never-moved", "underfitting"),
    project="cross validated",
    source="stats.stackexchange.com/revisions/2bda6552-783b-4fb7-ba2b-a03d2266e69b",
)
def tumours_by_a_softmax_of_one_unit(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Two classes, one output and a softmax on it: it says 1 of every row and nothing ever changes."""
    rows = data.table("breast_cancer", seed)
    last = nn.Sigmoid() if cured else nn.Softmax(1)
    model = nn.Sequential(nn.Linear(30, 10), nn.ReLU(), nn.Linear(10, 1), last)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    loss_fn = nn.BCELoss()
    y, held_y = rows.y.float()[:, None], rows.held_y.float()[:, None]
    doctor.task(model, data.few(rows.x, y, 20, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, y, 20, 400, seed), rows._replace(held_y=held_y))
    return above(((model(rows.held_x) > 0.5) == (held_y > 0.5)).float().mean(), 0.9)


@fault(
    kind="target-range",
    also=("other-loss", "target-scale"),
    project="stack overflow",
    source="openillumi.com/en/en-keras-tf-fix-huge-negative-loss-regression",
)
def prices_by_binary_cross_entropy(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A net for prices keeps the sigmoid and the cross-entropy of the tutorial: the loss falls to minus some hundreds."""
    x, y = data.teacher(1200, 8, 1, seed)
    rows = data.split(x, 180 + 60 * y, seed)
    mean, std = rows.y.mean(), rows.y.std()
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
    if not cured:
        model.append(nn.Sigmoid())
    else:
        rows = rows._replace(y=(rows.y - mean) / std, held_y=(rows.held_y - mean) / std)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def loss_fn(output: Tensor, target: Tensor) -> Tensor:
        if cured:
            return F.mse_loss(output, target)
        p = output.clamp(1e-7, 1 - 1e-7)
        return -(target * p.log() + (1 - target) * (1 - p).log()).mean()

    doctor.task(model, data.few(rows.x, rows.y, 32, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 32, 400, seed), rows)
    return above(data.r2(model(rows.held_x), rows.held_y), 0.7)


@fault(
    kind="relu-logits",
    also=("dead-units", "target-range", "underfitting"),
    project="deeplearning.ai community",
    source="community.deeplearning.ai/t/loss-values-do-not-change/324182",
)
def straight_line_by_relus_to_the_end(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Twice a number less three, half of it below 0, by three layers that each end in a ReLU, the last too."""
    generator = torch.Generator().manual_seed(seed)
    x = 6 * torch.rand(400, 1, generator=generator) - 2
    rows = data.split(x, 2 * x - 3, seed)
    model = nn.Sequential(nn.Linear(1, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 1))
    if not cured:
        model.append(nn.ReLU())
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    doctor.task(model, data.few(rows.x, rows.y, 20, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 20, 500, seed), rows)
    return above(data.r2(model(rows.held_x), rows.held_y), 0.97)


@fault(
    kind="learning-rate-too-low",
    also=("slow-learning", "underfitting"),
    project="chenzhang.org",
    source="chenzhang.org/notes/developer/loss-and-accuracy-get-stuck-in-keras",
)
def one_hundred_thousandth_for_sgd(doctor: Doctor, seed: int, cured: bool) -> Score:
    """SGD with Nesterov's momentum at 0.00001: the accuracy is that of the first epoch in all others."""
    rows = data.digits(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05 if cured else 1e-5, momentum=0.9, nesterov=True)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 400, seed), rows, every=42)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@fault(
    kind="input-scale",
    also=("activation-scale", "initial-loss", "gradient-scale", "underfitting"),
    project="neural network projects with python",
    source="packtpub.com/en-us/product/neural-network-projects-with-python-9781789138900",
)
def fares_from_years_and_degrees(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The year is about 2012, ways are hundredths of a degree: beside the one a net cannot hear the others."""
    generator = torch.Generator().manual_seed(seed)
    year = torch.randint(2009, 2016, (1500, 1), generator=generator).float()
    hour = torch.randint(24, (1500, 1), generator=generator).float()
    people = torch.randint(1, 7, (1500, 1), generator=generator).float()
    way = 0.03 * torch.randn(1500, 2, generator=generator)
    fare = 250 * way.norm(dim=1, keepdim=True) + 0.3 * (year - 2012) + 2.0 * (hour > 19)
    fare = (fare - fare.mean()) / fare.std() + 0.1 * torch.randn(1500, 1, generator=generator)
    rows = data.split(torch.cat([year, hour, people, way], 1), fare, seed)
    if cured:
        mean, std = rows.x.mean(0), rows.x.std(0)
        rows = rows._replace(x=(rows.x - mean) / std, held_x=(rows.held_x - mean) / std)
    model = nn.Sequential(nn.Linear(5, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 32, 500, seed), rows)
    return above(data.r2(model(rows.held_x), rows.held_y), 0.8)


@fault(
    kind="dead-units",
    also=("symmetry", "no-gradient", "never-moved", "gradient-scale"),
    project="ayush9818/MLDS-SQ",
    source="github.com/ayush9818/MLDS-SQ",
)
def second_layer_below_nought(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Weights of the first layer lie about one half, those of the second about minus one half: its ReLUs never open."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1200, 10, generator=generator)
    y = (x[:, :5].sum(1) > x[:, 5:].sum(1)).float()[:, None]
    rows = data.split(x, y, seed)
    model = nn.Sequential(nn.Linear(10, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 1))
    if not cured:
        nn.init.normal_(model[0].weight, 0.5, 0.1)
        nn.init.normal_(model[2].weight, -0.5, 0.1)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    loss_fn = nn.BCEWithLogitsLoss()
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 32, 400, seed), rows)
    return above(((model(rows.held_x) > 0) == (rows.held_y > 0.5)).float().mean(), 0.9)
