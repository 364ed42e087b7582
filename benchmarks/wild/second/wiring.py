"""Faults of wiring: gradients that are lost, places that are not seen."""

from __future__ import annotations

import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="gradients-cleared",
    also=("no-gradient", "never-moved"),
    project="cloneofsimo/lora",
    source="github.com/cloneofsimo/lora/issues/263",
)
def cleared_after_backward(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A low-rank patch of a frozen layer; zero_grad() stands between backward() and step()."""
    x, y = data.teacher(1500, 16, 3, seed)
    rows = data.split(x, y, seed)
    base = nn.Linear(16, 32).requires_grad_(requires_grad=False)
    down, up = nn.Linear(16, 8, bias=False), nn.Linear(8, 32, bias=False)

    class Patched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base, self.down, self.up, self.head = base, down, up, nn.Linear(32, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.tanh(self.base(x) + self.up(self.down(x))))

    model = Patched()
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=3e-3, weight_decay=0.0)
    doctor.task(model, data.few(rows.x, rows.y, 50, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 50, 500, seed):
            if cured:
                optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            if not cured:
                optimizer.zero_grad(set_to_none=False)
            optimizer.step()
            watch.loss(loss)
    return above(data.r2(model(rows.held_x), rows.held_y), 0.6)


class Agent(nn.Module):
    """Observations are encoded, then a skill is guessed; a convnet encoder without gradient."""

    def __init__(self, cured: bool) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(400, 24), nn.Tanh()
        )
        self.skill = nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 4))
        self.cured = cured

    def forward(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(self.cured and torch.is_grad_enabled()):
            h = self.encoder(x)
        return self.skill(h)


@fault(
    kind="no-gradient",
    where="encoder",
    also=("never-moved", "frozen-random"),
    project="rll-research/cic",
    source="github.com/rll-research/cic/issues/5",
)
def encoder_under_no_grad(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The encoder runs under no_grad, although the optimiser holds it and it is freshly drawn."""
    x, y, _ = data.shapes(1000, seed, noise=0.25)
    rows = data.split(x, y, seed)
    model = Agent(cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 32, 400, seed):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.8)


@fault(
    kind="detached-generator",
    also=("never-moved", "no-gradient"),
    where="generator",
    project="tamarott/SinGAN",
    source="github.com/tamarott/SinGAN/pull/117",
)
def critic_sees_a_detached_fake(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A patch made the error of newer versions go away by fake.detach() in the generator's own step: it learns nothing."""
    generator = torch.Generator().manual_seed(seed)
    g = nn.Sequential(nn.Linear(4, 48), nn.LeakyReLU(0.2), nn.Linear(48, 2))
    d = nn.Sequential(nn.Linear(2, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1))
    g_opt = torch.optim.Adam(g.parameters(), lr=1e-3, betas=(0.5, 0.99))
    d_opt = torch.optim.Adam(d.parameters(), lr=1e-3, betas=(0.5, 0.99))
    with doctor.watch(nn.ModuleDict({"generator": g, "critic": d}), [d_opt, g_opt]) as watch:
        for _ in range(800):
            real = torch.tensor([2.0, -1.0]) + 0.4 * torch.randn(64, 2, generator=generator)
            fake = g(torch.randn(64, 4, generator=generator))
            d_loss = F.relu(1 - d(real)).mean() + F.relu(1 + d(fake.detach())).mean()
            d_opt.zero_grad()
            d_loss.backward()
            d_opt.step()
            g_loss = -d(fake if cured else fake.detach()).mean()
            g_opt.zero_grad()
            g_loss.backward()
            g_opt.step()
            watch.loss(g_loss)
    made = g(torch.randn(500, 4, generator=generator))
    return below((made.mean(0) - torch.tensor([2.0, -1.0])).norm(), 0.7)


class Patient(nn.Module):
    """Codes of a patient's visits and the number of the visit, as embeddings that are added up."""

    def __init__(self, cured: bool) -> None:
        super().__init__()
        self.code = nn.Embedding(40, 24, padding_idx=0)
        self.segment = nn.Embedding(4, 24, padding_idx=None if cured else 0)
        self.gru, self.out = nn.GRU(24, 32, batch_first=True), nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        code, segment = x.unbind(-1)
        return self.out(self.gru(self.code(code) + self.segment(segment))[0][:, -1])


@fault(
    kind="padding",
    where="segment",
    also=("never-moved", "no-gradient"),
    project="FGA-DIKU/BONSAI",
    source="github.com/FGA-DIKU/BONSAI/issues/168",
    certain="the first segment has the index of the padding and can never be learned",
)
def first_segment_is_padding(doctor: Doctor, seed: int, cured: bool) -> Score:
    """padding_idx=0 in an embedding whose index 0 is the first visit of every patient."""
    generator = torch.Generator().manual_seed(seed)
    code = torch.randint(1, 40, (1600, 12), generator=generator)
    segment = torch.arange(12)[None] // 3 + torch.zeros(1600, 1, dtype=torch.long)
    y = ((code < 8) & (segment == 0)).any(1).long()
    rows = data.split(torch.stack([code, segment], -1), y, seed)
    model = Patient(cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 40, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 40, 500, seed):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


@fault(
    kind="growing-graph",
    project="BatsResearch/labelmodels",
    source="github.com/BatsResearch/labelmodels/issues/4",
    certain="each step's graph hangs on the one before, and memory grows without end",
)
def running_loss_keeps_its_graph(doctor: Doctor, seed: int, cured: bool) -> Score:
    """`running_loss += loss` without item(); the mean of it is what is logged."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(3, (1500,), generator=generator)
    votes = torch.where(
        torch.rand(1500, 9, generator=generator) < torch.linspace(0.35, 0.9, 9),
        y[:, None],
        torch.randint(3, (1500, 9), generator=generator),
    )
    x = F.one_hot(votes, 3).float().flatten(1)
    rows = data.split(x, y, seed)
    model = nn.Sequential(nn.Linear(27, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.cross_entropy, optimizer)
    running, depth = torch.zeros(()), 0
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 64, 400, seed)):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            running = running + (loss.detach() if cured else loss)
            watch.loss(running / (step + 1))
    node = running.grad_fn
    while node is not None:
        node, depth = node.next_functions[0][0], depth + 1
    return below(depth * math.log10(max(depth, 1)), 10)
