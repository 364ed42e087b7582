"""A softmax or a sigmoid written by hand, before a loss that applies its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from verdicts import batches, classes, net, watched  # noqa: E402

from lettrine import health  # noqa: E402


def said(loss: Callable[[Tensor, Tensor], Tensor]) -> list[health.Finding]:
    report = watched(net(), batches(*classes()), lambda model, x, y: loss(model(x), y), steps=30)
    return [each for each in report.findings if each.severity != "info"]


def plain(z: Tensor) -> Tensor:
    return z.exp() / z.exp().sum(1, keepdim=True)


def stable(z: Tensor) -> Tensor:
    power = torch.exp(z - z.max(1, keepdim=True)[0])
    return power / (power.sum(1, keepdim=True) + 1e-9)


def computed_twice(z: Tensor) -> Tensor:
    return torch.exp(z - z.amax(1, True)) / torch.exp(z - z.amax(1, True)).sum(1, True)


def by_norm(z: Tensor) -> Tensor:
    return functional.normalize(z.exp(), p=1, dim=1)


SOFTMAXES = [plain, stable, computed_twice, by_norm]


@pytest.mark.parametrize("softmax", SOFTMAXES)
def test_softmax(softmax: Callable[[Tensor], Tensor]) -> None:
    (found,) = said(lambda z, y: functional.cross_entropy(softmax(z), y))
    assert found.id == "probabilities-as-logits"
    assert "a softmax has been applied already" in found.message
    assert found.where == ("2",)
    assert said(lambda z, y: functional.nll_loss((softmax(z) + 1e-9).log(), y)) == []
    assert said(lambda z, y: functional.mse_loss(softmax(z), functional.one_hot(y, 4).float())) == []


WRONG = {
    "over the batch": lambda power: power / power.sum(0, keepdim=True),
    "sums of other rows": lambda power: power / power.sum(),
}


def picked(p: Tensor, y: Tensor) -> Tensor:
    return -(p[torch.arange(len(y)), y] + 1e-8).log().mean()


@pytest.mark.parametrize("form", WRONG)
def test_another_axis(form: str) -> None:
    for loss in (picked, lambda p, y: functional.mse_loss(p, functional.one_hot(y, 4).float())):
        (found,) = said(lambda z, y, loss=loss: loss(WRONG[form](z.exp()), y))
        assert (found.id, found.severity, found.where) == ("softmax-axis", "critical", ("2",))
        assert form in found.message
    assert said(lambda z, y: picked(plain(z), y)) == []


def test_sigmoid() -> None:
    def sigmoid(z: Tensor) -> Tensor:
        return 1 / (1 + torch.exp(-z[:, 0]))

    (found,) = said(lambda z, y: functional.binary_cross_entropy_with_logits(sigmoid(z), (y > 1).float()))
    assert "a sigmoid has been applied already" in found.message
    assert said(lambda z, y: functional.binary_cross_entropy(sigmoid(z), (y > 1).float())) == []


class Attending(nn.Module):
    """Three inputs, weighted by a softmax written by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.score, self.value = nn.Linear(2, 1), nn.Linear(2, 4)

    def forward(self, x: Tensor) -> Tensor:
        parts = x.view(-1, 3, 2)
        return (plain(self.score(parts)) * self.value(parts)).sum(1)


def test_quotients_that_are_logits() -> None:
    report = watched(Attending(), batches(*classes()), lambda model, x, y: functional.cross_entropy(model(x), y))
    assert not [each for each in report.findings if each.severity != "info"]
    assert said(lambda z, y: functional.cross_entropy(10 * functional.normalize(z, dim=1), y)) == []
    assert said(lambda z, y: functional.cross_entropy(z.exp() / (z * 0.5).exp().sum(1, keepdim=True), y)) == []
