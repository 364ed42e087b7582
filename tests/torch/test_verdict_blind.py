"""Masks that hide everything, in small trainings."""

from __future__ import annotations

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


class Text(nn.Module):
    """One attention. way: how its mask is applied, from 1 for each token to be read."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.embed = way, nn.Embedding(20, 16)
        self.q, self.k, self.v, self.head = (nn.Linear(16, out) for out in (16, 16, 16, 2))

    def forward(self, tokens: Tensor, read: Tensor) -> Tensor:
        x = self.embed(tokens)
        q, k, v = self.q(x), self.k(x), self.v(x)
        below = (1.0 - read.float())[:, None] * -10_000.0  # (B, 1, T)
        if self.way == "function":
            mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=below.expand(-1, tokens.shape[1], -1))
        else:
            scores = q @ k.transpose(1, 2) / 4
            if self.way == "two":  # a bias of distances before it
                scores = scores - torch.arange(tokens.shape[1]).sub(torch.arange(tokens.shape[1])[:, None]).abs()
            scores = scores.masked_fill(read[:, None] == 0, -1e9) if self.way == "filled" else scores + below
            mixed = scores.softmax(-1) @ v
        return self.head(mixed.mean(1))


def trained(way: str, kind: str, steps: int = 6) -> Report:
    """kind: what the mask holds, "zeros", "ones", "tokens" (padding hidden) or "seldom" (zeros at every other step)."""
    model = Text(way)
    optimiser = adam(model)
    with health.watch(model, optimiser) as watch:
        for step in range(steps):
            tokens = torch.randint(1, 20, (8, 7))
            tokens[:4, 4:] = 0
            read = (tokens != 0).long()
            if kind != "tokens":
                read = torch.ones_like(tokens) if kind == "ones" or (kind == "seldom" and step % 2) else torch.zeros_like(tokens)
            loss = functional.cross_entropy(model(tokens, read), torch.randint(2, (8,)))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    return checked(watch.report())


@pytest.mark.parametrize("way", ["added", "two", "function", "filled"])
def test_masks_of_zeros(way: str) -> None:
    finding = named(trained(way, "zeros"))["padding-mask"]
    assert "hides every place from every query" in finding.message
    assert ("the same weight" if way == "filled" else "cancels") in finding.message


@pytest.mark.parametrize("kind", ["ones", "tokens", "seldom"])
@pytest.mark.parametrize("way", ["added", "function", "filled"])
def test_masks_that_leave_something(way: str, kind: str) -> None:
    found = {**named(report := trained(way, kind)), **remarks(report)}.get("padding-mask")
    assert found is None or "every place" not in found.message
