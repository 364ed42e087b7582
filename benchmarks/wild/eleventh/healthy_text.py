"""Healthy programs on rows of signs and on graphs: whole rows of tags, trees, memories, links, waves."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Tagger(nn.Module):
    """Scores of tags by an LSTM, and of one tag after another; gives minus the log-probability of whole rows, summed."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.rnn = nn.Embedding(40, 16), nn.LSTM(16, 24, batch_first=True, bidirectional=True)
        self.out, self.after = nn.Linear(48, 5), nn.Parameter(torch.empty(5, 5).uniform_(-0.1, 0.1))

    def scores(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(self.embed(x))[0])

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        said = self.scores(x)
        path = said.gather(2, y[..., None])[..., 0].sum(1) + self.after[y[:, :-1], y[:, 1:]].sum(1)
        total = said[:, 0]
        for t in range(1, x.shape[1]):
            total = (total[:, :, None] + self.after).logsumexp(1) + said[:, t]
        return (total.logsumexp(1) - path).sum()

    def best(self, x: Tensor) -> Tensor:
        """The likeliest tags (N, T)."""
        said, back = self.scores(x), []
        total = said[:, 0]
        for t in range(1, x.shape[1]):
            total, at = (total[:, :, None] + self.after).max(1)
            total = total + said[:, t]
            back.append(at)
        tags = [total.argmax(1)]
        for at in reversed(back):
            tags.append(at.gather(1, tags[-1][:, None])[:, 0])
        return torch.stack(tags[::-1], 1)


@healthy(project="kmkurn/pytorch-crf", source="github.com/kmkurn/pytorch-crf")
def whole_rows_of_tags(doctor: Doctor, seed: int) -> Score:
    """Tags that follow a chain, each word fitting two; the loss is a sum over a batch of rows and begins near 300."""
    generator = torch.Generator().manual_seed(seed)
    chain = torch.rand(5, 5, generator=generator) ** 4
    tags = [torch.randint(5, (1200,), generator=generator)]
    for _ in range(11):
        tags.append(torch.multinomial(chain[tags[-1]], 1, generator=generator)[:, 0])
    y = torch.stack(tags, 1)
    kind = torch.where(torch.rand(y.shape, generator=generator) < 0.7, y, (y + 1) % 5)
    x = 8 * kind + torch.randint(8, y.shape, generator=generator)
    rows = data.split(x, y, seed)
    model = Tagger()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, weight_decay=1e-4)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 16, 280, seed):
            optimizer.zero_grad()
            loss = model(a, b)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above((model.best(rows.held_x) == rows.held_y).float().mean(), 0.75)


class Tree(nn.Module):
    """A cell for two children, applied from the leaves up."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.gates, self.out = nn.Embedding(14, 24), nn.Linear(48, 120), nn.Linear(24, 2)

    def read(self, tree: object) -> tuple[Tensor, Tensor]:
        """State and memory (24,) of a tree: a number or a pair of trees."""
        if not isinstance(tree, tuple):
            h = self.embed(torch.tensor(tree))
            return h.tanh(), h
        (left, kept), (right, too) = self.read(tree[0]), self.read(tree[1])
        i, o, new, f, g = self.gates(torch.cat([left, right])).chunk(5)
        memory = i.sigmoid() * new.tanh() + (f + 1).sigmoid() * kept + (g + 1).sigmoid() * too
        return o.sigmoid() * memory.tanh(), memory

    def forward(self, tree: object) -> Tensor:
        return self.out(self.read(tree)[0])


@healthy(project="dasguptar/treelstm.pytorch", source="github.com/dasguptar/treelstm.pytorch")
def one_tree_at_a_time(doctor: Doctor, seed: int) -> Score:
    """Trees of minima and maxima of digits, read one by one; a step after every ten, so most backward passes have no step."""
    generator = torch.Generator().manual_seed(seed)

    def grow(depth: int) -> tuple[object, int]:
        """A tree (what to do, (left, right)) and its worth."""
        if depth == 0 or torch.rand((), generator=generator) < 0.2:
            leaf = int(torch.randint(10, (), generator=generator))
            return leaf, leaf
        (a, left), (b, right) = grow(depth - 1), grow(depth - 1)
        top = bool(torch.rand((), generator=generator) < 0.5)
        return (10 + top, (a, b)), max(left, right) if top else min(left, right)

    trees = [grow(3) for _ in range(1100)]
    model = Tree()
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.08, weight_decay=1e-4)
    with doctor.watch(model, optimizer) as watch:
        for at, (tree, worth) in enumerate(trees[:800] * 2):
            loss = F.cross_entropy(model(tree)[None], torch.tensor([int(worth > 4)]))
            (loss / 10).backward()
            watch.loss(loss)
            if at % 10 == 9:
                optimizer.step()
                optimizer.zero_grad()
    with torch.no_grad():
        right = [int(model(tree).argmax()) == int(worth > 4) for tree, worth in trees[800:]]
    return above(sum(right) / len(right), 0.8)


class Memory(nn.Module):
    """Two looks at a memory of pairs, with or without a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(26, 24) for _ in range(3))
        for table in self.tables:
            nn.init.normal_(table.weight, std=0.1)
        self.linear = True

    def forward(self, facts: Tensor, asked: Tensor) -> Tensor:
        state = self.tables[0](asked)
        for hop in (0, 1):
            match = (self.tables[hop](facts).sum(2) @ state[:, :, None])[..., 0]
            weight = match if self.linear else match.softmax(1)
            state = state + (weight[:, :, None] * self.tables[hop + 1](facts).sum(2)).sum(1)
        return state @ self.tables[2].weight.T


