"""Edges of batched graphs in small trainings."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from trainings import adam, checked, named, remarks

from lettrine import health
from lettrine.health.findings import Report


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(3)


class Graphs(nn.Module):
    """Two rounds of messages, and a mean over the nodes of each graph."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.out = nn.Linear(4, 16), nn.Linear(16, 16), nn.Linear(16, 2)

    def forward(self, x: Tensor, edges: Tensor, batch: Tensor) -> Tensor:
        for layer in (self.first, self.second):
            h = layer(x)
            x = torch.relu(h + torch.zeros_like(h).index_add(0, edges[1], h[edges[0]]))
        graphs = int(batch[-1]) + 1
        total = torch.zeros(graphs, x.shape[1]).index_add(0, batch, x)
        return self.out(total / torch.bincount(batch)[:, None])


class Dense(Graphs):
    """The same of (graphs, nodes, features), with the edges in the first column of each node."""

    def forward(self, x: Tensor, moved: bool) -> Tensor:
        graphs, nodes, _ = x.shape
        to = x[..., 0].long() + (nodes * torch.arange(graphs)[:, None] if moved else 0)
        return super().forward(
            x.reshape(graphs * nodes, -1), torch.stack([to.reshape(-1), torch.arange(graphs * nodes)]), _numbered(graphs, nodes)
        )


class Held(Graphs):
    def forward(self, batch: Any) -> Tensor:
        return super().forward(batch.x, batch.edge_index, batch.batch)


def _numbered(graphs: int, nodes: int) -> Tensor:
    return torch.arange(graphs).repeat_interleave(nodes)


def trained(way: str, *, moved: bool, graphs: int = 16, steps: int = 12, by: Callable[[int], int] = int) -> Report:
    model = {"plain": Graphs, "dense": Dense, "held": Held}[way]()
    optimiser = adam(model)
    with health.watch(model, optimiser) as watch:
        for _ in range(steps):
            edges = torch.randint(6, (graphs, 2, 10))
            if moved:
                edges = edges + 6 * torch.tensor([by(graph) for graph in range(graphs)])[:, None, None]
            x, batch, links = torch.randn(6 * graphs, 4), _numbered(graphs, 6), edges.transpose(0, 1).reshape(2, -1)
            if way == "dense":
                table = torch.cat([torch.randint(6, (graphs, 6, 1)).float(), x.view(graphs, 6, 4)[..., 1:]], 2)
                output = model(table, moved)
            else:
                output = model(SimpleNamespace(x=x, edge_index=links, batch=batch)) if way == "held" else model(x, links, batch)
            loss = functional.cross_entropy(output, torch.randint(2, (graphs,)))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    return checked(watch.report())


@pytest.mark.parametrize("way", ["plain", "dense", "held"])
def test_edges_that_are_not_moved_on(way: str) -> None:
    finding = named(trained(way, moved=False))["batch-mixing"]
    assert "16 graphs lie one after another, 96 nodes in all, and no edge has a node's number of 6 or more" in finding.message
    report = trained(way, moved=True)
    assert "batch-mixing" not in {**named(report), **remarks(report)}


def test_edges_moved_on_by_the_graph_before_alone() -> None:
    finding = named(trained("plain", moved=True, by=lambda graph: min(graph, 1)))["batch-mixing"]
    assert "no edge reaches a node after the first 2 graphs" in finding.message
    assert "of nodes in all graphs before it" in finding.remedy
    half = trained("plain", moved=True, by=lambda graph: min(graph, 8))  # nine graphs of sixteen have edges
    assert "batch-mixing" not in {**named(half), **remarks(half)}


class Whole(Graphs):
    """(graphs, nodes, features) laid end to end, and all edges between six nodes. way: what is done with these."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        graphs, nodes, _ = x.shape
        one = torch.cartesian_prod(torch.arange(nodes), torch.arange(nodes)).T
        edges = one if self.way != "moved" else torch.cat([one + nodes * graph for graph in range(graphs)], 1)
        h = self.first(x).reshape(graphs * nodes, -1)
        told = h[edges[0]]
        if self.way == "picked":  # rows of the first graph are looked at, and nothing is handed on
            return self.out(torch.relu(h).view(graphs, nodes, -1).mean(1)) + 0.01 * self.out(told).mean()
        h = torch.relu(h + torch.zeros_like(h).index_add(0, edges[1], told))
        return self.out(h.view(graphs, nodes, -1).mean(1))


@pytest.mark.parametrize(("way", "told"), [("first", True), ("moved", False), ("picked", False)])
def test_edges_made_for_one_graph(way: str, told: bool) -> None:
    model = Whole(way)
    optimiser = adam(model)
    with health.watch(model, optimiser) as watch:
        for _ in range(12):
            loss = functional.cross_entropy(model(torch.randn(32, 6, 4)), torch.randint(2, (32,)))  # 36 edges, 192 nodes
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    assert ("batch-mixing" in named(checked(watch.report()))) is told


def test_few_graphs_say_nothing() -> None:
    assert "batch-mixing" not in named(trained("plain", moved=False, graphs=3))


def test_one_set_of_edges_for_all_graphs() -> None:
    """As of a skeleton: (graphs, nodes, features), and edges between the nodes of each."""

    class Skeleton(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.out = nn.Linear(4, 16), nn.Linear(16, 2)

        def forward(self, x: Tensor, edges: Tensor) -> Tensor:
            h = self.first(x)
            return self.out(torch.relu(h + torch.zeros_like(h).index_add(1, edges[1], h[:, edges[0]])).mean(1))

    model = Skeleton()
    optimiser = adam(model)
    edges = torch.randint(6, (2, 60))
    with health.watch(model, optimiser) as watch:
        for _ in range(12):
            loss = functional.cross_entropy(model(torch.randn(8, 6, 4), edges), torch.randint(2, (8,)))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    report = checked(watch.report())
    assert "batch-mixing" not in {**named(report), **remarks(report)}
