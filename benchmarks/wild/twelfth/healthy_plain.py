"""Healthy programs on rows: operators, weights made by another net, bands of the future, no schedule, stand-ins."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Operator(nn.Module):
    """What a function does to another, at a place: a net of the function times a net of the place."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Linear(32, 48), nn.Tanh(), nn.Linear(48, 32))
        self.trunk = nn.Sequential(nn.Linear(1, 48), nn.Tanh(), nn.Linear(48, 32), nn.Tanh())
        self.low = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = (self.branch(x[:, :32]) * self.trunk(x[:, 32:])).sum(1, keepdim=True) + self.low
        return out


@healthy(project="lululxvi/deeponet", source="github.com/lululxvi/deeponet")
def integral_of_any_function(doctor: Doctor, seed: int) -> Score:
    """The integral of smooth functions, at places drawn beside them; each function comes with many places."""
    generator = torch.Generator().manual_seed(seed)
    at = torch.linspace(0, 1, 32)
    size = torch.randn(300, 5, 1, generator=generator) / torch.arange(1, 6)[:, None]
    pace = 3.1416 * torch.arange(1, 6)[:, None]
    u = (size * torch.cos(pace * at)).sum(1)
    place = torch.rand(300, 20, 1, generator=generator)
    y = (size[:, None, :, 0] * torch.sin(pace[:, 0] * place) / pace[:, 0]).sum(2)
    x = torch.cat([u[:, None].expand(-1, 20, -1), place], 2)
    held = slice(240, None)
    rows = data.Split(x[:240].flatten(0, 1), y[:240].reshape(-1, 1), x[held].flatten(0, 1), y[held].reshape(-1, 1))
    model = Operator()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 100, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 100, 900, seed), rows, every=150)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.9)


class Made(nn.Module):
    """A net for digits without weights of its own: another net makes them from a code for each part of each layer."""

    def __init__(self) -> None:
        super().__init__()
        self.codes = nn.ParameterList(nn.Parameter(torch.randn(parts, 12)) for parts in (4, 4, 1))
        self.maker = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 16 * 17))
        with torch.no_grad():
            self.maker[2].weight.mul_(0.6)
        self.out = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = x.flatten(1).unflatten(1, (4, 16))
        for code in self.codes[:2]:
            weight, bias = self.maker(code).view(4, 16, 17).split([16, 1], 2)
            h = F.relu(torch.einsum("ngi,goi->ngo", h, weight) + bias[..., 0])
            h = h + h.roll(1, 1)
        weight, bias = self.maker(self.codes[2]).view(16, 17).split([16, 1], 1)
        return self.out(F.relu(h.mean(1) @ weight.T + bias[:, 0]))


@healthy(project="g1910/HyperNetworks", source="github.com/g1910/HyperNetworks")
def weights_made_by_another_net(doctor: Doctor, seed: int) -> Score:
    """Few parameters make the weights of a net for digits, each used many times."""
    rows = data.digits(seed)
    model = Made()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 64, 500, seed), rows, every=100)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


@healthy(project="awslabs/gluonts", source="github.com/awslabs/gluonts")
def bands_of_the_days_to_come(doctor: Doctor, seed: int) -> Score:
    """A loss of quantiles on a noisy season: a third of the loss is noise that nothing can tell, and it stays."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.randint(500, (1400, 1), generator=generator) + torch.arange(32)
    level = 1 + 0.5 * torch.rand(1400, 1, generator=generator)
    noise = torch.distributions.Gamma(2.0, 2.0).sample((1400, 32)) - 1
    series = level * (torch.sin(time * 6.283 / 12) + 0.4 * noise)
    rows = data.split(torch.cat([series[:, :24], torch.sin(time[:, 24:] * 6.283 / 12)], 1), series[:, 24:], seed)
    levels = torch.tensor([0.1, 0.5, 0.9])
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 24), nn.Unflatten(1, (8, 3)))

    def loss_fn(said: Tensor, y: Tensor) -> Tensor:
        wrong = y[..., None] - said
        return torch.maximum(levels * wrong, (levels - 1) * wrong).mean()

    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 50, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 50, 400, seed), rows, every=80)
    with torch.no_grad():
        said = model(rows.held_x)
        inside = ((rows.held_y > said[..., 0]) & (rows.held_y < said[..., 2])).float().mean()
        return below((inside - 0.8).abs() + (0.0 if data.r2(said[..., 1], rows.held_y) > 0.5 else 1.0), 0.12)


class Free(torch.optim.Optimizer):
    """Steps from a point between the last one and the mean of all; what is evaluated is the mean."""

    def __init__(self, parameters: list[nn.Parameter], lr: float) -> None:
        super().__init__(parameters, {"lr": lr, "count": 0})
        for group in self.param_groups:
            for each in group["params"]:
                self.state[each] = {"last": each.detach().clone(), "mean": each.detach().clone()}

    @torch.no_grad()
    def step(self, _: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            group["count"] += 1
            for each in group["params"]:
                kept = self.state[each]
                if each.grad is not None:
                    kept["last"].sub_(group["lr"] * each.grad)
                kept["mean"].lerp_(kept["last"], 1 / (group["count"] + 1))
                each.copy_(torch.lerp(kept["last"], kept["mean"], 0.9))

    @torch.no_grad()
    def to_mean(self) -> None:
        """The parameters at the mean of all."""
        for group in self.param_groups:
            for each in group["params"]:
                each.copy_(self.state[each]["mean"])


@healthy(project="facebookresearch/schedule_free", source="github.com/facebookresearch/schedule_free")
def steps_without_a_schedule(doctor: Doctor, seed: int) -> Score:
    """A rate that stays large to the end; the point that gradients are taken at is not the one that is kept."""
    rows = data.digits(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 48), nn.ReLU(), nn.Linear(48, 10))
    optimizer = Free(list(model.parameters()), lr=0.5)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 32, 500, seed):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(a), b)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    optimizer.to_mean()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@healthy(project="dichotomies/proxy-nca", source="github.com/dichotomies/proxy-nca")
def one_stand_in_for_each_kind(doctor: Doctor, seed: int) -> Score:
    """Digits are drawn to a trained stand-in of their kind, whose rate is a hundred times that of the net."""
    rows = data.digits(seed)
    conv = [nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    model = nn.ModuleDict({"net": nn.Sequential(*conv, nn.Linear(256, 16)), "proxies": nn.Embedding(10, 16)})
    groups = [{"params": model["net"].parameters(), "lr": 1e-3}, {"params": model["proxies"].parameters(), "lr": 1e-1}]
    optimizer = torch.optim.Adam(groups, eps=0.01)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 48, 250, seed):
            model.train()
            near = 3 * F.normalize(model["net"](a), dim=1)
            far = torch.cdist(near, 3 * F.normalize(model["proxies"].weight, dim=1)).pow(2)
            own = F.one_hot(b, 10).bool()
            loss = (far[own] + (-far).masked_fill(own, -1e9).logsumexp(1)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        known, asked = model["net"](rows.x), model["net"](rows.held_x)
        found = torch.cdist(F.normalize(asked, dim=1), F.normalize(known, dim=1)).argmin(1)
        return above((rows.y[found] == rows.held_y).float().mean(), 0.93)
