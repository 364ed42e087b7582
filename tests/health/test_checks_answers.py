"""Checks of the answers to held-out data, on evidence written by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from paper import found, make_trace, noisy, the

from lettrine.health import limits
from lettrine.health.checks import examine
from lettrine.health.checks.held_out.answers import torn
from lettrine.health.evidence import Evidence
from lettrine.health.trace import Curve

GUESS = np.log(10)
LEARNED = noisy(np.concatenate([np.linspace(GUESS, 0.2, 60), np.full(140, 0.2)]), 0.01)
EVALUATED = np.array([10.0, 50.0, 90.0, 130.0, 170.0, 195.0])
RISES = np.array([2.6, 2.9, 3.4, 3.9, 4.2, 4.4])  # held-out losses


def answers(targets="classes", **figures):
    usual = {"evaluation": 3, "rows": 200, "right": 0.2, "mapped": 0.95, "most": 0.2, "from": 2, "to": 1}
    usual |= {"mean": 0, "std": 1, "told": 40, "compared": 200}
    return Evidence("held-out answers", (), (0, 0), {**usual, **figures}, {"targets": targets})


def inputs(**figures):
    usual = {"looks": 8, "rows": 32, "mean": 0, "std": 1, "feature_most": 1, "feature_least": 0.9, "rescaled": 0}
    return Evidence("inputs", ("Net",), (0, 94), {**usual, "told": 40, "compared": 256, "columns": 1, **figures})


def traced(*evidence, dev=RISES):
    return replace(make_trace(evidence=evidence, loss=LEARNED), dev=Curve(EVALUATED, dev, dev, EVALUATED.copy()))


def test_classes_of_another_order():
    finding = the(traced(answers()), "held-out-labels")
    assert finding.severity == "critical"
    assert "20 % of 200 held-out answers are right" in finding.message
    assert "answer 2, for example, stands for label 1" in finding.message
    for figures in (
        {"right": 0.95 - limits.RENAMED + 0.01},  # a few are exchanged, as in a hard task
        {"most": 0.95 - limits.RENAMED + 0.01},  # one class makes up most of the rows
        {"rows": 63},
        {"evaluation": 0},  # nothing had been learned yet
    ):
        assert found(traced(answers(**figures)), "held-out-labels") == (), figures


@pytest.mark.parametrize(
    ("asked", "labels", "named"),
    [
        ({"4": 0.6, "5": 0.4}, 200, True),
        ({"0": 0.7, "4": 0.3}, 200, True),
        ({"0": 0.9, "4": 0.1}, 200, False),  # too few to matter
        ({"0": 0.7, "4": 0.3}, 40, False),  # it may not have come yet
        ({"0": 0.7, "3": 0.3}, 200, False),
    ],
)
def test_classes_that_training_never_showed(asked, labels, named):
    seen = {f"seen {label}": 1.0 for label in range(4)}
    figures = {"looks": 8, "classes": 8, "classes_seen": 4, "labels": labels, "pure": 0, "scatter": 1, "single": 1, **seen}
    trained = Evidence("comparison", ("Net", "classes"), (0, 94), figures, {"expects": "classes", "function": "cross_entropy"})
    shares = {f"asked {label}": part for label, part in asked.items()}
    trace = traced(answers(right=0.3, mapped=0.3, **shares), trained)
    assert bool(found(trace, "held-out-labels")) is named
    if named:
        assert "never showed" in the(trace, "held-out-labels").message
        assert examine(trace, only=["dev-scale"]).findings == ()
        other = replace(trained, where=("Net", "other"))  # a second head: whose classes these are is not known
        assert found(traced(answers(right=0.3, mapped=0.3, **shares), trained, other), "held-out-labels") == ()


@pytest.mark.parametrize(
    ("figures", "named"), [({}, True), ({"left": 0.9}, False), ({"fitted": limits.RESCALED_LEFT + 0.01}, False)]
)
def test_targets_of_another_scale(figures, named):
    seen = answers("numbers", **{"left": 30, "fitted": 0.1, "slope": 20, "offset": 5, **figures})
    assert bool(found(traced(seen), "dev-scale")) is named
    if named:
        assert "multiplied by 20 and 5 is added" in the(traced(seen), "dev-scale").message
        assert found(traced(seen, dev=0.2 * RISES), "dev-scale") == ()  # the held-out loss is good
        now_and_then = np.where(np.arange(6) == 2, 0.3, RISES)  # a norm whose statistics lag behind
        assert found(traced(seen, dev=now_and_then), "dev-scale") == ()


@pytest.mark.parametrize(
    ("other", "named"),
    [({"std": 0.3}, True), ({"std": 3}, True), ({"mean": 2}, True), ({"std": 0.5}, False), ({"mean": -1}, False)],
)
def test_inputs_of_another_scale(other, named):
    pair = inputs(), answers(right=0.3, mapped=0.3, **other)
    assert bool(found(traced(*pair), "dev-scale")) is named
    assert found(traced(*pair, dev=0.3 * RISES), "dev-scale") == ()  # the held-out loss is good


@pytest.mark.parametrize(("std", "share", "named"), [(6, 0.4, True), (0.1, 0.4, True), (6, 0.1, False), (3, 0.4, False)])
def test_inputs_of_quite_another_scale_need_less_of_a_consequence(std, share, named):
    pair = inputs(), answers(right=0.8, mapped=0.8, std=std)
    assert bool(found(traced(*pair, dev=share * RISES), "dev-scale")) is named


def test_held_out_labels_of_one_class():
    same = {"right": 0.1, "mapped": 1.0, "most": 1.0, "to": 7}
    assert "have the label 7, which is the answer to 10 % of them" in the(traced(answers(**same)), "held-out-labels").message
    for figures in ({"most": 0.99, "mapped": 0.99}, {"right": 0.8}, {"evaluation": 0}):
        assert found(traced(answers(**(same | figures))), "held-out-labels") == (), figures


NUMBERS = (Evidence("loss", (), (0, 94), {"terms": 1, "reference": GUESS, "weight": 1}, {"kind": "squared error", "nature": ""}),)


def test_numbers_known_by_heart():
    heart = noisy(np.concatenate([np.linspace(GUESS, 0.01, 60), np.full(140, 0.01)]), 0.0001)

    def severity(*losses, evidence=NUMBERS):
        dev = GUESS * np.array(losses)
        trace = replace(make_trace(evidence=evidence, loss=heart), dev=Curve(EVALUATED, dev, dev, EVALUATED.copy()))
        return [each.severity for each in found(trace, "overfitting")]

    assert severity(0.9, 0.5, 0.55, 0.56, 0.57, 0.57) == ["warning"]
    assert severity(0.9, 0.4, 0.45, 0.46, 0.47, 0.47) == ["info"]  # more than half of what there is holds
    assert severity(0.9, 0.5, 0.52, 0.53, 0.53, 0.53) == []
    assert severity(0.98, 0.97, 1.01, 1.02, 1.02, 1.02) == ["warning"]  # no better than one answer to all
    assert severity(0.9, 0.5, 0.55, 0.56, 0.57, 0.57, evidence=()) == ["info"]  # of classes


def test_a_likelihood_below_0_is_measured_by_its_fall():
    below = np.array([1.5, 0.6, -0.1, -0.05, -0.02, -0.02])
    falling = np.linspace(2, -0.3, 200)
    unknown = replace(make_trace().facts, classes=0, chance=float("nan"))
    for dev, wanted in ((below, 0), (np.array([1.5, 0.6, -0.1, 0.6, 1.2, 1.3]), 1)):
        trace = replace(make_trace(loss=falling, facts=unknown), dev=Curve(EVALUATED, dev, dev, EVALUATED.copy()))
        assert len(found(trace, "overfitting")) == wanted


def test_pairs_torn_apart():
    assert torn(traced(inputs(), answers())) == ""
    assert torn(traced(inputs(told=0.5), answers())) == "training"
    assert torn(traced(inputs(), answers(told=0.5))) == "held out"
    assert torn(traced(inputs(told=0.5), answers(told=0.9 * limits.TOLD_TORN))) == ""  # a task in which neighbours tell little
    assert torn(traced(inputs(told=0.5, compared=60), answers())) == ""
    same = {"right": 0.1, "mapped": 0.1}
    by_heart = traced(inputs(told=0.5, compared=100), answers(**same))
    assert the(by_heart, "shuffled-targets").severity == "critical"
    assert found(by_heart, "held-out-labels") == ()
    held_out = traced(inputs(), answers(told=0.5, **same))
    assert found(held_out, "shuffled-targets") == ()
    assert the(held_out, "held-out-labels").severity == "critical"
