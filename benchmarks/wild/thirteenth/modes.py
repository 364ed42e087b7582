"""Faults of modes, masks and axes: words dropped for ever, padding as keys, batches read as time, gains of one game."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="eval-dropout",
    project="facebookresearch/DME",
    source="github.com/facebookresearch/DME/issues/3",
)
def words_dropped_while_they_are_asked(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Two tables of words weighed against each other; the dropout of the sum is a function that is not told of the mode."""
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randint(30, 60, (2400, 8), generator=generator), torch.randint(30, (2400,), generator=generator)
    rows = data.split(x.scatter(1, torch.randint(8, (2400, 1), generator=generator), y[:, None]), y, seed)

    class Sentence(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tables = nn.ModuleList([nn.Embedding(60, 8), nn.Embedding(60, 8)])
            self.weigh, self.rnn = nn.Linear(8, 1), nn.LSTM(8, 32, batch_first=True, bidirectional=True)
            self.out = nn.Linear(64, 30)

        def forward(self, words: Tensor) -> Tensor:
            each = torch.stack([table(words) for table in self.tables], 2)
            out = (self.weigh(each).softmax(2) * each).sum(2)
            out = F.dropout(out, p=0.5, training=self.training) if cured else F.dropout(out, p=0.5)
            return self.out(self.rnn(out)[0].amax(1))

    model = Sentence()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    doctor.task(model, data.few(rows.x, rows.y, 48, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 48, 400, seed), rows, every=50)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.8)


@fault(
    kind="padding",
    project="hyunwoongko/transformer",
    source="github.com/hyunwoongko/transformer/pull/40",
)
def padding_hidden_as_questions_not_as_keys(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A mask of padding is spread along the wrong axis: rows of padding see nothing, and words see all padding."""
    generator = torch.Generator().manual_seed(seed)
    worth = torch.randn(20, generator=generator)

    def sentences(count: int, longest: int = 0) -> tuple[Tensor, Tensor]:
        """Words 1 to 20, 0 after the last; whether their prices add up to more than 0. Batches are of one length, or nearly."""
        length = torch.randint(3, 9, (count if longest else 1, 1), generator=generator)
        length = length - torch.randint(2, (count, 1), generator=generator)
        longest = longest or int(length.max())
        x = torch.randint(1, 21, (count, longest), generator=generator) * (torch.arange(longest) < length)
        price = torch.where(x > 0, worth[x - 1], torch.zeros(()))
        return x, (price.sum(1) > 0).long()

    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.place = nn.Embedding(21, 32), nn.Parameter(0.1 * torch.randn(60, 32))
            self.ask, self.key, self.value, self.join = (nn.Linear(32, 32) for _ in range(4))
            self.norm, self.second = nn.LayerNorm(32), nn.LayerNorm(32)
            self.wide = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32))
            self.out = nn.Linear(32, 2)

        def forward(self, x: Tensor) -> Tensor:
            there = x != 0
            h = self.embed(x) + self.place[: x.shape[1]]
            mask = there[:, None, None, :] if cured else there[:, None, :, None]
            q, k, v = (f(h).view(len(x), -1, 4, 8).transpose(1, 2) for f in (self.ask, self.key, self.value))
            score = (q @ k.transpose(2, 3) / 8**0.5).masked_fill(~mask, -10000.0)
            h = self.norm(h + self.join((score.softmax(-1) @ v).transpose(1, 2).flatten(2)))
            h = self.second(h + self.wide(h))
            return self.out(h[:, 0])

    model = Words()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    doctor.task(model, [sentences(32) for _ in range(8)], F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, (sentences(32) for _ in range(700)))
    x, y = sentences(500, 50)
    with torch.no_grad():
        return above(data.accuracy(model(x), y), 0.93)


@fault(
    kind="batch-mixing",
    where="rnn",
    project="ray075hl/Bi-Model-Intent-And-Slot",
    source="github.com/ray075hl/Bi-Model-Intent-And-Slot/pull/2",
)
def requests_read_down_the_batch(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Slots of requests: sentences come batch first, the LSTM was not told so and reads down the batch."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(12, (2000, 9), generator=generator)
    before = F.pad(x[:, :-1], (1, 0), value=0)
    rows = data.split(x, (x // 3 + 2 * (before % 3)) % 6, seed)

    class Slots(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.rnn = nn.Embedding(12, 24), nn.LSTM(24, 48, batch_first=cured, bidirectional=True)
            self.out = nn.Linear(96, 6)

        def forward(self, words: Tensor) -> Tensor:
            return self.out(self.rnn(self.embed(words))[0]).transpose(1, 2)

    model = Slots()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 25, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 25, 300, seed), rows)
    with torch.no_grad():
        return above((model(rows.held_x).argmax(1) == rows.held_y).float().mean(), 0.85)


@fault(
    kind="no-gradient",
    where="actor",
    also=("never-moved",),
    project="tensorflow/agents",
    source="github.com/tensorflow/agents/issues/651",
)
def gains_measured_against_themselves(doctor: Doctor, seed: int, cured: bool) -> Score:
    """One game at a time, (1, T): gains are brought to mean 0 along the axis of games, where each stands alone, and all are 0."""
    generator = torch.Generator().manual_seed(seed)

    class ActorCritic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.actor = nn.Sequential(nn.Linear(2, 48), nn.Tanh(), nn.Linear(48, 3))
            self.critic = nn.Sequential(nn.Linear(2, 48), nn.Tanh(), nn.Linear(48, 1))

    model = ActorCritic()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def play(greedy: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """States (1, T, 2), moves, their log-probabilities, pay (1, T): a cart is to stand still in the middle."""
        place, speed = (2 * torch.rand(2, generator=generator) - 1).tolist()
        seen, done, logs, paid = [], [], [], []
        for _ in range(40):
            state = torch.tensor([place, speed])
            with torch.no_grad():
                log = model.actor(state).log_softmax(0)
            move = int(log.argmax()) if greedy else int(torch.multinomial(log.exp(), 1, generator=generator))
            speed = max(-1.0, min(1.0, speed + 0.3 * (move - 1)))
            place = max(-2.0, min(2.0, place + 0.3 * speed))
            seen.append(state)
            done.append(move)
            logs.append(float(log[move]))
            paid.append(-abs(place))
        return torch.stack(seen)[None], torch.tensor([done]), torch.tensor([logs]), torch.tensor([paid])

    with doctor.watch(model, optimizer) as watch:
        for _ in range(220):
            states, moves, old, paid = play()
            total, returns = torch.zeros(1), []
            for pay in paid.flip(1).unbind(1):
                total = pay + 0.85 * total
                returns.append(total)
            wanted = torch.stack(returns[::-1], 1)
            with torch.no_grad():
                gain = wanted - model.critic(states)[..., 0]
            axis = 1 if cured else 0
            gain = (gain - gain.mean(axis, keepdim=True)) / (gain.var(axis, unbiased=False, keepdim=True) + 1e-8).sqrt()
            for _ in range(4):
                log = model.actor(states).log_softmax(-1).gather(2, moves[..., None])[..., 0]
                ratio = (log - old).exp()
                better = torch.minimum(ratio * gain, ratio.clamp(0.8, 1.2) * gain).mean()
                loss = 0.5 * F.mse_loss(model.critic(states)[..., 0], wanted) - better
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.loss(loss)
    return above(torch.stack([play(greedy=True)[3][:, 20:].mean() for _ in range(30)]).mean(), -0.35)
