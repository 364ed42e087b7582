"""What evidence of the loss changes: what it is held against, what need not fall, what a symptom is worth; what was not seen."""

from __future__ import annotations

from dataclasses import replace
from math import log

import numpy as np
import pytest
from paper import FACTS, HIDDEN, STEPS, found, healthy_losses, losses, make_trace, noisy, outcome, the

from lettrine.health.checks import examine
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.reference import even_of, guess_of
from lettrine.health.evidence import Evidence
from lettrine.health.trace import STEP_STATS


def seen(kind="cross-entropy", nature="", *, values=(), **figures):
    """Evidence of a loss, with its value at the first sampled steps."""
    figures = {"terms": 1.0, "classes": 10.0, "reference": log(10), "even": log(10)} | figures
    figures |= {f"value {step}": value for step, value in zip(STEPS, values, strict=False)}
    return Evidence("loss", (), (0, 3), figures, {"kind": kind, "nature": nature})


def with_losses(at, **changes):
    """A trace in which the losses handed over at the sampled steps are known."""
    stats = {name: np.full(len(STEPS), np.nan) for name in STEP_STATS} | {"loss": np.resize(at, len(STEPS)).astype(float)}
    return make_trace(step_stats=stats, **changes)


def test_the_loss_is_held_against_its_own_targets():
    assert guess_of(make_trace(evidence=(seen(reference=1.5),))) == 1.5  # weighted classes, say
    summed = with_losses([230.0], evidence=(seen(values=[23.0] * 4, reference=11.5, even=12.0),))
    assert guess_of(summed) == pytest.approx(115.0)  # what is handed over is 10 times what was trained on
    assert even_of(summed) == pytest.approx(120.0)
    counted = make_trace(
        evidence=(replace(seen(even=2 * log(10)), words={"kind": "cross-entropy", "nature": "", "targets": "classes"}),),
        facts=replace(FACTS, chance=2.0),
    )
    assert guess_of(counted) == pytest.approx(4.0)  # the frequencies counted in all steps, in this loss's unit
    assert np.isnan(guess_of(make_trace(evidence=(seen(nature="adversarial"),))))


@pytest.mark.parametrize("nature", ["adversarial", "contrastive", "bootstrapped", "moving", "policy", "other", "several"])
def test_what_need_not_fall_is_not_blamed_for_it(nature):
    rising = noisy(np.linspace(0.5, 9.0, 200))
    of_a_kind = make_trace(loss=rising, evidence=(seen(nature=nature),), **{f"{name}.update_data": 0.3 for name in HIDDEN})
    for name in ("divergence", "no-learning", "spike", "oscillation", "slow-learning"):
        assert outcome(of_a_kind, name)[0] == "not applicable", name
    assert the(of_a_kind, "update-too-large").severity == "info"
    ordinary = make_trace(loss=rising, **{f"{name}.update_data": 0.3 for name in HIDDEN})
    assert {each.id for each in examine(ordinary).findings if each.severity == "critical"} >= {"update-too-large"}


def test_a_symptom_is_worth_what_became_of_learning():
    def saturated(loss):
        return [each.severity for each in found(make_trace(loss=loss, **{"act2.saturated": 0.6}), "saturation")]

    well, partly, stuck = (np.full(200, end) + 1.5 * np.exp(-np.arange(200) / 10) for end in (0.3, 1.5, 2.3))
    assert (saturated(well), saturated(partly), saturated(stuck)) == (["info"], ["warning"], ["warning"])
    partly_late = make_trace(loss=partly, **{"act2.saturated": np.linspace(0.0, 0.9, len(STEPS))})
    assert the(partly_late, "saturation").severity == "info"  # gates and trained networks come to it by themselves
    stuck_late = make_trace(loss=stuck, **{"act2.saturated": np.linspace(0.0, 0.9, len(STEPS))})
    assert the(stuck_late, "saturation").severity == "warning"
    large = {f"{name}.update_data": 0.1 for name in (*HIDDEN, "head.weight")}
    assert found(make_trace(loss=well, **large), "update-too-large") == ()
    hardly = np.full(200, 1.9) + 0.4 * np.exp(-np.arange(200) / 10)  # nine tenths of ln 10 are left
    assert the(make_trace(loss=hardly, **large), "update-too-large").severity == "critical"
    unsure = the(make_trace(loss=partly, **large), "update-too-large")
    assert (unsure.severity, "Lower the learning rate" in unsure.remedy) == ("info", False)
    larger = dict.fromkeys(large, 0.25)
    assert the(make_trace(loss=partly, **larger), "update-too-large").severity == "critical"
    wasted = np.full(200, 0.3) + 30 * np.exp(-np.arange(200) / 10)
    scaled = {f"act{place + 1}.rms": 0.5 * 3.0**place for place in range(3)}
    assert the(make_trace(loss=wasted, **scaled), "activation-scale").severity == "warning"
    assert found(make_trace(loss=well, **scaled), "activation-scale") == ()
    assert found(make_trace(loss=wasted, evidence=(Evidence("resumed"),), **scaled), "activation-scale") == ()


