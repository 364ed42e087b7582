"""First answers that are made of embeddings, in small trainings."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from trainings import adam, checked

from lettrine import health
from lettrine.health.findings import Report


class Pairs(nn.Module):
    """A factorisation machine: products of the vectors of six fields, summed; and a layer beside them. way: what is added."""

    def __init__(self, way: str, std: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.beside = nn.Embedding(60, 16), nn.Linear(96, 1)
        nn.init.normal_(self.table.weight, std=std)
        if way == "beside":
            nn.init.normal_(self.beside.weight)
        self.way = way

    def forward(self, fields: Tensor) -> Tensor:
        h = self.table(fields)
        products = 0.5 * (h.sum(1).pow(2) - h.pow(2).sum(1)).sum(1)
        beside = self.beside(h.flatten(1))[:, 0]
        return products + beside if self.way == "products" else beside


class Tied(nn.Module):
    """The next of 60 letters, told by the table that the letters were looked up in."""

    def __init__(self, way: str, std: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.body, self.norm = nn.Embedding(60, 48), nn.Linear(6 * 48, 48), nn.LayerNorm(48)
        self.out = nn.Linear(48, 60)
        nn.init.normal_(self.table.weight, std=std)
        nn.init.normal_(self.out.weight, std=std)
        self.way = way

    def forward(self, letters: Tensor) -> Tensor:
        h = self.norm(self.body(self.table(letters).flatten(1)))
        return functional.linear(h, self.table.weight) if self.way == "tied" else self.out(h)


def trained(model: nn.Module) -> Report:
    optimiser, generator = adam(model), torch.Generator().manual_seed(1)
    with health.watch(model, optimiser) as watch:
        for _ in range(100):
            x = torch.randint(60, (64, 6), generator=generator)
            if isinstance(model, Tied):
                loss = functional.cross_entropy(model(x), (x[:, 0] + 1) % 60)
            else:
                loss = functional.binary_cross_entropy_with_logits(model(x), ((x[:, 0] + x[:, 1]) % 2).float())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    return checked(watch.report())


@pytest.mark.parametrize(("kind", "way"), [(Pairs, "products"), (Tied, "tied")])
def test_answers_that_are_made_of_tables(kind: type[Pairs | Tied], way: str) -> None:
    finding = next(each for each in trained(kind(way, 1.0)).findings if each.id == "initial-loss")
    assert finding.where == ("table.weight",)
    assert finding.message.endswith("table.weight starts with a std of 1.")
    std = re.search(r"nn\.init\.normal_\(table\.weight, std=([\d.]+)\)", finding.remedy)
    assert std is not None
    assert "initial-loss" not in [each.id for each in trained(kind(way, float(std[1]))).findings]  # the remedy, followed


@pytest.mark.parametrize(("kind", "way"), [(Pairs, "beside"), (Tied, "out")])
def test_answers_that_are_made_by_a_layer(kind: type[Pairs | Tied], way: str) -> None:
    finding = next(each for each in trained(kind(way, 1.0)).findings if each.id == "initial-loss")
    assert "table.weight" not in finding.where
