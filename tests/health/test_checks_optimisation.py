"""Checks of how the optimiser is set, on traces and evidence written by hand."""

from __future__ import annotations

from dataclasses import replace
from math import log

import numpy as np
import pytest
from paper import FACTS, HIDDEN, found, healthy_losses, make_trace, noisy, outcome, the

from lettrine.health.checks import examine
from lettrine.health.evidence import Evidence
from lettrine.health.trace import NonFinite

LONG = tuple(range(0, 1000, 20))
CHANCE = noisy(np.full(200, log(10)), 0.01)


def scheduled(rate, loss=None):
    steps = np.array(LONG)
    return make_trace(steps=LONG, loss=loss, **{"step.learning_rate": rate(steps / 1000)})


def cut_short(stop=300, pace=300):
    """Falls until `stop`, then stays: 200 points of a run of 1,000 steps would do, but each step has its own."""
    at = np.minimum(np.arange(1000), stop)
    return noisy(0.3 + 2.0 * np.exp(-at / pace), 0.01)


def test_schedule_to_zero():
    finding = the(scheduled(lambda t: 0.1 * 0.95 ** (1000 * t / 3), cut_short()), "schedule-to-zero")
    assert finding.severity == "warning"
    assert "0.1" in finding.message
    assert "1,000 steps" in finding.remedy
    # Converged before it got there, or nothing left to learn.
    assert found(scheduled(lambda t: 0.1 * 0.95 ** (1000 * t / 3), cut_short(80, 60)), "schedule-to-zero") == ()
    solved = noisy(2.3 * np.exp(-np.minimum(np.arange(1000), 300) / 60), 0.001)
    assert found(scheduled(lambda t: 0.1 * 0.95 ** (1000 * t / 3), solved), "schedule-to-zero") == ()
    assert outcome(make_trace(steps=(0, 1, 2)), "schedule-to-zero")[0] == "not run"


def test_a_rate_below_0():
    fallen = [*np.linspace(2.3, 1.0, 500), *np.linspace(1.0, 40.0, 500)]
    report = examine(scheduled(lambda t: 0.1 * (1 - 2 * t), fallen))
    finding = next(each for each in report.findings if each.id == "wrong-direction")
    assert finding.severity == "critical"
    assert "since step 520, down to -0.096, and the loss, which had come to 1" in finding.message
    assert {each.id for each in report.findings if each.severity != "info"} == {"wrong-direction"}  # nor a schedule, nor a rate
    throughout = examine(scheduled(lambda t: 0 * t - 0.1, fallen))
    assert any("Take a rate above 0" in each.remedy for each in throughout.findings)
    harmless = examine(scheduled(lambda t: 0.1 * (1 - 2 * t), cut_short()))
    falling = examine(scheduled(lambda t: 0.1 * (1 - t), fallen))
    assert "wrong-direction" not in {each.id for report in (harmless, falling) for each in report.findings}


def test_a_tenth_of_the_rate_is_too_little_where_next_to_nothing_was_learned():
    def divided(t):
        return 0.1 / 20 ** (t > 0.2)

    finding = the(scheduled(divided, cut_short(200, 1000)), "schedule-to-zero")  # 1.94 of 2.3 is left, and stays
    assert "below 10 % of its peak (0.1) since step 220" in finding.message
    assert found(scheduled(divided, cut_short(200, 200)), "schedule-to-zero") == ()  # most is learned
    assert found(scheduled(divided, cut_short(900, 1000)), "schedule-to-zero") == ()  # it falls on
    for factor in (5, 10):  # a step to a tenth is what many schedules take
        assert (
            found(scheduled(lambda t, factor=factor: 0.1 / factor ** (t > 0.2), cut_short(200, 1000)), "schedule-to-zero") == ()
        )


def test_a_rate_that_falls_at_once_to_next_to_nothing_wastes_the_rest_of_the_run():
    """Even where most had been learned: with 1e-20 of the rate no weight changes."""
    finding = the(scheduled(lambda t: 0.1 * 1e-20 ** (t > 0.5), cut_short(400, 100)), "schedule-to-zero")
    assert "1.0e-21 (its peak was 0.1)" in finding.message
    assert "no weight changes" in finding.why
    assert found(scheduled(lambda t: 0.1 * 1e-20 ** (t > 0.97), cut_short(400, 100)), "schedule-to-zero") == ()  # at the end
    assert found(scheduled(lambda t: 0.1 * 0.01 ** (t > 0.5), cut_short(400, 100)), "schedule-to-zero") == ()  # not nothing


