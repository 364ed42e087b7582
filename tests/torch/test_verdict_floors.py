"""Targets that no answer can meet at a loss of 0, and one batch that is all there is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from trainings import adam, batches, checked, mlp, named, remarks, train

from lettrine import health

SMOOTHING = 0.95  # ln 4 - entropy of such targets is 0.008: less than 1 % of guessing


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(3)


@pytest.mark.parametrize(
    ("how", "told"), [("option", True), ("option", False), ("rows", True), ("rows", False), ("yes or no", True)]
)
def test_labels_that_are_smoothed_almost_to_nothing(how: str, told: bool) -> None:
    model = mlp()
    smoothing = SMOOTHING if told else 1.0

    def make(x: Tensor, y: Tensor) -> Tensor:
        rows = (1 - smoothing) * functional.one_hot(y, 4) + smoothing / 4
        if how == "option":
            return functional.cross_entropy(model(x), y, label_smoothing=smoothing)
        if how == "rows":
            return functional.cross_entropy(model(x), rows)
        return functional.binary_cross_entropy_with_logits(model(x), rows)

    report = train(model, adam(model, 1e-2), steps=260, make=make)
    assert ("no-learning" in named(report)) is not told
    (seen,) = report.trace.seen("loss")
    share = (1 - smoothing) + smoothing / 4
    other = smoothing / 4
    entropy = torch.distributions.Categorical(probs=torch.tensor([share, *[other] * 3])).entropy()
    single = torch.distributions.Bernoulli(probs=torch.tensor([share, *[other] * 3])).entropy().mean()
    assert seen.figure("floor") == pytest.approx(float(single if how == "yes or no" else entropy), abs=1e-5)


@pytest.mark.parametrize("held_out", [40, 400])
def test_one_batch_that_is_all_there_is(held_out: int) -> None:
    """By design at most as many rows are held out as are trained on."""
    model = mlp(hidden=64)
    optimiser = adam(model, 1e-2)
    ((x, y),) = batches(1, 64)
    ((held_x, held_y),) = batches(1, held_out, seed=999)
    with health.watch(model, optimiser) as watch:
        for step in range(160):
            loss = functional.cross_entropy(model(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
            if step % 40 == 39:
                with torch.no_grad():
                    watch.dev_loss(functional.cross_entropy(model(held_x), held_y))
    report = checked(watch.report())
    found = remarks(report) if held_out == 40 else named(report)
    assert ("next(iter(loader))" in found["repeated-batch"].remedy) is (held_out == 400)


def test_rows_that_sum_to_another_number_than_1() -> None:
    """Counts of five votes: nothing starts too high because such a loss is five times as large."""
    generator = torch.Generator().manual_seed(1)

    def make(x: Tensor, _: Tensor) -> Tensor:
        shares = (1.5 * x[:, :4]).softmax(1)
        votes = torch.multinomial(shares, 5, replacement=True, generator=generator)
        return functional.cross_entropy(model(x), functional.one_hot(votes, 4).sum(1).double().float())

    model = mlp()
    report = train(model, steps=120, make=make)
    assert named(report) == {}
    (seen,) = report.trace.seen("loss")
    assert seen.figure("even") == pytest.approx(5 * 1.386, abs=0.01)
    assert 2.0 < seen.figure("floor") < seen.figure("reference") <= seen.figure("even")


@pytest.mark.parametrize("votes", [1, 3])
def test_rows_of_counts_among_which_some_hold_only_zeros_and_ones(votes: int) -> None:
    """Three votes for three classes look like three labels; two votes and one do not."""
    generator, model = torch.Generator().manual_seed(1), mlp()
    drawn = [torch.multinomial(x[:, :4].softmax(1), 3, replacement=votes == 3, generator=generator) for x, _ in batches(120)]
    rows = iter([functional.one_hot(each, 4).sum(1).float() for each in drawn])
    report = train(model, steps=120, make=lambda x, _: functional.cross_entropy(model(x), next(rows)))
    assert ("target-rows" in named(report)) is (votes == 1)
