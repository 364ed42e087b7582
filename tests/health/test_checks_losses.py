"""Checks of the losses: where they start, whether they fall, how they end, on held-out data too."""

from __future__ import annotations

from dataclasses import replace
from math import log, nan, sqrt

import numpy as np
import pytest
from paper import FACTS, HIDDEN, PARAMETERS, STEPS, found, healthy_losses, make_trace, noisy, outcome, the

from lettrine.health import limits
from lettrine.health.checks import examine
from lettrine.health.checks.accumulated import in_true_units
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.reference import guess_of
from lettrine.health.evidence import Evidence
from lettrine.health.limits_wiring import MASK_LOOKS
from lettrine.health.trace import ALIKE, NonFinite, ParameterInfo


def test_initial_loss_far_above_the_uniform_guess():
    trace = make_trace(loss=[27.6, *healthy_losses()[1:]], **{"head.std": 8.1})
    finding = the(trace, "initial-loss")
    assert finding.where == ("head",)
    assert "Multiply head.weight by 0.037" in finding.remedy
    assert "ln 10 = 2.3" in finding.remedy
    assert finding.limit == pytest.approx(log(10) + 1)
    assert finding.severity == "info"  # the first step sets it right
    slow = the(make_trace(loss=2.0 + 25.6 * np.exp(-np.arange(200) / 10)), "initial-loss")
    assert slow.severity == "warning"
    assert "and takes 44 steps to get there" in slow.message  # 25.6 e**(-t / 10) is 0.3 there


def test_a_start_that_cost_little_is_a_remark_unless_the_head_was_drawn_large():
    steps = np.arange(200)
    loss = 0.9 + 8 * np.exp(-steps / 8)  # down to ln 10 = 2.3 after 14 of 200 steps, and to 0.9 in the end
    head = {"head.weight.std": 0.1}
    assert the(make_trace(loss=loss, **head), "initial-loss").severity == "info"
    assert the(make_trace(loss=loss, **{"head.weight.std": 4 / 20**0.5}), "initial-loss").severity == "warning"
    assert the(make_trace(loss=loss + 0.4, **head), "initial-loss").severity == "warning"  # ends above half of guessing
    long = 0.9 + 8 * np.exp(-steps / 20)  # 35 steps
    assert the(make_trace(loss=long, **head), "initial-loss").severity == "warning"


def test_a_start_far_off_is_laid_at_the_weights_that_were_drawn_large():
    loss = 2.0 + 25.6 * np.exp(-np.arange(200) / 10)
    finding = the(make_trace(loss=loss, **{"head.std": 8.1, "fc2.weight.std": 4 / 20**0.5}), "initial-loss")
    assert finding.where == ("fc2.weight",)
    assert finding.message.endswith("fc2.weight starts with a std of 0.89.")
    assert finding.remedy.startswith("Draw fc2.weight with a std of 1/sqrt(fan-in)")
    both = {"head.weight.std": 1.0, "fc2.weight.std": 1.0}
    assert the(make_trace(loss=loss, **both), "initial-loss").where == ("head",)
    # A bare parameter may be a table of positions, added and not multiplied: only a spread beyond all usual ones counts.
    own = ParameterInfo("own", "", (30, 20), True, True)
    for std, where in ((1.0, ("head",)), (4.0, ("own",))):
        bare = make_trace(loss=loss, parameters=(*PARAMETERS, own), **{"own.std": std})
        assert the(bare, "initial-loss").where == where, std
    assert "torch.empty" in the(bare, "initial-loss").remedy


def test_a_start_far_off_is_laid_at_sums_over_neighbours():
    """A smaller last layer would not help: the next steps make its weights large again, and a graph with hubs has others."""
    figures = {"looks": 9.0, "nodes": 300.0, "mean": 48.0, "most": 115.0}
    links = Evidence("neighbour sums", ("conv",), (0, 94), figures)
    finding = the(make_trace(loss=2.0 + 25.6 * np.exp(-np.arange(200) / 10), evidence=(links,)), "initial-loss")
    assert finding.message.endswith("in conv, 48 on average and up to 115, and the sums are not divided by that number.")
    assert finding.remedy.startswith("Divide the sums by the number of neighbours")
    once = replace(links, figures={**figures, "looks": MASK_LOOKS - 1.0})
    assert "neighbours" not in the(make_trace(loss=[27.6, *healthy_losses()[1:]], evidence=(once,)), "initial-loss").remedy


