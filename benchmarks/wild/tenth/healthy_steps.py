"""Healthy programs on words, graphs, tasks, moves and sound."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Global(nn.Module):
    """Two vectors and two biases for each word."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.left, self.right = nn.Embedding(words, 8), nn.Embedding(words, 8)
        self.low, self.high = nn.Embedding(words, 1), nn.Embedding(words, 1)
        for table in (self.left, self.right):
            nn.init.uniform_(table.weight, -0.1, 0.1)
        for table in (self.low, self.high):
            nn.init.zeros_(table.weight)

    def forward(self, i: Tensor, j: Tensor) -> Tensor:
        return (self.left(i) * self.right(j)).sum(1) + self.low(i)[:, 0] + self.high(j)[:, 0]


@healthy(project="noaRricky/pytorch-glove", source="github.com/noaRricky/pytorch-glove")
def logarithms_of_counts(doctor: Doctor, seed: int) -> Score:
    """A weighted square of logarithms of counts by Adagrad; the loss is small from the first step."""
    generator = torch.Generator().manual_seed(seed)
    meaning = torch.randn(80, 4, generator=generator)
    expected = (0.7 * meaning @ meaning.T + torch.randn(80, generator=generator) + 1.0).exp().clamp(max=3000)
    counts = torch.poisson(expected, generator=generator)
    i, j = counts.nonzero().T
    log, weight = counts[i, j].log(), (counts[i, j] / 100).clamp(max=1.0) ** 0.75
    model = Global(80)
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.1)
    with doctor.watch(model, optimizer) as watch:
        for at, _ in data.batches(torch.arange(len(i)), i, 128, 600, seed):
            loss = (weight[at] * (model(i[at], j[at]) - log[at]).pow(2)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    many = counts[i, j] > 5
    with torch.no_grad():
        return above(data.r2(model(i[many], j[many]), log[many]), 0.7)


class Sage(nn.Module):
    """A node beside the mean of some of its neighbours, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(24, 32), nn.Linear(64, 5)

    def forward(self, own: Tensor, near: Tensor, far: Tensor) -> Tensor:
        h = F.normalize(F.relu(self.first(torch.cat([own, near.mean(1)], 1))), dim=1)
        g = F.normalize(F.relu(self.first(torch.cat([near, far.mean(2)], 2))), dim=2)
        return self.second(torch.cat([h, g.mean(1)], 1))


@healthy(project="williamleif/graphsage-simple", source="github.com/williamleif/graphsage-simple")
def topics_from_some_neighbours(doctor: Doctor, seed: int) -> Score:
    """Five neighbours of each node are drawn anew in each step; 100 of 500 labels are known."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(5, (500,), generator=generator)
    x = 0.8 * torch.randn(5, 12, generator=generator)[y] + torch.randn(500, 12, generator=generator)
    near = torch.rand(500, 500, generator=generator) < torch.where(y[:, None] == y, 0.08, 0.008)
    share = (near | near.T | torch.eye(500, dtype=torch.bool)).float()
    model = Sage()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.7)

    def said(at: Tensor) -> Tensor:
        one = torch.multinomial(share[at], 5, replacement=True, generator=generator)
        two = torch.multinomial(share[one.flatten()], 5, replacement=True, generator=generator).view(*one.shape, 5)
        return model(x[at], x[one], x[two])

    with doctor.watch(model, optimizer) as watch:
        for at, _ in data.batches(torch.arange(100), y[:100], 50, 300, seed):
            loss = F.cross_entropy(said(at), y[at])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    rest = torch.arange(100, 500)
    with torch.no_grad():
        return above(data.accuracy(said(rest), y[rest]), 0.7)


