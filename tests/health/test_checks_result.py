"""Checks of what came out of a training as a whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from paper import FACTS, found, make_trace, outcome, the

FINE = {"train": 1.8, "held_out": 2.0, "model": 1.93, "simple": 1.97, "error": 0.01, "repeated": 0.0}
CHECKS = ("worse-than-counting", "memorising", "underfitting", "repeated-words", "noisy-judgement")


def trace_of(*, dev=(2.0,) * 20, **changes):
    return make_trace(facts=replace(FACTS, result={**FINE, **changes}), dev=np.array(dev))


@pytest.mark.parametrize("name", CHECKS)
def test_a_good_training_passes_and_one_of_which_nothing_is_told_is_not_judged(name: str) -> None:
    assert found(trace_of(), name) == ()
    told = outcome(make_trace(dev=np.full(20, 2.0)), name)[0]
    assert told == ("passed" if name == "underfitting" else "not applicable")  # of that one any loss tells


def test_worse_than_counting() -> None:
    finding = the(trace_of(model=2.01), "worse-than-counting")
    assert finding.severity == "warning"
    assert finding.limit == pytest.approx(2.00)
    assert "2.01" in finding.message
    assert "1.97" in finding.message
    assert found(trace_of(model=2.01, error=0.1), "worse-than-counting") == ()  # within what chance does


def test_a_network_left_alone_by_choice_is_told_what_counting_gets_and_not_warned() -> None:
    finding = the(trace_of(model=2.01, alone=1.0), "worse-than-counting")
    assert finding.severity == "info"
    assert "--prior counts" in finding.remedy
    assert the(trace_of(model=2.01, alone=0.0), "worse-than-counting").severity == "warning"


def test_memorising_is_a_remark_unless_counting_does_better() -> None:
    finding = the(trace_of(train=1.1), "memorising")
    assert finding.severity == "info"
    assert the(trace_of(train=1.1, model=2.1), "memorising").severity == "warning"
    assert the(trace_of(train=1.1, model=2.1, error=0.5), "memorising").severity == "info"  # few words: that is chance


def test_underfitting() -> None:
    falling = np.linspace(3.0, 2.0, 20)
    assert the(trace_of(dev=falling, train=1.99), "underfitting").severity == "info"
    assert found(trace_of(dev=falling, train=1.8), "underfitting") == ()  # what it would learn more is by heart
    assert found(trace_of(train=1.99), "underfitting") == ()
    assert "after 0.9 passes" in the(trace_of(train=1.99, passes=0.9), "underfitting").message
    assert found(trace_of(train=1.99, passes=4.0), "underfitting") == ()
    assert found(trace_of(train=1.8, passes=0.9), "underfitting") == ()


def test_repeated_words_are_told_and_no_leak() -> None:
    assert "--unique" in the(trace_of(repeated=0.3), "repeated-words").remedy
    assert outcome(trace_of(repeated=0.3), "leak")[0] == "not applicable"


def test_noisy_judgement() -> None:
    assert "0.1" in the(trace_of(error=0.1), "noisy-judgement").message
