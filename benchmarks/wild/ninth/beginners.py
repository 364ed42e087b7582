"""Faults of first programs: numbers as they are, the rate, first weights, the last activation, batches, decay."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="input-scale",
    also=("activation-scale", "initial-loss", "gradient-scale", "saturation", "underfitting"),
    project="geeksmental.com",
    source="geeksmental.com/question/why-does-accuracy-remain-the-same",
)
def more_or_less_than_fifty_thousand(doctor: Doctor, seed: int, cured: bool) -> Score:
    """One number up to a hundred thousand, as it is: is it above the half? The accuracy stays where it was."""
    generator = torch.Generator().manual_seed(seed)
    x = 1e5 * torch.rand(1600, 1, generator=generator)
    rows = data.split(x, (x > 5e4).float(), seed)
    if cured:
        mean, std = rows.x.mean(0), rows.x.std(0)
        rows = rows._replace(x=(rows.x - mean) / std, held_x=(rows.held_x - mean) / std)
    model = nn.Sequential(nn.Linear(1, 12), nn.ReLU(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loss_fn = nn.BCEWithLogitsLoss()
    doctor.task(model, data.few(rows.x, rows.y, 20, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 20, 600, seed), rows, every=60)
    return above(((model(rows.held_x) > 0) == (rows.held_y > 0.5)).float().mean(), 0.95)


@fault(
    kind="learning-rate-too-high",
    also=("dead-units", "saturation", "non-finite", "no-gradient", "never-moved"),
    project="e-learn.cn",
    source="e-learn.cn/qa/q-910985.html",
)
def five_layers_at_half_a_step(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A net of five ReLU layers at a rate of 0.5 with momentum: after a few steps all digits are one to it."""
    rows = data.digits(seed)
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(64, 100), nn.ReLU()]
    for wide, narrow in ((100, 80), (80, 60), (60, 30)):
        layers += [nn.Linear(wide, narrow), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(30, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02 if cured else 0.5, momentum=0.9)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 500, seed), rows, every=42)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


@fault(
    kind="symmetry",
    also=("no-gradient", "never-moved", "dead-units"),
    project="deeplearning.ai community",
    source="community.deeplearning.ai/t/week-1-programming-assignment-initialization-exercise-1-initialize-parameters-zeros/121049",
)
def all_parameters_from_nought(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Weights of a net with ReLUs all start at 0: none of them can move, one half is said of every point."""
    generator = torch.Generator().manual_seed(seed)
    inner = torch.randint(2, (1200, 1), generator=generator).float()
    turn = 6.283 * torch.rand(1200, 1, generator=generator)
    x = (2 - inner) * torch.cat([turn.cos(), turn.sin()], 1) + 0.15 * torch.randn(1200, 2, generator=generator)
    rows = data.split(x, inner, seed)
    model = nn.Sequential(nn.Linear(2, 10), nn.ReLU(), nn.Linear(10, 5), nn.ReLU(), nn.Linear(5, 1))
    if not cured:
        for parameter in model.parameters():
            nn.init.zeros_(parameter)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loss_fn = nn.BCEWithLogitsLoss()
    doctor.task(model, data.few(rows.x, rows.y, 30, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 30, 500, seed), rows)
    return above(((model(rows.held_x) > 0) == (rows.held_y > 0.5)).float().mean(), 0.9)


@fault(
    kind="target-range",
    also=("target-scale", "saturation", "initial-loss", "other-loss", "gradient-scale"),
    project="cross validated",
    source="api.queryxchange.com/q/20_332591/understanding-of-the-sigmoid-activation-function-as-last-layer-in-network",
)
def grey_levels_through_a_sigmoid(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Noise is to be taken from pictures of 0 to 255 by a net that ends in a sigmoid; all it says is 1."""
    clean = data.digits(seed, scale=16.0 if cured else 16 / 255)
    top = 1.0 if cured else 255.0
    generator = torch.Generator().manual_seed(seed)

    def noisy(x: torch.Tensor) -> torch.Tensor:
        return (x + 0.3 * top * torch.randn(x.shape, generator=generator)) / top

    rows = data.Split(noisy(clean.x), clean.x, noisy(clean.held_x), clean.held_x)
    conv = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(*conv, nn.Conv2d(16, 1, 3, padding=1), nn.Sigmoid())
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 32, 300, seed), rows)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.6)


@fault(
    kind="slow-learning",
    also=("underfitting", "learning-rate-too-low"),
    project="neural networks with keras cookbook",
    source="packtpub.com/en-tr/product/neural-networks-with-keras-cookbook-9781789346640/chapter/"
    "building-a-deep-feedforward-neural-network-2/section/impact-of-batch-size-on-model-accuracy-ch02lvl1sec12",
)
def half_of_all_rows_at_once(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Twenty epochs of two batches each: 40 steps of plain SGD at its default rate are far too few."""
    rows = data.digits(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    size = 8 if cured else 673
    doctor.task(model, data.few(rows.x, rows.y, size, seed), F.cross_entropy, optimizer)
    epoch = len(rows.x) // size
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, size, 20 * epoch, seed), rows, every=epoch)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@fault(
    kind="weight-decay",
    also=("underfitting", "activation-scale"),
    project="BVLC/caffe",
    source="github.com/BVLC/caffe/issues/1396",
)
def any_picture_the_same_place(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Where is the shape? With a weight decay of 0.5 every weight goes to 0 and all pictures get the mean place."""
    x, _, mask = data.shapes(900, seed)
    place = torch.arange(16.0)
    share = mask / mask.sum((1, 2), keepdim=True)
    where = torch.stack([(share.sum(2) * place).sum(1), (share.sum(1) * place).sum(1)], 1)
    where = (where - where.mean(0)) / where.std(0)
    rows = data.split(x, where, seed)
    conv = [nn.Conv2d(1, 12, 5, stride=2, padding=2), nn.ReLU(), nn.Conv2d(12, 16, 3, stride=2, padding=1), nn.ReLU()]
    model = nn.Sequential(*conv, nn.Flatten(), nn.Linear(256, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4 if cured else 0.5)
    doctor.task(model, data.few(rows.x, rows.y, 30, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 30, 400, seed), rows, every=40)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.7)
