"""Faults of the head and its loss: raw scores for log-probabilities, prices against all, moves shared out over the batch."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="other-loss",
    project="gwx314/STARS",
    source="github.com/gwx314/STARS/issues/9",
)
def sounds_of_a_song_from_raw_scores(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Which sounds are sung, without marks of time: raw scores for log-probabilities, and the loss goes below 0."""
    generator = torch.Generator().manual_seed(seed)
    voice = torch.randn(7, 10, generator=generator)

    def songs(count: int) -> tuple[Tensor, Tensor]:
        """Frames (N, 20, 10) and five sounds (N, 5), numbered from 1."""
        step = torch.randint(1, 6, (count, 5), generator=generator)
        y = (torch.cumsum(step, 1) % 6) + 1
        cut = torch.rand(count, 20, generator=generator).argsort(1)[:, :4].sort(1).values
        at = (torch.arange(20)[None, :, None] > cut[:, None]).sum(2)
        return voice[y.gather(1, at)] + 0.5 * torch.randn(count, 20, 10, generator=generator), y

    class Listen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.out = nn.GRU(10, 32, batch_first=True, bidirectional=True), nn.Linear(64, 7)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.rnn(x)[0])

    model = Listen()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    lengths, counts = torch.full((32,), 20), torch.full((32,), 5)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(450):
            x, y = songs(32)
            scores = model(x)
            said = scores.log_softmax(2) if cured else scores
            loss = F.ctc_loss(said.transpose(0, 1), y, lengths, counts)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    x, y = songs(300)
    with torch.no_grad():
        best = model(x).argmax(2)
    heard = [[k for k, before in zip(row, [0, *row], strict=False) if k not in (0, before)] for row in best.tolist()]
    return above(sum(a == b for a, b in zip(heard, y.tolist(), strict=True)) / 300, 0.6)


