"""Views instead of a transposition, steps read after padding, errors made larger: on evidence written by hand."""

from __future__ import annotations

import numpy as np
import pytest
from paper import found, make_trace, noisy, outcome, the

from lettrine.health.evidence import Evidence

CHANCE = noisy(np.full(400, np.log(10)), 0.01)
LEARNED = 3.3 * np.exp(-np.arange(400) / 20)


def reshaped(what="axes", where="att", loss=CHANCE, **figures):
    told = {"looks": 3.0, "batch": 0.0, "ahead": 0.0} | figures
    words = {"function": "view", "before": "(8, 3, 5, 4)", "after": "(8, 5, 12)", "what": what}
    return make_trace(evidence=(Evidence("reshaped", (where,), (0, 2), told, words),), loss=loss)


@pytest.mark.parametrize("what", ["axes", "heads", "parts"])
def test_a_view_in_the_place_of_a_transposition(what):
    finding = the(reshaped(what), "batch-mixing")
    assert (finding.severity, finding.where) == ("warning", ("att",))
    assert "makes (8, 5, 12) of (8, 3, 5, 4)" in finding.message
    assert "transpose" in finding.remedy or "stack" in finding.remedy
    assert the(reshaped(what, loss=LEARNED), "batch-mixing").severity == "info"
    assert outcome(reshaped(what, looks=1.0), "batch-mixing")[0] == "not applicable"


def test_a_view_that_shows_what_follows():
    finding = the(reshaped("heads", ahead=1.0, loss=LEARNED), "future-leak")
    assert (finding.severity, finding.where) == ("critical", ("att",))
    assert found(reshaped("heads"), "future-leak") == ()
    assert found(reshaped("parts", ahead=1.0, batch=1.0), "future-leak") == ()  # examples are mixed, not places
    assert the(reshaped("axes", where="loss", batch=1.0), "batch-mixing").where == ()


def padded(loss=CHANCE, **figures):
    told = {"looks": 3.0, "rows": 0.9, "run": 0.6, "token": 0.0} | figures
    return make_trace(evidence=(Evidence("padded end", ("rnn",), (0, 42), told, {"used": "outputs"}),), loss=loss)


def test_the_last_step_is_padding():
    finding = the(padded(), "padding-mask")
    assert (finding.severity, finding.where) == ("warning", ("rnn",))
    assert "90 % of the rows end in padding (0), which fills 60 % of the places" in finding.message
    assert "pack_padded_sequence" in finding.remedy
    little = [2.3 - 0.25 * step / 200 for step in range(200)]
    assert "the loss" in the(padded(little), "padding-mask").message
    for harmless in (padded(LEARNED), padded(little, run=0.4), padded(rows=0.2), padded(run=0.1), padded(looks=1.0)):
        assert found(harmless, "padding-mask") == ()


def upwards(*values, nature="", up=1.0):
    figures = {f"value {step}": value for step, value in zip((0, 1, 9, 94), values, strict=True)}
    told = {"terms": 1.0, "classes": 10.0, "reference": 2.3, "even": 2.3, "upwards": up} | figures
    return make_trace(evidence=(Evidence("loss", (), (0, 94), told, {"kind": "cross-entropy", "nature": nature}),))


def test_an_error_that_is_made_larger():
    negated = the(upwards(-2.3, -2.5, -8.0, -90.0), "wrong-direction")
    assert negated.severity == "critical"
    assert "the loss is its negative. It was 2.3 at first, and has come to 90" in negated.message
    assert "minus" in negated.remedy
    maximised = the(upwards(2.3, 2.5, 8.0, float("nan")), "wrong-direction")
    assert "maximize=True" in maximised.message
    assert "8." in maximised.message  # the last finite one
    assert found(upwards(2.3, 2.2, 1.0, 0.5), "wrong-direction") == ()
    rewards = upwards(-2.3, -2.2, -1.0, -0.5, nature="maximised", up=0.0)
    assert found(rewards, "wrong-direction") == ()
    assert outcome(rewards, "other-loss")[0] == "not applicable"
