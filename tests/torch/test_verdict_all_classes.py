"""A cross-entropy written by hand in which no target picks a class, and those in which one does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from verdicts import batches, classes, net, watched

FAULTS = {
    "mean": lambda z, _: -z.log_softmax(1).mean(),
    "sum over the classes": lambda z, _: -z.log_softmax(1).sum(1).mean(),
    "log of a softmax": lambda z, _: -(z.softmax(1) + 1e-9).log().mean(),
    "rows by the labels": lambda z, y: -z.log_softmax(1)[y].mean(),
}
HEALTHY = {
    "picked": lambda z, y: -z.log_softmax(1)[torch.arange(len(y)), y].mean(),
    "gathered": lambda z, y: -z.log_softmax(1).gather(1, y[:, None]).mean(),
    "by shares": lambda z, y: -(z.log_softmax(1) * F.one_hot(y, 4)).sum(1).mean(),
    "beside another": lambda z, y: F.cross_entropy(z, y) - 0.1 * z.log_softmax(1).mean(),
    "yes and no": lambda z, y: -(z.log_softmax(1)[:, 0] * (y == 0)).mean() - (z.log_softmax(1)[:, 1] * (y != 0)).mean(),
    "one column": lambda z, y: -(z.log_softmax(1)[:, 0] * (y == 0)).mean() - (z.log_softmax(1)[:, 1] * (y == 1)).mean(),
}


@pytest.mark.parametrize("form", FAULTS)
def test_no_class_is_picked(form: str) -> None:
    report = watched(net(), batches(*classes()), lambda model, x, y: FAULTS[form](model(x), y), steps=30)
    finding = report.findings[0]
    assert (finding.id, finding.severity, finding.where) == ("other-loss", "critical", ("2",))
    assert "over all 4 classes" in finding.message
    assert ("picks rows" in finding.message) is (form == "rows by the labels")


@pytest.mark.parametrize("form", HEALTHY)
def test_a_class_is_picked(form: str) -> None:
    report = watched(net(), batches(*classes()), lambda model, x, y: HEALTHY[form](model(x), y), steps=30)
    assert "other-loss" not in {each.id for each in report.findings}


def test_two_backward_passes() -> None:
    """A loss that asks nothing of examples of no class has a backward pass of its own."""

    def both(model, x: Tensor, y: Tensor) -> Tensor:
        (-0.1 * model(torch.randn_like(x)).log_softmax(1).mean()).backward()
        return F.cross_entropy(model(x), y)

    report = watched(net(), batches(*classes()), both, steps=30)
    assert "other-loss" not in {each.id for each in report.findings}
