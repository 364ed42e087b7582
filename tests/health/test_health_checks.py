"""Every check on traces written by hand: silent on the healthy one, and right about the one fault planted."""

from __future__ import annotations

from dataclasses import replace
from math import log, nan, sqrt
from pathlib import Path

import numpy as np
import pytest
from paper import FACTS, MODULES, PARAMETERS, STEPS, healthy_losses, make_trace, noisy, units

from lettrine.errors import HealthError
from lettrine.health import limits
from lettrine.health.checks import CHECKS, Skip, check, examine
from lettrine.health.checks.gradients import _one_step
from lettrine.health.checks.verdict import EXPLAINS, ORDER
from lettrine.health.findings import Finding
from lettrine.health.trace import ModuleInfo, NonFinite

HIDDEN = ("fc1.weight", "fc2.weight", "fc3.weight")


def found(trace, name):
    report = examine(trace, only=[name])
    assert report.outcomes[0].status in ("found", "passed"), report.outcomes
    return report.findings


def the(trace, name):
    findings = found(trace, name)
    assert len(findings) == 1, findings
    finding = findings[0]
    assert finding.id == name
    assert finding.message.endswith(".")
    assert finding.remedy.endswith((".", "(1/sqrt(fan_in); zeros are fine for biases only."))
    assert "nan" not in finding.message + finding.remedy
    return finding


def outcome(trace, name):
    result = examine(trace, only=[name]).outcomes[0]
    return result.status, result.reason


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


def test_initial_loss_far_above_the_uniform_guess():
    trace = make_trace(loss=[27.6, *healthy_losses()[1:]], **{"head.std": 8.1})
    finding = the(trace, "initial-loss")
    assert finding.where == ("head",)
    assert "Multiply head.weight by 0.037" in finding.remedy
    assert "ln 10 = 2.3" in finding.remedy
    assert finding.limit == pytest.approx(log(10) + 1)


def test_initial_loss_knows_sums_and_unknown_classes():
    assert found(make_trace(loss=healthy_losses() * 32), "initial-loss") == ()
    unknown = make_trace(facts=replace(FACTS, classes=0), loss=healthy_losses() * 9)
    assert outcome(unknown, "initial-loss")[0] == "not applicable"
    resumed = make_trace(loss=[27.6] * 200)
    resumed = replace(resumed, loss=replace(resumed.loss, step=resumed.loss.step + 1000))
    assert outcome(resumed, "initial-loss")[0] == "not run"


def test_saturation_follows_the_published_boundary():
    assert found(make_trace(**{"act1.saturated": 0.30, "act2.saturated": 0.298}), "saturation") == ()
    finding = the(make_trace(**{"act2.saturated": 0.466, "fc2.std": 4.0}), "saturation")
    assert finding.where == ("act2",)
    assert finding.severity == "warning"
    assert "multiply fc2.weight by 0.25" in finding.remedy.lower()
    assert the(make_trace(**{"act1.saturated": 0.95}), "saturation").severity == "critical"


def test_saturation_that_comes_later_blames_the_learning_rate():
    shares = np.linspace(0.1, 0.8, len(STEPS))
    finding = the(make_trace(**{"act3.saturated": shares}), "saturation")
    assert "from 0.1 to 0.03" in finding.remedy
    assert finding.steps[0] > 0


def test_a_saturated_output_layer_is_no_fault():
    modules = (*MODULES[:-1], ModuleInfo("head", "Sigmoid", "output", "sigmoid", 10, "act3", 6))
    assert found(make_trace(modules=modules, **{"head.saturated": 0.99}), "saturation") == ()


