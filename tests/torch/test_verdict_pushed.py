"""Contrastive losses of pairs whose labels have the right sense, and the other one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from verdicts import watched


def by_hand(one: Tensor, two: Tensor, like: Tensor) -> Tensor:
    far = ((one - two).pow(2).sum(1) + 1e-8).sqrt()
    return (like * far.pow(2) + (1 - like) * F.relu(2 - far).pow(2)).mean()


def by_where(one: Tensor, two: Tensor, like: Tensor) -> Tensor:
    far = F.pairwise_distance(one, two)
    return torch.where(like == 1, far, (2.0 - far).clamp(min=0)).mean()


def by_cosine(one: Tensor, two: Tensor, like: Tensor) -> Tensor:
    return F.cosine_embedding_loss(one, two, 2 * like - 1, margin=0.3)


def by_hinge(one: Tensor, two: Tensor, like: Tensor) -> Tensor:
    return F.hinge_embedding_loss(F.pairwise_distance(one, two), 2 * like - 1, margin=2.0)


def pairs(swapped: bool, size: int = 64) -> list[tuple[Tensor, Tensor]]:
    """Pairs, (2, B, 8), of points around four centres, and 1 for those of one centre."""
    generator = torch.Generator().manual_seed(0)
    centres = 2 * torch.randn(4, 8, generator=generator)
    drawn = []
    for _ in range(16):
        kinds = torch.randint(4, (2, size), generator=generator)
        kinds[1, ::2] = kinds[0, ::2]
        like = (kinds[0] == kinds[1]).float()
        drawn.append((centres[kinds] + torch.randn(2, size, 8, generator=generator), 1 - like if swapped else like))
    return drawn


@pytest.mark.parametrize("swapped", [True, False])
@pytest.mark.parametrize("form", [by_hand, by_where, by_cosine, by_hinge])
def test_like_and_unlike(form, swapped) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 8))
    report = watched(model, pairs(swapped), lambda net, x, like: form(net(x[0]), net(x[1]), like), steps=80)
    found = [each for each in report.findings if each.id == "wrong-direction"]
    assert bool(found) is swapped
    if swapped:
        assert found[0].severity == "warning"
        assert "which label means alike" in found[0].remedy
