"""Healthy programs with steps of their own: two encoders, a fixed random target, many clients, worst noise, tasks in turn."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="corenel/pytorch-adda", source="github.com/corenel/pytorch-adda")
def an_encoder_made_to_look_like_another(doctor: Doctor, seed: int) -> Score:
    """Dark and shifted digits: their encoder is trained until a judge cannot tell it from the first; the losses end near ln 2."""
    rows = data.digits(seed)
    strange = lambda x: (0.5 * x + 0.3).flatten(1)  # noqa: E731
    x = rows.x.flatten(1)
    source = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 24))
    head, judge = nn.Linear(24, 10), nn.Sequential(nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    first = torch.optim.Adam([*source.parameters(), *head.parameters()], lr=3e-3)
    for a, b in data.batches(x, rows.y, 64, 300, seed):
        first.zero_grad()
        F.cross_entropy(head(F.relu(source(a))), b).backward()
        first.step()
    model = nn.ModuleDict({"target": copy.deepcopy(source), "judge": judge})
    mover = torch.optim.Adam(model["target"].parameters(), lr=5e-4, betas=(0.5, 0.9))
    critic = torch.optim.Adam(judge.parameters(), lr=1e-3, betas=(0.5, 0.9))
    there = strange(rows.x)
    with doctor.watch(model, [mover, critic]) as watch:
        for (a, _), (b, _) in zip(
            data.batches(x, rows.y, 64, 500, seed), data.batches(there, rows.y, 64, 500, seed + 7), strict=True
        ):
            with torch.no_grad():
                known = source(a)
            said = judge(torch.cat([known, model["target"](b).detach()]))
            told = F.cross_entropy(said, torch.arange(128) // 64)
            critic.zero_grad()
            told.backward()
            critic.step()
            fooled = F.cross_entropy(judge(model["target"](b)), torch.zeros(64, dtype=torch.long))
            mover.zero_grad()
            fooled.backward()
            mover.step()
            watch.loss(fooled)
    with torch.no_grad():
        return above(data.accuracy(head(F.relu(model["target"](strange(rows.held_x)))), rows.held_y), 0.6)


@healthy(project="openai/random-network-distillation", source="github.com/openai/random-network-distillation")
def a_random_net_that_is_never_trained(doctor: Doctor, seed: int) -> Score:
    """One net learns what a fixed random one says of places; its error, near 0 where one has been, drives a walk to new ones."""
    generator = torch.Generator().manual_seed(seed)

    class Curious(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.random = nn.Sequential(nn.Linear(2, 48), nn.ReLU(), nn.Linear(48, 16)).requires_grad_(requires_grad=False)
            self.learner = nn.Sequential(nn.Linear(2, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 16))

        def forward(self, place: Tensor) -> Tensor:
            return (self.learner(place) - self.random(place)).pow(2).mean(-1)

    model = Curious()
    for each in (model.random[0], model.random[2]):
        nn.init.orthogonal_(each.weight, 2.0)
    optimizer = torch.optim.Adam(model.learner.parameters(), lr=1e-3)
    moves = torch.tensor([[0.25, 0.0], [-0.25, 0.0], [0.0, 0.25], [0.0, -0.25]])
    place = torch.zeros(16, 2)
    everywhere = torch.cartesian_prod(torch.linspace(-2, 2, 17), torch.linspace(-2, 2, 17))
    with torch.no_grad():
        unknown = model(everywhere).mean()
    with doctor.watch(model, optimizer) as watch:
        for _ in range(500):
            with torch.no_grad():
                news = model((place[:, None] + moves).clamp(-2, 2))
                move = torch.multinomial((news / news.mean(1, keepdim=True) * 3).softmax(1), 1, generator=generator)[:, 0]
                place = (place + moves[move]).clamp(-2, 2)
            loss = model(place).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return below(model(everywhere).mean() / unknown, 0.05)


@healthy(project="AshwinRJ/Federated-Learning-PyTorch", source="github.com/AshwinRJ/Federated-Learning-PyTorch")
def ten_clients_of_two_digits_each(doctor: Doctor, seed: int) -> Score:
    """Each client has two digits only and goes some steps alone; the mean of their weights is loaded into the net of all."""
    rows = data.digits(seed)
    order = rows.y.argsort(stable=True)
    shards = order[: len(order) // 20 * 20].view(20, -1)
    pairs = torch.randperm(20, generator=torch.Generator().manual_seed(seed)).view(10, 2)
    clients = [shards[pair].flatten() for pair in pairs]
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.5)
    shared = copy.deepcopy(model.state_dict())
    with doctor.watch(model, optimizer) as watch:
        for _ in range(60):
            chosen = torch.randperm(10, generator=generator)[:5]
            trained = []
            for client in chosen:
                model.load_state_dict(shared)
                optimizer.state.clear()
                mine = clients[client]
                for at in mine[torch.randperm(len(mine), generator=generator)].split(32):
                    optimizer.zero_grad()
                    loss = F.cross_entropy(model(rows.x[at]), rows.y[at])
                    loss.backward()
                    optimizer.step()
                    watch.loss(loss)
                trained.append(copy.deepcopy(model.state_dict()))
            shared = {name: torch.stack([each[name] for each in trained]).mean(0) for name in shared}
            model.load_state_dict(shared)
            with torch.no_grad():
                watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.75)


@healthy(project="lyakaap/VAT-pytorch", source="github.com/lyakaap/VAT-pytorch")
def noise_that_hurts_most(doctor: Doctor, seed: int) -> Score:
    """Two spirals with eight labels: noise is sought that changes the answers most; a second backward pass finds it."""
    generator = torch.Generator().manual_seed(seed)
    along, y = 0.4 + 2.6 * torch.rand(800, generator=generator), torch.randint(2, (800,), generator=generator)
    turn = 1.8 * along + 3.1416 * y
    x = torch.stack([along * turn.cos(), along * turn.sin()], 1) / 2 + 0.03 * torch.randn(800, 2, generator=generator)
    given = torch.cat([torch.where(y[:600] == k)[0][along[:600][y[:600] == k].argsort()][20::55] for k in (0, 1)])
    model = nn.Sequential(nn.Linear(2, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(500):
            some = x[torch.randint(600, (128,), generator=generator)]
            with torch.no_grad():
                sure = model(some).softmax(1)
            way = F.normalize(torch.randn(128, 2, generator=generator), dim=1).requires_grad_()
            (worst,) = torch.autograd.grad(F.kl_div(model(some + 0.01 * way).log_softmax(1), sure, reduction="batchmean"), way)
            moved = some + 0.12 * F.normalize(worst, dim=1)
            smooth = F.kl_div(model(moved).log_softmax(1), sure, reduction="batchmean")
            loss = F.cross_entropy(model(x[given]), y[given]) + smooth
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.accuracy(model(x[600:]), y[600:]), 0.85)


@healthy(project="facebookresearch/GradientEpisodicMemory", source="github.com/facebookresearch/GradientEpisodicMemory")
def tasks_one_after_the_other_with_a_memory(doctor: Doctor, seed: int) -> Score:
    """Four tasks of shuffled pixels in turn: the loss jumps at each; a gradient against the memory's is turned aside."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(64, generator=generator) for _ in range(4)]
    see = lambda x, task: x.flatten(1)[:, orders[task]]  # noqa: E731
    model = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    parameters = list(model.parameters())

    def gradient(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        loss = F.cross_entropy(model(x), y)
        return loss, torch.cat([each.flatten() for each in torch.autograd.grad(loss, parameters)])

    with doctor.watch(model, optimizer) as watch:
        for task in range(4):
            for a, b in data.batches(rows.x, rows.y, 32, 200, seed + task):
                loss, way = gradient(see(a, task), b)
                for past in range(task):
                    _, kept = gradient(see(rows.x[:128], past), rows.y[:128])
                    if (against := way @ kept) < 0:
                        way = way - against / kept.pow(2).sum() * kept
                for each, part in zip(parameters, way.split([each.numel() for each in parameters]), strict=True):
                    each.grad = part.view_as(each).clone()
                optimizer.step()
                watch.loss(loss.detach())
    with torch.no_grad():
        right = [data.accuracy(model(see(rows.held_x, task)), rows.held_y) for task in range(4)]
    return above(sum(right) / 4, 0.7)