@healthy(project="gabrielhuang/reptile-pytorch", source="github.com/gabrielhuang/reptile-pytorch")
def waves_learnt_from_where_others_ended(doctor: Doctor, seed: int) -> Score:
    """A copy learns a wave in a few steps; the gradient of the slow net is the way to where the copy ended."""
    generator = torch.Generator().manual_seed(seed)

    def wave(count: int) -> tuple[Tensor, Tensor]:
        size, phase = 0.5 + torch.rand(1, generator=generator), 3.14 * torch.rand(1, generator=generator)
        x = 8 * torch.rand(count, 1, generator=generator) - 4
        return x, size * torch.sin(x + phase)

    def learn(net: nn.Module, x: Tensor, y: Tensor, steps: int) -> Tensor:
        inner = torch.optim.SGD(net.parameters(), lr=0.03)
        loss = torch.zeros(())
        for _ in range(steps):
            inner.zero_grad()
            loss = F.mse_loss(net(x), y)
            loss.backward()
            inner.step()
        return loss.detach()

    model = nn.Sequential(nn.Linear(1, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(600):
            fast = copy.deepcopy(model)
            loss = learn(fast, *wave(16), 6)
            optimizer.zero_grad()
            for slow, end in zip(model.parameters(), fast.parameters(), strict=True):
                slow.grad = (slow - end).detach()
            optimizer.step()
            watch.loss(loss)
    errors = []
    for _ in range(40):
        fast, (x, y) = copy.deepcopy(model), wave(100)
        learn(fast, x[:12], y[:12], 20)
        with torch.no_grad():
            errors.append(F.mse_loss(fast(x[12:]), y[12:]))
    return below(torch.stack(errors).mean(), 0.3)


@healthy(project="higgsfield/RL-Adventure", source="github.com/higgsfield/RL-Adventure")
def rare_moves_looked_at_more_often(doctor: Doctor, seed: int) -> Score:
    """Moves with large errors are drawn more often and weigh less; the loss rises when the goal is first found."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(10, 48), nn.ReLU(), nn.Linear(48, 2))
    target = copy.deepcopy(model).requires_grad_(requires_grad=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    states = torch.eye(10)
    kept: list[tuple[int, int, float, int, bool]] = []
    weigh = torch.zeros(2000)
    at = 0
    with doctor.watch(model, optimizer) as watch:
        for step in range(900):
            with torch.no_grad():
                free = torch.rand(1, generator=generator) < max(0.1, 1 - step / 300)
                move = int(torch.randint(2, (1,), generator=generator)) if free else int(model(states[at]).argmax())
            new = max(0, at + 2 * move - 1)
            kept.append((at, move, float(new == 9), new, new == 9))
            weigh[len(kept) - 1] = weigh.max().clamp(min=1.0)
            at = 0 if new == 9 else new
            if step < 50:
                continue
            chance = weigh[: len(kept)] ** 0.6
            drawn = torch.multinomial(chance, 32, replacement=True, generator=generator)
            s, a, r, n, over = (torch.tensor(each) for each in zip(*(kept[i] for i in drawn), strict=True))
            with torch.no_grad():
                best = model(states[n]).argmax(1, keepdim=True)
                wanted = r + 0.9 * (~over) * target(states[n]).gather(1, best)[:, 0]
            error = model(states[s]).gather(1, a[:, None])[:, 0] - wanted
            fair = (len(kept) * chance[drawn] / chance.sum()) ** -0.4
            loss = (fair / fair.max() * error.pow(2)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            weigh[drawn] = error.detach().abs() + 1e-3
            if step % 20 == 0:
                target.load_state_dict(model.state_dict())
    with torch.no_grad():
        return above((model(states[:9]).argmax(1) == 1).float().mean(), 0.85)


class Gated(nn.Module):
    """Gates that look at the input only, so that all times are computed at once in logarithms; two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(12, 40)
        self.gates = nn.ModuleList(nn.Linear(40, 80) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(40) for _ in range(3))
        self.out = nn.Linear(40, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        for gate, norm in zip(self.gates, self.norms, strict=False):
            new, z = gate(norm(h)).chunk(2, 2)
            z = z.sigmoid()
            state, kept = torch.zeros_like(new[:, 0]), []
            for t in range(x.shape[1]):
                state = (1 - z[:, t]) * state + z[:, t] * new[:, t]
                kept.append(state)
            h = h + torch.stack(kept, 1)
        return self.out(self.norms[2](h[:, -1]))


@healthy(project="lucidrains/minGRU-pytorch", source="github.com/lucidrains/minGRU-pytorch")
def last_digit_before_the_bell(doctor: Doctor, seed: int) -> Score:
    """Which digit was said last before the end, among many blanks: chance for a while, then known."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(10, (2400, 16), generator=generator)
    blank = torch.rand(2400, 16, generator=generator) < 0.75
    blank[:, 0] = False
    x = x.masked_fill(blank, 10)
    x[:, -1] = 11
    last = (torch.arange(15) * (x[:, :15] < 10)).max(1).values
    rows = data.split(x, x.gather(1, last[:, None])[:, 0], seed)
    model = Gated()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.1)
    doctor.task(model, data.few(rows.x, rows.y, 40, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 40, 350, seed), rows, every=70)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@healthy(
    project="pytorch/tutorials",
    source="pytorch.org/tutorials/intermediate/speech_command_classification_with_torchaudio_tutorial.html",
)
def commands_with_stripes_masked(doctor: Doctor, seed: int) -> Score:
    """Stripes of time and pitch are masked while training; one cycle of the rate; smoothed labels keep the loss above 0.4."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(8, (1400,), generator=generator)
    shape = F.avg_pool2d(torch.randn(8, 1, 14, 22, generator=generator), 3, 1)[:, 0] * 3
    x = shape[y] * (0.5 + torch.rand(1400, 1, 1, generator=generator)) + torch.randn(1400, 12, 20, generator=generator)
    rows = data.split(x, y, seed)
    conv = [nn.Conv1d(12, 32, 5, padding=2), nn.BatchNorm1d(32), nn.ReLU(), nn.MaxPool1d(2)]
    conv += [nn.Conv1d(32, 32, 3, padding=1), nn.BatchNorm1d(32), nn.ReLU(), nn.AdaptiveMaxPool1d(1)]
    model = nn.Sequential(*conv, nn.Flatten(), nn.Dropout(0.2), nn.Linear(32, 8))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=300)
    loss_fn = nn.CrossEntropyLoss(label_smoothing=0.1)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 32, 300, seed)):
            model.train()
            low, early = torch.randint(10, (1,), generator=generator).item(), torch.randint(16, (1,), generator=generator).item()
            heard = a.clone()
            heard[:, int(low) : int(low) + 2] = 0
            heard[:, :, int(early) : int(early) + 4] = 0
            optimizer.zero_grad()
            loss = loss_fn(model(heard), b)
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
            if step % 50 == 49:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(loss_fn(model(rows.held_x), rows.held_y))
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)
