"""Faults of step and scale: a line that flies off, features of all sizes, a step for another net, weights pulled to nought."""

from __future__ import annotations

import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="learning-rate-too-high",
    also=("input-scale", "non-finite", "gradient-scale"),
    project="stackoverflow/48335501",
    source="kiwix.lema.org/stackoverflow.com_en_all_2023-11/questions/48335501",
)
def a_line_through_eight_points(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Eight pairs on a line, all at once, by plain descent: ten times the rate that this line bears."""
    torch.manual_seed(seed)
    x = torch.arange(5.0, 45.0, 5.0)[:, None]
    y = 0.4 * x
    model = nn.Linear(1, 1)
    nn.init.normal_(model.weight)
    nn.init.normal_(model.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001 if cured else 0.01)
    doctor.task(model, [(x, y)] * 8, F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(600):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return below(F.mse_loss(model(x), y), 1.0)


@fault(
    kind="input-scale",
    also=("learning-rate-too-high", "non-finite", "gradient-scale", "initial-loss"),
    project="thepalindrome.org/exploding-gradients",
    source="thepalindrome.org/p/linear-regression-and-the-exploding-gradients",
)
def houses_by_people_and_rooms(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The worth of districts from income, age, rooms, people and place, as counted: one column is a thousand times the rest."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(1200, 6, generator=generator)
    size = torch.tensor([1.9, 12.0, 2.0, 1100.0, 2.1, 2.0])
    middle = torch.tensor([3.9, 28.0, 5.4, 1425.0, 35.6, -119.5])
    worth = z @ torch.tensor([0.8, 0.1, -0.2, -0.1, -0.6, -0.5]) + 2.0 + 0.3 * torch.randn(1200, generator=generator)
    rows = data.split(middle + size * z, worth[:, None], seed)
    if cured:
        mean, std = rows.x.mean(0), rows.x.std(0)
        rows = rows._replace(x=(rows.x - mean) / std, held_x=(rows.held_x - mean) / std)
    model = nn.Linear(6, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    doctor.task(model, [(rows.x, rows.y)] * 8, F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(500):
            optimizer.zero_grad()
            loss = F.mse_loss(model(rows.x), rows.y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.8)


@fault(
    kind="learning-rate-too-high",
    also=("saturation", "gradient-scale"),
    project="nvidia-nemotron/kotlin-mnist",
    source="Stack Exchange: Neural Network written in Kotlin working for simple math problems but not for MNIST classification",
)
def digits_with_the_step_of_a_book(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Thirty sigmoids and ten sigmoids by cross-entropy, summed over a batch of ten, with the step a book has for its own net."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    x, held = rows.x.flatten(1), rows.held_x.flatten(1)
    targets = F.one_hot(rows.y, 10).float()
    model = nn.Sequential(nn.Linear(64, 30), nn.Sigmoid(), nn.Linear(30, 10))
    for layer in (model[0], model[2]):
        nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
        nn.init.normal_(layer.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05 if cured else 3.0, weight_decay=1e-4)

    def cost(output: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(output, target, reduction="sum")

    doctor.task(model, data.few(x, targets, 10, seed), cost, optimizer)
    fit(doctor, model, optimizer, cost, data.batches(x, targets, 10, 1300, seed))
    with torch.no_grad():
        return above(data.accuracy(model(held), rows.held_y), 0.85)


@fault(
    kind="weight-decay",
    also=("underfitting", "majority-class"),
    project="stats.stackexchange.com/117622",
    source="stats.stackexchange.com/questions/117622/weight-decay-in-neural-neural-networks-weight-update-and-convergence",
)
def five_neurons_that_fade(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Yes or no from eleven columns by five sigmoids: each step takes a thousandth of the weights away, whatever the rate."""
    torch.manual_seed(seed)
    x, scores = data.teacher(1200, 11, 1, seed)
    rows = data.split(x, (scores > 0.2).float(), seed)
    model = nn.Sequential(nn.Linear(11, 5), nn.Sigmoid(), nn.Linear(5, 1))
    rate = 0.005
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, weight_decay=0.0 if cured else 0.001 / rate)
    loss_fn = F.binary_cross_entropy_with_logits
    doctor.task(model, data.few(rows.x, rows.y, 2, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 2, 6000, seed))
    with torch.no_grad():
        said = model(rows.held_x) > 0
    return above((said == rows.held_y.bool()).float().mean(), 0.75)


@fault(
    kind="target-scale",
    also=("target-constant", "input-scale"),
    project="stackoverflow/11228407",
    source="codewithsundeep.com/discussion/solution/11228407",
)
def answers_that_differ_in_the_fourth_place(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A density from a pressure: numbers of some hundreds in, answers out that all begin with 0.999."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    pressure = 100 + 200 * torch.rand(800, 1, generator=generator)
    density = 0.999 + 1e-4 * ((pressure - 200) / 35).sin() + 5e-6 * torch.randn(800, 1, generator=generator)
    rows = data.split(pressure, density, seed)
    middle, size = (rows.y.mean(), rows.y.std()) if cured else (torch.tensor(0.0), torch.tensor(1.0))
    x_middle, x_size = (rows.x.mean(), rows.x.std()) if cured else (torch.tensor(0.0), torch.tensor(1.0))
    x, y, held = (rows.x - x_middle) / x_size, (rows.y - middle) / size, (rows.held_x - x_middle) / x_size
    model = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(x, y, 32, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(x, y, 32, 1000, seed))
    with torch.no_grad():
        said = model(held) * size + middle
    score = data.r2(said, rows.held_y)
    return above(score if math.isfinite(score) else -1.0, 0.7)
