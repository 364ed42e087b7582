"""Healthy programs of other kinds: plain layers, actor and critic, whole graphs, tastes, tasks that weigh themselves."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(
    project="jcjohnson/pytorch-examples", source="github.com/jcjohnson/pytorch-examples/blob/master/nn/two_layer_net_optim.py"
)
def two_layers_on_numbers_at_random(doctor: Doctor, seed: int) -> Score:
    """Numbers at random from numbers at random, by heart: 64 rows of 500, a summed error in thousands, Adam at 0.0001."""
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(64, 500, generator=generator), torch.randn(64, 10, generator=generator)
    model = nn.Sequential(nn.Linear(500, 100), nn.ReLU(), nn.Linear(100, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(500):
            loss = F.mse_loss(model(x), y, reduction="sum")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return below(F.mse_loss(model(x), y), 0.1)


@healthy(project="yc930401/Actor-Critic-pytorch", source="github.com/yc930401/Actor-Critic-pytorch")
def a_cart_kept_in_the_middle(doctor: Doctor, seed: int) -> Score:
    """Actor and critic, each with its own optimiser; the value is detached in the actor's loss."""
    generator = torch.Generator().manual_seed(seed)
    actor = nn.Sequential(nn.Linear(2, 48), nn.ReLU(), nn.Linear(48, 2))
    critic = nn.Sequential(nn.Linear(2, 48), nn.ReLU(), nn.Linear(48, 1))
    model = nn.ModuleDict({"actor": actor, "critic": critic})
    first, second = torch.optim.Adam(actor.parameters(), lr=5e-3), torch.optim.Adam(critic.parameters(), lr=5e-3)
    games, long = 16, 25

    def play() -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities, values and payments (T, N)."""
        state = torch.rand(games, 2, generator=generator) * 2 - 1
        logs, values, paid = [], [], []
        for _ in range(long):
            log = actor(state).log_softmax(1)
            move = torch.multinomial(log.detach().exp(), 1, generator=generator)
            logs.append(log.gather(1, move)[:, 0])
            values.append(critic(state)[:, 0])
            speed = (state[:, 1:] + 0.25 * (2 * move - 1)).clamp(-1, 1)
            state = torch.cat([(state[:, :1] + 0.3 * speed).clamp(-1.5, 1.5), speed], 1)
            paid.append(1 - state[:, 0].abs())
        return torch.stack(logs), torch.stack(values), torch.stack(paid)

    with doctor.watch(model, [first, second]) as watch:
        for _ in range(150):
            logs, values, paid = play()
            total, returns = torch.zeros(games), []
            for pay in paid.flip(0):
                total = pay + 0.9 * total
                returns.append(total)
            goal = torch.stack(returns[::-1])
            better = goal - values
            loss = -(logs * better.detach()).mean()
            wrong = better.pow(2).mean()
            first.zero_grad()
            second.zero_grad()
            loss.backward()
            wrong.backward()
            first.step()
            second.step()
            watch.loss(loss + wrong)
    return above(torch.cat([play()[2][10:] for _ in range(4)]).mean(), 0.68)


@healthy(project="dmlc/dgl", source="github.com/dmlc/dgl/tree/master/examples/pytorch/gin")
def whole_graphs_by_sums_over_neighbours(doctor: Doctor, seed: int) -> Score:
    """Rings or stars with some odd bonds: sums over neighbours through small nets with norms, the rate halved by steps."""
    generator = torch.Generator().manual_seed(seed)
    count, nodes = 800, 12
    kind = torch.randint(3, (count,), generator=generator)
    ring = torch.eye(nodes).roll(1, 1)
    star = torch.zeros(nodes, nodes)
    star[0, 1:] = 1
    cliques = torch.block_diag(*[torch.ones(4, 4)] * 3)
    bonds = torch.stack([ring, star, cliques])[kind] + (torch.rand(count, nodes, nodes, generator=generator) < 0.03)
    bonds = ((bonds + bonds.transpose(1, 2)) > 0).float() * (1 - torch.eye(nodes))
    rows = data.split(bonds, kind, seed)

    class Gin(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.steps = nn.ModuleList(
                nn.Sequential(nn.Linear(before, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32)) for before in (1, 32, 32)
            )
            self.drop, self.out = nn.Dropout(0.3), nn.Linear(64, 3)

        def forward(self, bond: Tensor) -> Tensor:
            h = bond.sum(2, keepdim=True)
            for step in self.steps:
                h = step((h + bond @ h).flatten(0, 1)).view(len(bond), nodes, -1).relu()
            return self.out(self.drop(torch.cat([h.mean(1), h.amax(1)], 1)))

    model = Gin()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 50, gamma=0.5)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 32, 200, seed)):
            model.train()
            loss = F.cross_entropy(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
            if step % 18 == 17:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


@healthy(project="maciejkula/spotlight", source="github.com/maciejkula/spotlight")
def stars_from_products_and_biases(doctor: Doctor, seed: int) -> Score:
    """How many stars who gives to what: products of embeddings and biases that begin at zero, the mean taken out first."""
    generator = torch.Generator().manual_seed(seed)
    users, goods = 120, 60
    u, g = torch.randn(users, 3, generator=generator), torch.randn(goods, 3, generator=generator)
    stars = 0.5 * u @ g.T + 0.4 * torch.randn(users, 1, generator=generator) + 0.4 * torch.randn(1, goods, generator=generator)
    every = torch.cartesian_prod(torch.arange(users), torch.arange(goods))
    worth = stars.flatten() + 0.2 * torch.randn(users * goods, generator=generator)
    rows = data.split(every, worth - worth.mean(), seed)

    class Factors(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.user, self.good = nn.Embedding(users, 8), nn.Embedding(goods, 8)
            self.user_bias, self.good_bias = nn.Embedding(users, 1), nn.Embedding(goods, 1)
            for each in (self.user, self.good):
                nn.init.normal_(each.weight, 0, 1 / 8)
            for each in (self.user_bias, self.good_bias):
                nn.init.zeros_(each.weight)

        def forward(self, pair: Tensor) -> Tensor:
            who, what = pair[:, 0], pair[:, 1]
            return (self.user(who) * self.good(what)).sum(1) + self.user_bias(who)[:, 0] + self.good_bias(what)[:, 0]

    model = Factors()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    doctor.task(model, data.few(rows.x, rows.y, 256, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 256, 400, seed)):
            loss = F.mse_loss(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 42 == 41:
                with torch.no_grad():
                    watch.dev_loss(F.mse_loss(model(rows.held_x), rows.held_y))
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.75)


@healthy(project="Mikoto10032/AutomaticWeightedLoss", source="github.com/Mikoto10032/AutomaticWeightedLoss")
def two_tasks_that_weigh_themselves(doctor: Doctor, seed: int) -> Score:
    """Which digit and how much ink: two heads, their losses weighed by two learnt numbers, which no decay touches."""
    rows = data.digits(seed)

    def ink(x: Tensor) -> Tensor:
        return (x.sum((1, 2, 3)) - 19) / 3

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU())
            self.name, self.much, self.weights = nn.Linear(96, 10), nn.Linear(96, 1), nn.Parameter(torch.ones(2))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = self.body(x)
            return self.name(h), self.much(h)[:, 0]

        def weighed(self, losses: Tensor) -> Tensor:
            square = self.weights.pow(2)
            return (0.5 / square * losses + (1 + square).log()).sum()

    model = Both()
    others = [each for name, each in model.named_parameters() if name != "weights"]
    optimizer = torch.optim.Adam([{"params": others, "weight_decay": 1e-5}, {"params": [model.weights]}], lr=1e-3)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 32, 500, seed):
            name, much = model(x)
            loss = model.weighed(torch.stack([F.cross_entropy(name, y), F.mse_loss(much, ink(x))]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x)[0], rows.held_y), 0.9)