def test_initial_loss_knows_sums_and_unknown_classes():
    assert found(make_trace(loss=healthy_losses() * 32), "initial-loss") == ()
    unknown = make_trace(facts=replace(FACTS, classes=0), loss=healthy_losses() * 9)
    assert outcome(unknown, "initial-loss")[0] == "not applicable"
    resumed = make_trace(loss=[27.6] * 200)
    resumed = replace(resumed, loss=replace(resumed.loss, step=resumed.loss.step + 1000))
    assert outcome(resumed, "initial-loss")[0] == "not run"


def test_divergence():
    rising = np.r_[np.linspace(2.3, 1.0, 100), np.linspace(1.0, 3.0, 100)]
    finding = the(make_trace(loss=noisy(rising)), "divergence")
    assert finding.severity == "critical"
    assert finding.steps[1] == 199
    assert found(make_trace(loss=noisy(np.linspace(2.3, 1.0, 200), 0.4)), "divergence") == ()
    slightly = np.r_[np.linspace(2.3, 1.0, 100), np.linspace(1.0, 1.3, 100)]
    assert found(make_trace(loss=noisy(slightly)), "divergence") == ()
    early = noisy(np.full(46, 1.38), 0.03)
    early[31] = 0.68  # the last step of an epoch, of half as many parts
    assert found(make_trace(loss=early, facts=replace(FACTS, chance=1.38, classes=4)), "divergence") == ()


def test_one_loss_far_above_all_others_hides_no_rise():
    burst = noisy(np.r_[np.linspace(2.3, 0.6, 100), np.full(100, 2.4)])
    burst[190] = 15.0
    assert "had come to 0.6" in the(make_trace(loss=burst), "divergence").message
    course = consequence(make_trace(loss=burst))
    assert course.kind == "rises"
    assert course.end == pytest.approx(2.4, abs=0.1)  # 3.03 with that one
    settled = noisy(np.r_[np.linspace(2.3, 0.6, 100), np.full(100, 0.6)])
    settled[[120, 150, 190]] = 15.0  # rare examples that are hard
    assert found(make_trace(loss=settled), "divergence") == ()


def test_a_loss_below_0_of_modules_that_were_never_called_may_be_a_difference():
    """The energy of data minus that of what a Boltzmann machine makes up is 0 at best."""
    back = make_trace(loss=noisy(np.r_[np.linspace(-0.2, -1.25, 50), np.linspace(-1.25, 0.5, 150)]))
    assert found(back, "divergence") != ()
    assert [each.status for each in examine(replace(back, modules=()), only=["divergence"]).outcomes] == ["not applicable"]
    rising = make_trace(loss=noisy(np.r_[np.linspace(2.3, 1.0, 100), np.linspace(1.0, 3.0, 100)]))
    assert the(replace(rising, modules=()), "divergence").severity == "critical"


def test_a_loss_that_rises_again_though_not_to_its_start_is_a_remark():
    harder = noisy(np.r_[np.linspace(2.3, 1.0, 100), np.linspace(1.0, 1.9, 100)])
    finding = the(make_trace(loss=harder), "divergence")
    assert finding.severity == "info"
    assert "by design" in finding.why
    assert the(make_trace(loss=harder + 0.5), "divergence").severity == "critical"  # worse than guessing, ln 10 = 2.3
    later = np.array(STEPS) > 120
    assert the(make_trace(loss=harder, **{"step.learning_rate": np.where(later, 0.3, 0.1)}), "divergence").severity == "critical"
    assert the(make_trace(loss=harder, **{"step.gradient_norm": np.where(later, 30.0, 2.0)}), "divergence").severity == "critical"
    assert the(make_trace(loss=harder, **{"step.gradient_norm": np.where(later, 6.0, 2.0)}), "divergence").severity == "info"


def test_a_jump_that_no_weight_made_is_a_remark():
    values = healthy_losses()
    values[120:] = noisy(np.full(80, 2.6))
    finding = the(make_trace(loss=values), "spike")
    assert finding.severity == "info"
    assert "no weight jumped with it" in finding.message
    after = np.array(STEPS) > 120
    assert the(make_trace(loss=values, **{"fc2.weight.rms": np.where(after, 0.4, 0.2)}), "spike").severity == "critical"
    growing = 0.2 * 1.005 ** np.array(STEPS)  # as fast before the jump
    assert the(make_trace(loss=values, **{"fc2.weight.rms": growing}), "spike").severity == "info"
    values[120:] = noisy(np.full(80, 6.0))
    assert the(make_trace(loss=values), "spike").severity == "critical"


