"""Faults of wiring: links, plates, sound, an actor without its critic."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Links(nn.Module):
    """A code for each node from the nodes two links away."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(features, 32), nn.Linear(32, 8)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        return adjacency @ self.second(F.relu(adjacency @ self.first(x)))


@fault(
    kind="saturation",
    also=("activation-scale", "initial-loss", "no-gradient", "never-moved", "gradient-scale"),
    project="pyg-team/pytorch_geometric",
    source="github.com/pyg-team/pytorch_geometric/issues/1185",
)
def links_beyond_all_doubt(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Sums over many neighbours, twice, and products of them: each link has probability 1 and the loss stays at 34.5388."""
    generator = torch.Generator().manual_seed(seed)
    group = torch.randint(5, (160,), generator=generator)
    chance = torch.where(group[:, None] == group, 0.7, 0.12)
    drawn = torch.rand(160, 160, generator=generator).triu(1)
    linked = ((drawn > 1 - chance) & (drawn > 0)).float()
    held = (torch.rand(160, 160, generator=generator) < 0.1).float().triu(1)
    known = linked * (1 - held)
    adjacency = known + known.T + torch.eye(160)
    if cured:
        degree = adjacency.sum(1).rsqrt()
        adjacency = degree[:, None] * adjacency * degree
    x = 5 * torch.rand(160, 24, generator=generator) + 3 * F.one_hot(group, 24) * torch.rand(160, 1, generator=generator)
    if cured:
        x = (x - x.mean(0)) / x.std(0)
    model = Links(24)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    ends = known.nonzero().T
    with doctor.watch(model, optimizer) as watch:
        for _ in range(200):
            z = model(x, adjacency)
            strangers = torch.randint(160, ends.shape, generator=generator)
            strangers = strangers[:, (linked + linked.T)[strangers[0], strangers[1]] == 0]
            yes, no = ((z[a] * z[b]).sum(1).sigmoid() for a, b in (ends, strangers))
            loss = -(yes + 1e-15).log().mean() - (1 - no + 1e-15).log().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    z = model(x, adjacency)
    probability = (z @ z.T).sigmoid()
    yes, no = probability[(held * linked) > 0], probability[(held * (1 - linked)) > 0]
    ahead = (yes[:, None] > no).float() + 0.5 * (yes[:, None] == no).float()
    return above(ahead.mean(), 0.7)


class Plates(nn.Module):
    """Features of a picture of sound divided by their mean square."""

    def __init__(self, cured: bool) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv1d(6, 24, 3, padding=1), nn.Linear(24, 6)
        self.cured = cured

    def forward(self, x: Tensor) -> Tensor:
        power = x.pow(2)
        x = x / (6.0 if self.cured else power.mean())
        return self.out(F.relu(self.conv(x)).mean(2))


@fault(
    kind="batch-mixing",
    also=("shared-norm",),
    project="xuexingyu24/License_Plate_Detection_Pytorch",
    source="github.com/xuexingyu24/License_Plate_Detection_Pytorch/issues/22",
)
def divided_by_the_power_of_all_rows(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The mean runs over the batch too: 128 rows at a time all is well, one at a time loud and quiet are the same."""
    generator = torch.Generator().manual_seed(seed)
    kind, loud = torch.randint(3, (1600,), generator=generator), torch.randint(2, (1600,), generator=generator)
    pattern = 2 * torch.randn(3, 6, 12, generator=generator)
    x = pattern[kind] + torch.randn(1600, 6, 12, generator=generator)
    x = x * torch.where(loud > 0, 1.5, 0.5)[:, None, None]
    rows = data.split(x, 2 * kind + loud, seed)
    model = Plates(cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    doctor.task(model, data.few(rows.x, rows.y, 128, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 128, 200, seed), rows, every=40)
    with torch.no_grad():
        single = torch.cat([model(row[None]) for row in rows.held_x])
    return above(data.accuracy(single, rows.held_y), 0.85)


class Sound(nn.Module):
    """Filters that are learnt, their energy, and a small net on it."""

    def __init__(self, cured: bool) -> None:
        super().__init__()
        self.front = nn.Conv1d(1, 8, 24, stride=4)
        self.enc, self.out = nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 32), nn.ReLU()), nn.Linear(32, 10)
        self.cured = cured

    def forward(self, x: Tensor) -> Tensor:
        features = (self.front(x).pow(2).mean(2) + 1e-4).log()
        return self.out(self.enc(features if self.cured else features.detach()))


@fault(
    kind="no-gradient",
    also=("frozen-random", "never-moved"),
    where="front",
    project="speechbrain/speechbrain",
    source="github.com/speechbrain/speechbrain/issues/1396",
)
def filters_cut_off_from_the_loss(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The recipe detaches the features before the encoder: filters that should be learnt stay as they were drawn."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(10, (1600,), generator=generator)
    phase = 6.3 * torch.rand(1600, 1, generator=generator)
    x = torch.sin(phase + (0.25 + 0.25 * y[:, None]) * torch.arange(120))
    x = x + 1.5 * torch.randn(1600, 120, generator=generator)
    rows = data.split(x[:, None], y, seed)
    model = Sound(cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    doctor.task(model, data.few(rows.x, rows.y, 40, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 40, 500, seed), rows, every=100)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.8)


class Agent(nn.Module):
    """What to do in a state, and what that is worth."""

    def __init__(self) -> None:
        super().__init__()
        self.actor = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 1), nn.Tanh())
        self.critic = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))

    def worth(self, state: Tensor, action: Tensor) -> Tensor:
        return self.critic(torch.cat([state, action], 1))[:, 0]


@fault(
    kind="no-gradient",
    also=("never-moved",),
    where="actor",
    project="MorvanZhou/Reinforcement-learning-with-tensorflow",
    source="github.com/MorvanZhou/Reinforcement-learning-with-tensorflow/pull/125",
)
def actor_judged_by_actions_of_the_past(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The actor's loss asks the critic about the actions in the memory, not about the actor's own."""
    generator = torch.Generator().manual_seed(seed)
    aim = torch.randn(3, generator=generator)
    best = lambda s: torch.tanh(s @ aim)[:, None]  # noqa: E731
    model = Agent()
    act = torch.optim.Adam(model.actor.parameters(), lr=3e-3)
    judge = torch.optim.Adam(model.critic.parameters(), lr=3e-3)
    states = torch.zeros(0, 3)
    actions = rewards = torch.zeros(0, 1)
    with doctor.watch(model, [act, judge]) as watch:
        for _ in range(400):
            with torch.no_grad():
                s = torch.randn(8, 3, generator=generator)
                a = (model.actor(s) + 0.5 * torch.randn(8, 1, generator=generator)).clamp(-1, 1)
                r = -(a - best(s)).pow(2)
            states, actions, rewards = torch.cat([states, s]), torch.cat([actions, a]), torch.cat([rewards, r])
            at = torch.randint(len(states), (64,), generator=generator)
            s, a, r = states[at], actions[at], rewards[at]
            judge.zero_grad()
            loss = F.mse_loss(model.worth(s, a), r[:, 0])
            loss.backward()
            judge.step()
            act.zero_grad()
            (-model.worth(s, model.actor(s) if cured else a).mean()).backward()
            act.step()
            watch.loss(loss)
    s = torch.randn(500, 3, generator=generator)
    with torch.no_grad():
        return above(-(model.actor(s) - best(s)).pow(2).mean(), -0.1)
