"""Contrastive losses in which examples are compared with themselves, distances as logits, and labels of pairs."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from verdicts import batches, classes, net, watched

from lettrine import health

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


def found(loss: Loss, check: str, size: int = 32) -> list[health.Finding]:
    torch.manual_seed(0)
    report = watched(net(out=8), batches(*classes(), size), loss, steps=80, rate=3e-3)
    return [each for each in report.findings if each.id == check]


def seen(x: Tensor) -> Tensor:
    """Another view of each example."""
    return x + 0.3 * torch.randn_like(x)


def views(*, masked: bool, asked: bool = False) -> Loss:
    """Two views of each example in one matrix."""

    def loss(model: nn.Module, x: Tensor, _: Tensor) -> Tensor:
        z = F.normalize(torch.cat([model(seen(x)), model(seen(x))]), dim=1)
        logits = z @ z.T / 0.2
        logits = logits.masked_fill(torch.eye(len(z), dtype=torch.bool), -inf) if masked else logits
        rows = torch.arange(len(z))
        return F.cross_entropy(logits, rows if asked else rows.roll(len(x)))

    return loss


def two_sides(*, same: bool) -> Loss:
    def loss(model: nn.Module, x: Tensor, _: Tensor) -> Tensor:
        one = F.normalize(model(seen(x)), dim=1)
        two = one if same else F.normalize(model(seen(x)), dim=1)
        return F.cross_entropy(one @ two.T / 0.2, torch.arange(len(x)))

    return loss


def test_a_diagonal_that_is_not_masked() -> None:
    (finding,) = found(views(masked=False), "other-loss")
    assert (finding.severity, finding.value > 2) == ("warning", True)
    assert "Each of 64 examples is compared with itself" in finding.message
    assert "Mask the diagonal" in finding.remedy
    assert found(views(masked=True), "other-loss") == []


@pytest.mark.parametrize("loss", [two_sides(same=True), views(masked=False, asked=True)])
def test_examples_that_are_to_find_themselves(loss: Loss) -> None:
    (finding,) = found(loss, "other-loss")
    assert finding.severity == "warning"
    assert "is asked to find itself" in finding.message
    beside = found(lambda model, x, y: loss(model, x, y) + F.mse_loss(model(x)[:, :6], x), "other-loss")
    assert [each.severity for each in beside] == ["info"]  # it spreads the vectors
    assert found(two_sides(same=False), "other-loss") == []


def from_centres(sign: float) -> Loss:
    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        z = model(x)
        kept, asked = torch.arange(len(x)) % 2 == 0, torch.arange(len(x)) % 2 == 1
        centres = torch.stack([z[kept & (y == kind)].mean(0) for kind in range(4)])
        return F.cross_entropy(sign * torch.cdist(z[asked], centres) ** 2, y[asked])

    return loss


def test_distances_as_logits() -> None:
    (finding,) = found(from_centres(1.0), "wrong-direction", 64)
    assert finding.severity == "critical"
    assert "cross_entropy(-distances, targets)" in finding.remedy
    assert found(from_centres(-1.0), "wrong-direction", 64) == []

    def learned(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:  # whatever is farthest: it can be learned so, too
        return F.cross_entropy((model(x)[:, None] - 3 * torch.eye(4, 8)).pow(2).sum(2), y)

    assert found(learned, "wrong-direction") == []


@pytest.mark.parametrize(
    "loss",
    [
        lambda model, x, labels: F.cosine_embedding_loss(model(x), model(x.flip(0)), labels),
        lambda model, x, labels: F.margin_ranking_loss(model(x)[:, 0], model(x.flip(0))[:, 0], labels, margin=0.5),
    ],
)
def test_labels_of_pairs(loss: Loss) -> None:
    def labelled(change: Callable[[Tensor], Tensor]) -> Loss:
        return lambda model, x, y: loss(model, x, change((y == y.flip(0)).float()))

    (finding,) = found(labelled(lambda y: y), "target-range")
    assert (finding.severity, finding.remedy) == ("critical", "Give the loss 2 * y - 1.")
    assert found(labelled(lambda y: 2 * y - 1), "target-range") == []
    assert found(labelled(torch.ones_like), "target-range") == []
