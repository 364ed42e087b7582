"""Healthy programs on rows, graphs and moves: a push at a price, sums of four kinds, pairs, two fates, weeks, a forger."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="denisyarats/pytorch_sac", source="github.com/denisyarats/pytorch_sac")
def a_push_with_a_price_on_doubt(doctor: Doctor, seed: int) -> Score:
    """A ball is pushed to the middle within eight steps: an actor, two critics that lag behind, and a price learned for doubt."""
    torch.manual_seed(seed)

    class Actor(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(2, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))

        def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
            mean, width = self.body(state).chunk(2, 1)
            normal = torch.distributions.Normal(mean, (2.5 * width.tanh() - 2).exp())
            raw = normal.rsample()
            log = normal.log_prob(raw) - (1 - raw.tanh().pow(2) + 1e-6).log()
            return raw.tanh(), log

    def critic() -> nn.Module:
        return nn.Sequential(nn.Linear(3, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1))

    def moved(state: Tensor, push: Tensor) -> tuple[Tensor, Tensor]:
        speed = 0.8 * state[:, 1:] + 0.4 * push
        place = (state[:, :1] + 0.5 * speed).clamp(-2, 2)
        return torch.cat([place, speed], 1), -place.pow(2) - 0.05 * push.pow(2)

    actor, critics, price = Actor(), nn.ModuleList([critic(), critic()]), nn.Parameter(torch.tensor(-2.0))
    lagging = copy.deepcopy(critics).requires_grad_(requires_grad=False)
    model = nn.ModuleDict({"actor": actor, "critics": critics})
    optimizers = [
        torch.optim.Adam(actor.parameters(), lr=1e-3),
        torch.optim.Adam(critics.parameters(), lr=2e-3),
        torch.optim.Adam([price], lr=1e-3),
    ]
    kept: list[tuple[Tensor, ...]] = []
    state = torch.randn(64, 2)
    with doctor.watch(model, optimizers) as watch:
        for step in range(700):
            if step % 8 == 0:
                state = torch.randn(64, 2)
            with torch.no_grad():
                push = actor(state)[0] if step > 30 else 2 * torch.rand(64, 1) - 1
            after, paid = moved(state, push)
            kept = [*kept[-199:], (state, push, paid, after)]
            state = after
            s, a, r, after = kept[int(torch.randint(len(kept), (1,)))]
            with torch.no_grad():
                then, log = actor(after)
                worth = torch.stack([each(torch.cat([after, then], 1)) for each in lagging]).amin(0) - price.exp() * log
                goal = r + 0.9 * worth
            loss = sum((F.mse_loss(each(torch.cat([s, a], 1)), goal) for each in critics), torch.tensor(0.0))
            optimizers[1].zero_grad()
            loss.backward()
            optimizers[1].step()
            tried, log = actor(s)
            worth = torch.stack([each(torch.cat([s, tried], 1)) for each in critics]).amin(0)
            optimizers[0].zero_grad()
            (price.exp().detach() * log - worth).mean().backward()
            optimizers[0].step()
            optimizers[2].zero_grad()
            (price.exp() * (-log - -1.0).detach()).mean().backward()
            optimizers[2].step()
            watch.loss(loss)
            with torch.no_grad():
                for slow, fast in zip(lagging.parameters(), critics.parameters(), strict=True):
                    slow.lerp_(fast, 0.02)
    state, total = torch.randn(300, 2, generator=torch.Generator().manual_seed(seed)), torch.zeros(300, 1)
    with torch.no_grad():
        for _ in range(8):
            state, paid = moved(state, actor(state)[0])
            total += paid
    return above(total.mean(), -3.6)


class Several(nn.Module):
    """What neighbours say, as mean, most, least and spread, each as it is and by how many they are."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.answer = nn.Linear(3, 16), nn.Sequential(nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 1))
        self.say = nn.ModuleList(nn.Linear(16, 16) for _ in range(2))
        self.mix = nn.ModuleList(nn.Linear(16 * 9, 16) for _ in range(2))

    def forward(self, graph: Tensor) -> Tensor:
        h, bonds = self.enter(graph[:, :, :3]), graph[:, :, 3:, None]
        count = bonds.sum(2)
        for say, mix in zip(self.say, self.mix, strict=True):
            told = say(h)[:, None]
            mean = (bonds * told).sum(2) / count.clamp(min=1)
            most = torch.where(bonds > 0, told, -9.0).amax(2)
            least = torch.where(bonds > 0, told, 9.0).amin(2)
            spread = ((bonds * told.pow(2)).sum(2) / count.clamp(min=1) - mean.pow(2)).clamp(min=1e-5).sqrt()
            all_four = torch.cat([mean, most, least, spread], 2)
            h = h + F.relu(mix(torch.cat([h, all_four, all_four * (count + 1).log() / 1.4], 2)))
        return self.answer(h.mean(1))


