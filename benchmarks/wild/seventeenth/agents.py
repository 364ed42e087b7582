"""Faults of agents: a sum over all moves at once, too few updates, an end that is no end."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional as F  # noqa: N812

State = tuple[float, float]
LONG = 60


def beam(state: State, move: int, chance: np.random.Generator) -> tuple[State, bool]:
    """A ball on a beam that is tilted to one side or the other: where it is next, and whether it fell."""
    speed = state[1] + 0.1 * (2 * move - 1) + 0.12 * state[0] + 0.02 * chance.normal()
    place = state[0] + 0.3 * speed
    return (place, speed), abs(place) > 1


def start(chance: np.random.Generator) -> State:
    """Near the middle, almost at rest."""
    return chance.uniform(-0.3, 0.3), chance.uniform(-0.1, 0.1)


def held_for(values: Callable[[Tensor], Tensor], chance: np.random.Generator, games: int = 24) -> float:
    """Steps for which the ball stays on the beam, by the move of the larger value, on average."""
    total = 0
    for _ in range(games):
        state = start(chance)
        for _ in range(LONG):
            with torch.no_grad():
                move = int(values(torch.tensor([state]))[0].argmax())
            state, fell = beam(state, move, chance)
            total += 1
            if fell:
                break
    return total / games


@fault(
    kind="broadcast",
    also=("other-loss",),
    project="nikhilbarhate99/PPO-PyTorch",
    source="github.com/nikhilbarhate99/PPO-PyTorch/issues/5",
)
def all_moves_taken_for_one_move(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A cart is pushed to the middle: a squeeze leaves no axis of the move, and its chances are summed over all steps."""
    generator = torch.Generator().manual_seed(seed)

    class Agent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.actor = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 1), nn.Tanh())
            self.critic = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 1))

        def chances(self, state: Tensor, move: Tensor) -> Tensor:
            mean = self.actor(state)
            if cured:
                return Normal(mean, 0.5).log_prob(move).sum(-1)
            return Normal(mean.squeeze(), 0.5).log_prob(move.squeeze()).sum(-1)

    def play(agent: Agent, games: int, loudness: float) -> tuple[Tensor, Tensor, Tensor]:
        """States (T, N, 2), moves (T, N, 1) and pay (T, N)."""
        state = torch.cat([torch.rand(games, 1, generator=generator) * 4 - 2, torch.zeros(games, 1)], 1)
        states, moves, pay = [], [], []
        for _ in range(25):
            with torch.no_grad():
                move = agent.actor(state) + loudness * torch.randn(games, 1, generator=generator)
            states.append(state)
            moves.append(move)
            speed = 0.8 * state[:, 1:] + 0.4 * move.clamp(-1, 1)
            state = torch.cat([state[:, :1] + 0.5 * speed, speed], 1)
            pay.append(-state[:, 0].abs())
        return torch.stack(states), torch.stack(moves), torch.stack(pay)

    policy = Agent()
    old = copy.deepcopy(policy)
    optimizer = torch.optim.Adam(policy.parameters(), lr=3e-3)
    with doctor.watch(policy, optimizer) as watch:
        for _ in range(60):
            states, moves, pay = play(old, 16, 0.5)
            total, returns = torch.zeros(16), []
            for each in pay.flip(0):
                total = each + 0.95 * total
                returns.append(total)
            goal = torch.stack(returns[::-1]).flatten()
            goal = (goal - goal.mean()) / (goal.std() + 1e-5)
            x, a = states.flatten(0, 1), moves.flatten(0, 1)
            with torch.no_grad():
                before = Normal(old.actor(x), 0.5).log_prob(a).sum(-1)
            for _ in range(8):
                value = policy.critic(x)[:, 0]
                ratio = (policy.chances(x, a) - before).exp()
                better = goal - value.detach()
                loss = -torch.min(ratio * better, ratio.clamp(0.8, 1.2) * better) + 0.5 * F.mse_loss(value, goal)
                optimizer.zero_grad()
                loss.mean().backward()
                optimizer.step()
                watch.loss(loss.mean())
            old.load_state_dict(policy.state_dict())
    return below(-play(policy, 64, 0.0)[2][10:].mean(), 0.25)


