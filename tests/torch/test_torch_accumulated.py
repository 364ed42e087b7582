"""Gradients accumulated by hand: the figures are those of one loss, whatever was handed over or divided."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from trainings import adam, batches

from lettrine import health
from lettrine.health.checks.reference import guess_of

STEPS = 24


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 24), nn.Tanh(), nn.Linear(24, 4))


def one_term(answers: Tensor, y: Tensor) -> Tensor:
    return functional.cross_entropy(answers, y)


def two_terms(answers: Tensor, y: Tensor) -> Tensor:
    return functional.cross_entropy(answers, y) + 0.1 * answers.square().mean()


def summed(answers: Tensor, y: Tensor) -> Tensor:
    return functional.cross_entropy(answers, y, reduction="sum") / len(y)


def unknown(answers: Tensor, y: Tensor) -> Tensor:
    return (answers.logsumexp(1) - answers[torch.arange(len(y)), y]).square().mean().sqrt()


def accumulate(
    loss_of: Callable[[Tensor, Tensor], Tensor], parts: int, *, divided: bool, handed: str, last: int = 0, steps: int = STEPS
) -> tuple[list[float], health.Watch, dict[int, float]]:
    """The mean loss of each step, the watch, and what a tracker was told. handed: "trained", what `backward` is called on;
    "mean", or "sum" of these. last: parts of the last step, if fewer.
    """
    model, means, told = network(), list[float](), dict[int, float]()
    optimiser = adam(model)
    log_to = lambda values, step: told.update({step: values["health/loss"]})  # noqa: E731
    with health.watch(model, optimiser, log_to=log_to) as watch:
        for step in range(steps):
            found = []
            for x, y in batches((last or parts) if step == steps - 1 else parts, seed=step):
                loss = loss_of(model(x), y)
                found.append(loss.item())
                trained = loss / parts if divided else loss
                trained.backward()
                if handed != "sum":
                    watch.loss(trained if handed == "trained" else loss)
            if handed == "sum":
                watch.loss(sum(found))
            optimiser.step()
            optimiser.zero_grad()
            means.append(float(np.mean(found)))
    return means, watch, told


@pytest.mark.parametrize("parts", [2, 7])
@pytest.mark.parametrize(
    ("loss_of", "divided", "handed"),
    [
        (one_term, True, "trained"),
        (one_term, True, "mean"),
        (one_term, False, "trained"),
        (one_term, False, "sum"),
        (two_terms, True, "trained"),
        (two_terms, False, "trained"),
        (summed, True, "trained"),
        (unknown, True, "trained"),
        (unknown, False, "trained"),
    ],
)
def test_losses_are_those_of_one_batch(
    loss_of: Callable[[Tensor, Tensor], Tensor], parts: int, *, divided: bool, handed: str
) -> None:
    means, watch, told = accumulate(loss_of, parts, divided=divided, handed=handed)
    trace = watch.trace()
    np.testing.assert_allclose(trace.loss.mean, means, rtol=1e-5)
    assert trace.recent.mean.mean() == pytest.approx(np.mean(means), rel=1e-5)  # one point for each loss handed over
    np.testing.assert_allclose(trace.step_stats["loss"], [means[step] for step in trace.steps], rtol=1e-5)
    np.testing.assert_allclose(list(told.values()), [means[step] for step in told], rtol=1e-5)
    assert list(told) == trace.steps.tolist()
    if loss_of in (one_term, summed):
        assert guess_of(trace) == pytest.approx(np.log(4), rel=0.05)


def test_the_last_step_may_have_fewer_parts() -> None:
    means, watch, _ = accumulate(one_term, 4, divided=True, handed="trained", last=2)
    np.testing.assert_allclose(watch.trace().loss.mean[:-1], means[:-1], rtol=1e-5)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_micro_batches_of_one_class_each_are_no_adversaries(rows: int) -> None:
    """A critic is told true in one pass and false in the next; a tiny batch, too, may hold one class by chance."""
    model = network()
    optimiser = adam(model)
    with health.watch(model, optimiser) as watch:
        for step in range(40):
            for part in range(8):
                x = torch.randn(rows, 12, generator=torch.Generator().manual_seed(part + 100 * step))
                loss = functional.cross_entropy(model(x), (x[:, 0] > 0).long())
                (loss / 8).backward()
                watch.loss(loss)
            optimiser.step()
            optimiser.zero_grad()
    (seen,) = watch.trace().seen("loss")
    assert seen.words["nature"] == ""


@pytest.mark.parametrize("rows", [4, 64, 512])
@pytest.mark.parametrize("parts", [2, 4, 8])
@pytest.mark.parametrize(("divided", "handed"), [(True, "share"), (True, "whole"), (False, "whole")])
def test_one_part_of_each_step_may_stand_for_all(rows: int, parts: int, *, divided: bool, handed: str) -> None:
    """The loss of the last part is what a usual loop holds when the optimiser steps. It varies around the mean of the parts."""
    model, means = network(), []
    optimiser = adam(model)
    with health.watch(model, optimiser) as watch:
        for step in range(60):
            for _ in range(parts):
                x = torch.randn(rows, 12, generator=torch.Generator().manual_seed(len(means) + 997 * step))
                loss = functional.cross_entropy(model(x), x[:, :4].argmax(1))
                (loss / parts if divided else loss).backward()
                means.append(loss.item())
            optimiser.step()
            optimiser.zero_grad()
            watch.loss(loss / parts if handed == "share" else loss)
    trace = watch.trace()
    np.testing.assert_allclose(trace.loss.mean, means[parts - 1 :: parts], rtol=1e-5)
    assert health.examine(trace, only=["other-loss"]).findings == ()


def test_a_resumed_run_is_not_brought_to_true_units_twice() -> None:
    means, first, _ = accumulate(one_term, 4, divided=True, handed="trained")
    model = network()
    resumed = health.watch(model, adam(model))
    resumed.load_state_dict(first.state_dict())
    np.testing.assert_allclose(resumed.state_dict()["step"], STEPS)
    np.testing.assert_allclose(first.trace().loss.mean, means, rtol=1e-5)


def test_half_a_loss_without_accumulation_stays_half() -> None:
    model = network()
    optimiser, losses = adam(model), []
    with health.watch(model, optimiser) as watch:
        for x, y in batches(STEPS):
            loss = functional.cross_entropy(model(x), y) / 2
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            watch.loss(loss)
            losses.append(loss.item())
    np.testing.assert_allclose(watch.trace().loss.mean, losses, rtol=1e-5)


def test_autowatch_sees_the_division() -> None:
    model, means = network(), []
    optimiser = adam(model)
    with health.autowatch(show=False) as auto:
        for step in range(STEPS):
            found = []
            for x, y in batches(4, seed=step):
                loss = functional.cross_entropy(model(x), y)
                found.append(loss.item())
                (loss / 4).backward()
            optimiser.step()
            optimiser.zero_grad()
            means.append(float(np.mean(found)))
    np.testing.assert_allclose(auto.watches[0].trace().loss.mean, means, rtol=1e-5)