def test_a_step_that_broke_the_run_is_named():
    values = healthy_losses()
    values[120:] = noisy(np.full(80, 6.0))
    finding = the(make_trace(loss=values), "spike")
    assert finding.steps[0] == 120
    assert "Step 120 broke the run" in finding.message
    assert "clip the gradient norm at about 2, its median before" in finding.remedy
    broken_off = healthy_losses()
    broken_off[120:122], broken_off[122:] = (50.0, 1e9), nan
    trace = make_trace(loss=broken_off, first_nonfinite=NonFinite(122, "", "loss"))
    assert the(trace, "spike").steps[0] == 120
    assert [finding.id for finding in examine(trace).findings] == ["spike", "non-finite"]
    climb = np.r_[healthy_losses()[:120], 0.8 * 1.3 ** np.arange(80)]
    assert found(make_trace(loss=climb), "spike") == ()
    near_zero = np.abs(noisy(2.3 * np.exp(-np.arange(200) / 15), 1e-4))
    near_zero[150:] += 0.05
    assert found(make_trace(loss=near_zero), "spike") == ()
    before = noisy(np.r_[np.linspace(2.3, 30, 90), np.full(30, 30.0), np.full(80, 90.0)])  # beyond guessing before it jumps
    assert found(make_trace(loss=before), "spike") == ()
    once = healthy_losses()
    once[120] = 9.0
    assert found(make_trace(loss=once), "spike") == ()


def test_oscillation():
    axis = np.arange(200)
    wave = healthy_losses() + 0.5 * np.sin(2 * np.pi * axis / 16)
    finding = the(make_trace(loss=wave), "oscillation")
    assert "every 16 steps" in finding.message
    assert finding.severity == "warning"
    text = make_trace(loss=4.6 + 0.2 * np.sin(2 * np.pi * axis / 16))  # in its order: some of its parts are harder
    assert the(text, "oscillation").severity == "info"
    shuffled = replace(FACTS, result={"shuffled_pass": 15.6})  # what is learned by heart fades over a pass
    assert outcome(make_trace(loss=wave, facts=shuffled), "oscillation")[0] == "not applicable"
    cyclic = 0.1 * (1.5 + np.cos(np.arange(len(STEPS))))
    assert outcome(make_trace(loss=wave, **{"step.learning_rate": cyclic}), "oscillation")[0] == "not applicable"
    for share, wanted in ((0.5, True), (0.3, False)):  # of the variance, the rest is noise; blocks of 6 steps, period 36
        blocks = np.repeat([1.5, -1.0, 0.5, -1.2, 0.8, -0.6], 6)
        ordered = sqrt(share) * np.tile(blocks / np.std(blocks), 12)[:400] + sqrt(1 - share) * noisy(np.zeros(400), 1.0)
        assert bool(found(make_trace(loss=5 + ordered), "oscillation")) == wanted, share
    level = np.interp(np.arange(400), [0, 100, 230, 400], [5.0, 3.4, 2.4, 2.3])  # two fifths are left after the fall
    ordered = noisy(level + 0.05 * np.tile(np.repeat([0.5, -1.0, 1.0, 0.2, -0.7], 8), 10), 0.01)
    finding = the(make_trace(loss=ordered), "oscillation")
    assert "every 40 steps" in finding.message
    assert finding.steps == (240, 399)
    steps = np.random.default_rng(2).standard_normal(500)
    smoothed = np.convolve(steps, 0.9 ** np.arange(60))[60:460]  # which echoes by luck, with 0.4 to 0.6 in the last two fifths
    assert found(make_trace(loss=3 + 0.1 * smoothed), "oscillation") == ()
    fixed_order = noisy(np.tile(noisy(np.ones(10), 0.3, 1), 20), 0.01)  # the same ten batches in the same order
    assert found(make_trace(loss=fixed_order), "oscillation") == ()
    for seed in range(5):
        assert found(make_trace(loss=noisy(healthy_losses(), 0.5, seed)), "oscillation") == ()


def test_no_learning():
    for seed in range(3):
        finding = the(make_trace(loss=noisy(np.full(200, 2.3), 0.05, seed)), "no-learning")
        assert "guessing" in finding.message
    regression = replace(FACTS, classes=0)
    assert "stays where it was" in the(make_trace(facts=regression, loss=noisy(np.full(200, 7.0))), "no-learning").message
    from_high = np.maximum(27 - 0.5 * np.arange(200), 2.3)
    assert "guessing" in the(make_trace(loss=noisy(from_high)), "no-learning").message
    slow = noisy(np.linspace(2.3, 2.0, 200), 0.2)
    assert found(make_trace(loss=slow), "no-learning") == ()
    converged = make_trace(loss=noisy(np.full(200, 0.9)))
    assert found(converged, "no-learning") == ()
    assert outcome(make_trace(loss=np.full(50, 2.3)), "no-learning")[0] == "not run"


