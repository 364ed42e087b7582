"""Healthy programs with steps of their own: energies, goals put in afterwards, two voices, choices of layers, groups."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="deepmind/ferminet", source="github.com/google-deepmind/ferminet")
def the_lowest_energy_of_a_trap(doctor: Doctor, seed: int) -> Score:
    """No data: places are drawn from the net's own wave, and the loss, energies less their mean, says little."""
    generator = torch.Generator().manual_seed(seed)

    class Wave(nn.Module):
        """The logarithm of the wave of two particles on a line that push each other away."""

        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(3, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 1))
            self.width = nn.Parameter(torch.tensor(0.7))

        def forward(self, x: Tensor) -> Tensor:
            h = torch.stack([x.sum(1), (x[:, 0] - x[:, 1]).pow(2).div(2), x.pow(2).sum(1).div(4)], 1).clamp(-9, 9)
            return self.net(h)[:, 0] - self.width.abs() * x.pow(2).sum(1) / 2

    def energy(model: Wave, x: Tensor) -> Tensor:
        """Of each place: by the first and second slopes of the wave's logarithm."""
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        bend = sum((torch.autograd.grad(slope[:, k].sum(), x, retain_graph=True)[0][:, k] for k in (0, 1)), torch.zeros(()))
        apart = (x[:, 0] - x[:, 1]).pow(2)
        return (-0.5 * (bend + slope.pow(2).sum(1)) + 0.5 * x.pow(2).sum(1) + 2 * (-apart).exp()).detach()

    model = Wave()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    x, seen = torch.randn(256, 2, generator=generator), []
    with doctor.watch(model, optimizer) as watch:
        for step in range(400):
            with torch.no_grad():
                for _ in range(5):
                    moved = x + 0.7 * torch.randn(x.shape, generator=generator)
                    go = (2 * (model(moved) - model(x))).exp() > torch.rand(256, generator=generator)
                    x = torch.where(go[:, None], moved, x)
            each = energy(model, x)
            low, high = each.median() - 5 * each.std(), each.median() + 5 * each.std()
            loss = (2 * (each.clamp(low, high) - each.mean()) * model(x)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step >= 300:
                seen.append(each.mean())
    return below(torch.stack(seen).mean(), 2.0)


@healthy(project="TianhongDai/hindsight-experience-replay", source="github.com/TianhongDai/hindsight-experience-replay")
def goals_put_in_afterwards(doctor: Doctor, seed: int) -> Score:
    """Seven switches and a wanted pattern, -1 for each step without it: games are relearnt as if what came was wanted."""
    generator = torch.Generator().manual_seed(seed)
    net = nn.Sequential(nn.Linear(14, 96), nn.ReLU(), nn.Linear(96, 7))
    slow = copy.deepcopy(net).requires_grad_(requires_grad=False)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    kept: list[Tensor] = []

    def play(games: int, chance: float) -> tuple[list[Tensor], list[Tensor], Tensor]:
        now, goal = (torch.randint(2, (games, 7), generator=generator).float() for _ in range(2))
        states, moves = [now], []
        with torch.no_grad():
            for _ in range(7):
                best = net(torch.cat([now, goal], 1)).argmax(1)
                random = torch.randint(7, (games,), generator=generator)
                move = torch.where(torch.rand(games, generator=generator) < chance, random, best)
                now = (now - F.one_hot(move, 7)).abs()
                states.append(now)
                moves.append(move)
        return states, moves, goal

    with doctor.watch(net, optimizer) as watch:
        for turn in range(160):
            states, moves, goal = play(16, 0.3)
            for k in range(7):
                later = states[int(torch.randint(k + 1, 8, (1,), generator=generator))]
                kept += [torch.cat([states[k], g, moves[k][:, None], states[k + 1]], 1) for g in (goal, later)]
            pool = torch.cat(kept[-1200:])
            for _ in range(6):
                row = pool[torch.randint(len(pool), (128,), generator=generator)]
                state, want, move, after = row[:, :7], row[:, 7:14], row[:, 14:15].long(), row[:, 15:]
                done = (after == want).all(1)
                with torch.no_grad():
                    wanted = -(~done).float() * (1 - 0.95 * slow(torch.cat([after, want], 1)).amax(1))
                loss = F.smooth_l1_loss(net(torch.cat([state, want], 1)).gather(1, move)[:, 0], wanted)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            if turn % 4 == 3:
                slow.load_state_dict(net.state_dict())
    states, _, goal = play(400, 0.0)
    return above(torch.stack([(each == goal).all(1) for each in states]).any(0).float().mean(), 0.8)


@healthy(project="kaituoxu/Conv-TasNet", source="github.com/kaituoxu/Conv-TasNet")
def two_voices_in_either_order(doctor: Doctor, seed: int) -> Score:
    """A mixture is parted; the loss is minus decibels, taken in the better of two orders, and goes from 0 to far below."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(96) / 96

    def voices(count: int) -> Tensor:
        """A low and a high voice (N, 2, 96), in either order."""
        low, high = ((torch.rand(count, 1, generator=generator) * 3 + f) * 2 * torch.pi for f in (3, 14))
        phase = torch.rand(2, count, 1, generator=generator) * 6.3
        both = torch.stack([torch.sin(low * time + phase[0]), torch.sin(high * time + phase[1])], 1)
        swap = torch.rand(count, 1, 1, generator=generator) < 0.5
        return torch.where(swap, both.flip(1), both)

    def decibels(said: Tensor, true: Tensor) -> Tensor:
        true = true - true.mean(-1, keepdim=True)
        said = said - said.mean(-1, keepdim=True)
        on = (said * true).sum(-1, keepdim=True) / (true.pow(2).sum(-1, keepdim=True) + 1e-8) * true
        return 10 * torch.log10(on.pow(2).sum(-1) / ((said - on).pow(2).sum(-1) + 1e-8) + 1e-8)

    def best(said: Tensor, true: Tensor) -> Tensor:
        return torch.maximum(decibels(said, true).mean(1), decibels(said, true.flip(1)).mean(1))

    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode, self.decode = nn.Conv1d(1, 32, 8, 4), nn.ConvTranspose1d(32, 1, 8, 4)
            self.norm = nn.GroupNorm(1, 32)
            self.body = nn.Sequential(
                *[layer for wide in (1, 2, 4) for layer in (nn.Conv1d(32, 32, 3, padding=wide, dilation=wide), nn.PReLU())]
            )
            self.mask = nn.Conv1d(32, 64, 1)

        def forward(self, x: Tensor) -> Tensor:
            h = self.encode(x[:, None]).relu()
            masks = self.mask(self.body(self.norm(h))).view(len(x), 2, 32, -1).relu()
            return self.decode((masks * h[:, None]).flatten(0, 1)).view(len(x), 2, -1)

    model = Part()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(300):
            true = voices(16)
            loss = -best(model(true.sum(1)), true).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            watch.loss(loss)
    true = voices(200)
    with torch.no_grad():
        return above(best(model(true.sum(1)), true).mean(), 8.0)


@healthy(project="quark0/darts", source="github.com/quark0/darts")
def which_layer_it_is_to_be(doctor: Doctor, seed: int) -> Score:
    """Each place holds four layers mixed by softmax; weights learn on one half of the data, the mixture on the other, in turn."""
    rows = data.digits(seed)
    half = len(rows.x) // 2

    class Mixed(nn.Module):
        def __init__(self, wide: int) -> None:
            super().__init__()
            three, five = (nn.Conv2d(wide, wide, k, padding=k // 2, bias=False) for k in (3, 5))
            self.ways = nn.ModuleList([nn.Identity(), nn.AvgPool2d(3, 1, 1), three, five])
            self.norm = nn.BatchNorm2d(wide)

        def forward(self, x: Tensor, share: Tensor) -> Tensor:
            mixed = sum((w * way(x) for w, way in zip(share, self.ways, strict=True)), torch.zeros(()))
            return self.norm(mixed).relu()

    class Search(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.choice = nn.Parameter(1e-3 * torch.randn(3, 4))
            self.into, self.places = nn.Conv2d(1, 16, 3, padding=1), nn.ModuleList([Mixed(16) for _ in range(3)])
            self.out = nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            h = self.into(x)
            for place, share in zip(self.places, self.choice.softmax(1), strict=True):
                h = place(h, share)
            return self.out(F.adaptive_avg_pool2d(h, 2).flatten(1))

    model = Search()
    weights = [w for name, w in model.named_parameters() if name != "choice"]
    optimizer = torch.optim.SGD(weights, lr=0.05, momentum=0.9, weight_decay=3e-4)
    chooser = torch.optim.Adam([model.choice], lr=6e-3, betas=(0.5, 0.999), weight_decay=1e-3)
    halves = [data.batches(rows.x[a:b], rows.y[a:b], 48, 220, seed) for a, b in ((0, half), (half, 2 * half))]
    with doctor.watch(model, [optimizer, chooser]) as watch:
        for (x, y), (other_x, other_y) in zip(*halves, strict=True):
            chooser.zero_grad()
            F.cross_entropy(model(other_x), other_y).backward()
            chooser.step()
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(weights, 5.0)
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@healthy(project="kohpangwei/group_DRO", source="github.com/kohpangwei/group_DRO")
def the_worst_group_weighs_most(doctor: Doctor, seed: int) -> Score:
    """Four groups, two of them rare: weights of groups grow with their losses, and the loss handed on jumps about with them."""
    generator = torch.Generator().manual_seed(seed)

    def birds(count: int, fair: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Rows (N, 12), classes, groups: what lies behind the bird goes with its class nineteen times in twenty."""
        y = torch.randint(2, (count,), generator=generator)
        ground = torch.where(torch.rand(count, generator=generator) < (0.5 if fair else 0.95), y, 1 - y)
        bird = 0.9 * (y[:, None] * 2.0 - 1) + torch.randn(count, 4, generator=generator)
        behind = 1.6 * (ground[:, None] * 2.0 - 1) + torch.randn(count, 8, generator=generator)
        return torch.cat([bird, behind], 1), y, 2 * y + ground

    x, y, group = birds(1600)
    model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-2)
    weight = torch.ones(4) / 4
    with doctor.watch(model, optimizer) as watch:
        for _ in range(600):
            pick = torch.randint(1600, (128,), generator=generator)
            each = F.cross_entropy(model(x[pick]), y[pick], reduction="none")
            member = F.one_hot(group[pick], 4).float()
            mean = (member * each[:, None]).sum(0) / member.sum(0).clamp(min=1)
            weight = weight * (0.05 * mean.detach()).exp()
            weight = weight / weight.sum()
            loss = (weight * mean).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    x, y, group = birds(3000, fair=True)
    with torch.no_grad():
        right = (model(x).argmax(1) == y).float()
    return above(min(float(right[group == k].mean()) for k in range(4)), 0.85)
