"""Healthy programs with steps of their own: layers in turn, sure clusters, one rule for two places, a pole, a law."""

from __future__ import annotations

from itertools import pairwise

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="vlukiyanov/pt-sdae", source="github.com/vlukiyanov/pt-sdae")
def layers_learnt_one_after_the_other(doctor: Doctor, seed: int) -> Score:
    """Each pair of layers learns to mend its inputs while all others wait; then all together; an optimiser for each stage."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    x, held = rows.x.flatten(1), rows.held_x.flatten(1)
    sizes = [64, 48, 24, 10]
    down = nn.ModuleList([nn.Linear(a, b) for a, b in pairwise(sizes)])
    up = nn.ModuleList([nn.Linear(b, a) for a, b in pairwise(sizes)])
    model = nn.ModuleDict({"down": down, "up": up})

    def code(a: Tensor, depth: int = 3) -> Tensor:
        for k in range(depth):
            a = down[k](a) if k == 2 else down[k](a).relu()
        return a

    def back(h: Tensor) -> Tensor:
        for k in (2, 1, 0):
            h = up[k](h) if k == 0 else up[k](h).relu()
        return h

    stages = [torch.optim.Adam([*down[k].parameters(), *up[k].parameters()], lr=3e-3) for k in range(3)]
    stages.append(torch.optim.Adam(model.parameters(), lr=2e-3))
    with doctor.watch(model, stages) as watch:
        for k, optimizer in enumerate(stages):
            for a, _ in data.batches(x, rows.y, 64, 500 if k == 3 else 150, seed + k):
                if k < 3:
                    with torch.no_grad():
                        inner = code(a, k)
                    harmed = inner * (torch.rand(inner.shape, generator=generator) > 0.2)
                    h = down[k](harmed) if k == 2 else down[k](harmed).relu()
                    said = up[k](h) if k == 0 else up[k](h).relu()
                    loss = F.mse_loss(said, inner)
                else:
                    loss = F.mse_loss(back(code(a)), a)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.loss(loss)
    with torch.no_grad():
        return above(data.r2(back(code(held)), held), 0.6)


@healthy(project="vlukiyanov/pt-dec", source="github.com/vlukiyanov/pt-dec")
def clusters_made_surer_by_themselves(doctor: Doctor, seed: int) -> Score:
    """Shares of clusters are drawn to their own squares, made anew now and then; the loss is small and saw-toothed."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(4, (800,), generator=generator)
    corner = 1.6 * torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    inner = corner[kind] + 0.7 * torch.randn(800, 2, generator=generator)
    x = torch.tanh(inner @ torch.randn(2, 30, generator=generator) / 2) + 0.1 * torch.randn(800, 30, generator=generator)
    encode = nn.Sequential(nn.Linear(30, 48), nn.ReLU(), nn.Linear(48, 2))
    decode = nn.Sequential(nn.Linear(2, 48), nn.ReLU(), nn.Linear(48, 30))
    before = torch.optim.Adam([*encode.parameters(), *decode.parameters()], lr=3e-3)
    for a, _ in data.batches(x, kind, 64, 500, seed):
        before.zero_grad()
        F.mse_loss(decode(encode(a)), a).backward()
        before.step()

    class Clusters(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode = encode
            with torch.no_grad():
                h = encode(x)
            centre = h[torch.randint(800, (1,), generator=generator)]
            for _ in range(3):
                centre = torch.cat([centre, h[torch.cdist(h, centre).amin(1).argmax()][None]])
            for _ in range(15):
                near = torch.cdist(h, centre).argmin(1)
                centre = torch.stack([h[near == k].mean(0) for k in range(4)])
            self.centre = nn.Parameter(centre)

        def forward(self, a: Tensor) -> Tensor:
            near = 1 / (1 + torch.cdist(self.encode(a), self.centre).pow(2))
            return near / near.sum(1, keepdim=True)

    model = Clusters()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    wanted = torch.empty(0)
    with doctor.watch(model, optimizer) as watch:
        for step in range(400):
            if step % 80 == 0:
                with torch.no_grad():
                    share = model(x)
                wanted = share.pow(2) / share.sum(0)
                wanted = wanted / wanted.sum(1, keepdim=True)
            pick = torch.randint(800, (128,), generator=generator)
            loss = F.kl_div(model(x[pick]).log(), wanted[pick], reduction="batchmean")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        share = model(x)
    right = torch.stack([torch.bincount(kind[share.argmax(1) == k], minlength=4).max() for k in range(4)]).sum() / 800
    return above(right * share.amax(1).mean(), 0.8)


@healthy(project="facebookresearch/InvariantRiskMinimization", source="github.com/facebookresearch/InvariantRiskMinimization")
def the_same_rule_in_both_places(doctor: Doctor, seed: int) -> Score:
    """Two places where a marker goes with the label in other shares: in time a slope of each one's error weighs most."""
    generator = torch.Generator().manual_seed(seed)

    def place(count: int, share: float) -> tuple[Tensor, Tensor]:
        """Rows (N, 11) and labels (N,): three quarters right by shape, `share` right by a marker."""
        truth = torch.randint(2, (count,), generator=generator).float()
        y = (truth - (torch.rand(count, generator=generator) < 0.25).float()).abs()
        marker = (y - (torch.rand(count, generator=generator) > share).float()).abs()
        shape = (truth[:, None] * 2 - 1) + 1.2 * torch.randn(count, 10, generator=generator)
        return torch.cat([shape, 2 * marker[:, None] - 1], 1), y

    places = [place(2500, share) for share in (0.9, 0.8)]
    model = nn.Sequential(nn.Linear(11, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with doctor.watch(model, optimizer) as watch:
        for step in range(500):
            errors, slopes = [], []
            for x, y in places:
                scale = torch.ones((), requires_grad=True)
                error = F.binary_cross_entropy_with_logits(model(x)[:, 0] * scale, y)
                errors.append(error)
                slopes.append(torch.autograd.grad(error, scale, create_graph=True)[0].pow(2))
            weight = 3000.0 if step >= 120 else 1.0
            size = sum((w.pow(2).sum() for w in model.parameters()), torch.zeros(()))
            loss = torch.stack(errors).mean() + weight * torch.stack(slopes).mean() + 1e-3 * size
            if weight > 1:
                loss = loss / weight
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    x, y = place(3000, 0.1)
    with torch.no_grad():
        return above(((model(x)[:, 0] > 0) == (y > 0)).float().mean(), 0.55)


@healthy(project="google/brax", source="github.com/google/brax")
def a_pole_driven_through_its_own_laws(doctor: Doctor, seed: int) -> Score:
    """No returns are sampled: the loss is how far a pole is from upright, and slopes go back through forty steps."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 48), nn.Tanh(), nn.Linear(48, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def drive(count: int) -> Tensor:
        """How far off it is at each step (T, N)."""
        angle = torch.rand(count, generator=generator) * 2 - 1
        speed = torch.rand(count, generator=generator) - 0.5
        far = []
        for _ in range(40):
            push = model(torch.stack([angle.sin(), angle.cos(), speed], 1))[:, 0]
            speed = 0.98 * (speed + 0.1 * (1.5 * angle.sin() + 4 * push))
            angle = angle + 0.1 * speed
            far.append(1 - angle.cos() + 0.05 * speed.pow(2) + 0.01 * push.pow(2))
        return torch.stack(far)

    with doctor.watch(model, optimizer) as watch:
        for _ in range(260):
            loss = drive(48).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return below(drive(200)[25:].mean(), 0.1)


@healthy(project="lululxvi/deepxde", source="github.com/lululxvi/deepxde")
def a_law_with_one_unknown_number(doctor: Doctor, seed: int) -> Score:
    """Heat in a rod was measured at few places: a net for the heat and the one number of its law are learnt together."""
    generator = torch.Generator().manual_seed(seed)
    true = 0.3

    def heat(p: Tensor) -> Tensor:
        return (-true * torch.pi**2 * p[:, 1:]).exp() * torch.sin(torch.pi * p[:, :1])

    class Rod(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
            self.number = nn.Parameter(torch.tensor(1.5))

        def forward(self, p: Tensor) -> Tensor:
            return self.net(p)

    seen = torch.rand(60, 2, generator=generator)
    told = heat(seen) + 0.01 * torch.randn(60, 1, generator=generator)
    model = Rod()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(900):
            inside = torch.rand(100, 2, generator=generator).requires_grad_()
            (slope,) = torch.autograd.grad(model(inside).sum(), inside, create_graph=True)
            bend = torch.autograd.grad(slope[:, 0].sum(), inside, create_graph=True)[0][:, 0]
            law = (slope[:, 1] - model.number * bend).pow(2).mean()
            edge = torch.cat([torch.randint(2, (40, 1), generator=generator).float(), torch.rand(40, 1, generator=generator)], 1)
            loss = law + 10 * F.mse_loss(model(seen), told) + 10 * model(edge).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return below((model.number - true).abs() / true, 0.35)