def test_answering_the_mean_is_no_learning():
    # Squared errors of targets with variance 1: answers of variance v that are right on average leave 1 - v.
    squares = replace(FACTS, classes=0, loss_chain=("MseLossBackward0", "AddmmBackward0"), notes={"reduction": "mean"})
    falling = noisy(np.r_[np.linspace(5.0, 1.0, 50), np.full(150, 1.0)], 0.02)  # from answers far off the mean
    for spread, wanted in ((0.05, True), (0.15, False)):  # 0.25 % and 2.2 % of the variance explained
        trace = make_trace(facts=squares, loss=falling, **{"head.std": spread})
        assert bool(found(trace, "no-learning")) == wanted, spread
    told = the(make_trace(facts=squares, loss=falling, **{"head.std": 0.01}), "no-learning")
    assert "no better than answering the mean whatever the input (0.998)." in told.message
    assert told.limit == pytest.approx(told.value + 0.01**2)
    still_falling = noisy(np.linspace(5.0, 3.0, 200), 0.02)
    assert found(make_trace(facts=squares, loss=still_falling, **{"head.std": 0.01}), "no-learning") == ()
    summed = replace(squares, notes={"reduction": "sum"})
    assert found(make_trace(facts=summed, loss=falling, **{"head.std": 0.01}), "no-learning") == ()


def test_what_to_try_follows_the_size_of_the_steps():
    still = noisy(np.full(200, 2.3))
    cycle = np.interp(STEPS, [0, 80, 199], [0.004, 0.1, 1e-6])  # one cycle: the highest rate is the one that was set

    def remedy(size):
        sizes = {f"{name}.update_data": size for name in (*HIDDEN, "head.weight")}
        return the(make_trace(loss=still, **{"step.learning_rate": cycle}, **sizes), "no-learning").remedy

    assert "then try learning rates of 1 and 0.01 instead of 0.1" in remedy(1e-3)
    assert remedy(2e-4).startswith("Raise the learning rate about 5 times, from 0.1 to 0.5:")
    assert "lower" not in remedy(2e-4)
    assert "then try a learning rate of 0.01 instead of 0.1" in remedy(0.1)


def test_a_thousand_classes_whose_frequencies_are_not_known():
    many = replace(FACTS, classes=1_000)  # ln 1,000 = 6.908
    for level, wanted in ((6.91, True), (6.0, False)):
        assert bool(found(make_trace(facts=many, loss=noisy(np.full(200, level))), "no-learning")) == wanted
    assert "ln 1000 = 6.91" in the(make_trace(facts=many, loss=[30.0, *noisy(np.full(199, 6.0))]), "initial-loss").message
    assert found(make_trace(facts=many, loss=[7.4, *noisy(np.full(199, 6.0))]), "initial-loss") == ()


def test_where_frequencies_are_not_known_the_gain_of_looking_tells():
    flat, falling = noisy(np.full(200, 5.2)), noisy(np.linspace(6.0, 5.2, 200))  # a hundredth of guessing is 0.0525
    for gain, error, losses, wanted in (
        (0.0, 0.01, flat, True),
        (0.03, 0.005, flat, True),
        (-0.05, 0.03, flat, True),
        (0.0, 0.03, flat, False),
        (0.06, 0.0, flat, False),
        (0.0, 0.0, falling, False),
        (nan, nan, flat, False),
    ):
        facts = replace(FACTS, classes=1_000, gain=gain, gain_error=error)
        assert bool(found(make_trace(facts=facts, loss=losses), "no-learning")) == wanted, (gain, error)
    told = the(make_trace(facts=replace(FACTS, classes=1_000, gain=-0.05, gain_error=0.02), loss=flat), "no-learning")
    assert "no better than giving every input the same answer (5.14)." in told.message
    known = replace(FACTS, classes=1_000, gain=0.0, gain_error=0.0, chance=6.0)
    assert found(make_trace(facts=known, loss=flat), "no-learning") == ()