@healthy(project="lukecavabarrett/pna", source="github.com/lukecavabarrett/pna")
def what_neighbours_say_in_four_ways(doctor: Doctor, seed: int) -> Score:
    """A number of a graph that hangs on the largest and the spread of what stands beside each node."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    nodes = torch.randn(900, 9, 3, generator=generator)
    bonds = (torch.rand(900, 9, 9, generator=generator) < 0.2).triu(1).float()
    bonds = bonds + bonds.transpose(1, 2) + torch.eye(9)
    beside = torch.where(bonds[..., None] > 0, nodes[:, None], -9.0).amax(2)
    y = (beside[:, :, 0] + 0.5 * nodes[:, :, 1] * nodes[:, :, 0]).mean(1, keepdim=True)
    rows = data.split(torch.cat([nodes, bonds], 2), (y - y.mean()) / y.std(), seed)
    model = Several()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3, weight_decay=1e-6)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, target) in enumerate(data.batches(rows.x, rows.y, 32, 400, seed)):
            optimizer.zero_grad()
            loss = F.l1_loss(model(x), target)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 40 == 39:
                with torch.no_grad():
                    dev = F.l1_loss(model(rows.held_x), rows.held_y)
                watch.dev_loss(dev)
                scheduler.step(dev)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.7)


@healthy(project="benedekrozemberczki/SimGNN", source="github.com/benedekrozemberczki/SimGNN")
def two_graphs_and_how_far_apart(doctor: Doctor, seed: int) -> Score:
    """How alike two graphs are, by one net for both, attention over nodes, and a layer of products between the two."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.rand(1200, 4, generator=generator).pow(3) + 0.05
    nodes = torch.multinomial(kinds, 8, replacement=True, generator=generator)
    other = torch.multinomial(kinds.roll(300, 0) + kinds, 8, replacement=True, generator=generator)
    share = [F.one_hot(each, 4).float().mean(1) for each in (nodes, other)]
    like = (-2 * (share[0] - share[1]).abs().sum(1, keepdim=True)).exp()
    bonds = (torch.rand(2, 1200, 8, 8, generator=generator) < 0.3).float()
    rows = data.split(torch.cat([nodes[:, :, None], other[:, :, None], *bonds], 2), like, seed)

    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kind, self.layer, self.middle = nn.Embedding(4, 16), nn.Linear(16, 16), nn.Linear(16, 16, bias=False)
            self.product = nn.Bilinear(16, 16, 12)
            self.answer = nn.Sequential(nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 1), nn.Sigmoid())

        def whole(self, kind: Tensor, bonds: Tensor) -> Tensor:
            h = self.kind(kind.long())
            h = h + F.relu(self.layer(bonds @ h / bonds.sum(2, keepdim=True).clamp(min=1)))
            weight = (h @ self.middle(h.mean(1)).tanh()[:, :, None]).sigmoid()
            return (weight * h).mean(1)

        def forward(self, x: Tensor) -> Tensor:
            one, two = self.whole(x[:, :, 0], x[:, :, 2:10]), self.whole(x[:, :, 1], x[:, :, 10:])
            return self.answer(self.product(one, two))

    model = Pair()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=5e-5)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 64, 500, seed), held=rows)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.6)


