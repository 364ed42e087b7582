"""Checks of the answers to held-out data, on evidence written by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from paper import found, make_trace, noisy, the

from lettrine.health import limits
from lettrine.health.checks.answers import torn
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
    assert "20 % are answered by the class of their label" in finding.message
    assert "answer 2, for one, goes with label 1" in finding.message
    for figures in (
        {"right": 0.95 - limits.RENAMED + 0.01},  # a few are exchanged, as in a hard task
        {"most": 0.95 - limits.RENAMED + 0.01},  # one class makes up most of the rows
        {"rows": 63},
        {"evaluation": 0},  # nothing had been learned yet
    ):
        assert found(traced(answers(**figures)), "held-out-labels") == (), figures


@pytest.mark.parametrize(
    ("figures", "named"), [({}, True), ({"left": 0.9}, False), ({"fitted": limits.RESCALED_LEFT + 0.01}, False)]
)
def test_targets_of_another_scale(figures, named):
    seen = answers("numbers", **{"left": 30, "fitted": 0.1, "slope": 20, "offset": 5, **figures})
    assert bool(found(traced(seen), "dev-scale")) is named
    if named:
        assert "multiplied by 20 and 5 is added" in the(traced(seen), "dev-scale").message
        assert found(traced(seen, dev=0.2 * RISES), "dev-scale") == ()  # the held-out loss is good


@pytest.mark.parametrize(
    ("other", "named"),
    [({"std": 0.3}, True), ({"std": 3}, True), ({"mean": 2}, True), ({"std": 0.5}, False), ({"mean": -1}, False)],
)
def test_inputs_of_another_scale(other, named):
    pair = inputs(), answers(right=0.3, mapped=0.3, **other)
    assert bool(found(traced(*pair), "dev-scale")) is named
    assert found(traced(*pair, dev=0.3 * RISES), "dev-scale") == ()  # the held-out loss is good


def test_pairs_torn_apart():
    assert torn(traced(inputs(), answers())) == ""
    assert torn(traced(inputs(told=0.5), answers())) == "training"
    assert torn(traced(inputs(), answers(told=0.5))) == "held out"
    assert torn(traced(inputs(told=0.5), answers(told=7))) == ""  # a task in which neighbours tell little
    assert torn(traced(inputs(told=0.5, compared=60), answers())) == ""
    same = {"right": 0.1, "mapped": 0.1}
    by_heart = traced(inputs(told=0.5, compared=100), answers(**same))
    assert the(by_heart, "shuffled-targets").severity == "critical"
    assert found(by_heart, "held-out-labels") == ()
    held_out = traced(inputs(), answers(told=0.5, **same))
    assert found(held_out, "shuffled-targets") == ()
    assert the(held_out, "held-out-labels").severity == "critical"
