"""Losses put together wrongly, generators out of reach and vectors that became one, on evidence written by hand."""

from __future__ import annotations

import pytest
from paper import make_trace, the

from lettrine.health import limits_wiring as limits
from lettrine.health.checks import examine
from lettrine.health.evidence import Evidence

LEAST = {
    "late weights": ("averaged-first", limits.LATE_LOOKS),
    "chased": ("value-target", limits.CHASED_LOOKS),
    "unclipped": ("policy-loss", limits.UNCLIPPED_LOOKS),
}


def told_of(trace, name):
    return [each for each in examine(trace, only=[name]).findings if each.where in (("head",), ("maker",))]


def seen(kind, where=("head",), words=None, **figures):
    return make_trace(evidence=(Evidence(kind, where, (0, 94), figures, words or {}),))


@pytest.mark.parametrize("kind", LEAST)
def test_losses_put_together_wrongly(kind):
    words = {"function": "min", "mean": "()", "weights": "(32,)"}
    check, least = LEAST[kind]
    finding = the(seen(kind, words=words, looks=least, rows=32), check)
    assert (finding.severity, finding.steps) == ("warning", (0, 94))
    assert told_of(seen(kind, words=words, looks=least - 1, rows=32), check) == []
    told = {"late weights": "32 examples", "chased": "head is compared", "unclipped": "min keeps"}
    assert told[kind] in finding.message


def real(**figures):
    usual = {"low": 0.0, "high": 1.0, "least": 0.0, "most": 255.0, "looks": limits.REAL_LOOKS, "outside": 0.4}
    return seen("real", ("maker", "judge"), {"last": "Sigmoid"}, **usual | figures)


def test_data_out_of_a_generators_reach():
    finding = the(real(), "target-range")
    assert (finding.severity, finding.where) == ("warning", ("maker",))
    assert "judge is shown data from 0 to 255 beside what maker makes, and maker ends in a sigmoid" in finding.message
    assert "at least 40 % of the values" in finding.message
    assert told_of(real(outside=0.9 * limits.REAL_OUTSIDE), "target-range") == []
    assert told_of(real(looks=limits.REAL_LOOKS - 1), "target-range") == []


def test_a_hinge_out_of_reach():
    finding = the(seen("hinge", words={"last": "Sigmoid"}, looks=limits.HINGE_LOOKS, least=1.0, margin=1.0), "target-range")
    assert "cuts at 0 what is 1 or more whatever head gives" in finding.message
    few = seen("hinge", words={"last": "Sigmoid"}, looks=limits.HINGE_LOOKS - 1, least=1.0, margin=1.0)
    assert told_of(few, "target-range") == []


def collapsed(**figures):
    usual = {"apart": 2.0, "last": 1e-3, "value": 0.5, "before": 0.5, "first": 0.7, "size": 1.0, "rows": 32.0, "looks": 6.0}
    return seen("collapsed", **usual | figures)


def test_vectors_that_became_one():
    finding = the(collapsed(), "no-learning")
    assert (finding.severity, finding.where) == ("warning", ("head",))
    assert "two of them lay 2 apart at first, and 0.001 at step 94, where the loss stands at 0.5" in finding.message
    never = the(collapsed(apart=1e-3, first=0.5), "no-learning")  # they were one before the first step
    assert "of a length of 1" in never.message
    assert "load_state_dict" in never.remedy
    assert the(collapsed(apart=0.0, last=0.0, size=0.0), "no-learning").value == 0.0  # nothing but zeros
    for figures in (
        {"last": 2.1 * limits.COLLAPSED},  # still apart
        {"apart": 1e-3, "last": 2.1 * limits.COLLAPSED},  # they were one at first, and are no longer
        {"before": 0.5 * (1 + 2 * limits.COLLAPSED_FLAT)},  # the loss still moves
        {"value": 0.13, "before": 0.13},  # the margin is nearly won
    ):
        assert told_of(collapsed(**figures), "no-learning") == [], figures


def test_scales_that_the_loss_pays_for_making_small():
    def paid(*others, looks=6.0, last=-4.0):
        figures = {"looks": looks, "all": 6.0, "first": 0.1, "middle": -2.0, "last": last}
        return make_trace(evidence=(Evidence("log scale", (), (0, 94), figures), *others))

    finding = the(paid(), "wrong-direction")
    assert (finding.severity, finding.value) == ("critical", -4.0)
    assert "was 0.1 at first and is -4 at step 94" in finding.message
    code = Evidence("latents", ("code",), (0, 94), {"kl": 3.0, "kl_first": 0.1})
    (latent,) = examine(paid(code), only=["wrong-direction"]).findings
    assert "Add the divergence" in latent.remedy
    for mild in ({"looks": 5.0}, {"last": 0.1 - 0.9 * limits.SCALE_FELL}):
        assert examine(paid(**mild), only=["wrong-direction"]).findings == (), mild
