"""Faults of agents: a wheel at its stops, money through a softmax, a judge that softens twice, an aim made of plain numbers."""

from __future__ import annotations

import copy
import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

RANGES = torch.tensor([4.0, 45.0, 200.0, 8000.0, 8.0, 8.0])


def car(place: Tensor) -> Tensor:
    """What the car measures: metres beside the middle, degrees, km/h, turns of the engine, metres to both edges."""
    beside, angle, speed = place.unbind(1)
    return torch.stack([beside, angle.rad2deg(), speed, 45 * speed, 4 - beside, 4 + beside], 1)


def drive(place: Tensor, wheel: Tensor) -> tuple[Tensor, Tensor]:
    """A moment later, and what it pays to be there."""
    beside, angle, speed = place.unbind(1)
    angle = (angle + 0.15 * wheel[:, 0]).clamp(-0.8, 0.8)
    beside = (beside + 0.01 * speed * angle.sin()).clamp(-4, 4)
    return torch.stack([beside, angle, speed], 1), angle.cos() - beside.abs() / 2


def starts(count: int) -> Tensor:
    """Somewhere on the road, a bit askew, slow or fast."""
    return torch.stack([4 * torch.rand(count) - 2, 0.6 * torch.rand(count) - 0.3, 60 + 80 * torch.rand(count)], 1)


