"""Learning rates against torch's schedulers and figures worked on paper."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lettrine.errors import ConfigError
from lettrine.training.batches import Batches
from lettrine.training.schedule import SCHEDULES, learning_rates


def torch_rates(make, steps: int) -> list[float]:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler = make(optimiser)
    rates = []
    for _ in range(steps):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("steps", [10, 77, 1000])
def test_one_cycle_is_torchs(steps: int) -> None:
    expected = torch_rates(
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, max_lr=0.3, total_steps=steps, cycle_momentum=False), steps - 1
    )
    np.testing.assert_allclose(learning_rates("one-cycle", 0.3, steps)[: steps - 1], expected, rtol=1e-9)


def test_cosine_is_torchs() -> None:
    expected = torch_rates(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=50), 50)
    np.testing.assert_allclose(learning_rates("cosine", 0.3, 50), expected, rtol=1e-9)


def test_step_drops_to_a_tenth_half_way() -> None:
    np.testing.assert_allclose(learning_rates("step", 0.2, 5), [0.2, 0.2, 0.02, 0.02, 0.02])
    np.testing.assert_allclose(learning_rates("constant", 0.2, 3), [0.2, 0.2, 0.2])


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_short_runs_have_finite_rates(schedule: str, steps: int) -> None:
    rates = learning_rates(schedule, 0.5, steps)
    assert rates.shape == (steps,)
    assert np.all((rates >= 0) & (rates <= 0.5))


@pytest.mark.parametrize(
    ("args", "match"), [(("sawtooth", 0.1, 5), "schedule got"), (("step", -0.1, 5), "rate got"), (("step", 0.1, 0), "steps got")]
)
def test_bad_choices_are_refused(args, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        learning_rates(*args)


def test_batches_depend_on_seed_and_step_alone() -> None:
    whole = Batches(7, 1000, 5)
    rows = np.concatenate([whole.rows(step, step + 1) for step in range(2100)])
    assert rows.shape == (2100, 5)
    again = Batches(7, 1000, 5)
    np.testing.assert_array_equal(again.rows(1500, 1510), rows[1500:1510])
    np.testing.assert_array_equal(again.rows(1020, 1030), rows[1020:1030])  # across the end of a block
    assert not np.array_equal(Batches(8, 1000, 5).rows(0, 10), rows[:10])
    # uniform with replacement: a chi-square of 999 degrees of freedom stays below 1,150 with p > 0.999
    counts = np.bincount(rows.ravel(), minlength=1000)
    assert ((counts - 10.5) ** 2 / 10.5).sum() < 1150