def test_a_rate_that_falls_by_and_by_to_next_to_nothing():
    def decayed(t):
        return 0.1 * 1e-20 ** np.minimum(t / 0.3, 1)

    assert "no weight changes" in the(scheduled(decayed, cut_short(300, 100)), "schedule-to-zero").why
    late = scheduled(lambda t: 0.1 * 1e-20 ** np.maximum((t - 0.5) / 0.5, 0), cut_short(400, 100))
    assert found(late, "schedule-to-zero") == ()  # less than half of the run


def test_a_tenth_of_the_rate_from_the_start_where_the_loss_falls_slowly_to_the_end():
    def divided(t, at=0.03):
        return 0.1 / 10 ** (t > at)

    slow = cut_short(1000, 3000)  # 1.74 of 2.3 is left, and it falls on
    finding = the(scheduled(divided, slow), "schedule-to-zero")
    assert "at 10 % of its peak (0.1) since step" in finding.message
    assert "falls slowly since" in finding.message
    assert found(scheduled(lambda t: divided(t, 0.5), slow), "schedule-to-zero") == ()  # half the run had the whole rate
    assert found(scheduled(divided, cut_short(1000, 300)), "schedule-to-zero") == ()  # it learns well
    assert found(scheduled(lambda t: 0.1 + 0 * t, slow), "schedule-to-zero") == ()  # slow by itself


@pytest.mark.parametrize(
    "rate",
    [
        lambda t: 0.1 + 0 * t,
        lambda t: 0.05 * (1 + np.cos(np.pi * t)),
        lambda t: 0.1 * (1 - t),
        lambda t: np.where(t < 0.3, 0.004 + 0.32 * t, 0.1 * (1 - t) / 0.7),  # one cycle
        lambda t: 0.1 * np.minimum(t / 0.1, 1.0),  # warm-up
        lambda t: 0.1 * 0.1 ** np.floor(t / 0.3),
        lambda t: 0.1 * 0.01 ** (t / 0.9),
    ],
)
def test_usual_schedules_are_meant(rate):
    assert found(scheduled(rate, cut_short(900)), "schedule-to-zero") == ()


def setting(where=HIDDEN, kind="SGD", dtype="", **figures):
    told = {"weight_decay": 0.0, "decoupled": 0.0, "lr": 0.1, "eps": 1e-8, "state": 0.0, "eps_zero": 0.0} | figures
    return Evidence("optimiser", tuple(where), (0, 0), told, {"kind": kind, "dtype": dtype})


def shrinking(to, *, loss=CHANCE, gradient=5.0, **figures):
    count = 13
    sizes = {f"{name}.rms": 0.2 * np.linspace(1.0, to, count) for name in HIDDEN}
    sizes |= {f"{name}.gradient_norm": gradient for name in HIDDEN}
    return make_trace(loss=loss, evidence=(setting(**figures),), **sizes)


def test_weight_decay():
    finding = the(shrinking(0.01, weight_decay=0.5), "weight-decay")
    assert (finding.severity, finding.where) == ("critical", HIDDEN)
    assert "from 0.5 to 0.0005" in finding.remedy
    assert "AdamW" in finding.remedy
    assert "AdamW" not in the(shrinking(0.01, weight_decay=5.0, decoupled=1.0, kind="AdamW"), "weight-decay").remedy
    assert found(shrinking(0.01, weight_decay=0.5, loss=healthy_losses()), "weight-decay") == ()  # it learns
    assert found(shrinking(0.5, weight_decay=0.5), "weight-decay") == ()
    little = [2.3 - 0.2 * min(step / 50, 1) for step in range(400)]  # learned from the biases alone
    assert found(shrinking(0.01, weight_decay=0.5, loss=little), "weight-decay") == ()
    assert the(shrinking(1e-5, weight_decay=0.5, loss=little), "weight-decay").severity == "warning"
    much = the(shrinking(0.3, weight_decay=5.0, decoupled=1.0, loss=noisy(np.linspace(2.3, 2.1, 200), 0.01)), "weight-decay")
    assert "hardly better than guessing" in much.message
    assert outcome(shrinking(0.01), "weight-decay")[0] == "not applicable"


