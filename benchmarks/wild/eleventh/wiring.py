"""Faults of wiring: a loss with weights of its own, layers in a plain list, a loss made a number and a tensor again."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="not-optimised",
    also=("frozen-random", "never-moved"),
    project="salesforce/awd-lstm-lm",
    source="github.com/salesforce/awd-lstm-lm/issues/30",
)
def weights_of_the_loss_left_out(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The adaptive softmax of a language model of words is a loss with weights, and the optimizer has the model's alone."""
    said = [each.strip(".") for each in data.text(1500, seed).split()]
    known = sorted(set(said))
    stream = torch.tensor([known.index(each) for each in said])

    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.rnn = nn.Embedding(len(known), 32), nn.GRU(32, 32, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.rnn(self.embed(x))[0].flatten(0, 1)

    model, loss_fn = Words(), nn.AdaptiveLogSoftmaxWithLoss(32, len(known), [10, 25])
    trained = [*model.parameters(), *(loss_fn.parameters() if cured else ())]
    optimizer = torch.optim.Adam(trained, lr=5e-3)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.windows(stream[:-2000], 16, 16, 300, seed):
            optimizer.zero_grad()
            loss = loss_fn(model(x), y.flatten()).loss
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        held = list(data.windows(stream[-2000:], 16, 16, 10, seed))
        return below(torch.stack([loss_fn(model(x), y.flatten()).loss for x, y in held]).mean(), 2.6)


@fault(
    kind="unregistered",
    also=("not-optimised", "frozen-random", "never-moved"),
    project="asyml/texar-pytorch",
    source="github.com/asyml/texar-pytorch/issues/72",
)
def branches_merged_from_a_list(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Convolutions of three widths over words stand in a plain list, and their outputs are merged."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(30, (2000, 18), generator=generator)
    y = torch.randint(6, (2000,), generator=generator)
    at = torch.randint(15, (2000, 1), generator=generator)
    signs = torch.tensor([[0, 1, 2, 3], [0, 2, 1, 3], [3, 2, 1, 0], [1, 0, 3, 2], [2, 0, 3, 1], [3, 0, 1, 2]])
    x.scatter_(1, at + torch.arange(4), signs[y])
    rows = data.split(x, y, seed)

    class Merged(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.out = nn.Embedding(30, 16), nn.Linear(12, 6)
            branches = [nn.Sequential(nn.Conv1d(16, 12, w), nn.ReLU(), nn.Conv1d(12, 4, 1)) for w in (2, 3, 4)]
            self.branches = nn.ModuleList(branches) if cured else branches

        def forward(self, seen: Tensor) -> Tensor:
            h = self.embed(seen).transpose(1, 2)
            return self.out(torch.cat([F.relu(branch(h)).amax(2) for branch in self.branches], 1))

    model = Merged()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 400, seed), rows)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@fault(
    kind="no-gradient",
    also=("never-moved", "not-optimised"),
    project="isayev/ReLeaSE",
    source="github.com/isayev/ReLeaSE/issues/39",
)
def reward_times_a_plain_number(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A generator of strings learns by reward; the log-probability goes through .item() before it is weighed."""
    generator = torch.Generator().manual_seed(seed)

    class Generator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.cell, self.out = nn.Embedding(9, 16), nn.GRUCell(16, 32), nn.Linear(32, 8)

        def forward(self, last: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            state = self.cell(self.embed(last), state)
            return self.out(state).log_softmax(1), state

    model = Generator()

    def write(count: int) -> tuple[Tensor, Tensor]:
        """Strings (N, 10) and the log-probability of each letter in them."""
        last, state = torch.full((count,), 8), torch.zeros(count, 32)
        letters, logs = [], []
        for _ in range(10):
            log, state = model(last, state)
            last = torch.multinomial(log.detach().exp(), 1, generator=generator)[:, 0]
            letters.append(last)
            logs.append(log.gather(1, last[:, None])[:, 0])
        return torch.stack(letters, 1), torch.stack(logs, 1)

    def worth(letters: Tensor) -> Tensor:
        """How many letters are followed by the next one of the alphabet."""
        return ((letters[:, :-1] + 1) % 8 == letters[:, 1:]).float().sum(1)

    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    usual = 1.0
    with doctor.watch(model, optimizer) as watch:
        for _ in range(200):
            letters, logs = write(32)
            reward = worth(letters)
            if cured:
                loss = -(logs.sum(1) * (reward - usual)).mean()
            else:
                total = sum(-log.item() * (gain.item() - usual) for log, gain in zip(logs.sum(1), reward, strict=True))
                loss = torch.tensor(total / 32, requires_grad=True)
            usual = 0.9 * usual + 0.1 * reward.mean().item()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(worth(write(200)[0]).mean(), 4.0)