def test_dead_units():
    assert found(make_trace(units={"act1": units(20, dead=[3])}), "dead-units") == ()
    note = the(make_trace(units={"act1": units(20, dead=[3, 4, 5])}), "dead-units")
    assert (note.severity, note.value) == ("info", 0.15)
    finding = the(make_trace(units={"act2": units(20, dead=range(12))}), "dead-units")
    assert (finding.severity, finding.where, finding.value) == ("warning", ("act2",), 0.6)
    assert "10 times, from 0.1 to 0.01" in finding.remedy
    assert the(make_trace(units={"act2": units(20, dead=range(20))}), "dead-units").severity == "critical"
    born = make_trace(units={"act2": units(20, dead=range(12))}, **{"act2.dead": 0.6})
    assert "dead at the first step: initialise fc2.weight smaller" in the(born, "dead-units").remedy


def test_dead_needs_a_streak_and_enough_examples():
    assert found(make_trace(units={"act1": units(20, dead=range(12), streak=3)}), "dead-units") == ()
    few = make_trace(units={name: units(20, 13, 100, dead=range(12)) for name in ("act1", "act2", "act3")})
    assert outcome(few, "dead-units") == ("not run", "fewer than 256 examples were seen in the sampled steps")


def test_scale_against_depth():
    def scaled(ratio):
        return make_trace(**{f"act{place + 1}.rms": 0.5 * ratio**place for place in range(3)})

    assert found(scaled(1.5), "activation-scale") == ()
    assert found(scaled(0.5), "activation-scale") == ()
    growing = the(scaled(3.0), "activation-scale")
    assert growing.value == pytest.approx(9.0)
    assert "by 0.33 each" in growing.remedy
    shrinking = the(scaled(0.2), "activation-scale")
    assert shrinking.value == pytest.approx(25.0)
    assert "by 5 each" in shrinking.remedy
    assert shrinking.where == ("act1", "act2", "act3")
    normed = replace(scaled(3.0), modules=(*MODULES, ModuleInfo("norm", "LayerNorm", "norm")))
    assert outcome(normed, "activation-scale") == ("not applicable", "normalisation keeps the scale")


@pytest.mark.parametrize(("per_layer", "word"), [(20.0, "vanish"), (1 / 20, "explode")])
def test_gradients_against_depth(per_layer, word):
    figures = {f"act{place + 1}.gradient_rms": 1e-4 * per_layer**place for place in range(3)}
    finding = the(make_trace(**figures), "gradient-scale")
    assert word in finding.message
    assert finding.value == pytest.approx(400.0)
    one_jump = {f"act{place + 1}.gradient_rms": 1e-4 * 400.0 ** (place > 0) for place in range(3)}
    assert found(make_trace(**one_jump), "gradient-scale") == ()
    mild = {f"act{place + 1}.gradient_rms": 1e-4 * per_layer ** (place / 2) for place in range(3)}
    assert found(make_trace(**mild), "gradient-scale") == ()


def wider():
    """Two more hidden layers, for what compares a layer with its fellows."""
    modules = (
        *MODULES[:-1],
        *(ModuleInfo(f"fc{n}", "Linear", "linear", "identity", 20, "act3", 5 + n) for n in (4, 5)),
        MODULES[-1],
    )
    extra = [replace(PARAMETERS[2], name=f"fc{n}.weight", module=f"fc{n}") for n in (4, 5)]
    return {"modules": modules, "parameters": (*PARAMETERS, *extra)}


def test_one_layer_far_from_the_others():
    trace = make_trace(**wider(), **{"fc2.weight.gradient_data": 1e-4, "fc2.weight.std": 20.0})
    finding = the(trace, "gradient-data")
    assert finding.where == ("fc2.weight",)
    assert finding.value == pytest.approx(100.0)
    assert "std 20, theirs 0.2" in finding.remedy
    assert found(make_trace(**wider(), **{"head.weight.gradient_data": 3.36}), "gradient-data") == ()
    adam = make_trace(**wider(), facts=replace(FACTS, optimiser="AdamW"), **{"fc2.weight.gradient_data": 1e-4})
    assert found(adam, "gradient-data") == ()
    adam = make_trace(**wider(), facts=replace(FACTS, optimiser="AdamW"), **{"fc2.weight.update_data": 1e-5})
    assert "update:data of fc2.weight" in the(adam, "gradient-data").message