@fault(
    kind="underfitting",
    also=("slow-learning",),
    project="keon/deep-q-learning",
    source="github.com/keon/deep-q-learning/issues/12",
)
def one_batch_for_each_game(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A ball on a beam by values of moves: the memory is gone through after a game and not after each step."""
    chance = np.random.default_rng(seed)
    model = nn.Sequential(nn.Linear(2, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    memory: list[tuple[State, int, float, State, bool]] = []
    luck = 1.0

    def replay() -> Tensor:
        batch = [memory[k] for k in chance.integers(len(memory), size=32)]
        state, after = torch.tensor([each[0] for each in batch]), torch.tensor([each[3] for each in batch])
        move = torch.tensor([[each[1]] for each in batch])
        pay, end = torch.tensor([each[2] for each in batch]), torch.tensor([each[4] for each in batch])
        with torch.no_grad():
            goal = pay + 0.95 * model(after).amax(1) * ~end
        loss = F.mse_loss(model(state).gather(1, move)[:, 0], goal)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    with doctor.watch(model, optimizer) as watch:
        for _ in range(90):
            state, fell = start(chance), False
            for _ in range(LONG):
                if chance.random() < luck:
                    move = int(chance.integers(2))
                else:
                    with torch.no_grad():
                        move = int(model(torch.tensor([state]))[0].argmax())
                after, fell = beam(state, move, chance)
                memory.append((state, move, -10.0 if fell else 1.0, after, fell))
                state = after
                if cured and len(memory) > 32:
                    watch.loss(replay())
                if fell:
                    break
            if not cured and len(memory) > 32:
                watch.loss(replay())
            luck = max(0.05, luck * 0.96)
    return above(held_for(model, chance), 50)


class Dueling(nn.Module):
    """How good a state is, and how much better a move than the other."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.value, self.better = nn.Linear(64, 1), nn.Linear(64, 2)

    def forward(self, state: Tensor) -> Tensor:
        h = self.body(state)
        better = self.better(h)
        return self.value(h) + better - better.mean(1, keepdim=True)


@fault(
    kind="other-loss",
    also=("target-constant",),
    project="cyoon1729/deep-Q-networks",
    source="github.com/cyoon1729/deep-Q-networks/issues/3",
)
def a_fall_that_ends_nothing(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A ball on a beam, each step pays 1: that it fell is kept, and never used, so that all states are worth the same."""
    chance = np.random.default_rng(seed)
    model = Dueling()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    memory: list[tuple[State, int, State, float]] = []
    with doctor.watch(model, optimizer) as watch:
        for game in range(90):
            state = start(chance)
            for _ in range(LONG):
                if chance.random() < max(0.1, 1 - game / 40):
                    move = int(chance.integers(2))
                else:
                    with torch.no_grad():
                        move = int(model(torch.tensor([state]))[0].argmax())
                after, fell = beam(state, move, chance)
                memory.append((state, move, after, float(fell)))
                state = after
                if len(memory) > 32:
                    batch = [memory[k] for k in chance.integers(len(memory), size=32)]
                    x, later = torch.tensor([each[0] for each in batch]), torch.tensor([each[2] for each in batch])
                    done = torch.tensor([each[3] for each in batch])
                    with torch.no_grad():
                        ahead = model(later).amax(1)
                        goal = 1 + 0.95 * (ahead * (1 - done) if cured else ahead)
                    taken = model(x).gather(1, torch.tensor([[each[1]] for each in batch]))[:, 0]
                    loss = F.mse_loss(taken, goal)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    watch.loss(loss)
                if fell:
                    break
    return above(held_for(model, chance), 50)
