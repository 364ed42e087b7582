"""A classifier that answers the most frequent class only: where each limit lies, by hand-written evidence."""

from __future__ import annotations

from math import log

import numpy as np
from paper import found, make_trace, noisy, outcome, the

from lettrine.health.evidence import Evidence

GUESS = -(0.95 * log(0.95) + 0.05 * log(0.05))
REST = 1.4 * GUESS * np.exp(-np.arange(200) / 5) + 0.85 * GUESS


def trace(loss=REST, **changes):
    figures = {"looks": 4.0, "rows": 256.0, "others": 10.0, "most": 0.95, "answer": 0.0, "steps": 432.0} | changes
    loss_seen = {"terms": 1.0, "classes": 2.0, "reference": GUESS, "even": log(2)}
    evidence = (
        Evidence("one answer", ("head",), (42, 474), figures),
        Evidence("loss", (), (0, 3), loss_seen, {"kind": "cross-entropy", "nature": ""}),
    )
    return make_trace(loss=noisy(loss, 0.002), evidence=evidence)


def test_majority_class():
    finding = the(trace(), "majority-class")
    assert (finding.severity, finding.where) == ("warning", ("head",))
    assert "95 % of the labels are class 0, and from step 42 on it is the answer to all 256 examples" in finding.message
    assert "also to the 10 of another class" in finding.message
    assert "up to about 19 times" in finding.remedy
    for changes in ({"most": 0.7}, {"others": 3.0}, {"rows": 64.0}, {"looks": 2.0}):
        assert found(trace(**changes), "majority-class") == (), changes
    assert the(trace(np.full(200, GUESS)), "majority-class").severity == "warning"  # no better than guessing is no better
    assert the(trace(REST - 0.25 * GUESS), "majority-class").severity == "info"  # it ranks, whatever it answers
    assert found(trace(REST - 0.45 * GUESS), "majority-class") == ()  # and here it ranks well
    assert outcome(make_trace(), "majority-class")[0] == "not applicable"