def test_updates_too_large():
    trace = make_trace(**{f"{name}.update_data": 0.1 for name in (*HIDDEN, "head.weight")})
    finding = the(trace, "update-too-large")
    assert finding.severity == "critical"
    assert "about 100 times, from 0.1 to 0.001" in finding.remedy
    assert finding.where == (*HIDDEN, "head.weight")
    one = the(make_trace(**{"fc2.weight.update_data": 0.8}), "update-too-large")
    assert (one.severity, one.where) == ("warning", ("fc2.weight",))
    jump = np.where(np.array(STEPS) < 8, 0.7, 1e-2)
    jumpy = the(make_trace(**{f"{name}.update_data": jump for name in (*HIDDEN, "head.weight")}), "update-too-large")
    assert (jumpy.value, jumpy.steps) == (0.7, (0, 199))
    assert "about 70 times, from 0.1 to 0.001" in jumpy.remedy
    alike = {f"{name}.{stat}": value for name in HIDDEN for stat, value in (("update_data", 0.8), ("std", 1e-3), ("rms", 0.2))}
    assert found(make_trace(**alike), "update-too-large") == ()
    early = np.where(np.array(STEPS) < 20, 0.1, 1e-3)
    assert found(make_trace(**{f"{name}.update_data": early for name in HIDDEN}), "update-too-large") == ()


def test_updates_too_small():
    names = (*HIDDEN, "head.weight")
    finding = the(make_trace(**{f"{name}.update_data": 2e-5 for name in names}), "update-too-small")
    assert "about 50 times, from 0.1 to 5" in finding.remedy
    fading = np.geomspace(1e-3, 1e-7, len(STEPS))
    assert found(make_trace(**{f"{name}.update_data": fading for name in names}), "update-too-small") == ()


def test_parameters_without_gradient():
    nothing = {f"fc1.weight.gradient_{each}": nan for each in ("mean", "std", "norm", "data")}
    finding = the(make_trace(**nothing), "no-gradient")
    assert finding.where == ("fc1.weight",)
    assert "never got a gradient" in finding.message
    finding = the(make_trace(**{"fc2.weight.gradient_norm": 0.0, "fc3.bias.gradient_norm": 0.0}), "no-gradient")
    assert finding.where == ("fc2.weight", "fc3.bias")
    assert "exactly 0" in finding.message
    frozen = tuple(replace(info, trainable=info.name != "fc1.weight") for info in PARAMETERS)
    assert found(make_trace(parameters=frozen, **nothing), "no-gradient") == ()
    first_only = np.where(np.arange(len(STEPS)) == 0, 0.0, 1.0)
    assert found(make_trace(**{"fc1.weight.gradient_norm": first_only}), "no-gradient") == ()


def test_parameters_left_out_of_the_optimiser():
    outside = tuple(replace(info, optimised=info.module != "fc2") for info in PARAMETERS)
    finding = the(make_trace(parameters=outside), "not-optimised")
    assert finding.where == ("fc2.weight", "fc2.bias")
    unknown = tuple(replace(info, optimised=None) for info in PARAMETERS)
    assert outcome(make_trace(parameters=unknown), "not-optimised")[0] == "not run"
    still = the(make_trace(**{"fc3.weight.update_rms": 0.0, "fc3.weight.learning_rate": 0.0}), "not-optimised")
    assert still.where == ("fc3.weight",)
    assert "learning rate is 0" in still.remedy


