"""A held-out loss that is that of another network than the one that is trained."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn  # noqa: E402
from verdicts import classes, net  # noqa: E402

from lettrine import health  # noqa: E402

X, Y = classes(700)
Judge = Callable[[nn.Module], Callable[[], float]]
"""Given the model before the training, gives what is called after each epoch."""


def loss_of(model: nn.Module) -> float:
    with torch.no_grad():
        return float(functional.cross_entropy(model(X[500:]), Y[500:]))


def trained(judge: Judge, *, epochs: int = 6, rates: float = 1.0) -> health.Report:
    """rates: by what the learning rate is multiplied after each epoch."""
    model = net()
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    now = judge(model)
    with health.watch(model, optimiser) as watch:
        for _ in range(epochs):
            for batch in torch.randperm(500).split(25):
                optimiser.zero_grad()
                loss = functional.cross_entropy(model(X[batch]), Y[batch])
                loss.backward()
                optimiser.step()
                watch.loss(loss)
            watch.dev_loss(now())
            optimiser.param_groups[0]["lr"] *= rates
    report = watch.report()
    assert report.trace.facts.errors == ()
    return report


def test_a_copy_from_before() -> None:
    def judge(model: nn.Module) -> Callable[[], float]:
        copied = copy.deepcopy(model)
        return lambda: loss_of(copied)

    report = trained(judge)
    first = report.findings[0]
    assert first.id == "stale-evaluation"
    assert first.severity == "warning"
    assert "all 6 evaluations" in first.message
    held_out = {"held-out-labels", "dev-scale", "overfitting"}
    assert not [each for each in report.findings if each.id in held_out and each.severity != "info"]


@pytest.mark.parametrize("updated", [False, True])
def test_an_average_of_the_weights(updated: bool) -> None:
    def judge(model: nn.Module) -> Callable[[], float]:
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5))

        def now() -> float:
            if updated:
                average.update_parameters(model)
            return loss_of(average)

        return now

    found = [each.id for each in trained(judge).findings]
    assert ("stale-evaluation" in found) is not updated


def test_a_number_from_before() -> None:
    def judge(model: nn.Module) -> Callable[[], float]:
        first = loss_of(model)
        return lambda: first

    assert "stale-evaluation" in [each.id for each in trained(judge).findings]
    assert "stale-evaluation" not in [each.id for each in trained(judge, epochs=3).findings]


def constant(value: float) -> Judge:
    return lambda _: lambda: value


@pytest.mark.parametrize(
    "judge",
    [
        lambda model: lambda: loss_of(model),
        lambda model: lambda: loss_of(copy.deepcopy(model)),
        constant(3 / 7),  # a share of wrong answers
        constant(0.0),
        constant(1.3863),  # rounded
        lambda model: lambda: round(loss_of(model), 1),
    ],
)
def test_what_may_be_the_same(judge: Judge) -> None:
    assert "stale-evaluation" not in [each.id for each in trained(judge).findings]


def test_a_rate_of_almost_nothing_after_the_first_epoch() -> None:
    """The weights stay the same from then on, and so does the held-out loss."""
    assert "stale-evaluation" not in [each.id for each in trained(lambda model: lambda: loss_of(model), rates=1e-12).findings]


@pytest.mark.parametrize(("decay", "slow"), [(0.9999, True), (0.5, False)])
def test_an_average_that_hardly_follows(decay: float, slow: bool) -> None:
    def judge(model: nn.Module) -> Callable[[], float]:
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
        average.update_parameters(model)  # the first time, the weights are copied

        def now() -> float:
            average.update_parameters(model)
            return loss_of(average)

        return now

    found = {each.id: each for each in trained(judge).findings}
    assert ("stale-evaluation" in found) is slow
    assert not slow or "1 / (1 - decay)" in found["stale-evaluation"].remedy
