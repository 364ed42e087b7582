"""Checks of what is connected with what, on evidence written by hand."""

from __future__ import annotations

import numpy as np
import pytest
from paper import PARAMETERS, found, make_trace, outcome, the

from lettrine.health.checks import examine
from lettrine.health.evidence import Evidence

CHANCE = np.full(200, 2.3)


def unheld(**changes):
    figures = {"count": 2.0, "values": 90.0, "steps": 42.0} | changes.pop("figures", {})
    words = {"drawn": "uniform within ±0.3", "names": "layers[0].weight, layers[0].bias"} | changes
    return Evidence("unheld", (), (0, 42), figures, words)


def test_unregistered():
    assert found(make_trace(), "unregistered") == ()
    finding = the(make_trace(evidence=(unheld(),)), "unregistered")
    assert (finding.severity, finding.where) == ("warning", ("layers[0].weight", "layers[0].bias"))
    assert "42 steps" in finding.message
    assert "90 values" in finding.message
    assert found(make_trace(evidence=(unheld(figures={"steps": 19.0}),)), "unregistered") == ()
    # Trained elsewhere, or drawn in no usual way: only a remark, where learning does not suffer.
    assert the(make_trace(evidence=(unheld(drawn=""),)), "unregistered").severity == "info"
    assert the(make_trace(evidence=(unheld(drawn=""),), loss=CHANCE), "unregistered").severity == "warning"
    assert "outside of the watched model" in the(make_trace(evidence=(unheld(names=""),)), "unregistered").message


def weighing(**changes):
    figures = {"count": 3.0, "values": 90.0, "steps": 42.0} | changes.pop("figures", {})
    words = {"drawn": "uniform within ±0.3", "shapes": "(12, 4), (6,), (4, 6)", "function": "linear"} | changes
    return Evidence("loss weights", (), (0, 42), figures, words)


def test_weights_of_the_loss():
    assert found(make_trace(), "not-optimised") == ()
    finding = the(make_trace(evidence=(weighing(),)), "not-optimised")
    assert (finding.severity, finding.value) == ("warning", 90.0)
    assert "3 parameters of its own ((12, 4), (6,), (4, 6); in linear)" in finding.message
    assert "42 steps" in finding.message
    assert "*loss_fn.parameters()" in finding.remedy
    assert found(make_trace(evidence=(weighing(figures={"steps": 19.0}),)), "not-optimised") == ()
    # Trained elsewhere, or drawn in no usual way: only a remark, where learning does not suffer.
    assert the(make_trace(evidence=(weighing(drawn=""),)), "not-optimised").severity == "info"
    assert the(make_trace(evidence=(weighing(drawn=""),), loss=CHANCE), "not-optimised").severity == "warning"


def gradients(where=("G.0.weight",), **figures):
    told = dict.fromkeys(("none", "called", "micro", "cleared", "accumulated", "scaled", "frozen", "others", "zeros"), 0.0)
    return Evidence("gradients", where, (0, 42), told | {"steps": 8.0} | {name: float(value) for name, value in figures.items()})


HANDED = Evidence("detached", ("G", "D"), (0, 42), {"looks": 8.0, "passes": 8.0})


def test_detached_generator():
    never = gradients(none=8, others=8)
    finding = the(make_trace(evidence=(never, HANDED)), "detached-generator")
    assert (finding.severity, finding.where) == ("critical", ("G",))
    assert "call D on the output itself" in finding.remedy
    for evidence in (
        (never,),  # nobody was given its output: it may rest, as in alternating phases
        (HANDED,),
        (gradients(none=7, others=7), HANDED),  # a critic that steps more often
        (gradients(none=2, steps=2, others=2), HANDED),
        (gradients(none=8, others=8, frozen=1), HANDED),
        (gradients(none=8, others=8, where=("E.weight",)), HANDED),
    ):
        assert found(make_trace(evidence=evidence), "detached-generator") == (), evidence


def frozen(**figures):
    told = {"count": 1.0, "values": 100.0, "share": 0.4, "steps": 42.0} | figures
    return Evidence("frozen random", ("fc1.weight",), (0, 42), told, {"drawn": "uniform within ±0.4"})


def test_frozen_random():
    finding = the(make_trace(evidence=(frozen(),)), "frozen-random")
    assert (finding.severity, finding.where) == ("warning", ("fc1.weight",))
    assert "40 %" in finding.message
    assert found(make_trace(evidence=(frozen(steps=10.0),)), "frozen-random") == ()
    solved = 2.3 * np.exp(-np.arange(200) / 20)
    assert the(make_trace(evidence=(frozen(),), loss=solved), "frozen-random").severity == "info"
    assert the(make_trace(evidence=(frozen(share=0.01),)), "frozen-random").severity == "info"  # little, and the rest learns
    assert the(make_trace(evidence=(frozen(share=0.01),), loss=np.full(200, 2.31)), "frozen-random").severity == "warning"