@fault(
    kind="broadcast",
    also=("target-constant",),
    project="LAMDA-Tabular/TALENT",
    source="github.com/LAMDA-Tabular/TALENT/pull/92",
)
def each_flat_against_the_rents_of_all(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Rents from numbers and kinds: what is said is (N,), what is true is (N, 1), and their difference (N, N)."""
    generator = torch.Generator().manual_seed(seed)
    numbers, part = torch.randn(1600, 6, generator=generator), torch.randint(8, (1600, 1), generator=generator)
    worth = torch.randn(8, generator=generator)
    y = numbers[:, :1] + 0.8 * numbers[:, 1:2] * numbers[:, 2:3] + worth[part] + 0.2 * torch.randn(1600, 1, generator=generator)
    rows = data.split(torch.cat([numbers, part.float()], 1), (y - y.mean()) / y.std(), seed)

    class Rent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = nn.Embedding(8, 4)
            hidden = [nn.Linear(10, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)]
            self.net = nn.Sequential(*hidden)

        def forward(self, x: Tensor) -> Tensor:
            return self.net(torch.cat([x[:, :6], self.part(x[:, 6].long())], 1)).squeeze(-1)

    def loss_of(said: Tensor, y: Tensor) -> Tensor:
        return (said - (y[:, 0] if cured else y)).pow(2).mean()

    model = Rent()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), loss_of, optimizer)
    fit(doctor, model, optimizer, loss_of, data.batches(rows.x, rows.y, 64, 400, seed), rows)
    with torch.no_grad():
        return above(data.r2(model(rows.held_x), rows.held_y[:, 0]), 0.7)


@fault(
    kind="softmax-axis",
    project="DeepReinforcementLearning/DeepReinforcementLearningInAction",
    source="github.com/DeepReinforcementLearning/DeepReinforcementLearningInAction/issues/32",
)
def moves_shared_out_over_the_steps(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A policy ends in a softmax over axis 0: right for the one state it plays from, wrong for all states of a game at once."""
    generator = torch.Generator().manual_seed(seed)
    layers = [nn.Linear(2, 32), nn.LeakyReLU(), nn.Linear(32, 3), nn.Softmax(dim=-1 if cured else 0)]
    model = nn.Sequential(*layers)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

    def play(greedy: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """States (12, 2), moves (12,) and what each step paid: nearer to the goal is better."""
        place, goal = (4 * torch.rand(2, generator=generator) - 2).tolist()
        seen, done, paid = [], [], []
        for _ in range(12):
            state = torch.tensor([place, goal])
            with torch.no_grad():
                chance = model(state)
            move = int(chance.argmax()) if greedy else int(torch.multinomial(chance, 1, generator=generator))
            place = max(-2.0, min(2.0, place + 0.5 * (move - 1)))
            seen.append(state)
            done.append(move)
            paid.append(-abs(place - goal))
        return torch.stack(seen), torch.tensor(done), torch.tensor(paid)

    usual = torch.zeros(())
    with doctor.watch(model, optimizer) as watch:
        for _ in range(900):
            states, moves, paid = play()
            gain = paid.flip(0).cumsum(0).flip(0) / torch.arange(12, 0, -1)
            usual = 0.97 * usual + 0.03 * gain.mean()
            chance = model(states).gather(1, moves[:, None])[:, 0]
            loss = -((gain - usual) * (chance + 1e-8).log()).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(torch.stack([play(greedy=True)[2][6:].mean() for _ in range(60)]).mean(), -0.45)


@fault(
    kind="probabilities-as-logits",
    also=("underfitting", "slow-learning"),
    project="yudi-mars/daisyRec",
    source="github.com/yudi-mars/daisyRec/pull/15",
)
def likings_squashed_before_the_loss(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Who likes what, by products and a small net: the model squashes what it says, and the loss squashes once more."""
    generator = torch.Generator().manual_seed(seed)
    users, items = torch.randn(120, 2, generator=generator), torch.randn(80, 2, generator=generator)
    pairs = torch.cartesian_prod(torch.arange(120), torch.arange(80))
    liked = torch.bernoulli(torch.sigmoid(4 * (users[pairs[:, 0]] * items[pairs[:, 1]]).sum(1) - 2), generator=generator)
    rows = data.split(pairs, liked, seed)

    class Taste(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.user, self.item = nn.Embedding(120, 8), nn.Embedding(80, 8)
            self.deep = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8), nn.ReLU())
            self.out = nn.Linear(16, 1)
            for each in (self.user, self.item):
                nn.init.normal_(each.weight, 0, 0.1)

        def forward(self, pair: Tensor) -> Tensor:
            u, i = self.user(pair[:, 0]), self.item(pair[:, 1])
            said = self.out(torch.cat([u * i, self.deep(torch.cat([u, i], 1))], 1))[:, 0]
            return said if cured else said.sigmoid()

    model = Taste()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    loss_fn = F.binary_cross_entropy_with_logits
    doctor.task(model, data.few(rows.x, rows.y, 128, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 128, 450, seed), rows)
    with torch.no_grad():
        return below(loss_fn(model(rows.held_x), rows.held_y), 0.5)


@fault(
    kind="non-finite",
    also=("other-loss",),
    project="tanatosuu/GDE",
    source="github.com/tanatosuu/GDE/issues/3",
)
def logarithm_of_a_difference(doctor: Doctor, seed: int, cured: bool) -> Score:
    """What was bought should score above what was not: the logarithm is taken of the difference, without a sigmoid before it."""
    generator = torch.Generator().manual_seed(seed)
    taste, kind = torch.randint(5, (60,), generator=generator), torch.randint(5, (50,), generator=generator)
    bought = torch.rand(60, 50, generator=generator) < torch.where(taste[:, None] == kind, 0.6, 0.04)
    hidden = bought & (torch.rand(60, 50, generator=generator) < 0.25)
    known = bought & ~hidden
    graph = known.float() / (known.sum(1, keepdim=True).clamp(min=1) * known.sum(0).clamp(min=1)).sqrt()
    buys = known.nonzero()

    class Smooth(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.users, self.items = nn.Embedding(60, 16), nn.Embedding(50, 16)
            for each in (self.users, self.items):
                nn.init.xavier_normal_(each.weight)

        def forward(self) -> tuple[Tensor, Tensor]:
            u, i = self.users.weight, self.items.weight
            return u + graph @ i, i + graph.T @ u

    model = Smooth()
    optimizer = torch.optim.SGD(model.parameters(), lr=5.0)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(1500):
            pick = buys[torch.randint(len(buys), (128,), generator=generator)]
            other = torch.randint(50, (128,), generator=generator)
            users, items = model()
            u = users[pick[:, 0]]
            out = (u * items[pick[:, 1]]).sum(1) - (u * items[other]).sum(1)
            loss = -(out.sigmoid() if cured else out).log().mean() + 1e-4 * u.pow(2).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        users, items = model()
        score = users @ items.T
    wanted, never = score[hidden], score[~bought]
    return above((wanted[:, None] > never).float().mean(), 0.65)