def test_a_decay_as_large_as_the_gradient():
    def pulled(**changes):
        told = {"weight_decay": 0.2, "gradient": 1.0, "loss": cut_short(200, 200), "kind": "Adam"} | changes
        return shrinking(1.0, **told)

    finding = the(pulled(), "weight-decay")
    assert (finding.severity, finding.where) == ("warning", HIDDEN[1:])  # the first one has fewer values, and so 0.4
    assert finding.value == pytest.approx(0.2 * 0.2 * 20 / 1.0)  # decay * rms(w) / (|g| / sqrt(20 * 20))
    assert "from 0.2 to 0.0005" in finding.remedy
    for mild in (
        {"weight_decay": 0.01},
        {"gradient": 5.0},
        {"decoupled": 1.0, "weight_decay": 0.09, "gradient": 0.5},
        {"loss": cut_short(900, 100)},
    ):
        assert found(pulled(**mild), "weight-decay") == (), mild


def test_a_penalty_in_the_loss_that_takes_the_weights_to_nothing():
    def penalised(kind, loss):
        sizes = {f"{name}.rms": 0.2 * np.linspace(1.0, 0.02, 13) for name in HIDDEN}
        seen = Evidence("loss", (), (0, 0), {"terms": 2.0, "classes": 0.0}, {"kind": kind, "nature": ""})
        return make_trace(loss=loss, evidence=(seen,), facts=replace(FACTS, chance=2.303), **sizes)

    stuck = [max(5 - 0.1 * step, 2.32) for step in range(400)]
    finding = the(penalised("cross-entropy + penalty", stuck), "weight-decay")
    assert (finding.severity, finding.where) == ("critical", HIDDEN)
    assert "no better than guessing (2.3)" in finding.message
    assert "100 times smaller" in finding.remedy
    assert found(penalised("cross-entropy + penalty", [max(5 - 0.1 * step, 0.8) for step in range(400)]), "weight-decay") == ()
    assert outcome(penalised("cross-entropy", stuck), "weight-decay")[0] == "not applicable"


def clipping(*, clipped=1.0, loss=None, **figures):
    told = {"steps": 8.0, "scale": 65536.0, "norm": 1 / 65536, "product": 1.0, "spread": 1e-5} | figures
    return make_trace(loss=loss, evidence=(Evidence("clipping", (), (0, 42), told),), **{"step.clipped": clipped})


def test_clip_before_unscale():
    assert the(clipping(), "clip-before-unscale").severity == "warning"
    finding = the(clipping(loss=CHANCE), "clip-before-unscale")
    assert finding.severity == "critical"
    assert "unscale_(optimizer) before clip_grad_norm_(model.parameters(), 1)" in finding.remedy
    for figures in (
        {"norm": 1.0, "product": 65536.0},  # clipped after unscaling
        {"spread": 0.3},
        {"scale": 2.0, "norm": 0.5},
        {"clipped": 0.0},
    ):
        assert found(clipping(**figures), "clip-before-unscale") == (), figures
    assert outcome(make_trace(), "clip-before-unscale")[0] == "not applicable"


def test_eps_underflow():
    half = setting(kind="Adam", dtype="float16", eps_zero=1.0)
    assert the(make_trace(evidence=(half,)), "eps-underflow").severity == "warning"
    report = examine(make_trace(evidence=(half,), first_nonfinite=NonFinite(2, "fc1.weight", "update")))
    assert (report.findings[0].id, report.findings[0].severity) == ("eps-underflow", "critical")
    assert "non-finite" not in [each.id for each in report.findings]
    assert found(make_trace(evidence=(setting(),)), "eps-underflow") == ()


def resumed(*, state=0.0, start=0.3, top=1.2, kind="Adam"):
    loss = np.full(200, start)
    loss[2:30] = np.linspace(start, top, 28)
    loss[30:60] = np.linspace(top, start, 30)
    return make_trace(loss=noisy(loss, 0.01), evidence=(setting(state=state, kind=kind),))


def test_optimiser_state_lost():
    finding = the(resumed(), "optimiser-state-lost")
    assert finding.severity == "warning"
    assert "load_state_dict" in finding.remedy
    assert outcome(resumed(state=1.0), "optimiser-state-lost")[0] == "not applicable"
    assert outcome(resumed(kind="SGD"), "optimiser-state-lost")[0] == "not applicable"
    assert found(resumed(top=0.4), "optimiser-state-lost") == ()
    assert found(make_trace(evidence=(setting(kind="Adam"),)), "optimiser-state-lost") == ()  # a fresh network


