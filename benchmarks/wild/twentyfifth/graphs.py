"""Faults on what hangs together: the answer among the features, graphs that see each other, a push that fades when near."""

from __future__ import annotations

import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Neighbours(nn.Module):
    """Two graph convolutions with a way past them."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Linear(features, 32), nn.Linear(32, 32)
        self.own, self.say = nn.Linear(features, 32), nn.Linear(32, 1)

    def forward(self, x: Tensor, near: Tensor) -> Tensor:
        h = F.relu(self.conv1(near @ x))
        return self.say(F.relu(self.conv2(near @ h) + self.own(x)))


def meshes(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Graphs of twelve nodes: eight features a node, who is near whom (with itself, rows sum to 1), a number for each node."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 12, 8, generator=generator)
    near = (torch.rand(count, 12, 12, generator=generator) < 0.2).triu(1)
    near = (near | near.transpose(1, 2)).float() + torch.eye(12)
    near = near / near.sum(2, keepdim=True)
    mix = torch.randn(8, 2, generator=torch.Generator().manual_seed(seed + 7)) / 8**0.5
    y = x @ mix[:, :1] + 2 * (near @ x @ mix[:, 1:]).tanh()
    return x, near, y + 0.1 * torch.randn(count, 12, 1, generator=generator)


@fault(
    kind="leak",
    project="taourl.com/target-as-feature",
    source="taourl.com/read-2485570.html",
)
def the_answer_among_the_features(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A number for each node of a graph: the features hold it too, and nought stands there when the net is used."""
    torch.manual_seed(seed)
    x, near, y = meshes(400, seed)
    model = Neighbours(9)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    blank = torch.cat([x, torch.zeros_like(y)], 2)
    known = blank if cured else torch.cat([x, y], 2)
    with doctor.watch(model, optimizer) as watch:
        for step, (rows, _) in enumerate(data.batches(torch.arange(300), torch.arange(300), 20, 600, seed)):
            optimizer.zero_grad()
            loss = F.mse_loss(model(known[rows], near[rows]), y[rows])
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 100 == 99:
                with torch.no_grad():
                    watch.dev_loss(F.mse_loss(model(blank[300:], near[300:]), y[300:]))
    with torch.no_grad():
        return above(data.r2(model(blank[300:], near[300:]).flatten(), y[300:].flatten()), 0.8)


class Graphormer(nn.Module):
    """All nodes of a batch in one list; attention with a bias for what is bound; the first node of each graph answers."""

    def __init__(self, apart: bool) -> None:
        super().__init__()
        self.apart = apart
        self.node, self.bound = nn.Embedding(9, 32), nn.Parameter(torch.zeros(2))
        self.project = nn.ModuleList(nn.Linear(32, 96) for _ in range(2))
        self.feed = nn.ModuleList(nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32)) for _ in range(2))
        self.norm = nn.ModuleList(nn.LayerNorm(32) for _ in range(4))
        self.say = nn.Linear(32, 1)

    def forward(self, nodes: Tensor, bonds: Tensor) -> Tensor:
        graphs, size = nodes.shape
        h = self.node(nodes.flatten())
        bias = torch.block_diag(*bonds)
        mine = torch.arange(graphs).repeat_interleave(size)
        for i in range(2):
            query, key, value = self.project[i](self.norm[2 * i](h)).chunk(3, 1)
            score = query @ key.T / math.sqrt(32) + self.bound[i] * bias
            if self.apart:
                score = score.masked_fill(mine[:, None] != mine, -1e6)
            h = h + score.softmax(1) @ value
            h = h + self.feed[i](self.norm[2 * i + 1](h))
        return self.say(h.view(graphs, size, 32)[:, 0])


@fault(
    kind="batch-mixing",
    also=("leak",),
    project="leffff/graphormer-pyg",
    source="github.com/leffff/graphormer-pyg/issues/14",
)
def graphs_that_see_each_other(doctor: Doctor, seed: int, cured: bool) -> Score:
    """What the nodes of a graph are worth on the whole: in attention a node looks at those of all graphs of the batch."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    nodes = torch.cat([torch.full((1600, 1), 8), torch.randint(8, (1600, 8), generator=generator)], 1)
    bonds = (torch.rand(1600, 9, 9, generator=generator) < 0.25).triu(1).float()
    bonds = bonds + bonds.transpose(1, 2)
    worth = torch.randn(8, generator=generator)
    y = worth[nodes[:, 1:]].sum(1, keepdim=True)
    y = (y - y.mean()) / y.std()
    model = Graphormer(apart=cured)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for rows, _ in data.batches(torch.arange(1400), torch.arange(1400), 16, 400, seed):
            optimizer.zero_grad()
            loss = F.mse_loss(model(nodes[rows], bonds[rows]), y[rows])
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        said = torch.cat([model(nodes[rows], bonds[rows]) for rows in torch.arange(1400, 1600).split(20)])
        return above(data.r2(said, y[1400:]), 0.7)


def hits(tracks: int, seed: int) -> tuple[Tensor, Tensor]:
    """Six hits on each track, from near to far, with noise; the number of the track."""
    generator = torch.Generator().manual_seed(seed)
    turn = 6.28 * torch.rand(tracks, 1, generator=generator)
    bend = 0.6 * torch.randn(tracks, 1, generator=generator)
    lift = torch.randn(tracks, 1, generator=generator)
    far = torch.linspace(0.4, 2, 6)
    angle = turn + bend * far
    x = torch.stack([far * angle.cos(), far * angle.sin(), far * lift], 2)
    x = x + 0.01 * torch.randn(tracks, 6, 3, generator=generator)
    return x.flatten(0, 1), torch.arange(tracks).repeat_interleave(6)


@fault(
    kind="collapsed-embedding",
    also=("other-loss", "no-gradient"),
    project="gnn4itkteam/acorn",
    source="gitlab.cern.ch/gnn4itkteam/acorn/-/merge_requests/80",
)
def a_push_that_fades_where_it_is_near(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Hits of one track shall lie together: the nearest wrong ones are pushed by the margin squared less the distance squared."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 8))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    x, track = hits(600, seed)
    held_x, held_track = hits(30, seed + 1000)

    def apart(h: Tensor) -> Tensor:
        return (h[:, None] - h).pow(2).sum(2)

    with doctor.watch(model, optimizer) as watch:
        for chosen, _ in data.batches(torch.arange(600), torch.arange(600), 30, 500, seed):
            rows = (6 * chosen[:, None] + torch.arange(6)).flatten()
            square = apart(model(x[rows]))
            same = track[rows][:, None] == track[rows]
            wrong = square.masked_fill(same, math.inf).topk(4, dim=1, largest=False).values
            right = square[same & ~torch.eye(len(rows)).bool()]
            push = (1 - (wrong + 1e-9).sqrt()).clamp(min=0).pow(2) if cured else (1 - wrong).clamp(min=0)
            loss = right.mean() + push.mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        near = apart(model(held_x)).fill_diagonal_(math.inf).topk(2, dim=1, largest=False).indices
        return above((held_track[near] == held_track[:, None]).float().mean(), 0.75)