def test_a_leak_is_claimed_from_evidence():
    falling = np.maximum(2.3 * np.exp(-np.arange(200) / 10), 0.01) * noisy(np.ones(200), 0.2)
    assert the(make_trace(loss=falling), "leak").severity == "info"  # an easy task, for all one knows
    held = Evidence("leak", (), (0, 3), {"place": 4.0, "places": 1.0, "examples": 320.0}, {"what": "column"})
    finding = the(make_trace(loss=falling, evidence=(held,)), "leak")
    assert finding.severity == "warning"
    assert "x[:, 4]" in finding.message
    assert "320 examples" in finding.message
    assert the(make_trace(loss=np.full(200, 2.31), evidence=(held,)), "leak").severity == "info"  # nothing came of it
    many = replace(held, figures={**held.figures, "places": 128.0})
    assert the(make_trace(loss=falling, evidence=(many,)), "leak").severity == "info"  # made-up data: each column tells it
    itself = replace(held, words={"what": "sequence"})
    assert the(make_trace(loss=falling, evidence=(itself,)), "leak").severity == "warning"
    assert the(make_trace(evidence=(itself,)), "leak").severity == "info"  # an autoencoder takes its time


def test_overfitting_is_what_is_lost_again():
    assert the(make_trace(dev=[2.3, 1.5, 1.2, 1.3, 1.4, 1.5]), "overfitting").severity == "info"
    assert the(make_trace(dev=[2.3, 1.5, 1.2, 1.8, 2.1, 2.4]), "overfitting").severity == "warning"
    by_heart = 2.3 * np.exp(-np.arange(200) / 20)
    for end, severity in ((1.5, "info"), (1.7, "warning")):  # of 1.1 gained over 2.3, 0.385 or more are lost again
        assert the(make_trace(loss=by_heart, dev=[2.3, 1.5, 1.2, 1.3, end, end]), "overfitting").severity == severity
    for end, severity in ((2.2, "info"), (2.35, "warning")):  # 1.35 times the best is what counts
        assert the(make_trace(loss=by_heart, dev=[2.3, 1.8, 1.7, 1.9, end, end]), "overfitting").severity == severity
    for best, end, severity in ((0.6, 0.85, "warning"), (0.6, 0.78, "info"), (0.45, 0.65, "info")):  # 0.69: learned well
        assert the(make_trace(loss=by_heart, dev=[2.3, 1.0, best, best, end, end]), "overfitting").severity == severity
    # Where next to nothing was gained (2.0 of 2.3), and few answers are right, any rise loses most of it.
    for right, severity in ((0.3, "warning"), (0.6, "info")):
        figures = {"rows": 128.0, "right": right, "most": 0.1, "evaluation": 3.0}
        answers = Evidence("held-out answers", (), (0, 0), figures, {"targets": "classes"})
        report = make_trace(loss=by_heart, dev=[2.3, 2.1, 2.0, 2.05, 2.25, 2.25], evidence=(answers,))
        assert the(report, "overfitting").severity == severity
    assert found(make_trace(dev=[0.9, 0.5, 0.3, 0.4, 0.5, 0.6]), "overfitting") == ()  # no worse than the training loss, 0.8


def test_a_held_out_loss_of_another_scale():
    train = healthy_losses()
    at = np.arange(0, 200, 25)

    def held_out(values):
        curve = losses(values)
        return make_trace(loss=train, dev=values), replace(curve, step=at.astype(float))

    for factor, wanted in ((1.0, 0), (2.0, 0), (32.0, 1), (1 / 32, 1)):
        trace, curve = held_out(factor * train[at])
        assert len(found(replace(trace, dev=curve), "dev-scale")) == wanted, factor
    trace, curve = held_out(32 * train[at])
    assert "Divide the held-out loss by 30" in the(replace(trace, dev=curve), "dev-scale").remedy
    other, curve = held_out(np.array([12.0, 30.0, 25.0, 40.0, 33.0, 28.0, 45.0, 50.0]))  # inputs that are not scaled
    assert "scale both with the same numbers" in the(replace(other, dev=curve), "dev-scale").remedy
    drifting, curve = held_out(train[at] * np.linspace(1, 20, len(at)))  # overfitting, not another unit
    assert found(replace(drifting, dev=curve), "dev-scale") == ()


def test_another_loss_is_handed_over():
    def said(handed, trained):
        return [each.severity for each in found(with_losses(handed, evidence=(seen(values=trained),)), "other-loss")]

    trained = [2.3, 2.2, 2.0, 1.8]
    assert said([0.9, 2.9, 0.3, 1.2], trained) == ["info"]
    assert said([9.2, 8.8, 8.0, 7.2], trained) == []  # accumulated
    assert said([2.3, 2.2, 2.0, 1.8], [2.3, 2.2, 4.0, 3.6]) == []  # a loss scale that was doubled


