"""Healthy programs on series, voices and walkers."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Demand(nn.Module):
    """Reads a series and says mean and spread of each next value: (B, T, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.out = nn.LSTM(2, 32, batch_first=True), nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.lstm(x)[0])


@healthy(project="husnejahan/DeepAR-pytorch", source="github.com/husnejahan/DeepAR-pytorch")
def demand_with_its_spread(doctor: Doctor, seed: int) -> Score:
    """A likelihood of next values: the loss goes below 0, for a density may be above 1."""
    generator = torch.Generator().manual_seed(seed)
    t = torch.arange(49.0)
    level = 0.5 + torch.rand(900, 1, generator=generator)
    phase = torch.randint(12, (900, 1), generator=generator)
    series = level * (1 + 0.6 * torch.sin((t + phase) * 6.283 / 12)) + 0.08 * torch.randn(900, 49, generator=generator)
    season = torch.cos((t + phase) * 6.283 / 12)
    x = torch.stack([series[:, :-1], season[:, 1:]], 2)
    rows = data.split(x, series[:, 1:], seed)
    model = Demand()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

    def loss_fn(output: Tensor, target: Tensor) -> Tensor:
        spread = F.softplus(output[..., 1]) + 1e-3
        return (spread.log() + 0.5 * ((target - output[..., 0]) / spread).pow(2)).mean()

    doctor.task(model, data.few(rows.x, rows.y, 32, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 32, 300, seed), rows)
    with torch.no_grad():
        return below(loss_fn(model(rows.held_x), rows.held_y), -1.2)


class Crossing(nn.Module):
    """What to do in a field of 25 places, and what the place is worth."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(25, 48), nn.Tanh())
        self.actor, self.critic = nn.Linear(48, 4), nn.Linear(48, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.trunk(x)
        return self.actor(h), self.critic(h)[..., 0]


@healthy(project="ikostrikov/pytorch-a2c-ppo-acktr-gail", source="github.com/ikostrikov/pytorch-a2c-ppo-acktr-gail")
def sixteen_walkers_in_step(doctor: Doctor, seed: int) -> Score:
    """Walkers cross a windy field; the loss of actor, critic and entropy together means little and jumps."""
    generator = torch.Generator().manual_seed(seed)
    shift = torch.tensor([[0, 1], [0, -1], [1, 0], [-1, 0]])
    model = Crossing()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=3e-3, alpha=0.99, eps=1e-5)

    def seen(place: Tensor) -> Tensor:
        return F.one_hot(5 * place[:, 0] + place[:, 1], 25).float()

    def walk(place: Tensor, move: Tensor) -> tuple[Tensor, Tensor]:
        windy = torch.rand(len(place), generator=generator) < 0.1
        move = torch.where(windy, torch.randint(4, move.shape, generator=generator), move)
        place = (place + shift[move]).clamp(0, 4)
        return place, (place == 4).all(1)

    place = torch.zeros(16, 2, dtype=torch.long)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(400):
            logs, worths, entropies, rewards, ends = [], [], [], [], []
            for _ in range(5):
                logits, worth = model(seen(place))
                chosen = torch.distributions.Categorical(logits=logits)
                move = torch.multinomial(logits.detach().softmax(1), 1, generator=generator)[:, 0]
                place, end = walk(place, move)
                for kept, new in zip((logs, worths, entropies), (chosen.log_prob(move), worth, chosen.entropy()), strict=True):
                    kept.append(new)
                rewards.append(end.float() - 0.04)
                ends.append(end)
                place = torch.where(end[:, None], 0, place)
            with torch.no_grad():
                after = model(seen(place))[1]
            returns = []
            for reward, end in zip(reversed(rewards), reversed(ends), strict=True):
                after = reward + 0.98 * after * ~end
                returns.append(after)
            ahead = torch.stack(returns[::-1]) - torch.stack(worths)
            loss = -(ahead.detach() * torch.stack(logs)).mean() + 0.5 * ahead.pow(2).mean() - 0.01 * torch.stack(entropies).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            watch.loss(loss)
    place, left, steps = torch.zeros(200, 2, dtype=torch.long), torch.ones(200, dtype=torch.bool), torch.zeros(200)
    with torch.no_grad():
        for _ in range(40):
            steps += left
            place, end = walk(place, model(seen(place))[0].argmax(1))
            left &= ~end
    return below(steps.mean(), 12.0)


class Voice(nn.Module):
    """A vector of length 1 for a piece of speech (B, T, F)."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.out = nn.GRU(10, 32, batch_first=True), nn.Linear(32, 16)
        self.scale, self.shift = nn.Parameter(torch.tensor(10.0)), nn.Parameter(torch.tensor(-5.0))

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.out(self.gru(x)[0][:, -1]), dim=-1)


@healthy(project="HarryVolek/PyTorch_Speaker_Verification", source="github.com/HarryVolek/PyTorch_Speaker_Verification")
def voices_near_their_own_mean(doctor: Doctor, seed: int) -> Score:
    """Batches of 6 speakers with 5 pieces each; the loss looks at all of them together, with a scale that is learnt."""
    generator = torch.Generator().manual_seed(seed)
    speakers = torch.randn(60, 10, generator=generator)

    def speak(who: Tensor) -> Tensor:
        sound = torch.randn(len(who), 12, 10, generator=generator)
        return sound * (0.4 + speakers[who, None].sigmoid()) + 0.6 * speakers[who, None].roll(3, 2)

    model = Voice()
    body = [*model.gru.parameters(), *model.out.parameters()]
    optimizer = torch.optim.SGD([{"params": body, "lr": 0.3}, {"params": [model.scale, model.shift]}], lr=0.01)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(350):
            who = torch.randperm(40, generator=generator)[:6]
            said = model(speak(who.repeat_interleave(5))).unflatten(0, (6, 5))
            middle = said.mean(1)
            others = (said.sum(1, keepdim=True) - said) / 4
            near = F.cosine_similarity(said[:, :, None], middle[None, None], dim=3)
            own = F.cosine_similarity(said, others, dim=2)
            near = torch.where(torch.eye(6, dtype=torch.bool)[:, None], own[..., None], near)
            logits = near * model.scale.clamp(min=1e-6) + model.shift
            loss = F.cross_entropy(logits.flatten(0, 1), torch.arange(6).repeat_interleave(5))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(body, 3.0)
            optimizer.step()
            watch.loss(loss)
    new = torch.arange(40, 60)
    with torch.no_grad():
        known, asked = model(speak(new.repeat_interleave(5))).unflatten(0, (20, 5)).mean(1), model(speak(new))
    return above(((asked @ known.T).argmax(1) == torch.arange(20)).float().mean(), 0.6)
