"""Checks of targets on evidence written by hand: where each limit lies, and what is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from paper import FACTS, found, noisy, outcome, the
from paper_evidence import FLAT, comparison, seen

from lettrine.health import limits
from lettrine.health.evidence import Evidence


def test_target_range():
    assert found(seen(comparison("probabilities", low=-1e-4, high=1 + 1e-4)), "target-range") == ()
    finding = the(seen(comparison("logits", low=0, high=3)), "target-range")
    assert "give the last layer 4 outputs" in finding.remedy
    assert "mse_loss" in the(seen(comparison("likelihood", low=-2.5, high=1)), "target-range").remedy
    reach = {"low": -2, "high": 3, "reach_low": 0, "reach_high": float("inf"), "outside": 0.5}
    finding = the(seen(comparison("squared", "Relu", lost=0.3, **reach)), "target-range")
    assert finding.severity == "critical"
    assert "only values above 0, but 50 % of the targets" in finding.message
    assert the(seen(comparison("squared", "Relu", lost=0.1, **reach)), "target-range").severity == "warning"
    assert found(seen(comparison("squared", "Relu", lost=0.9 * limits.OUT_OF_REACH, **reach)), "target-range") == ()
    assert found(seen(comparison("squared", "Relu", lost=0.3, given=0.5, **reach)), "target-range") == ()  # made in the step
    few = 2 * limits.TARGETS_OUTSIDE  # half of them outside
    assert the(seen(comparison("squared", "Relu", lost=0.3, rows=few, **reach)), "target-range").severity == "critical"
    assert found(seen(comparison("squared", "Relu", lost=0.3, rows=few - 1, **reach)), "target-range") == ()
    rarely = {**reach, "outside": 0.2}
    assert found(seen(comparison("squared", "Relu", lost=0.3, rows=limits.TARGETS_LEAST - 1, **rarely)), "target-range") == ()


def test_target_constant():
    one = comparison(classes_seen=1)
    sinking = 2.3 * np.exp(-np.arange(200) / 8)
    assert "belong to the same class" in the(seen(one, loss=sinking), "target-constant").message
    assert found(seen(one, loss=sinking + 0.3 * (np.arange(200) == 150)), "target-constant") == ()  # another class, not looked at
    assert found(seen(replace(one, steps=(0, 9)), loss=sinking), "target-constant") == ()
    assert found(seen(comparison(classes_seen=2), loss=sinking), "target-constant") == ()
    assert found(seen(one, comparison("squared", std=0), loss=sinking), "target-constant") == ()  # a loss of several parts
    ignored = replace(one, figures={**one.figures, "ignored": 0.14, "ignored_number": 255.0, "seen 0": 1.0})
    finding = the(seen(ignored, loss=sinking), "target-constant")
    assert finding.message.startswith("14 % of the targets are 255, the number that the loss ignores, and all others")
    assert finding.message.endswith("are class 0.")
    few = replace(ignored, figures={**ignored.figures, "ignored": 0.9 * limits.IGNORED_SHARE})
    assert "belong to the same class" in the(seen(few, loss=sinking), "target-constant").message
    assert "the target 0.5" in the(seen(comparison("squared", std=0, mean=0.5), loss=sinking), "target-constant").message


def test_target_rows():
    assert the(seen(comparison("squared", "Softmax", rows_many=0.3)), "target-rows").value == 0.3
    assert found(seen(comparison("squared", "Sigmoid", rows_many=0.3)), "target-rows") == ()
    assert found(seen(comparison("classes", rows_many=limits.ROWS_OF_MANY)), "target-rows") == ()
    assert "cross_entropy ignores" in the(seen(comparison("classes", all_ignored=1)), "target-constant").message
    assert found(seen(comparison("classes", all_ignored=0.3)), "target-constant") == ()


def test_target_scale():
    far = comparison("squared", mean=-2700, std=30, low=-2800, high=-2600)
    facts = replace(FACTS, classes=0, loss_chain=("MseLoss",), chance=float("nan"))
    finding = the(seen(far, loss=noisy(np.full(400, 900.0), 5), facts=facts), "target-scale")
    assert finding.remedy == "Train on (y + 2,700) / 30, and undo it in the predictions."
    falling = 7e6 * np.exp(-np.arange(400) / 20) + 10
    assert found(seen(far, loss=falling, facts=facts), "target-scale") == ()
    near = comparison("squared", mean=1, std=3)
    assert found(seen(near, loss=noisy(np.full(400, 9.0), 0.1), facts=facts), "target-scale") == ()


def test_targets_whose_mean_takes_most_of_the_run():
    known = Evidence("loss", (), (0, 94), {"reference": 49.0, "even": 449.0}, {"kind": "squared error", "nature": ""})
    shifted = comparison("squared", mean=20, std=7, low=5, high=35)

    def falling(to, reached):
        """A loss that comes from 449 down to 49 at a step, and goes on to an end."""
        return np.concatenate([np.linspace(449, 49, reached), np.linspace(48.9, to, 400 - reached)])

    finding = the(seen(shifted, known, loss=falling(42, 300)), "target-scale")
    assert finding.remedy == "Train on (y - 20) / 7, and undo it in the predictions."
    assert "of 400 steps to their mean" in finding.message
    for loss in (falling(42, 150), falling(20, 300)):  # soon there, or learned all the same
        assert found(seen(shifted, known, loss=loss), "target-scale") == ()


def test_targets_far_from_zero_under_a_sum():
    def far(square, loss, variance=100.0):
        figures = {"terms": 1, "classes": 0, "reference": variance, "even": square, "value 0": square}
        return seen(Evidence("loss", (), (0, 94), figures, {"kind": "squared error", "nature": ""}), loss=loss)

    slowly = np.concatenate([np.linspace(40_000, 100, 200), noisy(np.full(200, 99.0), 0.1)])
    finding = the(far(40_000.0, slowly), "target-scale")
    assert "200 from 0 with a std of 10" in finding.message
    assert finding.severity == "warning"
    learned = np.concatenate([np.linspace(40_000, 100, 200), np.linspace(100, 5, 200)])
    for near in (far(40_000.0, learned), far(400.0, slowly)):
        assert outcome(near, "target-scale")[0] == "not applicable"


MIXED = {"rows_mixed": 1, "row_sum": 0.1, "row_spread": 1.4, "low": -2.5, "high": 2.8, "mean": 0, "std": 1}


def test_amounts_under_a_softmax():
    for each in (
        comparison(**MIXED),
        comparison("product", "Log Softmax", **MIXED),
        comparison("product", "LogSoftmax", **MIXED),
    ):
        finding = the(seen(each), "target-range")
        assert finding.severity == "critical"
        assert "mse_loss" in finding.remedy
    positive = {**MIXED, "low": 0.1, "high": 14, "row_sum": 5}
    assert "how large the numbers of a row are" in the(seen(comparison(**positive)), "target-range").why
    shares = {**positive, "high": 1, "row_sum": 1, "row_spread": 0}
    for healthy in (
        comparison(**shares),
        comparison(**{**positive, "rows_mixed": 0}),  # counts of words
        comparison("product", "LogSoftmax", **{**MIXED, "alone": 0}),  # one term of several, such as advantages
        comparison("product", "LogSoftmax", **{**MIXED, "rows_mixed": limits.ROWS_MIXED}),  # an advantage in one of the places
        comparison(**{**positive, "row_spread": limits.ROWS_UNEVEN * 5}),
        comparison("squared", "Softmax", **MIXED),
    ):
        assert found(seen(healthy), "target-range") == ()


def test_labels_for_signs():
    labels = {"low": 0, "high": 1, "mean": 0.4, "std": 0.24**0.5}
    assert "2 * y - 1" in the(seen(comparison("signs", **labels)), "target-range").remedy
    assert found(seen(comparison("signs", **{**labels, "low": -1})), "target-range") == ()
    assert found(seen(comparison("signs", **{**labels, "std": 0.2})), "target-range") == ()  # numbers between 0 and 1


def test_rows_that_sum_to_something_else():
    rows = comparison(rows_mixed=1, row_sum=6, row_spread=0, low=0.5, high=1.5)
    assert the(seen(rows, loss=FLAT), "target-rows").severity == "warning"
    assert the(seen(rows), "target-rows").severity == "info"  # it learns all the same
    assert found(seen(comparison(rows_mixed=1, row_sum=1, row_spread=0), loss=FLAT), "target-rows") == ()


def test_returns_far_above_the_answers():
    far = {"alone": 0, "given": 0, "mean": 600, "std": 200, "square": 4e5, "answer": 600.0, "error": 3.8e5}
    finding = the(seen(comparison("squared", **far)), "target-scale")
    assert (finding.severity, finding.where) == ("warning", ("head",))
    assert "still at 24.5" in finding.message
    for figures in (
        {"error": 0.9 * limits.HARDLY_LEARNED * 4e5},
        {"square": 0.9 * limits.SCALE_APART**2, "error": 0.9 * limits.SCALE_APART**2},
        {"rows": limits.TARGETS_LEAST - 1},
    ):
        assert found(seen(comparison("squared", **(far | figures))), "target-scale") == ()
    early = replace(comparison("squared", **far), steps=(0, 9))
    assert found(seen(early), "target-scale") == ()  # it may still come to them


def test_a_loss_of_means():
    def averaged(**figures):
        usual = {"looks": 8.0, "rows": 32.0, "left": 1.1}
        return Evidence("averaged first", ("head",), (0, 94), {**usual, **figures}, {"what": "answers"})

    finding = the(seen(averaged()), "averaged-first")
    assert (finding.severity, finding.where) == ("warning", ("head",))
    assert "misses its target by 110 %" in finding.message
    assert the(seen(averaged(left=0.9 * limits.AVERAGED_LEFT)), "averaged-first").severity == "info"  # it learns all the same
    assert the(seen(averaged(looks=limits.HANDED_POINTS - 1)), "averaged-first").severity == "info"
    assert "Each answer" not in the(seen(averaged(left=float("nan"))), "averaged-first").message
