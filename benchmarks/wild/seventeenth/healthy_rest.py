"""Healthy programs of other kinds: rare frauds, forces, turned molecules, clicks, a game."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(
    project="keras-team/keras-imbalanced",
    source="keras.io/examples/structured_data/imbalanced_classification",
)
def one_fraud_in_thirty(doctor: Doctor, seed: int) -> Score:
    """Payments of which one in thirty is a fraud: each class weighs by how rare it is, with much dropout."""
    generator = torch.Generator().manual_seed(seed)
    fraud = (torch.rand(4000, generator=generator) < 1 / 30).float()
    x = torch.randn(4000, 12, generator=generator)
    x[:, :4] += fraud[:, None] * torch.tensor([2.0, -2.0, 1.5, 1.5])
    rows = data.split(x, fraud[:, None], seed)
    model = nn.Sequential(
        nn.Linear(12, 64),
        nn.ReLU(),
        nn.Linear(64, 64),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(64, 64),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(64, 1),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    rare = rows.y.mean()

    def weighed(said: Tensor, y: Tensor) -> Tensor:
        weight = torch.where(y > 0.5, 0.5 / rare, 0.5 / (1 - rare))
        return F.binary_cross_entropy_with_logits(said, y, weight)

    doctor.task(model, data.few(rows.x, rows.y, 128, seed), weighed, optimizer)
    fit(doctor, model, optimizer, weighed, data.batches(rows.x, rows.y, 128, 160, seed), rows, every=23)
    with torch.no_grad():
        said, true = model(rows.held_x) > 0, rows.held_y > 0.5
    return above((said[true].float().mean() + (~said)[~true].float().mean()) / 2, 0.85)


@healthy(project="mir-group/nequip", source="github.com/mir-group/nequip")
def energies_and_the_forces_they_make(doctor: Doctor, seed: int) -> Score:
    """Four atoms: the energy is a sum over pairs of smooth bumps of distance, and its slope must be the force."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.tensor([[0.0, 0, 0], [1.1, 0, 0], [0, 1.1, 0], [0, 0, 1.1]])

    def distances(place: Tensor) -> Tensor:
        gap = place[:, :, None] - place[:, None]
        first, second = torch.triu_indices(4, 4, 1)
        return gap[:, first, second].pow(2).sum(2).sqrt()

    def molecules(count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Places (N, 4, 3), energies (N,) and forces (N, 4, 3) of springs with a wall."""
        place = (corner + 0.15 * torch.randn(count, 4, 3, generator=generator)).requires_grad_()
        far = distances(place)
        energy = ((far - 1.2).pow(2) + 0.3 * (-3 * far).exp()).sum(1)
        (slope,) = torch.autograd.grad(energy.sum(), place)
        return place.detach(), energy.detach(), -slope

    class Potential(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("middle", torch.linspace(0.4, 2.6, 20))
            self.net = nn.Sequential(nn.Linear(20, 48), nn.Softplus(), nn.Linear(48, 48), nn.Softplus(), nn.Linear(48, 1))

        def forward(self, place: Tensor) -> Tensor:
            bump = (-20 * (distances(place)[..., None] - self.middle).pow(2)).exp()
            return self.net(bump).sum((1, 2))

    model = Potential()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    x, e, f = molecules(800)
    middle = e.mean()
    held_x, _, held_f = molecules(200)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(500):
            at = torch.randint(800, (32,), generator=generator)
            place = x[at].requires_grad_()
            energy = model(place)
            (slope,) = torch.autograd.grad(energy.sum(), place, create_graph=True)
            loss = 0.1 * F.mse_loss(energy, e[at] - middle) + 0.9 * F.mse_loss(-slope, f[at])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    place = held_x.requires_grad_()
    (slope,) = torch.autograd.grad(model(place).sum(), place)
    return below(F.mse_loss(-slope, held_f) / held_f.var(), 0.1)


@healthy(project="vgsatorras/egnn", source="github.com/vgsatorras/egnn")
def where_bodies_are_later(doctor: Doctor, seed: int) -> Score:
    """Five charged bodies: messages over distances move each one along its gaps to the others; turned input, turned output."""
    generator = torch.Generator().manual_seed(seed)
    count = 900
    charge = (torch.rand(count, 5, 1, generator=generator) < 0.5).float() * 2 - 1
    begin, speed = torch.randn(count, 5, 3, generator=generator), 0.5 * torch.randn(count, 5, 3, generator=generator)
    place, pace = begin.clone(), speed.clone()
    for _ in range(20):
        gap = place[:, :, None] - place[:, None]
        pull = (charge[:, :, None] * charge[:, None]) * gap / (gap.pow(2).sum(3, keepdim=True) + 0.5)
        pace = pace + 0.05 * pull.sum(2)
        place = place + 0.05 * pace
    rows = data.split(torch.cat([begin, speed, charge], 2), place, seed)

    class Egnn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(2, 32)
            self.message = nn.ModuleList(
                nn.Sequential(nn.Linear(66, 32), nn.SiLU(), nn.Linear(32, 32), nn.SiLU()) for _ in range(2)
            )
            self.move = nn.ModuleList(nn.Sequential(nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 1)) for _ in range(2))
            self.pace = nn.ModuleList(nn.Linear(32, 1) for _ in range(2))
            self.node = nn.ModuleList(nn.Sequential(nn.Linear(64, 32), nn.SiLU(), nn.Linear(32, 32)) for _ in range(2))
            for each in self.move:
                nn.init.xavier_uniform_(each[2].weight, gain=0.001)  # type: ignore[index]

        def forward(self, seen: Tensor) -> Tensor:
            x, v, q = seen.split([3, 3, 1], 2)
            h = self.embed(torch.cat([v.norm(dim=2, keepdim=True), q], 2))
            for message, move, pace, node in zip(self.message, self.move, self.pace, self.node, strict=True):
                gap = x[:, :, None] - x[:, None]
                pair = [h[:, :, None].expand(-1, -1, 5, -1), h[:, None].expand(-1, 5, -1, -1), gap.pow(2).sum(3, keepdim=True)]
                pair.append(q[:, :, None] * q[:, None])
                m = message(torch.cat(pair, 3))
                x = x + (gap * move(m)).mean(2) + pace(h) * v
                h = h + node(torch.cat([h, m.sum(2)], 2))
            return x

    model = Egnn()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-12)
    doctor.task(model, data.few(rows.x, rows.y, 48, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 48, 400, seed), rows)
    with torch.no_grad():
        moved = (rows.held_y - rows.held_x[..., :3]).pow(2).mean()
        return below(F.mse_loss(model(rows.held_x), rows.held_y) / moved, 0.1)


@healthy(project="pytorch/torchrec", source="github.com/pytorch/torchrec")
def clicks_from_products_of_everything(doctor: Doctor, seed: int) -> Score:
    """Whether an advertisement is clicked: numbers and four embeddings, all products of two of them, by plain descent."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [20, 30, 12, 40]
    hidden = [torch.randn(size, 3, generator=generator) for size in sizes]
    kind = torch.stack([torch.randint(size, (4000,), generator=generator) for size in sizes], 1)
    number = torch.rand(4000, 5, generator=generator)
    taste = [each[kind[:, k]] for k, each in enumerate(hidden)]
    wish = (taste[0] * taste[1]).sum(1) + (taste[2] * taste[3]).sum(1) + 3 * number[:, 0] - 2.5
    click = (torch.rand(4000, generator=generator) < torch.sigmoid(2 * wish)).float()[:, None]
    rows = data.split(torch.cat([number, kind.float()], 1), click, seed)

    class Dlrm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.ModuleList(nn.EmbeddingBag(size, 8, mode="sum") for size in sizes)
            for each, size in zip(self.embed, sizes, strict=True):
                nn.init.uniform_(each.weight, -((1 / size) ** 0.5), (1 / size) ** 0.5)  # type: ignore[arg-type]
            self.bottom = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 8), nn.ReLU())
            self.top = nn.Sequential(nn.Linear(18, 64), nn.ReLU(), nn.Linear(64, 1), nn.Sigmoid())

        def forward(self, seen: Tensor) -> Tensor:
            dense = self.bottom(seen[:, :5])
            each = torch.stack([dense] + [bag(seen[:, 5 + k : 6 + k].long()) for k, bag in enumerate(self.embed)], 1)
            first, second = torch.tril_indices(5, 5, -1)
            return self.top(torch.cat([dense, (each @ each.transpose(1, 2))[:, first, second]], 1))

    model = Dlrm()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.binary_cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.binary_cross_entropy, data.batches(rows.x, rows.y, 64, 1000, seed), rows, every=100)
    with torch.no_grad():
        said, yes = model(rows.held_x), rows.held_y > 0.5
    return above((said[yes][:, None] > said[~yes]).float().mean(), 0.75)