def test_leak():
    quick = np.maximum(2.3 * np.exp(-np.arange(200) / 10), 0.01) * noisy(np.ones(200), 0.2)
    finding = the(make_trace(loss=quick), "leak")
    assert finding.steps[0] < 100
    one_batch = make_trace(loss=quick, facts=replace(FACTS, notes={"batches": "one, repeated"}))
    assert outcome(one_batch, "leak")[0] == "not applicable"
    slower = noisy(3.3 * np.exp(-np.arange(200) / 60), 0.02)
    assert found(make_trace(loss=slower), "leak") == ()
    assert the(make_trace(loss=slower, facts=replace(FACTS, classes=27)), "leak").steps[0] > 100
    by_heart = make_trace(loss=quick, dev=[2.3] * 120)
    assert found(by_heart, "leak") == ()
    trained_before = make_trace(loss=np.full(200, 0.05))
    assert outcome(trained_before, "leak") == ("not applicable", "the network was trained before")


def test_overfitting():
    finding = the(make_trace(dev=[2.3, 1.5, 1.2, 1.3, 1.4, 1.5]), "overfitting")
    assert finding.steps[0] == 2
    assert "Stop at step 2" in finding.remedy
    assert found(make_trace(dev=[2.3, 1.5, 1.2, 1.2, 1.22, 1.23]), "overfitting") == ()
    rising = make_trace(dev=[2.3, 1.5, 1.2, 1.3, 1.4, 1.5], loss=np.linspace(1, 3, 200))
    assert found(rising, "overfitting") == ()


@pytest.mark.parametrize(
    ("best", "end", "train", "severity"),
    [(0.6, 0.92, 0.01, "warning"), (0.6, 0.78, 0.01, "info"), (0.1, 0.3, 0.01, "info"), (0.6, 0.92, 0.2, "info")],
)
def test_a_held_out_loss_that_grew_while_all_was_learned_by_heart(best, end, train, severity):
    by_heart = np.concatenate([np.linspace(2.3, train, 200), np.full(100, train)])
    finding = the(make_trace(loss=by_heart, dev=[2.3, best + 0.1, best, (best + end) / 2, end, end]), "overfitting")
    assert finding.severity == severity


def test_words_that_hold_no_more_than_counting_finds_are_no_failure_to_learn():
    flat = noisy(np.full(200, np.log(FACTS.classes)))
    assert the(make_trace(loss=flat), "no-learning").severity == "critical"
    nothing = replace(FACTS, result={"held_out": 2.0, "simple": 1.99})
    assert outcome(make_trace(loss=flat, facts=nothing), "no-learning")[0] == "not applicable"
    something = replace(FACTS, result={"held_out": 2.0, "simple": 1.5})
    assert the(make_trace(loss=flat, facts=something), "no-learning").severity == "critical"


def test_what_was_never_better_than_guessing_is_looked_at_first():
    by_heart = np.concatenate([np.linspace(2.3, 0.01, 200), np.full(100, 0.01)])
    for best, first in ((2.4, True), (1.9, False)):
        trace = make_trace(loss=by_heart, dev=[best + 0.1, best, best + 0.5, best + 3, best + 6, best + 6])
        assert ("first look at a held-out batch" in the(trace, "overfitting").remedy) == first


def test_overfitting_is_a_remark_where_the_best_weights_were_kept():
    kept = replace(FACTS, result={"best_kept": 1.0})
    worse = [2.3, 1.5, 1.2, 1.6, 2.4, 2.9]
    finding = the(make_trace(dev=worse, facts=kept), "overfitting")
    assert finding.severity == "info"
    assert "were kept" in finding.message
    assert the(make_trace(dev=worse), "overfitting").severity == "warning"


def test_held_out_labels_are_not_asked_for_where_the_data_are_known_to_be_alike():
    falling = 2.2 - 0.8 * (1 - np.exp(-np.arange(200) / 50))
    trace = make_trace(loss=falling, dev=[2.3, 2.6, 2.9, 3.0, 3.1], facts=replace(FACTS, notes={"held-out": ALIKE}))
    assert outcome(trace, "held-out-labels")[0] == "not applicable"


