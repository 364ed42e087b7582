"""All checks together: silence on a healthy network, causes before symptoms, and checks of one's own."""

from __future__ import annotations

from dataclasses import replace
from math import nan

import numpy as np
import pytest
from paper import FACTS, HIDDEN, STEPS, healthy_losses, make_trace, noisy

from lettrine.errors import HealthError
from lettrine.health import limits
from lettrine.health.checks import CHECKS, Skip, check, examine
from lettrine.health.checks.causes import EXPLAINS, ORDER
from lettrine.health.findings import Finding
from lettrine.health.trace import NonFinite


def test_all_ids_are_registered_and_silent_on_a_healthy_network():
    assert set(CHECKS) >= {
        "initial-loss", "saturation", "dead-units", "activation-scale", "gradient-scale", "gradient-data", "update-too-large",
        "update-too-small", "no-gradient", "not-optimised", "symmetry", "non-finite", "divergence", "oscillation", "no-learning",
        "leak", "held-out-labels", "overfitting", "bias-before-norm", "norm-statistics", "probabilities-as-logits", "wrong-mode",
        "missing-zero-grad", "spike",
    }  # fmt: skip
    report = examine(make_trace(dev=[2.3, 1.5, 1.2, 1.1, 1.1]))
    assert report.findings == ()
    assert {each.status for each in report.outcomes} <= {"passed", "not applicable"}
    assert report.healthy
    assert report.exit_code == 0


def test_a_cause_explains_its_consequences_and_comes_first():
    large = {f"{name}.update_data": 0.3 for name in (*HIDDEN, "head.weight")}
    trace = make_trace(loss=[27.6, *noisy(np.full(199, 6.0))], **large, **{"act1.saturated": np.linspace(0, 0.9, len(STEPS))})
    report = examine(trace)
    assert [finding.id for finding in report.findings] == ["update-too-large", "initial-loss"]
    assert any("saturated" in text for text in report.findings[0].explains)
    statuses = {each.check: each for each in report.outcomes}
    assert (statuses["saturation"].status, statuses["saturation"].reason) == ("found", "explained by update-too-large")
    assert report.exit_code == 1


def test_a_confidently_wrong_head_comes_before_what_it_did_to_the_layers():
    later = np.linspace(0.0, 0.9, len(STEPS))
    wrong = noisy(2.0 + 28 * np.exp(-np.arange(200) / 10))
    report = examine(make_trace(loss=wrong, **{"act1.saturated": later}))
    assert [finding.id for finding in report.findings] == ["initial-loss"]
    assert any("saturated" in text for text in report.findings[0].explains)
    # What was saturated before the first step is not its doing.
    report = examine(make_trace(loss=wrong, **{"act1.saturated": 0.9}))
    assert [finding.id for finding in report.findings] == ["saturation", "initial-loss"]


def test_scales_that_came_apart_are_a_cause_at_the_start_and_a_symptom_later():
    rising = noisy(np.r_[np.linspace(2.3, 1.0, 100), np.linspace(1.0, 5.0, 100)])
    apart = {f"act{place + 1}.rms": np.array([1.0, 20.0, 400.0])[place] for place in range(3)}
    assert [finding.id for finding in examine(make_trace(loss=rising, **apart)).findings] == ["activation-scale"]
    late = {name: np.where(np.array(STEPS) < 12, 0.7, value) for name, value in apart.items()}
    assert [finding.id for finding in examine(make_trace(loss=rising, **late)).findings] == ["divergence"]


def test_what_is_not_finite_hides_what_came_after():
    after = np.where(np.array(STEPS) >= 12, np.nan, 1e-3)
    figures = {f"{name}.update_data": after for name in HIDDEN}
    trace = make_trace(first_nonfinite=NonFinite(12, "act2", "forward"), loss=[*healthy_losses()[:12], *[nan] * 188], **figures)
    assert [finding.id for finding in examine(trace).findings] == ["non-finite"]


def test_nothing_recorded_is_an_error_not_health():
    with pytest.raises(HealthError, match="nothing was recorded"):
        examine(make_trace(steps=(), loss=[]))


def test_one_step_alone_can_be_judged():
    report = examine(make_trace(steps=(0,), loss=[2.3]))
    assert report.findings == ()
    assert not [each for each in report.outcomes if each.status == "failed"]


def test_no_check_breaks_on_missing_figures():
    trace = make_trace()
    for table in (trace.outputs, trace.gradients, trace.parameter_stats, trace.step_stats):
        for values in table.values():
            values[:] = nan
    report = examine(trace)
    assert not [each for each in report.outcomes if each.status == "failed"]
    assert not [each for each in report.findings if each.severity == "critical"]
    bare = make_trace(modules=(), parameters=(), facts=replace(FACTS, classes=0))
    assert not [each for each in examine(bare).outcomes if each.status == "failed"]


@pytest.fixture
def registry():
    before = dict(CHECKS)
    yield
    CHECKS.clear()
    CHECKS.update(before)


@pytest.mark.usefixtures("registry")
def test_a_check_of_ones_own():
    @check("quiet-output", needs=("outputs",))
    def quiet_output(trace):
        for name in trace.outputs:
            spread = trace.output(name, "std")[-1]
            if spread < 1e-6:
                yield Finding("quiet-output", "warning", (name,), (0, 0), spread, 1e-6, f"{name} is constant.", "", "", "")

    assert [each.where for each in examine(make_trace(**{"fc2.std": 0.0})).findings if each.id == "quiet-output"] == [("fc2",)]
    with pytest.raises(HealthError, match="exists already"):
        check("quiet-output")(quiet_output)
    with pytest.raises(HealthError, match="needs 'weather'"):
        check("other", needs=("weather",))


@pytest.mark.usefixtures("registry")
def test_a_check_that_breaks_is_shown():
    @check("broken")
    def broken(_):
        raise ZeroDivisionError("x")

    @check("choosy")
    def choosy(_):
        raise Skip("not applicable", "not on Sundays")

    report = examine(make_trace())
    outcomes = {each.check: each for each in report.outcomes}
    assert (outcomes["broken"].status, outcomes["broken"].reason) == ("failed", "ZeroDivisionError: x")
    assert outcomes["choosy"].status == "not applicable"
    assert not report.healthy
    assert report.exit_code == 4


@pytest.mark.usefixtures("registry")
def test_what_was_found_before_the_rest_could_not_be_judged_stays_found():
    @check("partly")
    def partly(_):
        yield replace(next(CHECKS["saturation"].function(make_trace(**{"act1.saturated": 0.95}))), id="partly")
        raise Skip("not applicable", "the rest is not there")

    report = examine(make_trace(), only=["partly"])
    assert [each.id for each in report.findings] == ["partly"]
    assert report.outcomes[0].status == "found"


def test_only_some_checks():
    report = examine(make_trace(), only=["saturation", "leak"])
    assert [each.check for each in report.outcomes] == ["saturation", "leak"]
    with pytest.raises(HealthError, match="'saturatoin'"):
        examine(make_trace(), only=["saturatoin"])


def test_every_explanation_exists():
    names = set(CHECKS)
    assert set(ORDER) <= names
    assert set(EXPLAINS) <= names
    assert {effect for effects in EXPLAINS.values() for effect in effects} <= names
    assert limits.SATURATED_SHARE > 0.30
    assert limits.SATURATED_SHARE < 0.46
