"""Answers that are gathered along the axis of the examples."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402
from torch.nn import functional  # noqa: E402
from verdicts import batches, classes, net, watched  # noqa: E402

from lettrine import health  # noqa: E402


def said(loss: Callable[[Tensor, Tensor], Tensor]) -> list[health.Finding]:
    report = watched(net(), batches(*classes()), lambda model, x, y: loss(model(x), y), steps=40)
    return [each for each in report.findings if each.id == "batch-mixing"]


def likelihood(axis: int) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda z, y: -z.log_softmax(1).gather(axis, y[:, None]).mean()


def value_of_an_action(axis: int) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda z, y: functional.mse_loss(torch.gather(z, dim=axis, index=y.unsqueeze(1)).squeeze(1), (y > 1).float())


@pytest.mark.parametrize("loss", [likelihood, value_of_an_action])
def test_picked_across(loss: Callable[[int], Callable[[Tensor, Tensor], Tensor]]) -> None:
    for axis in (0, -2):
        (found,) = said(loss(axis))
        assert found.severity == "critical"
        assert "(32, 4)" in found.message
        assert "gather(1, index)" in found.remedy
    assert said(loss(1)) == said(loss(-1)) == []


def test_rows_in_another_order() -> None:
    def shuffled(z: Tensor, y: Tensor) -> Tensor:
        order = torch.randperm(len(z))
        own = z.gather(0, order[:, None].expand(-1, 4))
        one = z.gather(0, order[:, None])[:, 0]
        return functional.cross_entropy(own, y[order]) + 0.1 * (one - (y[order] == 0).float()).square().mean()

    assert said(shuffled) == []


def test_the_best_of_a_batch() -> None:
    assert said(lambda z, y: functional.cross_entropy(z, y) - 0.01 * z.gather(0, z.argmax(0, keepdim=True)).mean()) == []