def test_a_moment_lost_on_resuming_is_a_remark_and_all_of_it_is_not():
    def after(*early, rest=0.1, noise=0.01):
        loss = noisy(np.full(200, rest), noise)
        loss[: len(early)] = early
        return make_trace(loss=loss, evidence=(setting(kind="Adam"),))

    moment = the(after(0.1, 1.2, 1.2, 1.2, 0.9, 0.5), "optimiser-state-lost")
    assert (moment.severity, "it is back after 7 steps" in moment.message) == ("info", True)
    thrown = the(after(0.1, *[9.0] * 10, rest=1.5), "optimiser-state-lost")  # never what it was, although the loss comes down
    assert (thrown.severity, thrown.message.endswith("never comes back.")) == ("warning", True)
    assert found(after(0.02, rest=0.3, noise=0.2), "optimiser-state-lost") == ()  # a first loss that was low by chance
    assert found(after(-0.1, 0.4, 0.4, 0.4), "optimiser-state-lost") == ()  # a loss that goes below 0 has no level


def test_no_warmup():
    deep = Evidence("post-norm", (), (0, 0), {"post": 24.0, "norms": 25.0})
    finding = the(make_trace(evidence=(deep,), loss=CHANCE), "no-warmup")
    assert "norm_first=True" in finding.remedy
    assert found(make_trace(evidence=(deep,)), "no-warmup") == ()  # it learns all the same
    hardly = the(make_trace(steps=LONG, evidence=(deep,), loss=noisy(np.full(1000, 0.97 * log(10)), 0.01)), "no-warmup")
    assert "at 2.23, is hardly below guessing (2.3)" in hardly.message
    slow = noisy(np.linspace(2.3, 0.955 * log(10), 1000), 0.01)
    depth = {f"act{place + 1}.gradient_rms": 1e-4 * 20.0**place for place in range(3)}
    assert found(make_trace(steps=LONG, evidence=(deep,), loss=slow), "no-warmup") == ()
    assert the(make_trace(steps=LONG, evidence=(deep,), loss=slow, **depth), "no-warmup").severity == "critical"
    half = make_trace(steps=LONG, evidence=(deep,), loss=noisy(np.full(1000, 0.7 * log(10)), 0.01))
    assert found(half, "no-warmup") == ()  # it learned a good part, and noise may be left
    warm = {"step.learning_rate": np.minimum(np.linspace(0.0, 0.2, 13), 0.1)}
    assert found(make_trace(evidence=(deep,), loss=CHANCE, **warm), "no-warmup") == ()
    shallow = replace(deep, figures={"post": 4.0})
    assert outcome(make_trace(evidence=(shallow,), loss=CHANCE), "no-warmup")[0] == "not applicable"


def test_collapsed_kl():
    def latents(**figures):
        told = {"kl_first": 0.4, "kl": 2e-4, "size": 8.0, "looks": 12.0, "step": 379.0} | figures
        return make_trace(evidence=(Evidence("latents", (), (0, 379), told),))

    finding = the(latents(), "collapsed-kl")
    assert finding.severity == "warning"
    assert "8 latent variables" in finding.message
    assert found(latents(kl=4.0), "collapsed-kl") == ()
    assert found(latents(step=42.0), "collapsed-kl") == ()
    assert outcome(make_trace(), "collapsed-kl")[0] == "not applicable"


def test_a_state_lost_again_and_again():
    def lost(loss=None, **figures):
        told = {"looks": 11.0, "back": 4.0, "lost": 6.0, "oldest": 1.0, "memory": 10.0} | figures
        evidence = (Evidence("optimiser ages", (), (0, 199), told, {"kind": "Adam"}),)
        return make_trace(evidence=evidence, loss=noisy(np.linspace(2.3, 1.5, 200) if loss is None else loss, 0.01))

    finding = the(lost(), "optimiser-state-lost")
    assert finding.severity == "warning"
    assert "lost again at 6 of 10 looks; none was older than 1 of the 10 steps" in finding.message
    assert the(lost(oldest=40.0), "optimiser-state-lost").severity == "info"  # long enough to average
    assert the(lost(np.full(200, 2.3), oldest=40.0), "optimiser-state-lost").severity == "warning"  # but nothing is learned
    assert the(lost(2.3 * np.exp(-np.arange(200) / 20)), "optimiser-state-lost").severity == "info"  # it does not matter
    for figures in ({"back": 1.0}, {"lost": 4.0}, {"looks": 4.0, "lost": 2.0}):  # two tasks; now and then; hardly seen
        assert outcome(lost(**figures), "optimiser-state-lost")[0] == "not applicable", figures
