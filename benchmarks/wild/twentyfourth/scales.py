"""Faults of size: features and objects as they come, answers in two units, a step of a hundred thousand, weights near nought."""

from __future__ import annotations

import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Patches(nn.Module):
    """A series cut into eight pieces, each beside the others; the mean of what was made of them, brought to length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Linear(8, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.layers(self.token(x.unfold(1, 8, 8))).mean(1), dim=1)


def waves(count: int, kinds: int, seed: int) -> tuple[Tensor, Tensor]:
    """Series (N, 64) of so many speeds in noise."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(kinds, (count,), generator=generator)
    speed = 0.25 * 1.35 ** kind[:, None].float()
    x = (speed * torch.arange(64.0) + 6.28 * torch.rand(count, 1, generator=generator)).sin()
    return x + 0.4 * torch.randn(count, 64, generator=generator), kind


@fault(
    kind="input-scale",
    also=("slow-learning", "underfitting", "activation-scale", "learning-rate-too-low"),
    project="vfeofanov/mantis",
    source="github.com/vfeofanov/mantis/issues/14",
)
def a_head_on_features_as_they_are(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Seven speeds by a body that was trained to foretell and stays as it is: a single layer takes what comes out of it."""
    torch.manual_seed(seed)
    body = Patches()
    known, _ = waves(1200, 10, seed + 50)
    foretell = nn.Linear(32, 64)
    optimizer: torch.optim.Optimizer = torch.optim.Adam([*body.parameters(), *foretell.parameters()], lr=2e-3)
    for x, _ in data.batches(known, known, 64, 250, seed):
        optimizer.zero_grad()
        F.mse_loss(foretell(body(x)), torch.fft.rfft(x).abs().repeat(1, 2)[:, :64] / 8).backward()
        optimizer.step()
    for parameter in body.parameters():
        parameter.requires_grad = False

    rows = data.split(*waves(1200, 7, seed), seed)
    head = nn.Sequential(nn.BatchNorm1d(32), nn.Linear(32, 7)) if cured else nn.Sequential(nn.Linear(32, 7))
    model = nn.Sequential(body, head)
    optimizer = torch.optim.AdamW(head.parameters(), lr=2e-4)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 64, 300, seed), held=rows)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.79)


class Molecules(nn.Module):
    """Atoms told by their neighbours twice, and summed up."""

    def __init__(self) -> None:
        super().__init__()
        self.atom, self.one, self.two = nn.Embedding(5, 24), nn.Linear(48, 24), nn.Linear(48, 24)
        self.answer = nn.Sequential(nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 1))

    def forward(self, graph: Tensor) -> Tensor:
        atoms, bonds = graph[:, :, 0], graph[:, :, 1:].float()
        h = self.atom(atoms)
        for layer in (self.one, self.two):
            h = h + F.relu(layer(torch.cat([h, bonds @ h], 2)))
        return self.answer(h.mean(1))


@fault(
    kind="dev-scale",
    also=("held-out-labels", "target-scale"),
    project="datamol-io/graphium",
    source="github.com/datamol-io/graphium/issues/331",
)
def energies_in_two_units(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Energies of molecules, at mean 0 and size 1 while the net learns; what it says is held against those as measured."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    atoms = torch.randint(5, (900, 10), generator=generator)
    bonds = (torch.rand(900, 10, 10, generator=generator) < 0.15).triu(1)
    bonds = (bonds | bonds.transpose(1, 2)).long()
    pair = torch.randn(5, 5, generator=generator)
    own = pair[atoms[:, :, None], atoms[:, None, :]] * bonds
    energy = -480 + 35 * own.sum((1, 2)) + 20 * torch.randn(5, generator=generator)[atoms].sum(1)
    rows = data.split(torch.cat([atoms[:, :, None], bonds], 2), energy[:, None], seed)
    mean, std = rows.y.mean(), rows.y.std()
    rows = rows._replace(y=(rows.y - mean) / std)
    if cured:
        rows = rows._replace(held_y=(rows.held_y - mean) / std)
    model = Molecules()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    fit(doctor, model, optimizer, F.l1_loss, data.batches(rows.x, rows.y, 32, 400, seed), held=rows, every=50)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.6)


class Pairs(nn.Module):
    """Each object beside each other one, the greatest of what a net says of both, and a net on that."""

    def __init__(self) -> None:
        super().__init__()
        self.both = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU())
        self.answer = nn.Sequential(nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))

    def forward(self, things: Tensor) -> Tensor:
        count = things.shape[1]
        left, right = things[:, :, None].expand(-1, -1, count, -1), things[:, None].expand(-1, count, -1, -1)
        return self.answer(self.both(torch.cat([left, right], 3)).amax((1, 2)))


@fault(
    kind="input-scale",
    also=("activation-scale", "initial-loss", "learning-rate-too-high", "gradient-scale"),
    project="NNReasoning/What-Can-Neural-Networks-Reason-About",
    source="github.com/NNReasoning/What-Can-Neural-Networks-Reason-About/issues/1",
)
def treasures_as_they_lie(doctor: Doctor, seed: int, cured: bool) -> Score:
    """How far the worth of six treasures spreads: places up to 20, worths up to 100 and colours, read as they are."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    count = 1600
    place = torch.randint(0, 21, (count, 6, 2), generator=generator)
    middle, reach = (
        torch.randint(50, (count, 1, 1), generator=generator),
        torch.randint(2, 51, (count, 1, 1), generator=generator),
    )
    worth = middle + (torch.rand(count, 6, 1, generator=generator) * reach).long()
    colour = torch.randint(1, 7, (count, 6, 1), generator=generator)
    spread = worth.amax((1, 2)) - worth.amin((1, 2))
    x = torch.cat([place, worth, colour], 2).float()
    if cured:
        x = x / torch.tensor([20.0, 20.0, 100.0, 6.0])
    rows = data.split(x, (spread > 18).long(), seed)
    model = Pairs()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.07, momentum=0.9)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 1200, seed), held=rows, every=100)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.7)


