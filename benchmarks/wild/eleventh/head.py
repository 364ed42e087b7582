"""Faults of the head and its loss: a softmax of probabilities, a last ReLU, returns of all against values of all."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="probabilities-as-logits",
    also=("underfitting", "slow-learning"),
    project="gitabcworld/MatchingNetworks",
    source="github.com/gitabcworld/MatchingNetworks/issues/5",
)
def attention_over_examples_through_two_softmaxes(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Five new classes, four examples of each: the attention of a question to the examples goes into cross entropy."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(12, 40, generator=generator) / 12**0.5

    def episode() -> tuple[Tensor, Tensor, Tensor]:
        """Examples (20, 40) of five classes in turn, questions (40, 40), their classes."""
        centre = 1.3 * torch.randn(5, 12, generator=generator)
        y = torch.arange(60) % 5
        x = (centre[y] + 0.6 * torch.randn(60, 12, generator=generator)) @ mix + 0.5 * torch.randn(60, 40, generator=generator)
        return x[:20], x[20:], y[20:]

    class Matching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Sequential(nn.Linear(40, 64), nn.ReLU(), nn.Linear(64, 32))

        def forward(self, known: Tensor, asked: Tensor) -> Tensor:
            alike = self.embed(asked) @ F.normalize(self.embed(known), dim=1).T
            return alike.softmax(1).view(len(asked), 4, 5).sum(1)

    model = Matching()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def loss_of(said: Tensor, y: Tensor) -> Tensor:
        return F.nll_loss((said + 1e-6).log(), y) if cured else F.cross_entropy(said, y)

    with doctor.watch(model, optimizer) as watch:
        for _ in range(500):
            known, asked, y = episode()
            optimizer.zero_grad()
            loss = loss_of(model(known, asked), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        errors = [loss_of(model(known, asked), y) for known, asked, y in (episode() for _ in range(40))]
    return below(torch.stack(errors).mean(), 0.6)


@fault(
    kind="target-range",
    also=("relu-logits", "dead-units", "target-scale"),
    project="ProteomicsML/ProteomicsML",
    source="github.com/ProteomicsML/ProteomicsML/pull/203",
)
def mobility_after_a_last_relu(doctor: Doctor, seed: int, cured: bool) -> Score:
    """An LSTM reads peptides and tells a standardised property; a last ReLU lets it tell nothing below 0."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(20, (1600, 12), generator=generator)
    worth = torch.randn(20, generator=generator)
    y = worth[x].sum(1) + 0.8 * (worth[x[:, 1:]] * worth[x[:, :-1]]).sum(1)
    rows = data.split(x, ((y - y.mean()) / y.std())[:, None], seed)

    class Peptide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.rnn = nn.Embedding(20, 12), nn.LSTM(12, 32, batch_first=True)
            self.out = nn.Linear(32, 1)

        def forward(self, seen: Tensor) -> Tensor:
            said = self.out(self.rnn(self.embed(seen))[0][:, -1])
            return said if cured else F.relu(said)

    model = Peptide()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 32, 500, seed), rows)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y), 0.75)


@fault(
    kind="broadcast",
    also=("target-constant",),
    project="RLinf/RLinf",
    source="github.com/RLinf/RLinf/issues/1568",
)
def values_against_the_returns_of_all(doctor: Doctor, seed: int, cured: bool) -> Score:
    """PPO: the values recomputed are (B,), the returns kept are (B, 1), and each value is drawn to all returns."""
    generator = torch.Generator().manual_seed(seed)

    class ActorCritic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(2, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh())
            self.actor, self.critic = nn.Linear(48, 4), nn.Linear(48, 1)

        def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
            h = self.body(state)
            return self.actor(h).log_softmax(-1), self.critic(h).squeeze(-1)

    model = ActorCritic()
    moves = 0.35 * torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])

    def play() -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """States, moves, their log-probabilities and returns of 48 games, the first 12 of 20 steps."""
        state = 4 * torch.rand(48, 2, generator=generator) - 2
        seen, done, logs, rewards = [], [], [], []
        with torch.no_grad():
            for _ in range(20):
                log = model(state)[0]
                move = torch.multinomial(log.exp(), 1, generator=generator)
                seen.append(state)
                done.append(move)
                logs.append(log.gather(1, move))
                state = (state + moves[move[:, 0]] + 0.05 * torch.randn(48, 2, generator=generator)).clamp(-2, 2)
                rewards.append(1 - state.norm(dim=1, keepdim=True))
        total, kept = torch.zeros(48, 1), []
        for reward in reversed(rewards):
            total = reward + 0.8 * total
            kept.append(total)
        return torch.cat(seen[:12]), torch.cat(done[:12]), torch.cat(logs[:12]), torch.cat(kept[:7:-1])

    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(80):
            state, move, old, returns = play()
            with torch.no_grad():
                better = returns - model(state)[1][:, None]
                better = (better - better.mean()) / better.std()
            for at in torch.randperm(len(state), generator=generator).split(96):
                log, value = model(state[at])
                ratio = (log.gather(1, move[at]) - old[at]).exp()
                gain = torch.minimum(ratio * better[at], ratio.clamp(0.8, 1.2) * better[at]).mean()
                wrong = (returns[at] - (value[:, None] if cured else value)).pow(2).mean()
                loss = 0.5 * wrong - gain + 0.01 * (log.exp() * log).sum(1).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.loss(loss)
    state, _, _, returns = play()
    with torch.no_grad():
        return above(data.r2(model(state)[1][:, None], returns), 0.5)
