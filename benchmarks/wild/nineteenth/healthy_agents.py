"""Healthy programs of agents: a pole held up, and a way learned from what others did."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild.case import Score, above, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn import functional as F  # noqa: N812


def driven(state: Tensor, steer: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """States (N, 3) of place, drift and wind after a step, and its pay (N,)."""
    place, drift, wind = state.unbind(1)
    wind = 0.9 * wind + 0.1 * torch.randn(len(state), generator=generator)
    drift = 0.9 * drift + 0.1 * (steer.float() - 1) + 0.1 * wind
    place = (place + drift).clamp(-2, 2)
    return torch.stack([place, drift, wind], 1), 1 - place.abs()


def begun(count: int, generator: torch.Generator) -> Tensor:
    return torch.randn(count, 3, generator=generator) * torch.tensor([1.0, 0.1, 0.3])


@healthy(project="thu-ml/tianshou", source="github.com/thu-ml/tianshou")
def a_car_kept_on_its_lane(doctor: Doctor, seed: int) -> Score:
    """A car pushed about by wind steers left, not or right: clipped policy steps over small batches, values and some luck."""
    generator = torch.Generator().manual_seed(seed)

    class Agent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(3, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh())
            self.actor, self.critic = nn.Linear(48, 3), nn.Linear(48, 1)
            nn.init.orthogonal_(self.actor.weight, 0.01)

        def forward(self, seen: Tensor) -> tuple[Categorical, Tensor]:
            h = self.body(seen)
            return Categorical(logits=self.actor(h)), self.critic(h)[..., 0]

    agent = Agent()
    optimizer = torch.optim.Adam(agent.parameters(), lr=5e-3, eps=1e-5)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, 30)

    with doctor.watch(agent, optimizer) as watch:
        for _ in range(30):
            state, kept = begun(16, generator), []
            for _ in range(32):
                with torch.no_grad():
                    chance, value = agent(state)
                steer = torch.multinomial(chance.probs, 1, generator=generator)[:, 0]
                after, pay = driven(state, steer, generator)
                kept.append((state, steer, chance.log_prob(steer), value, pay))
                state = after
            seen, steer, said, value, pay = (torch.stack(each) for each in zip(*kept, strict=True))
            with torch.no_grad():
                ahead, total, later = torch.zeros_like(pay), torch.zeros(16), agent(state)[1]
            for t in reversed(range(32)):
                total = pay[t] / 5 + 0.95 * later - value[t] + 0.95 * 0.95 * total
                ahead[t], later = total, value[t]
            goal = (ahead + value).flatten()
            seen, steer, said, ahead = seen.flatten(0, 1), steer.flatten(), said.flatten(), ahead.flatten()
            for _ in range(4):
                for pick in torch.randperm(512, generator=generator).split(128):
                    chance, value = agent(seen[pick])
                    gain = (ahead[pick] - ahead[pick].mean()) / (ahead[pick].std() + 1e-8)
                    ratio = (chance.log_prob(steer[pick]) - said[pick]).exp()
                    policy = -torch.minimum(ratio * gain, ratio.clamp(0.8, 1.2) * gain).mean()
                    loss = policy + 0.5 * F.mse_loss(value, goal[pick]) - 0.01 * chance.entropy().mean()
                    optimizer.zero_grad()
                    loss.backward()
                    nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
                    optimizer.step()
                    watch.loss(loss)
            schedule.step()
    state, earned = begun(200, generator), torch.zeros(200)
    for _ in range(32):
        with torch.no_grad():
            state, pay = driven(state, agent(state)[0].logits.argmax(1), generator)
        earned += pay / 32
    return above(earned.mean(), 0.45)


@healthy(project="takuseno/d3rlpy", source="github.com/takuseno/d3rlpy")
def a_way_learned_from_others(doctor: Doctor, seed: int) -> Score:
    """Steps of walkers who mostly stray: values of moves, held low where nobody went; an older net follows slowly."""
    generator = torch.Generator().manual_seed(seed)
    ways = torch.tensor([[0, 1], [0, -1], [1, 0], [-1, 0]])

    def moved(place: Tensor, move: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        after = (place + ways[move]).clamp(0, 5)
        home, pit = (after == 5).all(1), (after == torch.tensor([2, 3])).all(1)
        return after, home.float() - pit.float() - 0.03, home | pit

    def seen(place: Tensor) -> Tensor:
        return F.one_hot(place, 6).flatten(1).float()

    place = torch.randint(6, (3000, 2), generator=generator)
    place = place[(place < 5).any(1) & (place != torch.tensor([2, 3])).any(1)]
    count = len(place)
    wise = torch.where(place[:, 0] < place[:, 1], 2, 0)
    move = torch.where(torch.rand(count, generator=generator) < 0.3, wise, torch.randint(4, (count,), generator=generator))
    after, pay, end = moved(place, move)
    q_net = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
    older = copy.deepcopy(q_net).requires_grad_(requires_grad=False)
    optimizer = torch.optim.Adam(q_net.parameters(), lr=2e-3)
    with doctor.watch(q_net, optimizer) as watch:
        for _ in range(700):
            pick = torch.randint(count, (64,), generator=generator)
            goal = pay[pick] + 0.95 * older(seen(after[pick])).amax(1) * ~end[pick]
            values = q_net(seen(place[pick]))
            taken = values.gather(1, move[pick, None])[:, 0]
            low = (values.logsumexp(1) - taken).mean()
            loss = F.smooth_l1_loss(taken, goal) + 0.02 * low
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            with torch.no_grad():
                for old, new in zip(older.parameters(), q_net.parameters(), strict=True):
                    old.lerp_(new, 0.03)
    place = torch.cartesian_prod(torch.arange(5), torch.arange(5))
    place = place[(place != torch.tensor([2, 3])).any(1)]
    earned, walks = torch.zeros(len(place)), torch.ones(len(place))
    for _ in range(12):
        with torch.no_grad():
            place, pay, end = moved(place, q_net(seen(place)).argmax(1))
        earned += pay * walks
        walks = walks * ~end
    return above(earned.mean(), 0.6)