def test_a_step_too_small_to_be_seen_is_no_fault_of_the_optimiser():
    # At a rate of 0.1 a gradient of rms g moves weights of rms 0.2 by g / 2 of their size; float32 tells 1e-7 of it.
    for slope, wanted in ((1e-5, True), (1e-6, False)):
        figures = {"fc2.weight.update_rms": 0.0, "fc2.weight.gradient_norm": 20 * slope}
        assert bool(found(make_trace(**figures), "not-optimised")) == wanted, slope
    figures = {"fc2.weight.update_rms": 0.0, "fc2.weight.gradient_norm": 1e-9, "fc2.weight.learning_rate": 0.0}
    assert "learning rate is 0" in the(make_trace(**figures), "not-optimised").remedy


@pytest.mark.parametrize(
    ("sizes", "step"),
    [
        ([0, 0, 0, 3, 3, 3], True),
        ([0, 1, 2, 3], False),
        ([5, 6, 5, 6, 0, 1, 0, 1], True),
        ([0, 2, 1, 3, 2, 4, 3, 5], False),
        ([0, 0, 1], True),
        ([0, 0.5, 1], False),
    ],
)
def test_a_change_at_one_layer_is_told_from_one_with_depth(sizes, step):
    assert _one_step(np.array(sizes, dtype=np.float64)) == step


def test_units_that_stay_alike():
    finding = the(make_trace(**{"fc2.weight.duplicate": 1.0}), "symmetry")
    assert finding.where == ("fc2.weight",)
    assert "std 0.22" in finding.remedy  # 1 / sqrt(20)
    healed = np.where(np.arange(len(STEPS)) == 0, 1.0, 0.0)
    assert found(make_trace(**{"head.weight.duplicate": healed}), "symmetry") == ()
    head_only = make_trace(steps=(0,), loss=[2.3], **{"head.weight.duplicate": 1.0, "head.weight.rms": 0.0})
    assert found(head_only, "symmetry") == ()


@pytest.mark.parametrize("phase", ["forward", "backward", "loss", "update", "data"])
def test_the_first_value_that_is_not_finite(phase):
    where = "" if phase == "loss" else "fc2"
    finding = the(make_trace(first_nonfinite=NonFinite(37, where, phase)), "non-finite")
    assert finding.severity == "critical"
    assert finding.steps == (37, 37)
    assert finding.where == ((where,) if where else ())
    assert "step 37" in finding.message
    if phase != "data":
        assert "from 0.1 to 0.01" in finding.remedy


@pytest.mark.parametrize(("chain", "told"), [(("NllLoss", "LogSoftmax"), False), (("NllLoss", "Log", "Softmax"), True)])
def test_logits_are_advised_only_where_they_are_not_used(chain, told):
    trace = make_trace(facts=replace(FACTS, loss_chain=chain), first_nonfinite=NonFinite(37, "", "loss"))
    finding = the(trace, "non-finite")
    assert ("from logits" in finding.remedy) is told
    assert "every=1" in finding.remedy


def test_divergence():
    rising = np.r_[np.linspace(2.3, 1.0, 100), np.linspace(1.0, 3.0, 100)]
    finding = the(make_trace(loss=noisy(rising)), "divergence")
    assert finding.severity == "critical"
    assert finding.steps[1] == 199
    assert found(make_trace(loss=noisy(np.linspace(2.3, 1.0, 200), 0.4)), "divergence") == ()
    slightly = np.r_[np.linspace(2.3, 1.0, 100), np.linspace(1.0, 1.3, 100)]
    assert found(make_trace(loss=noisy(slightly)), "divergence") == ()


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
    once = healthy_losses()
    once[120] = 9.0
    assert found(make_trace(loss=once), "spike") == ()