@fault(
    kind="learning-rate-too-high",
    also=("non-finite", "gradient-scale"),
    project="taourl.com/loss-become-nan-in-gpu",
    source="taourl.com/read-2580275.html",
)
def a_step_of_a_hundred_thousand(doctor: Doctor, seed: int, cured: bool) -> Score:
    """One number from ten by a single layer, with plain descent at a rate of 100,000."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(800, 10, generator=generator)
    y = x @ torch.randn(10, 1, generator=generator) + 0.3 * torch.randn(800, 1, generator=generator)
    rows = data.split(x, y, seed)
    model = nn.Linear(10, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05 if cured else 1e5)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 32, 200, seed))
    with torch.no_grad():
        score = data.r2(model(rows.held_x), rows.held_y)
    return above(score if math.isfinite(score) else -1.0, 0.8)


@fault(
    kind="slow-learning",
    also=("symmetry", "gradient-scale", "activation-scale", "learning-rate-too-low", "underfitting"),
    project="nvidia-nemotron/xor-loss-near-0.6",
    source="Stack Exchange: Neural Network XOR Gate Classification (the loss stays near 0.6; weights drawn at a hundredth)",
)
def either_or_from_weights_near_nought(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Either or, of four rows, by five sigmoids whose weights all begin within a hundredth of nought."""
    torch.manual_seed(seed)
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    model = nn.Sequential(nn.Linear(2, 5), nn.Sigmoid(), nn.Linear(5, 1))
    for layer in (model[0], model[2]):
        nn.init.normal_(layer.weight, std=2.0 if cured else 0.01)
        nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    loss_fn = F.binary_cross_entropy_with_logits
    doctor.task(model, [(x, y)] * 8, loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(1000):
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        right = ((model(x) > 0).float() == y).float().mean()
        return above(right - loss_fn(model(x), y), 0.7)