def test_a_loss_that_still_falls_like_a_line():
    finding = the(make_trace(loss=noisy(np.linspace(2.3, 1.5, 400), 0.01)), "slow-learning")
    assert finding.severity == "info"
    assert "Train about 2 times as long" in finding.remedy
    squares = seen("squared error", reference=2.0, classes=np.nan, even=np.nan)
    far = the(make_trace(loss=noisy(np.linspace(64.0, 36.0, 800), 0.3), evidence=(squares,)), "slow-learning")
    assert far.severity == "warning"  # after a whole run one answer to everything would still be better
    assert "still above 2, the best single answer to every input" in far.message
    assert "Try a learning rate of 0.3 instead of 0.1" in far.remedy
    below = the(make_trace(loss=noisy(np.linspace(3.9, 1.8, 800), 0.01), evidence=(squares,)), "slow-learning")
    assert (below.severity, "still above" in below.message) == ("info", False)
    slower = the(make_trace(loss=noisy(np.linspace(2.3, 2.1, 400), 0.001)), "slow-learning")
    assert "Train at least 4 times as long" in slower.remedy
    by_heart = make_trace(
        loss=noisy(np.linspace(2.3, 1.5, 400), 0.01), dev=np.r_[np.linspace(2.3, 2.0, 10), np.linspace(2.0, 2.4, 10)]
    )
    assert found(by_heart, "slow-learning") == ()
    assert found(make_trace(), "slow-learning") == ()
    faded = np.linspace(0.1, 1e-3, len(STEPS))
    stats = make_trace().step_stats | {"learning_rate": faded}
    assert found(make_trace(loss=noisy(np.linspace(2.3, 1.5, 400), 0.01), step_stats=stats), "slow-learning") == ()


def test_a_loss_that_slows_down_and_is_still_far_from_rest():
    steps = np.arange(300.0)
    steep = the(make_trace(loss=noisy(2.3 * np.exp(-steps / 280), 0.01)), "slow-learning")
    assert steep.severity == "info"
    assert "by 16 % over its last 40 steps" in steep.message
    for rest in (0.5, 0.9):  # comes to rest at a level that further steps would hardly lower
        assert found(make_trace(loss=noisy(rest + (2.3 - rest) * np.exp(-steps / 60), 0.01)), "slow-learning") == ()
    assert found(make_trace(loss=noisy(1 + 1.3 * np.exp(-steps / 100), 0.8)), "slow-learning") == ()  # lost in the noise


def test_not_seen_is_not_healthy():
    whole = examine(make_trace())
    assert (whole.verdict, whole.exit_code) == ("healthy as far as seen", 0)  # there is no held-out loss
    assert "overfitting" in [each.check for each in whole.unseen]
    short = examine(make_trace(steps=STEPS[:9], loss=healthy_losses(41)))
    assert (short.verdict, short.exit_code, short.healthy) == ("not judged", 4, False)
    assert short.unjudged[0] == "41 steps say nothing about learning, 100 are needed"
    unheard = make_trace()
    for table in unheard.outputs.values():
        table[4:] = np.nan
    assert "modules were seen at 4 of 13 sampled steps only" in examine(unheard).unjudged
    deaf = replace(make_trace(), outputs={}, modules=())
    assert examine(deaf).unjudged[0].startswith("outputs were not seen")  # gradients reach its weights
    assert examine(replace(deaf, parameters=(), parameter_stats={})).unjudged[0].startswith("no module was seen")
    values = seen("squared error", reference=1.0, even=2.0, classes=0.0)
    above = examine(make_trace(loss=noisy(np.linspace(40.0, 9.0, 200)), evidence=(values,)))
    assert above.verdict == "not judged"
    assert above.unjudged[0].startswith("the loss, ")
    assert examine(make_trace(loss=np.full(400, 2.4))).verdict == "not healthy"


def test_a_fall_to_nothing_needs_few_losses():
    assert consequence(make_trace(loss=np.geomspace(2.3, 1e-6, 20))).well
    assert consequence(make_trace(loss=np.geomspace(2.3, 1.5, 20))).kind == "unknown"


def test_no_two_remedies_undo_each_other():
    rising = np.concatenate([healthy_losses(), np.linspace(1.0, 9.0, 100)])
    small = {f"{name}.update_data": 2e-5 for name in (*HIDDEN, "head.weight")}
    report = examine(make_trace(loss=rising, **small))
    assert {each.id for each in report.findings} & {"divergence", "update-too-small"} == {"divergence"}
    reasons = {each.check: each.reason for each in report.outcomes}
    assert reasons["update-too-small"] == "its remedy would undo that of divergence"