@healthy(
    project="PacktPublishing/Deep-Reinforcement-Learning-Hands-On",
    source="github.com/PacktPublishing/Deep-Reinforcement-Learning-Hands-On",
)
def a_pole_by_what_was_earned(doctor: Doctor, seed: int) -> Score:
    """A pole held up by a policy alone: after each game its moves become likelier by what came after them."""
    generator = torch.Generator().manual_seed(seed)
    policy = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 2), nn.Softmax(1))
    optimizer = torch.optim.Adam(policy.parameters(), lr=2e-3)

    def game(greedy: bool) -> list[Tensor]:
        """Logarithms of the chances of moves, as long as the pole is up, at most 80."""
        state, logs = torch.rand(1, 2, generator=generator) * 0.2 - 0.1, []
        while len(logs) < 80 and state[0, 0].abs() < 1:
            chance = policy(state)[0]
            move = chance.argmax() if greedy else torch.multinomial(chance.detach(), 1, generator=generator)[0]
            logs.append(chance[move].log())
            speed = state[:, 1:] + 0.1 * (2 * move - 1) + 0.12 * state[:, :1] + 0.02 * torch.randn(1, 1, generator=generator)
            state = torch.cat([state[:, :1] + 0.3 * speed, speed], 1)
        return logs

    with doctor.watch(policy, optimizer) as watch:
        for _ in range(250):
            logs = game(greedy=False)
            total, loss = 0.0, torch.zeros(())
            for log in reversed(logs):
                total = 0.01 + 0.98 * total
                loss = loss - log * total
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(sum(len(game(greedy=True)) for _ in range(20)) / 20, 60)