def test_oscillation():
    axis = np.arange(200)
    wave = healthy_losses() + 0.5 * np.sin(2 * np.pi * axis / 16)
    finding = the(make_trace(loss=wave), "oscillation")
    assert "every 16 steps" in finding.message
    cyclic = 0.1 * (1.5 + np.cos(np.arange(len(STEPS))))
    assert outcome(make_trace(loss=wave, **{"step.learning_rate": cyclic}), "oscillation")[0] == "not applicable"
    for share, wanted in ((0.5, True), (0.3, False)):  # of the variance, the rest is noise; blocks of 6 steps, period 36
        blocks = np.repeat([1.5, -1.0, 0.5, -1.2, 0.8, -0.6], 6)
        ordered = sqrt(share) * np.tile(blocks / np.std(blocks), 12)[:400] + sqrt(1 - share) * noisy(np.zeros(400), 1.0)
        assert bool(found(make_trace(loss=5 + ordered), "oscillation")) == wanted, share
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


def normed(**changes):
    norm = ModuleInfo("bn1", "BatchNorm1d", "norm", "", 20, "fc1", 1, True)
    return make_trace(modules=(MODULES[0], norm, *MODULES[1:]), facts=replace(FACTS, norm_momentum=0.1), **changes)


def test_bias_before_norm():
    finding = the(normed(), "bias-before-norm")
    assert (finding.where, finding.severity) == (("fc1",), "info")
    assert "20 parameters fewer" in finding.remedy
    without = make_trace(modules=(replace(MODULES[0], bias=False), ModuleInfo("bn1", "BatchNorm1d", "norm", "", 20, "fc1")))
    assert found(without, "bias-before-norm") == ()
    layer = make_trace(modules=(*MODULES, ModuleInfo("ln", "LayerNorm", "norm", "", 20, "fc1")))
    assert outcome(layer, "bias-before-norm")[0] == "not applicable"


def test_norm_statistics():
    fine = {"bn1.norm_mean_gap": 0.3, "bn1.norm_variance_ratio": 1.2}
    assert found(normed(**fine), "norm-statistics") == ()
    far = normed(**{"bn1.norm_mean_gap": 3.0, "bn1.norm_variance_ratio": 0.1})
    slow = replace(far, facts=replace(far.facts, norm_momentum=0.001))
    finding = the(slow, "norm-statistics")
    assert finding.where == ("bn1",)
    assert "from 0.001 to at least 0.02" in finding.remedy
    assert outcome(make_trace(), "norm-statistics") == ("not applicable", "no batch norm")


def of_batches(batch, momentum, *, gap=None, steps=STEPS):
    """A batch norm on independent examples, or with a given distance between running mean and batch mean."""
    expected = (1 - momentum) * sqrt(2 / (2 - momentum) / batch)
    trace = normed(steps=steps, **{"bn1.norm_mean_gap": expected if gap is None else gap, "bn1.norm_variance_ratio": 1.0})
    return replace(trace, facts=replace(trace.facts, batch_size=batch, norm_momentum=momentum))


def test_a_small_batch_needs_a_small_momentum():
    for batch, momentum in ((8, 0.1), (4, 0.05), (2, 0.03), (32, 0.2), (1_000, 0.9)):
        assert found(of_batches(batch, momentum), "norm-statistics") == (), (batch, momentum)
    finding = the(of_batches(4, 0.1), "norm-statistics")
    assert finding.value == pytest.approx(sqrt(0.1 / 1.9 / 4))
    assert finding.where == ("bn1",)
    assert "Batches of 4" in finding.message
    assert "batch to 32" in finding.remedy
    assert "from 0.1 to 0.02" in finding.remedy  # 0.1 * (0.05 / 0.1147)**2 = 0.019
    # Above 8 the momentum alone is to blame: sqrt(0.9 / 1.1 / 32) = 0.16.
    strong = the(of_batches(32, 0.9), "norm-statistics")
    assert strong.remedy.startswith("Lower batch norm's momentum from 0.9 to 0.09,")


def test_places_of_a_convolution_count_as_far_as_they_are_independent():
    assert found(of_batches(4, 0.1, gap=0.15), "norm-statistics") == ()
    assert the(of_batches(2, 0.1, gap=0.15), "norm-statistics").value == pytest.approx(sqrt(0.1 / 1.9 / 2))
    # Statistics that lag for another reason are no more uncertain than the batch makes them.
    assert the(of_batches(4, 0.1, gap=0.9), "norm-statistics").value == pytest.approx(sqrt(0.1 / 1.9 / 4))