@healthy(project="nmhkahn/MemN2N-pytorch", source="github.com/nmhkahn/MemN2N-pytorch")
def softmax_put_in_when_under_way(doctor: Doctor, seed: int) -> Score:
    """Who is where: a memory is looked at without a softmax for the first part, and the loss jumps when it is put in."""
    generator = torch.Generator().manual_seed(seed)
    who = torch.stack([torch.randperm(13, generator=generator)[:5] for _ in range(2400)])
    facts = torch.stack([who, 13 + torch.randint(13, (2400, 5), generator=generator)], 2)
    at = torch.randint(5, (2400,), generator=generator)
    every = torch.arange(2400)
    asked, place = facts[every, at].T
    model = Memory()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    with doctor.watch(model, optimizer) as watch:
        for step, (rows, _) in enumerate(data.batches(every[:1800], every[:1800], 32, 900, seed)):
            model.linear = step < 350
            loss = F.cross_entropy(model(facts[rows], asked[rows]), place[rows])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.accuracy(model(facts[1800:], asked[1800:]), place[1800:]), 0.85)


@healthy(project="zfjsail/gae-pytorch", source="github.com/zfjsail/gae-pytorch")
def links_of_one_graph_from_noisy_places(doctor: Doctor, seed: int) -> Score:
    """A graph's own links are told from places drawn around a mean; the same whole graph in each step, rare links weigh more."""
    generator = torch.Generator().manual_seed(seed)
    group = torch.arange(200) % 6
    chance = torch.where(group[:, None] == group, 0.35, 0.01)
    links = torch.triu(torch.rand(200, 200, generator=generator) < chance, 1)
    hidden = links & (torch.rand(200, 200, generator=generator) < 0.15)
    seen = (links & ~hidden).float()
    seen = seen + seen.T + torch.eye(200)
    degree = seen.sum(1).rsqrt()
    near = degree[:, None] * seen * degree
    x = torch.randn(200, 30, generator=generator)

    class Places(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.mean, self.width = nn.Linear(30, 32), nn.Linear(32, 12), nn.Linear(32, 12)

        def forward(self, given: Tensor) -> tuple[Tensor, Tensor]:
            h = F.relu(near @ self.first(given))
            return near @ self.mean(h), near @ self.width(h)

    model = Places()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    rare = (200 * 200 - seen.sum()) / seen.sum()
    with doctor.watch(model, optimizer) as watch:
        for _ in range(200):
            mean, width = model(x)
            place = mean + width.exp() * torch.randn(mean.shape, generator=generator)
            fit_loss = (
                F.binary_cross_entropy_with_logits(place @ place.T, seen, pos_weight=rare) * 40000 / (2 * (40000 - seen.sum()))
            )
            spread = -0.5 / 200 * (1 + 2 * width - mean.pow(2) - (2 * width).exp()).sum(1).mean()
            loss = fit_loss + spread
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        mean, _ = model(x)
        said = mean @ mean.T
        apart = ~links & ~links.T & ~torch.eye(200, dtype=torch.bool)
        return above((said[hidden][:, None] > said[apart][::7]).float().mean(), 0.75)


@healthy(project="vincentherrmann/pytorch-wavenet", source="github.com/vincentherrmann/pytorch-wavenet")
def waves_in_thirty_two_steps(doctor: Doctor, seed: int) -> Score:
    """A wave of two tones as classes of loudness, by convolutions that look back 1, 2, 4 and 8; loss of the next step."""
    generator = torch.Generator().manual_seed(seed)
    time, tone = torch.arange(80.0), 0.15 + 0.5 * torch.rand(700, 2, 1, generator=generator)
    wave = torch.sin(tone * time + 6.283 * torch.rand(700, 2, 1, generator=generator)).mean(1)
    loud = wave.sign() * torch.log1p(31 * wave.abs()) / 3.4657
    signs = ((loud + 1) / 2 * 31).round().long().clamp(0, 31)

    class Wave(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv1d(32, 24, 1)
            self.gates = nn.ModuleList(nn.Conv1d(24, 48, 2, dilation=2**k) for k in range(4))
            self.mix = nn.ModuleList(nn.Conv1d(24, 24, 1) for _ in range(4))
            self.out = nn.Sequential(nn.ReLU(), nn.Conv1d(24, 32, 1))

        def forward(self, given: Tensor) -> Tensor:
            h = self.first(F.one_hot(given, 32).float().transpose(1, 2))
            total = torch.zeros_like(h)
            for k, (gate, mix) in enumerate(zip(self.gates, self.mix, strict=True)):
                new, kept = gate(F.pad(h, (2**k, 0))).chunk(2, 1)
                said = mix(new.tanh() * kept.sigmoid())
                h, total = h + said, total + said
            return self.out(total)

    parts = data.split(signs[:, :-1], signs[:, 1:], seed)
    model = Wave()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    doctor.task(model, data.few(parts.x, parts.y, 24, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(parts.x, parts.y, 24, 300, seed), parts)
    with torch.no_grad():
        return below(F.cross_entropy(model(parts.held_x)[:, :, 16:], parts.held_y[:, 16:]), 1.9)
