"""A held-out loss that rises, and what became of the weights that had the best one."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from lettrine import health  # noqa: E402

EPOCHS = 60
Kept = Callable[[nn.Module, bool, bool], Any]
"""Called after each evaluation: with the model, whether it was the best one so far, and whether it was the last one."""


def trained(keep: Kept, *, end: Callable[[nn.Module], Any] = lambda _: None, before: bool = False) -> health.Report:
    """A hundred examples, of which some are mislabelled, learned by heart.

    end: called after the last evaluation. before: keep, and then hand the loss over.
    """
    torch.manual_seed(0)
    rows = torch.randn(400, 12)
    labels = rows[:, :3].argmax(1)
    labels[:40] = (labels[:40] + 1) % 3
    order = torch.randperm(100)
    model = nn.Sequential(nn.Linear(12, 128), nn.ReLU(), nn.Linear(128, 3))
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    best = float("inf")
    with health.watch(model, optimiser) as watch:
        for epoch in range(EPOCHS):
            for batch in order.roll(epoch).split(20):
                optimiser.zero_grad()
                loss = functional.cross_entropy(model(rows[batch]), labels[batch])
                loss.backward()
                optimiser.step()
                watch.loss(loss)
            with torch.no_grad():
                held = float(functional.cross_entropy(model(rows[100:]), labels[100:]))
            if before:
                keep(model, held < best, epoch == EPOCHS - 1)
            watch.dev_loss(held)
            if not before:
                keep(model, held < best, epoch == EPOCHS - 1)
            best = min(best, held)
        end(model)
    report = watch.report()
    assert report.trace.facts.errors == ()
    return report


def severity(report: health.Report) -> str:
    return next(each.severity for each in report.findings if each.id == "overfitting")


def saved(model: nn.Module) -> None:
    torch.save(model.state_dict(), io.BytesIO())


def of_the_best(copied: Callable[[nn.Module], Any]) -> Kept:
    return lambda model, best, _: copied(model) if best else None


@pytest.mark.parametrize(
    "keep",
    [
        lambda *_: None,
        lambda model, *_: saved(model),
        lambda model, _, last: saved(model) if last else None,
        lambda model, *_: copy.deepcopy(model),
        lambda model, *_: model(torch.zeros(1, 12)),
    ],
    ids=["nothing", "every epoch", "the last", "a copy each epoch", "a pass"],
)
def test_the_weights_of_the_end_are_what_is_left(keep: Kept) -> None:
    assert severity(trained(keep)) == "warning"


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize(
    "copied",
    [saved, copy.deepcopy, lambda model: copy.deepcopy(model.state_dict()), lambda model: torch.save(model, io.BytesIO())],
    ids=["saved", "copied", "state copied", "pickled"],
)
def test_the_best_weights_are_kept(copied: Callable[[nn.Module], Any], before: bool) -> None:
    report = trained(of_the_best(copied), before=before)
    finding = next(each for each in report.findings if each.id == "overfitting")
    assert finding.severity == "info"
    best = int(report.trace.dev.step[report.trace.dev.mean.argmin()])
    assert f"a copy of the weights of step {best} was made" in finding.message


def test_the_best_and_the_last_are_kept() -> None:
    def both(model: nn.Module, best: bool, _: bool) -> None:
        saved(model)
        if best:
            saved(model)

    assert severity(trained(both)) == "info"
    assert severity(trained(of_the_best(saved), end=saved)) == "info"


def test_the_best_weights_are_loaded_at_the_end() -> None:
    states: dict[bool, Any] = {}

    def each(model: nn.Module, best: bool, _: bool) -> None:
        states[best] = copy.deepcopy(model.state_dict())

    report = trained(each, end=lambda model: model.load_state_dict(states[True]))
    assert severity(report) == "info"
    assert "were loaded again" in next(each for each in report.findings if each.id == "overfitting").message
    assert severity(trained(each, end=lambda model: model.load_state_dict(states[False]))) == "warning"


def test_a_copy_from_the_start_is_no_copy_of_the_best() -> None:
    first: list[Any] = []

    def once(model: nn.Module, *_: bool) -> None:
        if not first:
            first.append(copy.deepcopy(model))

    assert severity(trained(once)) == "warning"


def test_nothing_is_left_on_the_model() -> None:
    model = nn.Linear(3, 3)
    with health.watch(model, torch.optim.SGD(model.parameters(), lr=0.1)) as watch:
        assert model._state_dict_pre_hooks
        copied = copy.deepcopy(model)
        copied.state_dict()
        watch.examined()
    assert not model._state_dict_pre_hooks
    copied.load_state_dict(copied.state_dict())