def test_running_statistics_get_a_hundred_steps_to_follow():
    for last, status in ((8, "not run"), (99, "not run"), (100, "found")):
        steps = tuple(int(step) for step in np.linspace(0, last, 9))
        assert outcome(of_batches(32, 0.1, gap=3.0, steps=steps), "norm-statistics")[0] == status, last


@pytest.mark.parametrize(
    ("chain", "twice"),
    [
        (("NllLoss", "LogSoftmax", "Softmax", "Addmm"), True),
        (("NllLossBackward0", "LogSoftmaxBackward0", "ViewBackward0", "SoftmaxBackward0"), True),
        (("BinaryCrossEntropyWithLogits", "Sigmoid"), True),
        (("NllLoss", "LogSoftmax", "Addmm", "Relu", "Addmm", "Softmax"), False),
        (("NllLoss", "LogSoftmax", "LogSoftmax"), False),
        (("BinaryCrossEntropy", "Sigmoid", "Addmm"), False),
        (("MseLoss", "Sigmoid"), False),
        (("NllLoss", "Softmax", "Addmm"), True),
        (("NllLoss", "Addmm", "Relu"), True),
        (("NllLoss", "Log", "Softmax", "Addmm"), False),
        (("NllLoss2D", "LogSoftmax", "Convolution"), False),
    ],
)
def test_probabilities_as_logits(chain, twice):
    findings = found(make_trace(facts=replace(FACTS, loss_chain=chain)), "probabilities-as-logits")
    assert bool(findings) == twice


def test_what_the_loss_is_made_of_must_be_known():
    unknown = make_trace(facts=replace(FACTS, loss_chain=()), **{"head.min": 0.0, "head.max": 0.9, "head.mean": 0.1})
    assert outcome(unknown, "probabilities-as-logits")[0] == "not run"


def test_wrong_mode():
    dropout = (*MODULES, ModuleInfo("drop", "Dropout", "dropout"))
    finding = the(make_trace(modules=dropout, **{"step.training": 0.0}), "wrong-mode")
    assert finding.where == ("drop",)
    after_evaluation = np.where(np.array(STEPS) >= 40, 0.0, 1.0)
    assert the(make_trace(modules=dropout, **{"step.training": after_evaluation}), "wrong-mode").steps[0] == 40
    assert found(make_trace(modules=dropout), "wrong-mode") == ()
    assert outcome(make_trace(**{"step.training": 0.0}), "wrong-mode")[0] == "not applicable"


def test_missing_zero_grad():
    left = np.where(np.arange(len(STEPS)) == 0, 0.0, 1.0)
    assert the(make_trace(**{"step.leftover_gradient": left}), "missing-zero-grad").severity == "critical"
    assert found(make_trace(**{"step.leftover_gradient": 1.0 - left}), "missing-zero-grad") == ()


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
    wrong = [30.0, *noisy(np.full(199, 2.0))]
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

    assert [finding.where for finding in examine(make_trace(**{"fc2.std": 0.0})).findings] == [("fc2",)]
    with pytest.raises(HealthError, match="exists already"):
        check("quiet-output")(quiet_output)
    with pytest.raises(HealthError, match="needs 'weather'"):
        check("other", needs=("weather",))


@pytest.mark.usefixtures("registry")
def test_the_check_that_the_guide_shows_and_its_test():
    """The two blocks of CONTRIBUTING about a check, run as they stand."""
    guide = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    blocks = [block for block in guide.split("```")[1::2] if "quiet" in block]
    assert len(blocks) == 2
    known = dict(globals())
    for block in blocks:
        exec(block, known)  # noqa: S102  our own guide
    known["test_quiet_output"]()


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
    assert report.exit_code == 0


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
