"""Healthy programs of other kinds: a line, a policy, a graph, tastes, two tasks at once."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(
    project="VedangAsgaonkar/Machine-Learning-Notes",
    source="github.com/VedangAsgaonkar/Machine-Learning-Notes/blob/main/PyTorch_Basic_Loop.md",
)
def a_line_through_points(doctor: Doctor, seed: int) -> Score:
    """One number from one number by a linear layer: all rows at once, a hundred times, a little momentum, tested each time."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(200, 1, generator=generator)
    rows = data.split(x, 0.8 * x + 0.4 + 0.2 * torch.randn(200, 1, generator=generator), seed)
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.07)
    doctor.task(model, [(rows.x, rows.y)], F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(150):
            loss = F.mse_loss(model(rows.x), rows.y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            with torch.no_grad():
                watch.dev_loss(F.mse_loss(model(rows.held_x), rows.held_y))
    with torch.no_grad():
        return below(F.mse_loss(model(rows.held_x), rows.held_y), 0.08)


@healthy(project="dllllb/rllr", source="github.com/dllllb/rllr/blob/master/pgrad_demo.py")
def a_pole_held_by_a_policy(doctor: Doctor, seed: int) -> Score:
    """A pole is held by left and right: returns of each game, brought to mean 0 and spread 1, weigh its log-probabilities."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    games, long = 16, 40

    def play() -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities of the moves (T, N), whether the game went on (T, N), steps lived (N,)."""
        state = torch.rand(games, 2, generator=generator) * 0.4 - 0.2
        up = torch.ones(games)
        logs, alive = [], []
        for _ in range(long):
            log = model(state).log_softmax(1)
            move = torch.multinomial(log.detach().exp(), 1, generator=generator)
            logs.append(log.gather(1, move)[:, 0])
            alive.append(up)
            push = 0.08 * (2 * move - 1)
            speed = state[:, 1:] + 0.15 * state[:, :1] + push + 0.02 * torch.randn(games, 1, generator=generator)
            state = torch.cat([state[:, :1] + 0.3 * speed, speed], 1)
            up = up * (state[:, 0].abs() < 0.6)
        return torch.stack(logs), torch.stack(alive), torch.stack(alive).sum(0)

    with doctor.watch(model, optimizer) as watch:
        for _ in range(120):
            logs, alive, _ = play()
            returns, total = [], torch.zeros(games)
            for each in alive.flip(0):
                total = each + 0.95 * total
                returns.append(total)
            worth = torch.stack(returns[::-1])
            worth = (worth - worth[alive > 0].mean()) / (worth[alive > 0].std() + 1e-6)
            loss = -(logs * worth * alive).sum() / games
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(torch.cat([play()[2] for _ in range(4)]).mean(), 28)


@healthy(
    project="pyg-team/pytorch_geometric",
    source="github.com/pyg-team/pytorch_geometric/blob/master/examples/gcn.py",
)
def papers_by_whom_they_cite(doctor: Doctor, seed: int) -> Score:
    """Few papers of each field are labelled; two graph convolutions, dropout, decay of the first layer alone, 200 rounds."""
    generator = torch.Generator().manual_seed(seed)
    count, fields = 350, 5
    field = torch.randint(fields, (count,), generator=generator)
    words = (torch.rand(count, 60, generator=generator) < 0.05).float()
    for k in range(fields):
        words[field == k, k * 12 : k * 12 + 12] += (torch.rand(int((field == k).sum()), 12, generator=generator) < 0.2).float()
    x = words.clamp(max=1)
    x = x / x.sum(1, keepdim=True).clamp(min=1)
    odds = torch.where(field[:, None] == field, 0.05, 0.004)
    cites = (torch.rand(count, count, generator=generator) < odds).float().triu(1)
    cites = cites + cites.T + torch.eye(count)
    root = cites.sum(1).rsqrt()
    graph = root[:, None] * cites * root
    shown = torch.cat([(field == k).nonzero()[:10, 0] for k in range(fields)])
    rest = torch.ones(count, dtype=torch.bool)
    rest[shown] = False

    class Gcn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(60, 16, bias=False), nn.Linear(16, fields, bias=False)

        def forward(self, a: Tensor) -> Tensor:
            h = (graph @ self.first(F.dropout(a, 0.5, self.training))).relu()
            return graph @ self.second(F.dropout(h, 0.5, self.training))

    model = Gcn()
    optimizer = torch.optim.Adam(
        [{"params": model.first.parameters(), "weight_decay": 5e-4}, {"params": model.second.parameters()}], lr=0.01
    )
    with doctor.watch(model, optimizer) as watch:
        for _ in range(200):
            model.train()
            loss = F.cross_entropy(model(x)[shown], field[shown])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            model.eval()
            with torch.no_grad():
                watch.dev_loss(F.cross_entropy(model(x)[rest], field[rest]))
    with torch.no_grad():
        return above(data.accuracy(model(x)[rest], field[rest]), 0.75)


@healthy(
    project="yihong-chen/neural-collaborative-filtering",
    source="github.com/yihong-chen/neural-collaborative-filtering",
)
def tastes_by_product_and_layers(doctor: Doctor, seed: int) -> Score:
    """Who will like what: embeddings are multiplied on one path and go through layers on another; four unliked for each liked."""
    generator = torch.Generator().manual_seed(seed)
    users, goods = 150, 80
    taste, kind = torch.randint(5, (users,), generator=generator), torch.randint(5, (goods,), generator=generator)
    likes = torch.rand(users, goods, generator=generator) < torch.where(taste[:, None] == kind, 0.6, 0.04)
    hidden = likes & (torch.rand(users, goods, generator=generator) < 0.25)
    known = (likes & ~hidden).nonzero()

    class Ncf(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.user, self.good = nn.Embedding(users, 16), nn.Embedding(goods, 16)
            for each in (self.user, self.good):
                nn.init.normal_(each.weight, 0, 0.05)
            self.layers = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU())
            self.out = nn.Linear(16, 1)

        def forward(self, pair: Tensor) -> Tensor:
            u, g = self.user(pair[:, 0]), self.good(pair[:, 1])
            product = u[:, :8] * g[:, :8]
            return self.out(torch.cat([product, self.layers(torch.cat([u[:, 8:], g[:, 8:]], 1))], 1))[:, 0]

    model = Ncf()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(700):
            liked = known[torch.randint(len(known), (64,), generator=generator)]
            other = torch.stack([liked[:, 0].repeat(4), torch.randint(goods, (256,), generator=generator)], 1)
            said = model(torch.cat([liked, other]))
            loss = F.binary_cross_entropy_with_logits(said, torch.cat([torch.ones(64), torch.zeros(256)]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    every = torch.cartesian_prod(torch.arange(users), torch.arange(goods))
    with torch.no_grad():
        score = model(every).view(users, goods)
    return above((score[hidden][:, None] > score[~likes]).float().mean(), 0.75)


@healthy(project="TorchJD/torchjd", source="github.com/TorchJD/torchjd/blob/main/docs/source/examples/mtl.rst")
def two_tasks_on_shared_layers(doctor: Doctor, seed: int) -> Score:
    """Two numbers of a row are told by two heads on shared layers; their errors are added, plain descent."""
    x, y = data.teacher(1200, 10, 2, seed)
    rows = data.split(x, y, seed)

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 24), nn.ReLU())
            self.first, self.second = nn.Linear(24, 1), nn.Linear(24, 1)

        def forward(self, a: Tensor) -> tuple[Tensor, Tensor]:
            h = self.shared(a)
            return self.first(h), self.second(h)

    model = Shared()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 16, 1100, seed):
            one, two = model(a)
            loss = F.mse_loss(one, b[:, :1]) + F.mse_loss(two, b[:, 1:])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.r2(torch.cat(model(rows.held_x), 1), rows.held_y), 0.75)