@pytest.mark.parametrize("dev", [[2.0, 1.7, 1.6, 1.58, 1.57], [2.3, 2.6, 2.9, 3.0, 3.1]])
@pytest.mark.parametrize("share", [1 / 8, 1, 8])
def test_losses_of_accumulated_passes_are_brought_to_true_units(share: float, dev: list[float]):
    """Each pass trains on its eighth, as is done by hand, or on its mean, and the sum is reported; four are looked at."""
    falling = 2.2 - 0.8 * (1 - np.exp(-np.arange(200) / 50))
    known = {
        "passes": 4 if share != 1 else 1,
        "parts": 8 if share != 1 else 1,
        "shares": float(share < 1),
        "weight": min(share, 1),
        "reference": log(10) * min(share, 1),
        "even": log(10) * min(share, 1),
        "classes": 10,
        "terms": 1,
    }
    known |= {f"value {step}": falling[step] * min(share, 1) for step in STEPS}
    seen = Evidence("loss", (), (0, 94), known, {"kind": "cross-entropy", "nature": "", "targets": "classes"})
    trace = make_trace(loss=falling * share, dev=dev, evidence=(seen,), **{"step.loss": falling[list(STEPS)] * share})
    assert guess_of(trace) == pytest.approx(log(10) * share)
    trace = in_true_units(trace)
    np.testing.assert_allclose(trace.loss.mean, falling)
    np.testing.assert_allclose(trace.loss.high, falling)
    np.testing.assert_allclose(trace.recent.mean, falling)
    np.testing.assert_allclose(trace.step_stats["loss"], falling[list(STEPS)])
    assert guess_of(trace) == pytest.approx(log(10))
    assert in_true_units(trace) is trace
    ids = {each.id for each in examine(trace).findings} & {"held-out-labels", "dev-scale", "overfitting"}
    assert ids == ({"held-out-labels"} if dev[-1] > 3 else set())


def test_held_out_labels():
    falling = 2.2 - 0.8 * (1 - np.exp(-np.arange(200) / 50))
    wrong = [2.3, 2.6, 2.9, 3.0, 3.1]
    finding = the(make_trace(loss=falling, dev=wrong), "held-out-labels")
    guess = FACTS.chance if np.isfinite(FACTS.chance) else np.log(FACTS.classes)
    assert finding.limit == pytest.approx(0.98 * guess)
    assert finding.value == pytest.approx(2.3)
    report = examine(make_trace(loss=falling, dev=wrong))
    assert [each.id for each in report.findings] == ["held-out-labels"]  # and overfitting is explained by it
    assert found(make_trace(loss=falling, dev=[2.3, 1.9, 2.6, 2.9, 3.1]), "held-out-labels") == ()  # it fell first
    by_heart = 2.2 * np.exp(-np.arange(200) / 40)
    assert found(make_trace(loss=by_heart, dev=wrong), "held-out-labels") == ()
    assert found(make_trace(loss=np.full(200, 2.2), dev=wrong), "held-out-labels") == ()
    # Other labels show before anything can be learned by heart: the one loss rises as the other falls, here by half as much.
    for rise, wanted in ((0.5, True), (0.1, False)):
        beside = np.full(200, nan)
        beside[5::10] = guess + rise * (guess - by_heart[5::10])
        assert bool(found(make_trace(loss=by_heart, dev=beside), "held-out-labels")) == wanted, rise
    unknown = make_trace(loss=falling, dev=wrong, facts=replace(FACTS, classes=0, chance=float("nan")))
    assert outcome(unknown, "held-out-labels") == ("not applicable", "the loss of guessing is not known")


def made(**figures):
    usual = {"looks": 3, "factor": 5, "apart": 0, "moved": 0.3, "passes": 5, "rows": 32, **figures}
    return Evidence("evaluated", (), (0, 94), {name: float(value) for name, value in usual.items()})


def weighed(weight=1.0):
    figures = {"terms": 1.0, "classes": 10.0, "reference": 2.3, "even": 2.3, "weight": weight}
    return Evidence("loss", (), (0, 94), figures, {"kind": "cross-entropy", "nature": ""})


def test_a_held_out_loss_made_of_others():
    dev = np.full(8, 2.0)
    finding = the(make_trace(evidence=(made(), weighed()), dev=dev), "dev-scale")
    assert "5 times the mean of the 5 losses" in finding.message
    assert "the number of its batches, 5" in finding.message
    for figures in (
        {"factor": 0.9 * limits.DEV_MADE},
        {"looks": 1},
        {"apart": 1.1 * limits.DEV_MADE_EVEN},
        {"apart": 0.9 * limits.DEV_MADE_EVEN, "moved": 0.02},  # a root of it
    ):
        assert found(make_trace(evidence=(made(**figures), weighed()), dev=dev), "dev-scale") == ()
    assert found(make_trace(evidence=(made(), weighed(5.0)), dev=dev), "dev-scale") == ()  # the training loss is one, too
    assert found(make_trace(evidence=(made(), weighed(float("nan"))), dev=dev), "dev-scale") == ()
