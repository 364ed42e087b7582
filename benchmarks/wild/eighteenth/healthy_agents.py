"""Healthy programs of agents: a hand that reaches, a way through a field."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild.case import Score, above, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional as F  # noqa: N812


@healthy(project="openai/spinningup", source="github.com/openai/spinningup")
def a_hand_that_reaches(doctor: Doctor, seed: int) -> Score:
    """A point drives to a place: one policy step a round by advantages, and many steps of a net that guesses what is to come."""
    generator = torch.Generator().manual_seed(seed)

    class Actor(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mu_net, self.log_std = (
                nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2)),
                nn.Parameter(-0.5 * torch.ones(2)),
            )

        def forward(self, seen: Tensor) -> Normal:
            return Normal(self.mu_net(seen), self.log_std.exp())

    pi, v = Actor(), nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))
    pi_optimizer, v_optimizer = torch.optim.Adam(pi.parameters(), lr=1e-2), torch.optim.Adam(v.parameters(), lr=1e-2)
    model = nn.ModuleDict({"pi": pi, "v": v})

    def play(points: int, loudness: float) -> tuple[Tensor, Tensor, Tensor]:
        """Gaps (T, N, 2), moves (T, N, 2) and pay (T, N)."""
        gap, seen, moves, pay = torch.randn(points, 2, generator=generator), [], [], []
        with torch.no_grad():
            for _ in range(12):
                aim = pi(gap)
                move = aim.mean + loudness * aim.stddev * torch.randn(points, 2, generator=generator)
                seen.append(gap)
                moves.append(move)
                gap = gap - 0.4 * move.clamp(-1, 1)
                pay.append(-gap.norm(dim=1))
        return torch.stack(seen), torch.stack(moves), torch.stack(pay)

    with doctor.watch(model, [pi_optimizer, v_optimizer]) as watch:
        for _ in range(40):
            seen, moves, pay = play(32, 1.0)
            with torch.no_grad():
                guess = torch.cat([v(seen)[..., 0], torch.zeros(1, 32)])
            delta, total, ahead, returns, later = pay + 0.95 * guess[1:] - guess[:-1], torch.zeros(32), [], [], torch.zeros(32)
            for each, earned in zip(delta.flip(0), pay.flip(0), strict=True):
                total, later = each + 0.95 * 0.9 * total, earned + 0.95 * later
                ahead.append(total)
                returns.append(later)
            better, goal = torch.stack(ahead[::-1]), torch.stack(returns[::-1])
            better = (better - better.mean()) / better.std()
            loss = -(pi(seen).log_prob(moves).sum(2) * better).mean()
            pi_optimizer.zero_grad()
            loss.backward()
            pi_optimizer.step()
            watch.loss(loss)
            for _ in range(8):
                miss = F.mse_loss(v(seen)[..., 0], goal)
                v_optimizer.zero_grad()
                miss.backward()
                v_optimizer.step()
    return above(play(200, 0.0)[2].sum(0).mean(), -7.5)


@healthy(project="DLR-RM/stable-baselines3", source="github.com/DLR-RM/stable-baselines3")
def a_way_through_a_field(doctor: Doctor, seed: int) -> Score:
    """A field of five by five with a goal in a corner: values of four moves, a memory, an older net for what comes next."""
    generator = torch.Generator().manual_seed(seed)
    ways = torch.tensor([[0, 1], [0, -1], [1, 0], [-1, 0]])

    def next_to(place: Tensor, move: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        after = (place + ways[move]).clamp(0, 4)
        done = (after == 4).all(1)
        return after, done.float() - 0.05, done

    q_net = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
    target = copy.deepcopy(q_net)
    optimizer = torch.optim.Adam(q_net.parameters(), lr=2e-3)
    seen = lambda place: F.one_hot(place, 5).flatten(1).float()  # noqa: E731
    memory: list[tuple[Tensor, ...]] = []
    place = torch.randint(5, (8, 2), generator=generator)
    with doctor.watch(q_net, optimizer) as watch:
        for step in range(450):
            with torch.no_grad():
                best = q_net(seen(place)).argmax(1)
            luck = torch.rand(8, generator=generator) < max(0.1, 1 - step / 200)
            move = torch.where(luck, torch.randint(4, (8,), generator=generator), best)
            after, pay, done = next_to(place, move)
            memory.append((place, move, pay, after, done))
            place = torch.where(done[:, None], torch.randint(5, (8, 2), generator=generator), after)
            if step < 20:
                continue
            picks = torch.randint(len(memory), (8,), generator=generator)
            x, a, r, y, end = (torch.cat(each) for each in zip(*(memory[int(k)] for k in picks), strict=True))
            with torch.no_grad():
                goal = r + 0.95 * target(seen(y)).amax(1) * ~end
            loss = F.smooth_l1_loss(q_net(seen(x)).gather(1, a[:, None])[:, 0], goal)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(q_net.parameters(), 10)
            optimizer.step()
            watch.loss(loss)
            if step % 25 == 0:
                target.load_state_dict(q_net.state_dict())
    place = torch.cartesian_prod(torch.arange(5), torch.arange(5))[:-1]
    home = torch.zeros(24, dtype=torch.bool)
    for _ in range(8):
        with torch.no_grad():
            place, _, done = next_to(place, q_net(seen(place)).argmax(1))
        home |= done
    return above(home.float().mean(), 0.85)
