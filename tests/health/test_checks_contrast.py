"""The check of losses that tell examples apart, on evidence written by hand."""

from __future__ import annotations

from math import nan

from paper import HIDDEN, found, make_trace, outcome, the

from lettrine.health.checks import examine
from lettrine.health.evidence import Evidence
from lettrine.health.trace import NonFinite


def contrast(*, updates=1e-3, broke=None, **figures):
    told = {"examples": 64.0, "length": 11.0, "spread": 0.3, "most": 40.0, "value": 20.0, "last": 1.0} | figures
    changes = {f"{name}.update_data": updates for name in (*HIDDEN, "head.weight")}
    return make_trace(evidence=(Evidence("contrast", (), (0, 94), told, {}),), first_nonfinite=broke, **changes)


def test_raw_contrast():
    finding = the(contrast(updates=0.7), "raw-contrast")
    assert finding.severity == "warning"
    assert "length is about 11, and not 1: logits reach 40, and the loss starts at 20" in finding.message
    assert "guessing among 64 gives ln 64 = 4.16; the first steps changed the weights by 70 %" in finding.message
    assert the(contrast(last=4.5), "raw-contrast").severity == "warning"  # still above ln 64
    assert the(contrast(last=nan), "raw-contrast").severity == "warning"
    assert the(contrast(), "raw-contrast").severity == "info"
    assert the(contrast(spread=0.0, most=900.0), "raw-contrast").severity == "info"  # one length, and a long one
    for figures in ({"spread": 0.0}, {"value": 12.0}, {"value": nan}):
        assert found(contrast(updates=0.7, **figures), "raw-contrast") == (), figures
    assert outcome(make_trace(), "raw-contrast")[0] == "not applicable"


def test_it_accounts_for_what_follows():
    report = examine(contrast(broke=NonFinite(10, "", "loss")))
    assert report.findings[0].id == "raw-contrast"
    assert "values stopped being finite at step 10" in report.findings[0].message
    assert "non-finite" not in {each.id for each in report.findings}
