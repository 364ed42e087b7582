"""Healthy programs: contrast, averages, adversaries, half precision."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


def blurred(x: Tensor) -> Tensor:
    """Another view of pictures."""
    shift = [int(k) for k in torch.randint(-1, 2, (2,))]
    return x.roll(shift, (2, 3)) * (0.7 + 0.6 * torch.rand(len(x), 1, 1, 1)) + 0.1 * torch.randn_like(x)


def neighbours(body: nn.Module, rows: data.Split) -> float:
    """Share of held-out pictures whose nearest training picture is of their class."""
    body.eval()
    with torch.no_grad():
        seen, new = F.normalize(body(rows.x), dim=1), F.normalize(body(rows.held_x), dim=1)
    return (rows.y[(new @ seen.T).argmax(1)] == rows.held_y).float().mean().item()


@healthy(project="lucidrains/byol-pytorch", source="github.com/lucidrains/byol-pytorch")
def online_net_after_its_average(doctor: Doctor, seed: int) -> Score:
    """BYOL: a predictor chases the slow average of its own encoder; the loss comes near 0 and must not collapse."""
    rows = data.digits(seed)
    body = nn.Sequential(nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, 2), nn.ReLU(), nn.Flatten())
    project = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 24))
    online = nn.Sequential(body, project)
    predict = nn.Sequential(nn.Linear(24, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 24))
    target = copy.deepcopy(online).requires_grad_(requires_grad=False)
    learner = nn.ModuleDict({"online": online, "predict": predict})
    optimizer = torch.optim.Adam(learner.parameters(), lr=2e-3)
    with doctor.watch(learner, optimizer) as watch:
        for x, _ in data.batches(rows.x, rows.y, 64, 250, seed):
            one, two = blurred(x), blurred(x)
            with torch.no_grad():
                aim_one, aim_two = target(one), target(two)
            loss = (
                2
                - F.cosine_similarity(predict(online(one)), aim_two).mean()
                - F.cosine_similarity(predict(online(two)), aim_one).mean()
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            with torch.no_grad():
                for slow, fast in zip(target.parameters(), online.parameters(), strict=True):
                    slow.lerp_(fast, 0.02)
    return above(neighbours(body, rows), 0.9)


@healthy(project="facebookresearch/barlowtwins", source="github.com/facebookresearch/barlowtwins")
def correlations_near_the_identity(doctor: Doctor, seed: int) -> Score:
    """Barlow Twins: the loss is a sum over a matrix of correlations across the batch, and starts large."""
    rows = data.digits(seed)
    body = nn.Sequential(nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, 2), nn.ReLU(), nn.Flatten())
    projector = nn.Sequential(nn.Linear(64, 96, bias=False), nn.BatchNorm1d(96), nn.ReLU(), nn.Linear(96, 48, bias=False))
    model, norm = nn.Sequential(body, projector), nn.BatchNorm1d(48, affine=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for x, _ in data.batches(rows.x, rows.y, 96, 200, seed):
            c = norm(model(blurred(x))).T @ norm(model(blurred(x))) / 96
            on = (c.diagonal() - 1).pow(2).sum()
            loss = on + 0.02 * (c.pow(2).sum() - c.diagonal().pow(2).sum())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(neighbours(body, rows), 0.9)


@healthy(project="jakesnell/prototypical-networks", source="github.com/jakesnell/prototypical-networks")
def classes_from_five_examples(doctor: Doctor, seed: int) -> Score:
    """Episodes of four classes; a query is held against the means of the supports, so rows of a batch depend on each other."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    model.append(nn.Linear(256, 12))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 100, gamma=0.5)

    def episode(x: Tensor, y: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        chosen = known[torch.randperm(len(known), generator=generator)[:4]]
        picked = [torch.where(y == k)[0] for k in chosen]
        picked = [each[torch.randperm(len(each), generator=generator)[:10]] for each in picked]
        z = model(x[torch.cat(picked)]).view(4, 10, -1)
        scores = -torch.cdist(z[:, 5:].flatten(0, 1), z[:, :5].mean(1)).pow(2)
        return scores, torch.arange(4).repeat_interleave(5)

    with doctor.watch(model, optimizer) as watch:
        for _ in range(250):
            optimizer.zero_grad()
            loss = F.cross_entropy(*episode(rows.x, rows.y, torch.arange(7)))
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
    model.eval()
    tries = [episode(rows.x, rows.y, torch.arange(10)) for _ in range(40)]
    return above(sum(data.accuracy(scores, y) for scores, y in tries) / 40, 0.85)


@healthy(
    project="christiancosgrove/pytorch-spectral-normalization-gan",
    source="github.com/christiancosgrove/pytorch-spectral-normalization-gan",
)
def hinge_with_spectral_norm(doctor: Doctor, seed: int) -> Score:
    """A GAN with hinge loss and spectral norm, Adam with a first beta of 0; the generator's loss goes below 0."""
    generator = torch.Generator().manual_seed(seed)
    norm = nn.utils.parametrizations.spectral_norm
    g = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    d = nn.Sequential(
        norm(nn.Linear(2, 64)), nn.LeakyReLU(0.1), norm(nn.Linear(64, 64)), nn.LeakyReLU(0.1), norm(nn.Linear(64, 1))
    )
    optim_g = torch.optim.Adam(g.parameters(), lr=1e-3, betas=(0.0, 0.9))
    optim_d = torch.optim.Adam(d.parameters(), lr=2e-3, betas=(0.0, 0.9))
    with doctor.watch(nn.ModuleList([g, d]), [optim_g, optim_d]) as watch:
        for _ in range(500):
            for _ in range(2):
                real = torch.randn(64, 2, generator=generator) * torch.tensor([0.8, 0.2]) + torch.tensor([1.0, 2.0])
                fake = g(torch.randn(64, 4, generator=generator)).detach()
                optim_d.zero_grad()
                d_loss = F.relu(1 - d(real)).mean() + F.relu(1 + d(fake)).mean()
                d_loss.backward()
                optim_d.step()
            optim_g.zero_grad()
            g_loss = -d(g(torch.randn(64, 4, generator=generator))).mean()
            g_loss.backward()
            optim_g.step()
            watch.loss(d_loss)
    made = g(torch.randn(800, 4, generator=generator))
    return below((made.mean(0) - torch.tensor([1.0, 2.0])).norm(), 0.5)


class Next(nn.Module):
    """A ConvNeXt block whose branch is left out now and then, and starts very small."""

    def __init__(self, width: int, leave_out: float) -> None:
        super().__init__()
        self.dwconv, self.norm = nn.Conv2d(width, width, 3, padding=1, groups=width), nn.LayerNorm(width)
        self.pwconv1, self.pwconv2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(1e-2 * torch.ones(width))
        self.leave_out = leave_out

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        h = (self.gamma * self.pwconv2(F.gelu(self.pwconv1(h)))).permute(0, 3, 1, 2)
        if self.training:
            h = h * (torch.rand(len(x), 1, 1, 1) > self.leave_out) / (1 - self.leave_out)
        return x + h


@healthy(project="facebookresearch/ConvNeXt", source="github.com/facebookresearch/ConvNeXt")
def blocks_left_out_in_bfloat16(doctor: Doctor, seed: int) -> Score:
    """bfloat16 autocast, stochastic depth, layer scale, smoothing, decay for matrices only, and an average that is kept."""
    rows = data.digits(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 24, 2, 2), Next(24, 0.1), Next(24, 0.2), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(96, 10)
    )
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.98))
    groups = [
        {"params": [each for each in model.parameters() if each.ndim > 1], "weight_decay": 0.05},
        {"params": [each for each in model.parameters() if each.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=350, pct_start=0.15)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 48, 350, seed):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = criterion(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            average.update_parameters(model)
            watch.loss(loss)
    average.eval()
    return above(data.accuracy(average(rows.held_x), rows.held_y), 0.9)


class Lion(torch.optim.Optimizer):
    """Signs of a momentum, as an optimiser of one's own."""

    def __init__(self, params: list[nn.Parameter], lr: float, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                momentum = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(momentum.lerp(p.grad, 0.1).sign(), alpha=-group["lr"])
                momentum.lerp_(p.grad, 0.01)


@healthy(project="lucidrains/lion-pytorch", source="github.com/lucidrains/lion-pytorch")
def signs_as_steps(doctor: Doctor, seed: int) -> Score:
    """A hand-written optimiser that takes the sign of its momentum, with strong decay and a small rate."""
    x, y = data.teacher(2000, 12, 3, seed)
    rows = data.split(x, y, seed)
    model = nn.Sequential(nn.Linear(12, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 3))
    optimizer = Lion(list(model.parameters()), lr=5e-4, weight_decay=0.5)
    doctor.task(model, data.few(rows.x, rows.y, 50, seed), F.huber_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 50, 500, seed):
            optimizer.zero_grad()
            loss = F.huber_loss(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return below(F.mse_loss(model(rows.held_x), rows.held_y), 0.4)