@healthy(project="clinicalml/cfrnet", source="github.com/clinicalml/cfrnet")
def what_the_other_cure_had_done(doctor: Doctor, seed: int) -> Score:
    """Patients of two cures, chosen by how ill they were: one body, a head for each, and a price if both groups look apart."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1200, 8, generator=generator)
    without = x[:, :2].sum(1) + 0.5 * x[:, 2].pow(2)
    gain = 1 + x[:, 3] + 0.5 * (2 * x[:, 0]).sin()
    cure = torch.rand(1200, generator=generator) < (x[:, 0] + 0.5 * x[:, 3]).sigmoid()
    seen = without + gain * cure + 0.2 * torch.randn(1200, generator=generator)
    rows = data.split(torch.cat([x, cure[:, None]], 1), torch.stack([seen, gain], 1), seed)

    class Fates(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(8, 48), nn.ELU(), nn.Linear(48, 24), nn.ELU())
            self.heads = nn.ModuleList(nn.Sequential(nn.Linear(24, 24), nn.ELU(), nn.Linear(24, 1)) for _ in range(2))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = self.body(x)
            return h, torch.cat([head(h) for head in self.heads], 1)

    model = Fates()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.997)
    with doctor.watch(model, optimizer) as watch:
        for row, y in data.batches(rows.x, rows.y, 64, 500, seed):
            given = row[:, 8].long()
            h, both = model(row[:, :8])
            weight = torch.where(given == 1, 0.5 / given.float().mean(), 0.5 / (1 - given.float().mean()))
            error = (weight * (both.gather(1, given[:, None])[:, 0] - y[:, 0]).pow(2)).mean()
            loss = error + 0.1 * (h[given == 1].mean(0) - h[given == 0].mean(0)).pow(2).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            watch.loss(loss)
    with torch.no_grad():
        both = model(rows.held_x[:, :8])[1]
        return above(data.r2(both[:, 1] - both[:, 0], rows.held_y[:, 1]), 0.6)


@healthy(project="laiguokun/LSTNet", source="github.com/laiguokun/LSTNet")
def weeks_by_a_step_back_and_a_straight_way(doctor: Doctor, seed: int) -> Score:
    """Six series a step ahead: convolution, a GRU, a GRU over every seventh day, and a straight line from the last days."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    day = torch.arange(900.0)
    week = torch.randn(6, 7, generator=generator)[:, day.long() % 7]
    slow = (6.28 * day / 90 + 6.28 * torch.rand(6, 1, generator=generator)).sin()
    series = (week + slow + 0.2 * torch.randn(6, 900, generator=generator)).T
    pieces = series.unfold(0, 29, 1).transpose(1, 2)
    rows = data.split(pieces[:, :28], pieces[:, 28], seed)

    class Weeks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.gru, self.skip = nn.Conv1d(6, 24, 3, padding=1), nn.GRU(24, 24), nn.GRU(24, 8)
            self.out, self.straight, self.dropout = nn.Linear(24 + 56, 6), nn.Linear(7, 1), nn.Dropout(0.1)

        def forward(self, x: Tensor) -> Tensor:
            c = self.dropout(F.relu(self.conv(x.transpose(1, 2)))).permute(2, 0, 1)
            back = self.skip(c.unflatten(0, (4, 7)).flatten(1, 2))[1][0].unflatten(0, (7, -1)).transpose(0, 1).flatten(1)
            return self.out(torch.cat([self.gru(c)[1][0], back], 1)) + self.straight(x[:, -7:].transpose(1, 2))[:, :, 0]

    model = Weeks()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 32, 300, seed):
            optimizer.zero_grad()
            loss = F.l1_loss(model(x), y, reduction="sum")
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            watch.loss(loss / y.numel())
    model.eval()
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.8)


@healthy(project="mit-han-lab/data-efficient-gans", source="github.com/mit-han-lab/data-efficient-gans")
def a_forger_of_few_points(doctor: Doctor, seed: int) -> Score:
    """Points around a ring from two hundred true ones: both true and forged ones are turned at random before they are judged."""
    torch.manual_seed(seed)
    turn = 6.2832 * torch.rand(200)
    points = torch.stack([turn.cos(), turn.sin()], 1) * (1 + 0.05 * torch.randn(200, 1))
    forger = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))
    judge = nn.Sequential(nn.Linear(2, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1))
    average = copy.deepcopy(forger).requires_grad_(requires_grad=False)
    model = nn.ModuleDict({"forger": forger, "judge": judge})
    optimizers = [torch.optim.Adam(each.parameters(), lr=1e-3, betas=(0.0, 0.99)) for each in (forger, judge)]

    def turned(x: Tensor) -> Tensor:
        angle = 6.2832 * torch.rand(len(x))
        return torch.stack([angle.cos() * x[:, 0] - angle.sin() * x[:, 1], angle.sin() * x[:, 0] + angle.cos() * x[:, 1]], 1)

    with doctor.watch(model, optimizers) as watch:
        for _ in range(900):
            real = points[torch.randint(200, (64,))]
            forged = forger(torch.randn(64, 8))
            said = judge(turned(real)), judge(turned(forged.detach()))
            loss = F.relu(1 - said[0]).mean() + F.relu(1 + said[1]).mean()
            optimizers[1].zero_grad()
            loss.backward()
            optimizers[1].step()
            optimizers[0].zero_grad()
            (-judge(turned(forged)).mean()).backward()
            optimizers[0].step()
            watch.loss(loss)
            with torch.no_grad():
                for slow, fast in zip(average.parameters(), forger.parameters(), strict=True):
                    slow.lerp_(fast, 0.02)
    with torch.no_grad():
        return below((average(torch.randn(500, 8)).norm(dim=1) - 1).abs().mean(), 0.15)