@fault(
    kind="saturation",
    also=("input-scale", "activation-scale"),
    project="floodsung/DDPG",
    source="github.com/floodsung/DDPG/issues/6",
)
def a_wheel_that_stays_at_its_stops(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A car that is paid for staying in the middle: what it measures goes in as it is, and the wheel is turned by a tanh."""
    torch.manual_seed(seed)
    scale = RANGES if cured else torch.ones(6)
    actor = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 1), nn.Tanh())
    critic = nn.Sequential(nn.Linear(7, 64), nn.ReLU(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 1))
    for last in (actor[4], critic[4]):
        nn.init.uniform_(last.weight, -3e-3, 3e-3)
        nn.init.uniform_(last.bias, -3e-3, 3e-3)
    late = copy.deepcopy(nn.ModuleList([actor, critic])).requires_grad_(requires_grad=False)
    optimizers = [torch.optim.Adam(actor.parameters(), lr=3e-4), torch.optim.Adam(critic.parameters(), lr=1e-3)]
    kept: list[tuple[Tensor, ...]] = []
    place = starts(16)
    with doctor.watch(nn.ModuleDict({"actor": actor, "critic": critic}), optimizers) as watch:
        for step in range(1000):
            with torch.no_grad():
                wheel = (actor(car(place) / scale) + 0.3 * torch.randn(16, 1)).clamp(-1, 1)
            after, paid = drive(place, wheel)
            kept = [*kept[-199:], (car(place) / scale, wheel, paid, car(after) / scale)]
            place = torch.where(torch.rand(16, 1) < 0.05, starts(16), after)
            if step < 20:
                continue
            pick = torch.randint(len(kept), (4,))
            seen, did, paid, then = (torch.cat([kept[i][part] for i in pick]) for part in range(4))
            with torch.no_grad():
                goal = paid[:, None] + 0.9 * late[1](torch.cat([then, late[0](then)], 1))
            loss = F.mse_loss(critic(torch.cat([seen, did], 1)), goal)
            optimizers[1].zero_grad()
            loss.backward()
            optimizers[1].step()
            watch.loss(loss)
            optimizers[0].zero_grad()
            (-critic(torch.cat([seen, actor(seen)], 1)).mean()).backward()
            optimizers[0].step()
            with torch.no_grad():
                for old, new in zip(late.parameters(), [*actor.parameters(), *critic.parameters()], strict=True):
                    old.lerp_(new, 0.01)
    with torch.no_grad():
        place, away = starts(300), 0.0
        for step in range(40):
            place, _ = drive(place, actor(car(place) / scale))
            away += float(place[:, 0].abs().mean()) / 20 if step >= 20 else 0.0
    return below(away, 0.8)


def prices(count: int, seed: int) -> Tensor:
    """Steps of a price, each of which takes back half of the one before."""
    generator = torch.Generator().manual_seed(seed)
    steps = [torch.zeros(())]
    for noise in torch.randn(count, generator=generator):
        steps.append(noise - 0.5 * steps[-1])
    return torch.stack(steps[1:])


@fault(
    kind="target-range",
    also=("target-scale", "saturation", "learning-rate-too-high"),
    project="Albert-Z-Guo/Deep-Reinforcement-Stock-Trading",
    source="github.com/Albert-Z-Guo/Deep-Reinforcement-Stock-Trading/issues/5",
)
def money_through_a_softmax(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Hold, buy or sell a thousand shares: what a move is worth in money is what a softmax over the three moves shall say."""
    torch.manual_seed(seed)
    steps = prices(3000, seed)
    shares = 1.0 if cured else 1000.0
    model = nn.Sequential(
        nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 3)
    )
    if not cured:
        model.append(nn.Softmax(1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3 if cured else 1e-2)
    side = torch.tensor([0.0, 1.0, -1.0])
    seen = steps.unfold(0, 8, 1).sigmoid()
    with doctor.watch(model, optimizer) as watch:
        for turn in range(2000):
            day = 100 + turn // 2
            at = torch.randint(day - 100, day, (8,))
            move = torch.randint(3, (8,))
            with torch.no_grad():
                goal = shares * side[move] * steps[at + 8] + 0.95 * model(seen[at + 1]).amax(1)
            loss = F.mse_loss(model(seen[at]).gather(1, move[:, None])[:, 0], goal)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        at = torch.arange(1500, 2900)
        return above((side[model(seen[at]).argmax(1)] * steps[at + 8]).mean(), 0.3)


class Judge(nn.Module):
    """Whether a task will be done, from where one is and what one does: twice, and two scores each."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(16, 64), nn.LayerNorm(64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.one, self.two = nn.Linear(64, 2), nn.Linear(64, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(x)
        return torch.stack([self.one(h), self.two(h)], 2)


@fault(
    kind="probabilities-as-logits",
    also=("other-loss",),
    project="THUDM/WebRL",
    source="github.com/THUDM/WebRL/issues/39",
)
def a_judge_that_softens_twice(doctor: Doctor, seed: int, cured: bool) -> Score:
    """How likely a task will be done at the end: the chances go into a loss that makes chances of what it gets."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(6000, 16, generator=generator)
    likely = (1.5 * x[:, 0] + x[:, 1] * x[:, 2] + x[:, 3]).sigmoid()
    done = (torch.rand(6000, generator=generator) < likely).long()
    rows = data.Split(x[:5000], done[:5000], x[5000:], done[5000:])
    model = Judge()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def judged(said: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(said if cured else said.softmax(1), y[:, None].expand(-1, 2))

    doctor.task(model, data.few(rows.x, rows.y, 64, seed), judged, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (seen, y) in enumerate(data.batches(rows.x, rows.y, 64, 800, seed)):
            loss = judged(model(seen), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 100 == 99:
                with torch.no_grad():
                    watch.dev_loss(judged(model(rows.held_x), rows.held_y))
    with torch.no_grad():
        said = model(rows.held_x).softmax(1)[:, 1].amin(1)
        return below((said - likely[5000:]).abs().mean(), 0.1)


def pointing(angles: Tensor) -> Tensor:
    """The direction that two angles stand for."""
    turn, lift = angles.unbind(1)
    return torch.stack([lift.sin() * turn.cos(), lift.sin() * turn.sin(), lift.cos()], 1)


@fault(
    kind="no-gradient",
    also=("never-moved", "frozen-random", "detached-generator"),
    where="actor",
    project="discuss.pytorch.org/74548",
    source="discuss.pytorch.org/t/actor-critic-with-multivariate-normal-network-weights-fail-to-update/74548",
)
def an_aim_made_of_plain_numbers(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Where to aim, as two angles with a fixed spread: on their way into the spread the angles become plain numbers."""
    torch.manual_seed(seed)
    actor = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2), nn.Sigmoid())
    critic = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizers = [torch.optim.Adam(actor.parameters(), lr=2e-3), torch.optim.Adam(critic.parameters(), lr=2e-3)]
    widest = torch.tensor([2 * math.pi, math.pi / 2])

    def targets(count: int) -> Tensor:
        return pointing(torch.stack([0.8 + 4.6 * torch.rand(count), 0.3 + 1.1 * torch.rand(count)], 1))

    state = targets(32)
    with doctor.watch(nn.ModuleDict({"actor": actor, "critic": critic}), optimizers) as watch:
        for _ in range(1200):
            middle = widest * actor(state)
            middle = middle if cured else torch.from_numpy(middle.detach().numpy())
            spread = torch.distributions.MultivariateNormal(middle, 0.05 * torch.eye(2))
            angles = spread.sample()
            paid = (pointing(angles) * state).sum(1)
            after, over = targets(32), (torch.rand(32) < 0.1).float()
            delta = paid + 0.5 * critic(after)[:, 0].detach() * (1 - over) - critic(state)[:, 0]
            loss = (-spread.log_prob(angles) * delta.detach() + delta.pow(2)).mean()
            for each in optimizers:
                each.zero_grad()
            loss.backward()
            for each in optimizers:
                each.step()
            watch.loss(loss)
            state = after
    with torch.no_grad():
        state = targets(500)
        return above((pointing(widest * actor(state)) * state).sum(1).mean(), 0.8)
