"""Healthy programs on rows: columns as tokens, two towers, a walk, digits never met, a bent surface, lives, a plan."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="pyg-team/pytorch-frame", source="github.com/pyg-team/pytorch-frame")
def columns_as_tokens(doctor: Doctor, seed: int) -> Score:
    """Breast scans: each column has its own direction, a transformer over columns, the first token answers."""
    torch.manual_seed(seed)
    rows = data.table("breast_cancer", seed)

    class Columns(nn.Module):
        def __init__(self, columns: int) -> None:
            super().__init__()
            self.slope, self.shift = nn.Parameter(torch.randn(columns, 16) / 4), nn.Parameter(torch.zeros(columns, 16))
            self.first = nn.Parameter(torch.randn(1, 1, 16) / 4)
            layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.1, batch_first=True, norm_first=True)
            self.layers = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
            self.say = nn.Sequential(nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 2))

        def forward(self, x: Tensor) -> Tensor:
            tokens = x[:, :, None] * self.slope + self.shift
            return self.say(self.layers(torch.cat([self.first.expand(len(x), -1, -1), tokens], 1))[:, 0])

    model = Columns(30)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-4)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 200, seed), held=rows)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@healthy(project="nickgreenquist/two-tower", source="github.com/nickgreenquist/Movie-Recommender-System-PyTorch-TwoTower-Model")
def two_towers_with_others_as_wrong(doctor: Doctor, seed: int) -> Score:
    """Who likes which film: a tower for each, the films of the other rows of a batch are the wrong ones."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    user, film = torch.randn(600, 10, generator=generator), torch.randn(600, 12, generator=generator)
    turn = torch.randn(10, 12, generator=generator)
    liked = (user @ turn @ film.T + 3 * torch.randn(600, 600, generator=generator)).topk(3, dim=1).indices
    pairs = torch.stack([torch.arange(600).repeat_interleave(3), liked.flatten()], 1)

    def tower(inputs: int) -> nn.Module:
        return nn.Sequential(nn.Linear(inputs, 48), nn.ReLU(), nn.Linear(48, 24))

    model = nn.ModuleDict({"user": tower(10), "film": tower(12)})
    scale = nn.Parameter(torch.tensor(2.0))
    optimizer = torch.optim.Adam([*model.parameters(), scale], lr=2e-3)
    train = pairs[: 500 * 3]
    with doctor.watch(model, optimizer) as watch:
        for rows, _ in data.batches(train, train, 64, 600, seed):
            u = F.normalize(model["user"](user[rows[:, 0]]), dim=1)
            v = F.normalize(model["film"](film[rows[:, 1]]), dim=1)
            loss = F.cross_entropy(scale.exp() * u @ v.T, torch.arange(64))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        score = model["user"](user[500:]) @ F.normalize(model["film"](film), dim=1).T
        rank = (score[:, None] > score.gather(1, liked[500:])[:, :, None]).float().mean(2)
        return above(1 - rank.mean(), 0.85)


