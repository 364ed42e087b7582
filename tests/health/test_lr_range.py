"""The range test: what it reads from curves one can draw on paper, and from networks."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from math import exp, isnan, log10, nan, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lettrine.cli.app import main
from lettrine.engine.base import Optimiser
from lettrine.errors import HealthError
from lettrine.health.range_test import RISE_SHARE, WIDTH, RangeTest, Smoother, falling_step, rates_of, sweep
from lettrine.training.api import Shape, train
from lettrine.training.lr_range import lr_range, lr_range_of_run
from lettrine.training.settings import Settings

BUILT = importlib.util.find_spec("lettrine._native") is not None


def curve(middle: float, edge: float, noise: float = 0.0, seed: int = 0) -> Callable[[float], float]:
    """A loss that falls from 3 to 2 around 10**middle and rises steeply beyond 10**edge."""
    random = np.random.default_rng(seed)

    def step(rate: float) -> float:
        x = log10(rate)
        return 3.0 - 1.0 / (1.0 + exp(-(x - middle) / 0.3)) + max(0.0, x - edge) * 10.0 + noise * random.standard_normal()

    return step


def test_the_fall_and_the_edge_are_found_where_they_are() -> None:
    found = sweep(curve(-2.5, 0.0))
    assert log10(found.steepest) == pytest.approx(-2.5, abs=0.05)
    assert log10(found.largest) == pytest.approx(0.0, abs=0.15)  # RISE_SHARE of the fall, at 10 a decade, is 0.025 further on
    assert found.suggestion == pytest.approx(sqrt(found.steepest * found.largest))
    assert found.stopped == "diverged"
    assert len(found.rates) == len(found.losses) == len(found.smooth) < 600
    assert "half-way between" in found.reason
    assert 0 < RISE_SHARE < 1


def test_a_loss_that_never_rises_has_no_edge() -> None:
    found = sweep(curve(-2.0, 99.0))
    assert isnan(found.largest)
    assert found.suggestion == found.steepest
    assert found.stopped == ""
    assert "had not risen" in found.reason


def test_the_suggestion_hardly_moves_with_the_noise() -> None:
    found = [sweep(curve(-2.5, 0.0, noise=0.2, seed=seed)) for seed in range(20)]
    assert np.ptp(np.log10([each.suggestion for each in found])) < 0.5


def test_a_long_fall_in_noise_has_its_middle_in_one_place() -> None:
    found = []
    for seed in range(20):
        random = np.random.default_rng(seed)

        def step(rate: float, random: np.random.Generator = random) -> float:
            x = log10(rate)
            fall = min(max((x + 3.0) / 2.5, 0.0), 1.0)  # straight down from -3 to -0.5: steep nowhere in particular
            return 3.0 - fall + max(0.0, x) * 10.0 + 0.3 * random.standard_normal()

        found.append(sweep(step))
    assert np.median(np.log10([each.steepest for each in found])) == pytest.approx(-1.75, abs=0.3)
    assert np.ptp(np.log10([each.suggestion for each in found])) < 0.3


def test_a_flat_loss_gives_no_suggestion_however_noisy() -> None:
    for seed in range(20):
        random = np.random.default_rng(seed)
        found = sweep(lambda _, random=random: 3.0 + 0.3 * random.standard_normal())
        assert isnan(found.suggestion)
        assert isnan(found.steepest)
        assert found.reason.startswith("No suggestion")


def test_a_loss_that_only_rises_gives_none_and_says_where_it_rises() -> None:
    found = sweep(lambda rate: 2.0 + max(0.0, log10(rate) + 1.0) ** 2)
    assert isnan(found.suggestion)
    assert -1.2 < log10(found.largest) < 0.5
    assert "rises from" in found.reason


def test_it_stops_at_the_first_loss_that_is_not_finite() -> None:
    calls = []

    def step(rate: float) -> float:
        calls.append(rate)
        return curve(-3.0, 9.0)(rate) if rate < 0.1 else nan

    found = sweep(step)
    assert found.stopped == "not finite"
    assert calls[-1] >= 0.1
    assert len(found.losses) == len(calls) - 1
    assert found.largest == pytest.approx(0.1, rel=0.05)
    assert np.isfinite(found.losses).all()


def test_a_first_loss_that_is_not_finite_is_an_error() -> None:
    with pytest.raises(HealthError, match="first loss"):
        sweep(lambda _: nan)


@pytest.mark.parametrize(
    ("low", "high", "steps"), [(1.0, 1.0, 100), (0.0, 1.0, 100), (1.0, 0.1, 100), (1e-5, 10.0, 10), (0.1, 1.0, True)]
)
def test_ranges_without_sense_are_refused(low: float, high: float, steps: int) -> None:
    with pytest.raises(HealthError, match=r"expected|steps"):
        rates_of(low, high, steps)


def test_rates_grow_by_equal_factors() -> None:
    rates = rates_of(1e-3, 1.0, 31)
    np.testing.assert_allclose(rates[1:] / rates[:-1], 10.0**0.1)


def test_smoothing_is_not_pulled_towards_zero() -> None:
    smoother = Smoother(steps_per_decade=50)
    assert smoother.add(3.0) == pytest.approx(3.0)
    assert smoother.add(3.0) == pytest.approx(3.0)
    keep = exp(-1.0 / 7.5)  # 0.15 decades of 50 steps
    assert smoother.add(4.0) == pytest.approx((3 * keep**2 + 3 * keep + 4) / (keep**2 + keep + 1))


def test_a_step_is_fitted_where_it_is() -> None:
    x = np.linspace(-4, 0, 200)
    step = falling_step(x, 5.0 - 2.0 / (1.0 + np.exp(-(x + 1.5) / WIDTH)))
    assert step.middle == pytest.approx(-1.5, abs=0.02)
    assert step.fall == pytest.approx(2.0, rel=0.02)
    assert step.start == pytest.approx(5.0, abs=0.01)
    for width in (WIDTH / 3, WIDTH * 2):
        other = falling_step(x, 5.0 - 2.0 / (1.0 + np.exp(-(x + 2.0) / width)))
        assert other.middle == pytest.approx(-2.0, abs=0.02)
    assert falling_step(x, x).fall == 0.0


def test_results_are_plain_values(few_words: list[str]) -> None:
    found = lr_range(few_words, shape=Shape(context=3, embedding=4, hidden=(16,)), settings=Settings(batch=16), steps=60)
    assert isinstance(found, RangeTest)
    assert json.loads(json.dumps(found.to_dict()))["rates"][0] == pytest.approx(1e-5)
    assert "RangeTest(" in repr(found)


SGD = {"optimiser": Optimiser("sgd"), "batch": 32}


@pytest.mark.skipif(not BUILT, reason="a minute on the reference engine")
@pytest.mark.parametrize(
    ("hidden", "told", "least", "most"),
    [
        ((50,), {"batch": 64}, 1e-3, 0.1),
        ((200,), {"init": "naive", **SGD}, 0.03, 0.3),
        ((200,), {"init": "kaiming", **SGD}, 0.03, 0.3),
        ((100,) * 5, {"init": "deep", **SGD}, 0.03, 0.3),
    ],
    ids=["adamw", "naive", "kaiming", "deep"],
)
def test_on_networks_seeds_agree_within_half_a_decade(
    hidden: tuple[int, ...], told: dict[str, Any], least: float, most: float
) -> None:
    shape = Shape(context=3, embedding=10, hidden=hidden, activation="tanh", norm="none", direct=False)
    found = [lr_range(shape=shape, settings=Settings(seed=seed, **told)) for seed in range(8)]
    assert np.ptp(np.log10([each.suggestion for each in found])) < 0.5
    assert all(each.steepest < each.suggestion < each.largest for each in found)
    assert all(least < each.suggestion < most for each in found)


def test_a_run_is_swept_from_where_it_stands_and_not_touched(few_words: list[str], tmp_path: Path) -> None:
    shape = Shape(context=3, embedding=8, hidden=(50,), activation="tanh")
    run = train(few_words, out=tmp_path / "run", shape=shape, settings=Settings(steps=400, batch=64))
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    found = lr_range_of_run(tmp_path / "run", steps=200)
    assert found.losses[:20].mean() < 2.6 < np.log(run.model.config.vocabulary_size)  # trained already
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}


def test_the_command_line_suggests(few_words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = tmp_path / "words.txt"
    words.write_text("\n".join(few_words))
    small = ["--context", "3", "--embedding", "8", "--hidden", "32", "--steps", "200"]
    assert main(["lr-range", str(words), *small, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["suggestion"] > 0
    assert main(["lr-range", str(words), *small]) == 0
    assert "suggested: --lr" in capsys.readouterr().out
    assert main(["lr-range", str(words), "--run", "somewhere"]) == 2
    assert "leave out words" in capsys.readouterr().err
    assert main(["lr-range", str(words), "--steps", "3"]) == 2
    assert "expected 30 to" in capsys.readouterr().err
