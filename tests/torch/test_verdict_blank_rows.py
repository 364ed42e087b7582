"""Examples of which nothing is left inside the network, and those that give one answer for a reason."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from verdicts import batches, watched

NODES = 128


class Graph(nn.Module):
    def __init__(self, links: Tensor) -> None:
        super().__init__()
        self.links, self.first, self.last = links, nn.Linear(6, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.links @ self.last(torch.relu(self.links @ self.first(x)))


def links(*, loops: bool, apart: int) -> Tensor:
    """A ring, and so many nodes without any neighbour."""
    ring = torch.eye(NODES).roll(1, 0) + torch.eye(NODES).roll(-1, 0)
    ring[:apart] = 0
    ring[:, :apart] = 0
    return (ring + (torch.eye(NODES) if loops else 0)) / 3


def said(model: nn.Module, x: Tensor, y: Tensor, steps: int = 60):
    data = [(x, y)] if len(x) == NODES else batches(x, y, 64)
    report = watched(model, data, lambda m, x, y: functional.cross_entropy(m(x), y), steps=steps, rate=1e-3)
    return [each for each in report.findings if each.id == "no-learning" and "exactly 0" in each.message]


def task(count: int = NODES) -> tuple[Tensor, Tensor]:
    x = torch.randn(count, 6, generator=torch.Generator().manual_seed(1))
    return x, x[:, :4].argmax(1)


def test_nodes_without_neighbours_or_a_loop():
    torch.manual_seed(0)
    (found,) = said(Graph(links(loops=False, apart=30)), *task())
    assert (found.severity, found.where) == ("warning", ("last",))
    assert "23 % of the examples get one and the same answer" in found.message
    assert "between first and last" in found.remedy


@pytest.mark.parametrize(("loops", "apart"), [(True, 30), (False, 0), (False, 3)])
def test_nodes_that_pass_something_on(loops, apart):
    torch.manual_seed(0)
    assert said(Graph(links(loops=loops, apart=apart)), *task()) == []


class Rows(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.first, self.last = how, nn.Linear(6, 3 if how == "narrow" else 16), nn.Linear(16, 4)
        self.narrow, self.drop = nn.Linear(3, 4), nn.Dropout(0.9)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.first(x))
        if self.how == "narrow":
            return self.narrow(h)
        if self.how == "masked":
            h = h * (torch.arange(len(x)) < 40)[:, None]
        return self.last(self.drop(h) if self.how == "dropped" else h)


@pytest.mark.parametrize(("how", "named"), [("masked", True), ("narrow", False), ("dropped", False), ("", False)])
def test_rows_that_are_blank(how, named):
    torch.manual_seed(0)
    assert bool(said(Rows(how), *task(512))) is named


def test_the_same_input_has_the_same_answer():
    torch.manual_seed(0)
    x, y = task(512)
    x[::2] = 0  # empty rows
    assert said(Rows(""), x, y) == []