@healthy(
    project="p-christ/Deep-Reinforcement-Learning-Algorithms-with-PyTorch",
    source="github.com/p-christ/Deep-Reinforcement-Learning-Algorithms-with-PyTorch",
)
def worth_and_gain_apart(doctor: Doctor, seed: int) -> Score:
    """A walk over a board of five by five: worth of a place and gain of a move apart, a late copy picks what comes after."""
    torch.manual_seed(seed)

    class Dueling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(25, 64), nn.ReLU())
            self.worth, self.gain = nn.Linear(64, 1), nn.Linear(64, 4)

        def forward(self, place: Tensor) -> Tensor:
            h = self.body(F.one_hot(place, 25).float())
            gain = self.gain(h)
            return self.worth(h) + gain - gain.mean(1, keepdim=True)

    def moved(place: Tensor, move: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        row, column = place // 5, place % 5
        row = (row + (move == 0).long() - (move == 1).long()).clamp(0, 4)
        column = (column + (move == 2).long() - (move == 3).long()).clamp(0, 4)
        after = 5 * row + column
        return after, (after == 24).float() - 0.02, after == 24

    model = Dueling()
    late = copy.deepcopy(model).requires_grad_(requires_grad=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for step in range(700):
            place, move = torch.randint(24, (64,)), torch.randint(4, (64,))
            after, paid, over = moved(place, move)
            with torch.no_grad():
                best = model(after).argmax(1, keepdim=True)
                goal = paid + 0.9 * late(after).gather(1, best)[:, 0] * (~over).float()
            loss = F.smooth_l1_loss(model(place).gather(1, move[:, None])[:, 0], goal)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            watch.loss(loss)
            if step % 25 == 24:
                late.load_state_dict(model.state_dict())
    place, done = torch.arange(24), torch.zeros(24).bool()
    with torch.no_grad():
        for _ in range(8):
            after, _, over = moved(place, model(place).argmax(1))
            done |= over
            place = torch.where(done, place, after)
    return above(done.float().mean(), 0.9)


@healthy(project="kkirchheim/pytorch-ood", source="github.com/kkirchheim/pytorch-ood")
def digits_never_met(doctor: Doctor, seed: int) -> Score:
    """Digits 0 to 7 are named, and pictures turned over in noise shall get even chances."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    known, held = rows.y < 8, rows.held_y < 8
    x, y = rows.x[known], rows.y[known]
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Flatten()
    )
    model.append(nn.Linear(512, 8))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300)
    with doctor.watch(model, optimizer) as watch:
        for seen, named in data.batches(x, y, 32, 300, seed):
            other = seen[torch.randperm(32)].flip(2).roll(int(torch.randint(1, 4, ())), 3) + 0.2 * torch.rand_like(seen)
            said = model(torch.cat([seen, other]))
            loss = F.cross_entropy(said[:32], named) - 0.3 * said[32:].log_softmax(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x[held]), rows.held_y[held]), 0.93)


@healthy(project="rafcc/pytorch-bsf", source="github.com/rafcc/pytorch-bsf")
def points_that_hold_a_surface(doctor: Doctor, seed: int) -> Score:
    """A bent triangle in space as a mixture of ten points that pull it, all rows at once, by steps that know the curvature."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    weight = torch.rand(400, 3, generator=generator).log().neg()
    weight = weight / weight.sum(1, keepdim=True)
    true = torch.stack([weight[:, 0].sqrt(), weight[:, 1] ** 2, (3 * weight[:, 2]).sin()], 1)
    true = true + 0.01 * torch.randn(400, 3, generator=generator)
    powers = torch.tensor([(i, j, 3 - i - j) for i in range(4) for j in range(4 - i)])
    times = torch.tensor([1.0, 1.0, 2.0, 6.0])
    share = 6 / times[powers].prod(1)

    class Bezier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.points = nn.Parameter(torch.zeros(10, 3))

        def forward(self, w: Tensor) -> Tensor:
            return (share * (w[:, None] ** powers).prod(2)) @ self.points

    rows, model = data.split(weight, true, seed), Bezier()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(40):

            def closure() -> Tensor:
                optimizer.zero_grad()
                loss = F.mse_loss(model(rows.x), rows.y)
                loss.backward()
                return loss

            watch.loss(optimizer.step(closure))
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.95)


@healthy(project="dllllb/pytorch-lifestream", source="github.com/dllllb/pytorch-lifestream")
def slices_of_one_life(doctor: Doctor, seed: int) -> Score:
    """Lives of customers as rows of spendings: two slices of one life shall be alike; then a plain layer tells the four kinds."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(4, (800,), generator=generator)
    taste = torch.randn(4, 12, generator=generator)[kind] + 0.7 * torch.randn(800, 12, generator=generator)
    bought = torch.multinomial(taste.softmax(1), 60, replacement=True, generator=generator)

    class Life(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.word, self.gru = nn.Embedding(12, 16), nn.GRU(16, 32, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return F.normalize(self.gru(self.word(x))[1][0], dim=1)

    model = Life()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with doctor.watch(model, optimizer) as watch:
        for rows, _ in data.batches(torch.arange(600), torch.arange(600), 48, 200, seed):
            at = int(torch.randint(0, 11, ()))
            one, two = model(bought[rows, at : at + 20]), model(bought[rows, at + 25 : at + 45])
            loss = F.cross_entropy(one @ two.T / 0.1, torch.arange(48))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        known = model(bought)
    plain = nn.Linear(32, 4)
    second = torch.optim.Adam(plain.parameters(), lr=0.05)
    for _ in range(150):
        second.zero_grad()
        F.cross_entropy(plain(known[:600]), kind[:600]).backward()
        second.step()
    with torch.no_grad():
        return above(data.accuracy(plain(known[600:]), kind[600:]), 0.7)


@healthy(project="Atcold/pytorch-PPUU", source="github.com/Atcold/pytorch-PPUU")
def a_plan_through_a_learned_world(doctor: Doctor, seed: int) -> Score:
    """A net learns how a cart moves, and is frozen; then a policy learns through it to bring the cart to rest in the middle."""
    torch.manual_seed(seed)

    def moved(state: Tensor, push: Tensor) -> Tensor:
        speed = 0.9 * state[:, 1:] + 0.5 * push.tanh() - 0.1 * (2 * state[:, :1]).sin()
        return torch.cat([state[:, :1] + 0.5 * speed, speed], 1)

    world = nn.Sequential(nn.Linear(3, 64), nn.Tanh(), nn.Linear(64, 2))
    first = torch.optim.Adam(world.parameters(), lr=3e-3)
    for _ in range(600):
        state, push = 1.5 * torch.randn(64, 2), 1.5 * torch.randn(64, 1)
        first.zero_grad()
        F.mse_loss(state + world(torch.cat([state, push], 1)), moved(state, push)).backward()
        first.step()
    world.requires_grad_(requires_grad=False)
    untouched = copy.deepcopy(world.state_dict())
    policy = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Dropout(0.05), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(policy.parameters(), lr=5e-3)
    with doctor.watch(nn.ModuleDict({"world": world, "policy": policy}), optimizer) as watch:
        for _ in range(300):
            state, loss = torch.randn(48, 2), torch.zeros(())
            for _ in range(8):
                push = policy(state)
                state = state + world(torch.cat([state, push], 1))
                loss = loss + (state.pow(2).sum(1) + 0.02 * push.pow(2)[:, 0]).mean() / 8
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    world.load_state_dict(untouched)
    policy.eval()
    with torch.no_grad():
        state = torch.randn(500, 2)
        for _ in range(10):
            state = moved(state, policy(state))
        return above((state.norm(dim=1) < 0.4).float().mean(), 0.8)
