"""Healthy programs of plain training that look odd: bells of distance, gates nearly shut, adders, windows of others."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(
    project="JeremyLinux/PyTorch-Radial-Basis-Function-Layer",
    source="github.com/JeremyLinux/PyTorch-Radial-Basis-Function-Layer",
)
def bells_around_places(doctor: Doctor, seed: int) -> Score:
    """The hidden units are bells around learnt places; far from all of them all is 0, and most units rest for most rows."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1400, 2, generator=generator) * 2 - 1
    y = torch.sin(5 * x[:, :1]) * torch.cos(4 * x[:, 1:]) + 0.05 * torch.randn(1400, 1, generator=generator)
    rows = data.split(x, y, seed)

    class Bells(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.places = nn.Parameter(rows.x[torch.randperm(len(rows.x), generator=generator)[:60]].clone())
            self.widths, self.out = nn.Parameter(torch.full((60,), 1.2)), nn.Linear(60, 1)

        def forward(self, a: Tensor) -> Tensor:
            far = (a[:, None] - self.places).pow(2).sum(2)
            return self.out((-far * (2 * self.widths).exp()).exp())

    model = Bells()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 64, 700, seed), rows)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.9)


@healthy(project="kefirski/pytorch_Highway", source="github.com/kefirski/pytorch_Highway")
def twenty_layers_whose_gates_begin_shut(doctor: Doctor, seed: int) -> Score:
    """Twenty layers, each mixed with what goes in by a gate whose bias begins at -2: at first next to nothing passes a layer."""
    rows = data.digits(seed)
    rows = rows._replace(x=rows.x.flatten(1), held_x=rows.held_x.flatten(1))

    class Highway(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into, self.out = nn.Linear(64, 40), nn.Linear(40, 10)
            self.layers, self.gates = (nn.ModuleList([nn.Linear(40, 40) for _ in range(20)]) for _ in range(2))
            for gate in self.gates:
                nn.init.constant_(gate.bias, -2.0)  # type: ignore[arg-type]

        def forward(self, a: Tensor) -> Tensor:
            h = self.into(a)
            for layer, gate in zip(self.layers, self.gates, strict=True):
                share = gate(h).sigmoid()
                h = share * layer(h).relu() + (1 - share) * h
            return self.out(h)

    model = Highway()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 48, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 48, 350, seed), rows)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.92)


@healthy(project="kevinzakka/NALU-pytorch", source="github.com/kevinzakka/NALU-pytorch")
def weights_drawn_to_one_nought_and_minus_one(doctor: Doctor, seed: int) -> Score:
    """Sums and differences of chosen columns: weights are a tanh times a sigmoid, meant to end flat at -1, 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1200, 12, generator=generator) * 4
    y = torch.stack([x[:, :4].sum(1), x[:, 2] - x[:, 7]], 1)
    rows = data.split(x, y, seed)

    class Adder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.which, self.open = (nn.Parameter(torch.empty(2, 12)) for _ in range(2))
            for w in (self.which, self.open):
                nn.init.kaiming_uniform_(w)

        def forward(self, a: Tensor) -> Tensor:
            return F.linear(a, self.which.tanh() * self.open.sigmoid())

    model = Adder()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-2)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 64, 900, seed), rows)
    beyond = 40 * torch.rand(300, 12, generator=generator)
    true = torch.stack([beyond[:, :4].sum(1), beyond[:, 2] - beyond[:, 7]], 1)
    with torch.no_grad():
        return above(data.r2(model(beyond), true), 0.95)


@healthy(project="clovaai/CutMix-PyTorch", source="github.com/clovaai/CutMix-PyTorch")
def windows_of_other_pictures(doctor: Doctor, seed: int) -> Score:
    """Half of the batches have a window of another picture put in, and two labels by its area; the training loss stays high."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    conv = [nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)]
    conv += [nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten()]
    model = nn.Sequential(*conv, nn.Linear(512, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-4)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, y) in enumerate(data.batches(rows.x, rows.y, 64, 300, seed)):
            model.train()
            x, other, share = a.clone(), torch.arange(len(a)), 1.0
            if torch.rand(1, generator=generator) < 0.5:
                other = torch.randperm(len(x), generator=generator)
                high, wide = torch.randint(2, 7, (2,), generator=generator).tolist()
                top, left = (int(torch.randint(9 - k, (1,), generator=generator)) for k in (high, wide))
                x[:, :, top : top + high, left : left + wide] = a[other, :, top : top + high, left : left + wide]
                share = 1 - high * wide / 64
            said = model(x)
            loss = share * F.cross_entropy(said, y) + (1 - share) * F.cross_entropy(said, y[other])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 60 == 59:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.95)


@healthy(project="juntang-zhuang/Adabelief-Optimizer", source="github.com/juntang-zhuang/Adabelief-Optimizer")
def steps_by_how_far_a_slope_surprises(doctor: Doctor, seed: int) -> Score:
    """An optimiser of one's own: Adam, but the spread is that of gradients around their mean, with an epsilon of 1e-16."""
    x, y = data.teacher(1400, 12, 1, seed)
    rows = data.split(x, y, seed)

    class Belief(torch.optim.Optimizer):
        def __init__(self, params: object, lr: float) -> None:
            super().__init__(params, {"lr": lr})  # type: ignore[arg-type]

        @torch.no_grad()
        def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002
            for group in self.param_groups:
                for w in group["params"]:
                    kept = self.state[w]
                    if not kept:
                        kept.update(count=0, first=torch.zeros_like(w), second=torch.zeros_like(w))
                    kept["count"] += 1
                    kept["first"].lerp_(w.grad, 0.1)
                    kept["second"].lerp_((w.grad - kept["first"]).pow(2), 0.001).add_(1e-16)
                    first = kept["first"] / (1 - 0.9 ** kept["count"])
                    second = kept["second"] / (1 - 0.999 ** kept["count"])
                    w.sub_(group["lr"] * first / (second.sqrt() + 1e-16))

    model = nn.Sequential(nn.Linear(12, 64), nn.Tanh(), nn.Linear(64, 1))
    optimizer = Belief(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 50, 700, seed):
            loss = F.mse_loss(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return below(F.mse_loss(model(rows.held_x), rows.held_y), 0.2)
