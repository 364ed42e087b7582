"""Units that die after a step that was too large for them."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from verdicts import batches, classes, watched  # noqa: E402

from lettrine import health  # noqa: E402


def trained(rate: float, *, small: float = 1.0) -> health.Report:
    """Three layers of ReLU. small: factor of their first weights."""
    torch.manual_seed(0)
    hidden = [layer for _ in range(2) for layer in (nn.Linear(64, 64), nn.ReLU())]
    model = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), *hidden, nn.Linear(64, 4))
    with torch.no_grad():
        for each in model.parameters():
            each.mul_(small)
    return watched(model, batches(*classes()), lambda model, x, y: functional.cross_entropy(model(x), y), 200, rate)


@pytest.mark.parametrize("rate", [0.7, 1.0])
def test_the_rate_comes_first(rate: float) -> None:
    report = trained(rate)
    first = report.findings[0]
    assert first.id == "update-too-large"
    assert first.severity == "critical"
    assert set(first.where) <= {"2.weight", "3", "4.weight", "5"}
    assert "were dead at first" in first.message
    assert f"from {rate:g} to" in first.remedy
    assert "dead-units" not in [each.id for each in report.findings[1:] if each.severity != "info"]


def test_a_usual_rate_and_small_weights() -> None:
    assert not [each for each in trained(3e-3).findings if each.severity != "info"]
    # The first steps are as large as the weights, and no unit dies of it.
    assert not [each for each in trained(5e-3, small=0.05).findings if "dead at first" in each.message]
