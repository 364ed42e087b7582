"""Graph convolutions over a matrix of links as it is, and divided by the number of neighbours."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from trainings import adam, checked, named

from lettrine import health
from lettrine.health.findings import Report


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in ((16, 32), (32, 32), (32, 4)))

    def forward(self, x: Tensor, links: Tensor) -> Tensor:
        for place, layer in enumerate(self.layers):
            x = links @ layer(x if not place else torch.relu(x))
        return x


def graph(nodes: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Nodes of four kinds, linked mostly with their own; some have many more neighbours than others."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.randint(4, (nodes,), generator=generator)
    size = torch.exp(1.2 * torch.randn(nodes, generator=generator))
    chance = 0.005 * size[:, None] * size * (1 + 9 * (kinds[:, None] == kinds))
    upper = (torch.rand(nodes, nodes, generator=generator) < chance.clamp(max=0.9)).float().triu(1)
    x = torch.randn(nodes, 16, generator=generator) + functional.one_hot(kinds, 16)
    return upper + upper.T + torch.eye(nodes), x, kinds


def trained(way: str) -> Report:
    torch.manual_seed(0)
    model = Convolutions()
    optimiser = adam(model, 1e-2)
    (links, x, y), (held_links, held_x, held_y) = graph(300, 0), graph(600, 1)
    if way == "divided":
        links, held_links = links / links.sum(1, keepdim=True), held_links / held_links.sum(1, keepdim=True)
    with health.watch(model, optimiser) as watch:
        for step in range(150):
            loss = functional.cross_entropy(model(x, links), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
            if step % 10 == 9:
                with torch.no_grad():
                    watch.dev_loss(functional.cross_entropy(model(held_x, held_links), held_y))
    return checked(watch.report())


@pytest.mark.parametrize("way", ["summed", "divided"])
def test_sums_over_all_neighbours(way: str) -> None:
    report = trained(way)
    told = named(report)
    assert "held-out-labels" not in told  # both graphs are labelled alike
    assert bool(report.trace.seen("neighbour sums")) is (way == "summed")
    remedies = [each.remedy for each in told.values() if each.id in ("activation-scale", "overfitting")]
    assert any("Divide the sums by the number of neighbours" in each for each in remedies) is (way == "summed")
    if way == "summed":
        assert "normalise after each layer. Then stop where it is best, or go on with more data" in told["overfitting"].remedy
        assert not any("gain/sqrt(fan_in)" in each for each in remedies)
