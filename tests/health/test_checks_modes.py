"""Checks of modes, shared norms, masks and axes, on evidence written by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from paper import HIDDEN, MODULES, found, make_trace, outcome, the

from lettrine.health.checks import examine
from lettrine.health.evidence import Evidence
from lettrine.health.trace import ModuleInfo, NonFinite

NORMED = (*MODULES, ModuleInfo("bn", "BatchNorm1d", "norm", "", 20, "fc1"))


def mode(name="bn", kind="BatchNorm1d", where=None, **figures):
    told = {"training": 0.0, "held_out": 0.0, "looks": 4.0, "fresh": 1.0, "trained": 1.0} | figures
    return make_trace(modules=NORMED, evidence=(Evidence("mode", where or (name,), (0, 3), told, {"kind": kind}),))


def test_a_part_in_another_mode():
    finding = the(mode(), "wrong-mode")
    assert (finding.severity, finding.where) == ("warning", ("bn",))
    assert found(mode(fresh=0.0), "wrong-mode") == ()  # trained statistics that are kept, as in fine-tuning
    assert found(mode(trained=0.0), "wrong-mode") == ()
    assert found(mode(looks=2.0), "wrong-mode") == ()
    assert the(mode("drop", "Dropout"), "wrong-mode").severity == "info"
    assert found(mode("drop", "Dropout", trained=0.0), "wrong-mode") == ()
    kept = the(mode(where=("bn", "eval"), held_out=1.0, training=1.0), "wrong-mode")
    assert (kept.severity, kept.where) == ("warning", ("bn",))
    assert "evaluated in eval mode" in kept.message
    assert found(mode("drop", "Dropout", where=("drop", "eval"), held_out=1.0, training=1.0), "wrong-mode") == ()  # Monte Carlo


@pytest.mark.parametrize("kind", ["BatchNorm1d", "Dropout"])
def test_values_that_stop_being_finite_in_eval_mode(kind):
    """Only batch norms keep values from growing."""
    modes = np.array([1.0] * 5 + [0.0] * 8)
    modules = (*MODULES, ModuleInfo("bn", kind, "norm" if "Norm" in kind else "dropout", "", 20, "fc1", 7))
    large = {f"{name}.update_data": np.array([1e-3] * 5 + [0.9] * 8) for name in HIDDEN}
    broken = make_trace(modules=modules, first_nonfinite=NonFinite(199, "bn", "forward"), **{"step.training": modes}, **large)
    found = {each.id: each for each in examine(broken).findings}
    if kind == "Dropout":
        assert "non-finite" in found
        return
    finding = found["wrong-mode"]
    assert finding.severity == "critical"
    assert "first seen at step 8: bn does not do its work, and values stopped being finite at step 199" in finding.message
    assert not {"non-finite", "update-too-large"} & set(found)
    early = make_trace(modules=modules, first_nonfinite=NonFinite(199, "bn", "forward"), **{"step.training": 1.0}, **large)
    assert "non-finite" in {each.id for each in examine(early).findings}


@pytest.mark.parametrize(("given", "severity"), [("default", "warning"), ("unknown", "info"), ("on purpose", None)])
def test_eval_dropout(given, severity):
    figures = {"calls": 2.0, "rate": 0.5, "passes": 2.0}
    seen = Evidence("eval dropout", ("Net",), (5, 5), figures, {"given": given, "line": "net.py, line 12"})
    findings = found(make_trace(evidence=(seen,)), "eval-dropout")
    assert [each.severity for each in findings] == ([severity] if severity else [])
    if findings:
        assert "Net (net.py, line 12)" in findings[0].message
        assert "50 %" in findings[0].message


def test_shared_norm():
    def shared(dev=(), **figures):
        told = {"places": 3.0, "gap": 1.6, "ratio": 13.0, "looks": 8.0} | figures
        return make_trace(evidence=(Evidence("shared norm", ("bn",), (0, 42), told),), dev=dev)

    finding = the(shared(), "shared-norm")
    assert (finding.severity, finding.where) == ("warning", ("bn",))
    assert "1.6 standard deviations" in finding.message
    assert the(shared(dev=(5.0,) * 4), "shared-norm").severity == "warning"
    assert the(shared(dev=(0.9,) * 4), "shared-norm").severity == "info"  # what it costs was measured: nothing
    assert found(shared(gap=0.4, ratio=1.2), "shared-norm") == ()  # twins
    assert found(shared(looks=1.0), "shared-norm") == ()


def test_padding_mask():
    def masked(**figures):
        told = {"looks": 8.0, "inverted": 8.0, "masked": 0.6} | figures
        return make_trace(evidence=(Evidence("key padding", ("att",), (0, 42), told, {"token": "0"}),))

    finding = the(masked(), "padding-mask")
    assert (finding.severity, finding.where) == ("critical", ("att",))
    assert "every token but 0" in finding.message
    assert found(masked(inverted=0.0), "padding-mask") == ()
    empty = {"inverted": 0.0, "masked": 0.0, "empty": 8.0, "rows": 0.9, "run": 0.6}
    finding = the(masked(**empty), "padding-mask")
    assert (finding.severity, finding.where) == ("warning", ("att",))
    assert "masks nothing, while 60 % of the places are padding (0)" in finding.message
    for figures in ({"empty": 7.0}, {"rows": 0.4}, {"run": 0.2}):  # some batch had its padding left out; hardly any there
        assert found(masked(**empty | figures), "padding-mask") == (), figures
    assert found(masked(inverted=3.0), "padding-mask") == ()
    taken = replace(masked().evidence[0], words={"token": "9", "mask": "attn_mask"})
    finding = the(make_trace(evidence=(taken,)), "padding-mask")
    assert "The attn_mask of att masks every token but 9" in finding.message
    assert "attn_mask = (tokens != 9)" in finding.remedy  # True is the other way round there


def test_batch_mixing():
    seen = Evidence("batch axis", ("rnn",), (0, 42), {"looks": 4.0, "batch": 32.0, "other": 10.0}, {"kind": "LSTM"})
    recurrent = (*MODULES, ModuleInfo("rnn", "LSTM", "recurrent", "", 20))
    assert the(make_trace(modules=recurrent, evidence=(seen,)), "batch-mixing").severity == "warning"
    well = 3.3 * np.exp(-np.arange(200) / 20)
    assert the(make_trace(modules=recurrent, evidence=(seen,), loss=well), "batch-mixing").severity == "info"
    drawn = replace(seen, figures=dict(seen.figures) | {"moved": 41.0})
    finding = the(make_trace(modules=recurrent, evidence=(drawn,), loss=well), "batch-mixing")
    assert finding.severity == "warning"
    assert "whose rows come back in another order" in finding.message
    across = replace(drawn, words={"kind": "MultiheadAttention"})  # it may attend to other examples on purpose
    assert the(make_trace(modules=recurrent, evidence=(across,), loss=well), "batch-mixing").severity == "info"
    assert found(make_trace(modules=recurrent), "batch-mixing") == ()
    assert outcome(make_trace(), "batch-mixing")[0] == "not applicable"


def test_edges_that_are_not_moved_on():
    figures = {"looks": 3.0, "nodes": 320.0, "graphs": 32.0, "largest": 10.0, "edges": 900.0}
    seen = Evidence("links", (), (0, 3), figures, {})
    finding = the(make_trace(evidence=(seen,)), "batch-mixing")
    assert (finding.severity, finding.where) == ("warning", ())
    assert "320 nodes in all, and no edge has a node's number of 10 or more" in finding.message
    well = 3.3 * np.exp(-np.arange(200) / 20)
    assert the(make_trace(evidence=(seen,), loss=well), "batch-mixing").severity == "info"
    once = replace(seen, figures={**figures, "looks": 1.0})
    assert outcome(make_trace(evidence=(once,)), "batch-mixing")[0] == "not applicable"
