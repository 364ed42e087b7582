"""Checks of heads on evidence written by hand: where each limit lies, and what is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from paper import found, make_trace, noisy, outcome, the
from paper_evidence import FLAT, comparison, seen

from lettrine.health import limits
from lettrine.health.evidence import Evidence


@pytest.mark.parametrize(
    "name", ["softmax-axis", "relu-logits", "target-range", "target-constant", "target-rows", "target-scale", "repeated-batch"]
)
def test_nothing_to_compare(name):
    assert outcome(make_trace(), name)[0] == "not applicable"


def test_broadcast():
    words = {"function": "mse_loss", "answers": "(32, 1)", "others": "(32,)"}
    finding = the(seen(Evidence("broadcast", ("head",), (0, 94), {"looks": 8, "size": 32}, words)), "broadcast")
    assert (
        finding.message == "Answers of shape (32, 1) meet targets of shape (32,) in mse_loss: they broadcast to 32 by 32 pairs."
    )
    assert finding.remedy.endswith("call squeeze(-1) on the answers, or unsqueeze(-1) on the targets.")
    words |= {"answers": "(32,)", "others": "(32, 1)"}
    turned = the(seen(Evidence("broadcast", ("head",), (0, 94), {"looks": 8, "size": 32}, words)), "broadcast")
    assert turned.remedy.endswith("call squeeze(-1) on the targets, or unsqueeze(-1) on the answers.")
    words |= {"answers": "(8, 8)", "others": "(8, 8, 1)"}
    rows = the(seen(Evidence("broadcast", ("head",), (0, 94), {"looks": 8, "size": 64}, words)), "broadcast")
    assert rows.message.endswith("in mse_loss: they broadcast to 512 pairs of shape (8, 8, 8).")
    assert found(make_trace(), "broadcast") == ()


@pytest.mark.parametrize(
    ("each", "words"),
    [
        (comparison("probabilities", "Softmax", ones=1), "single unit"),
        (comparison("classes", classes=1), "single unit"),
        (comparison("logarithms", "LogSoftmax", sum_off=1, axis=0), "over the batch"),
        (comparison("logarithms", "Log Softmax", sum_off=1, axis=2), "axis 2"),
    ],
)
def test_softmax_axis(each, words):
    assert words in the(seen(each), "softmax-axis").message


def test_softmax_axis_must_be_off_at_every_look():
    assert found(seen(comparison("logarithms", "LogSoftmax", sum_off=0.9, axis=0)), "softmax-axis") == ()
    assert found(seen(comparison("probabilities", "Sigmoid", ones=1)), "softmax-axis") == ()  # saturated, not a softmax


@pytest.mark.parametrize(
    ("axis", "axes", "words"), [(0, 3, "the batch"), (1, 3, "the queries"), (1, 4, "the heads"), (2, 4, "the queries")]
)
def test_attention(axis, axes, words):
    figures = {"looks": 8, "off": 1, "axis": axis, "axes": axes}
    each = Evidence("attention", ("block.attention",), (0, 94), figures)
    finding = the(seen(each, comparison()), "softmax-axis")
    assert words in finding.message
    assert found(seen(replace(each, figures={**figures, "off": 0.8}), comparison()), "softmax-axis") == ()


@pytest.mark.parametrize(
    ("each", "severity"),
    [
        (comparison("logits", "Relu", zeros=0.5), "critical"),
        (comparison("probabilities", "Sigmoid Relu"), "critical"),
        (comparison("classes", "Relu", zeros=limits.CUT_LOGITS), "warning"),
        (comparison("classes", "Relu", zeros=limits.CUT_LOGITS - 0.01), "info"),
        (comparison("classes", "Softplus"), "info"),
    ],
)
def test_relu_logits(each, severity):
    finding = the(seen(each), "relu-logits")
    assert (finding.severity, finding.where) == (severity, ("head",))


def test_relu_elsewhere():
    assert found(seen(comparison("squared", "Relu")), "relu-logits") == ()


def test_what_is_taken_for_probabilities():
    raw = the(seen(comparison("likelihood", "Log Clamp")), "probabilities-as-logits")
    assert (raw.severity, raw.message) == ("critical", "The loss expects probabilities and gets raw outputs.")
    assert "sigmoid" in raw.remedy
    assert "softmax" in the(seen(comparison("product", "Log Clamp Share", rows_one=1)), "probabilities-as-logits").remedy
    assert "sigmoid" in the(seen(comparison("probabilities", "Clamp")), "probabilities-as-logits").remedy
    for fine in (("likelihood", "Log Clamp Sigmoid"), ("product", "Log Share Softmax"), ("probabilities", "Clamp Sigmoid")):
        assert found(seen(comparison(*fine, rows_one=1)), "probabilities-as-logits") == ()
    assert found(seen(comparison("product", "Log", rows_one=0.2)), "probabilities-as-logits") == ()  # rates, as of Poisson
    cut = the(seen(comparison("likelihood", "Log Clamp Relu")), "relu-logits")
    assert (cut.severity, "sigmoid" in cut.remedy) == ("critical", True)


def test_a_share_of_one_unit():
    assert "over a single unit" in the(seen(comparison("product", "Log Clamp Share Sigmoid", ones=1)), "softmax-axis").message
    assert found(seen(comparison("product", "Log Clamp Share Sigmoid", ones=0)), "softmax-axis") == ()


def test_squares_of_probabilities_are_a_remark():
    def squares(operations="Sigmoid", loss=FLAT, **figures):
        labels = {"low": 0, "high": 1, "mean": 0.4, "std": 0.24**0.5}
        figures = {**labels, **figures}
        known = Evidence("loss", (), (0, 94), {"reference": 2.3, "even": 2.3}, {"kind": "squared error", "nature": ""})
        return seen(comparison("squared", operations, **figures), known, loss=loss)

    assert the(squares(), "other-loss").severity == "info"
    learned = 3.3 * np.exp(-np.arange(400) / 20)
    for other in (squares(""), squares("Tanh"), squares(std=0.2), squares(loss=learned)):
        assert outcome(other, "other-loss")[0] == "not run"


@pytest.mark.parametrize(
    ("expects", "operations", "given"),
    [("log rates", "Exp", "exponential"), ("paths", "Softmax", "probabilities"), ("paths", "", "raw outputs")],
)
def test_logarithms_that_are_none(expects, operations, given):
    assert given in the(seen(comparison(expects, operations, above=1)), "probabilities-as-logits").message
    for healthy in (comparison("log rates", "", above=1), comparison("paths", "LogSoftmax"), comparison("paths", "Log Softmax")):
        assert found(seen(healthy), "probabilities-as-logits") == ()


def test_a_softmax_of_shares():
    figures = {"looks": 5.0, "all": 5.0, "size": 5.0}
    twice = Evidence("softmax twice", ("match",), (0, 9), figures, {"what": "loss"})
    finding = the(make_trace(evidence=(twice,)), "probabilities-as-logits")
    assert finding.severity == "critical"
    assert "share that comes out is 40 %" in finding.why  # e / (e + 4)
    assert "below 0.9" in finding.why  # ln(1 + 4 / e)
    assert found(make_trace(evidence=(replace(twice, figures={**figures, "looks": 2.0, "all": 2.0}),)), finding.id) == ()
    inside = replace(twice, words={"what": "inside"})
    assert the(make_trace(evidence=(inside,)), finding.id).severity == "info"  # it learns all the same
    assert the(make_trace(evidence=(inside,), loss=noisy(np.full(200, 2.3))), finding.id).severity == "warning"