@pytest.mark.parametrize(
    ("figures", "loss", "severity"),
    [
        ({"micro": 4, "cleared": 8, "accumulated": 8, "scaled": 8}, None, "warning"),
        ({"micro": 4, "cleared": 8, "accumulated": 8}, None, "info"),
        ({"micro": 4, "cleared": 8, "accumulated": 8}, CHANCE, "warning"),
        ({"micro": 4, "cleared": 3, "accumulated": 8, "scaled": 8}, None, None),
        ({"micro": 4, "accumulated": 8, "scaled": 8}, None, None),
        ({"micro": 4, "partly": 8, "lost": 2, "accumulated": 8, "scaled": 8}, None, "warning"),
        ({"micro": 4, "partly": 8, "lost": 2, "accumulated": 8}, None, "info"),
        ({"micro": 4, "partly": 3, "lost": 2, "accumulated": 8, "scaled": 8}, None, None),
        ({"none": 8, "called": 8}, None, "critical"),
        ({"none": 8, "called": 8, "others": 8}, None, None),
        ({"none": 5, "called": 5}, None, None),
        ({"none": 8}, None, None),
    ],
)
def test_gradients_cleared(figures, loss, severity):
    findings = found(make_trace(evidence=(gradients(**figures),), loss=loss), "gradients-cleared")
    assert [finding.severity for finding in findings] == ([severity] if severity else [])
    assert outcome(make_trace(), "gradients-cleared")[0] == "not applicable"


def test_gradients_that_are_zero_by_themselves():
    zeros = (gradients(none=8, called=8, zeros=8),)
    assert found(make_trace(evidence=zeros), "gradients-cleared") == ()
    assert found(make_trace(evidence=zeros, **{"step.clipped": 0.0}), "gradients-cleared") == ()
    assert the(make_trace(evidence=zeros, **{"step.clipped": 1.0}), "gradients-cleared").severity == "critical"


def test_growing_graph():
    def reaching(**figures):
        told = {"nodes_first": 20.0, "nodes": 200.0, "back": 6.0, "first": 0.0, "last": 42.0} | figures
        return make_trace(evidence=(Evidence("reaching back", (), (0, 42), told),))

    finding = the(reaching(), "growing-graph")
    assert finding.value == 10.0
    assert "from 20 operations at step 0 to 200 at step 42" in finding.message
    assert found(reaching(back=4.0), "growing-graph") == ()  # some chunks of a truncated backward pass
    assert found(reaching(nodes=25.0), "growing-graph") == ()  # one part of the graph was made before the loop


@pytest.mark.parametrize(("kept", "age", "wanted"), [(6, 19, True), (4, 19, False), (6, 9, False)])
def test_graphs_that_are_kept(kept, age, wanted):
    for what, remedy in (("losses", "loss.item()"), ("outputs", "output.detach()")):
        seen = Evidence("kept graphs", (), (0, 19), {"kept": float(kept), "age": float(age)}, {"what": what})
        findings = found(make_trace(evidence=(seen,)), "growing-graph")
        assert [remedy in finding.remedy for finding in findings] == ([True] if wanted else [])


def test_no_gradient_at_all():
    nothing = {f"{info.name}.gradient_norm": np.nan for info in PARAMETERS}
    assert outcome(make_trace(**nothing), "no-gradient")[0] == "not run"
    finding = the(make_trace(evidence=(gradients(none=8),), **nothing), "no-gradient")
    assert finding.severity == "critical"
    for figures in ({"none": 8, "called": 8}, {"none": 8, "frozen": 1}, {"none": 7}):
        assert outcome(make_trace(evidence=(gradients(**figures),), **nothing), "no-gradient")[0] == "not run", figures


def test_a_bias_that_cancels():
    assert found(make_trace(**{"head.bias.gradient_norm": 0.0}), "no-gradient") == ()
    dead = {"head.bias.gradient_norm": 0.0, "head.weight.gradient_norm": 0.0}
    assert the(make_trace(**dead), "no-gradient").where == ("head.weight", "head.bias")


def test_where_the_graph_is_cut():
    cut = Evidence("detached", ("fc1", "fc2"), (0, 42), {"looks": 8.0, "passes": 8.0})
    missing = {"fc1.weight.gradient_norm": np.nan, "fc1.bias.gradient_norm": np.nan}
    finding = the(make_trace(evidence=(cut,), **missing), "no-gradient")
    assert finding.remedy.startswith("fc2 gets the output of fc1 without its graph.")
    assert not the(make_trace(**missing), "no-gradient").remedy.startswith("fc2")


def test_never_moved():
    moved = {f"{info.name}.update_rms": 0.0 for info in PARAMETERS[:2]}
    assert the(make_trace(**moved), "never-moved").where == ("fc1.weight", "fc1.bias")
    finding = the(make_trace(evidence=(gradients(none=8, frozen=1, where=("head.weight",)),)), "never-moved")
    assert finding.where == ("head.weight",)
    assert finding.severity == "critical"


def test_the_cause_is_listed_first_and_explains_the_rest():
    still = {f"{info.name}.{stat}": value for info in PARAMETERS[:2] for stat, value in (("gradient_norm", np.nan),)}
    report = examine(make_trace(evidence=(gradients(none=8, called=8),), loss=CHANCE, **still))
    assert report.findings[0].id == "gradients-cleared"
    assert [each.id for each in report.findings if each.severity != "info"] == ["gradients-cleared"]
