"""Programs whose loss is put together wrongly: each is sick, and healthy where `cured`. The docstring tells what is wrong."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.autograd import grad
from torch.nn import functional as F  # noqa: N812  as everybody calls it


def weights_after_the_mean(doctor: Doctor, seed: int, cured: bool) -> None:
    """Rare digits are to count more: the mean of the losses is multiplied by the weights of the examples."""
    rows = data.digits(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches((rows.x - rows.x.mean()) / rows.x.std(), rows.y, 32, 200, seed):
            weights = torch.where(y < 5, 3.0, 0.5)
            losses = F.cross_entropy(model(x), y, reduction="none" if cured else "mean")
            loss = (losses * weights).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)


def heat_by_the_whole_gradient(doctor: Doctor, seed: int, cured: bool) -> None:
    """The equation u_xx + u_yy = u on a square: the whole gradient is differentiated once more, with weights of 1."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def again(first: Tensor, x: Tensor) -> Tensor:
        if cured:
            return sum((grad(first[:, i].sum(), x, create_graph=True)[0][:, i] for i in range(2)), torch.zeros(len(x)))
        return grad(first, x, torch.ones_like(first), create_graph=True)[0].sum(1)

    with doctor.watch(model, optimizer) as watch:
        for _ in range(300):
            x = torch.rand(64, 2, requires_grad=True)
            u = model(x)
            first = grad(u, x, torch.ones_like(u), create_graph=True)[0]
            edge = torch.rand(64, 2)
            edge[:, 0] = (edge[:, 0] > 0.5).float()
            known = torch.exp(edge.sum(1, keepdim=True) / 2**0.5)
            loss = (again(first, x) - u[:, 0]).pow(2).mean() + (model(edge) - known).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)


def ends_the_wrong_way_round(doctor: Doctor, seed: int, cured: bool) -> None:
    """A walk of ten places with a prize at its end: the target multiplies the next value by `done`, not by `1 - done`."""
    torch.manual_seed(seed)
    places = torch.eye(10)
    model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(300):
            at = torch.randint(0, 10, (32,))
            done = (at == 9).float()
            value = model(places[at])[:, 0]
            with torch.no_grad():
                later = model(places[(at + 1) % 10])[:, 0]
            target = done.clone() + 0.9 * later * (1 - done if cured else done)
            loss = F.mse_loss(value, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)


def generator_told_it_is_false(doctor: Doctor, seed: int, cured: bool) -> None:
    """Points on a ring: the generator is trained on the label that the judge gives to false examples."""
    torch.manual_seed(seed)
    generator = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
    judge = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    optimizers = [torch.optim.Adam(each.parameters(), lr=1e-3, betas=(0.5, 0.999)) for each in (judge, generator)]

    def told(score: Tensor, label: float) -> Tensor:
        return F.binary_cross_entropy_with_logits(score, torch.full_like(score, label))

    with doctor.watch(nn.ModuleDict({"generator": generator, "judge": judge}), optimizers) as watch:
        for _ in range(200):
            real, fake = F.normalize(torch.randn(32, 2)), generator(torch.randn(32, 4))
            loss = told(judge(real), 1) + told(judge(fake.detach()), 0)
            optimizers[0].zero_grad()
            loss.backward()
            optimizers[0].step()
            cost = told(judge(fake), 1 if cured else 0)
            optimizers[1].zero_grad()
            cost.backward()
            optimizers[1].step()
            watch.loss(loss)
