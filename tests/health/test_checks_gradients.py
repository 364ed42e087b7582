"""Checks of gradients, of parameters that get none, and of the steps the optimiser takes."""

from __future__ import annotations

from dataclasses import replace
from math import nan

import numpy as np
import pytest
from paper import FACTS, HIDDEN, MODULES, PARAMETERS, STEPS, found, make_trace, noisy, outcome, the

from lettrine.health.checks.layers.gradients import _one_step
from lettrine.health.trace import ModuleInfo


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


def test_layers_beside_each_other_are_no_depth():
    apart = {f"act{place + 1}.gradient_rms": 1e-6 * 20.0**place for place in range(3)}
    assert the(make_trace(**apart), "gradient-scale").where == ("act1", "act2", "act3")

    def fed(**by):
        return tuple(replace(info, fed_by=by.get(info.name, info.fed_by)) for info in MODULES)

    # queries, keys and values of one input; what attention or a sum made, which no single module feeds
    assert outcome(make_trace(modules=fed(fc2="", fc3=""), **apart), "gradient-scale")[0] == "not run"
    assert outcome(make_trace(modules=fed(fc3="act1"), **apart), "gradient-scale")[0] == "not run"


def test_gradients_that_differ_where_the_steps_do_not():
    apart = {f"act{place + 1}.gradient_rms": 1e-4 * 20.0**place for place in range(3)}
    learning = {"loss": np.linspace(2.3, 1.2, 200)}  # half of what can be learned
    finding = the(make_trace(**apart, **learning), "gradient-scale")
    assert finding.severity == "info"
    assert "each step moves their weights alike" in finding.message
    for pace, severity in ((1.2e-4, "info"), (8e-5, "warning")):  # the others move by 1e-3 of their size
        trace = make_trace(**apart, **learning, **{"fc1.weight.update_data": pace})
        assert the(trace, "gradient-scale").severity == severity
    slow = {f"fc{place + 1}.weight.update_data": 5e-5 for place in range(3)}  # all of them: that is the rate, not the gradients
    assert the(make_trace(**apart, **learning, **slow), "gradient-scale").severity == "info"
    for end, severity in ((2.0, "warning"), (1.7, "info")):  # of ln 10 = 2.30, after 300 steps
        late = make_trace(**apart, loss=np.linspace(2.3, end, 300))
        assert the(late, "gradient-scale").severity == severity
        assert ("is hardly better than guessing" in the(late, "gradient-scale").message) == (severity == "warning")
    stuck = make_trace(**apart, loss=np.full(200, 2.3))  # nothing is learned, so that nothing excuses it
    assert the(stuck, "gradient-scale").severity == "warning"


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
    marks = {"fc2.weight.gradient_data": 1e-6, "fc2.weight.std": 4098.0}  # -10,000 where a transition is forbidden
    assert found(make_trace(**wider(), **marks), "gradient-data") == ()
    usual = {"fc2.weight.gradient_data": 1e-4, "fc2.weight.std": 0.4}  # queries while attention is flat
    assert found(make_trace(**wider(), **usual), "gradient-data") == ()
    adam = make_trace(**wider(), facts=replace(FACTS, optimiser="AdamW"), **{"fc2.weight.gradient_data": 1e-4})
    assert found(adam, "gradient-data") == ()
    adam = make_trace(**wider(), facts=replace(FACTS, optimiser="AdamW"), **{"fc2.weight.update_data": 1e-5})
    assert "update:data of fc2.weight" in the(adam, "gradient-data").message


def test_only_sigmoids_between_the_layers_are_to_be_replaced():
    vanishing = {f"act{place + 1}.gradient_rms": 1e-6 * 100.0**place for place in range(3)} | {"loss": np.full(200, 2.3)}

    def remedy(*modules):
        return the(make_trace(modules=modules, **vanishing), "gradient-scale").remedy

    last = ModuleInfo("last", "Sigmoid", "activation", "sigmoid", 10, "head", 7)
    between = [replace(info, activation="sigmoid") if info.name.startswith("act") else info for info in MODULES]
    assert "sigmoids" not in remedy(*MODULES, last)
    assert "sigmoids" in remedy(*between)


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


def test_parameters_without_gradient():
    nothing = {f"fc1.weight.gradient_{each}": nan for each in ("mean", "std", "norm", "data")}
    finding = the(make_trace(**nothing), "no-gradient")
    assert finding.where == ("fc1.weight",)
    assert "never got a gradient" in finding.message
    finding = the(make_trace(**{"fc2.weight.gradient_norm": 0.0, "fc3.bias.gradient_norm": 0.0}), "no-gradient")
    assert finding.where == ("fc2.weight",)  # the bias cancels behind, since its weight has a gradient
    assert "exactly 0" in finding.message
    frozen = tuple(replace(info, trainable=info.name != "fc1.weight") for info in PARAMETERS)
    assert found(make_trace(parameters=frozen, **nothing), "no-gradient") == ()
    first_only = np.where(np.arange(len(STEPS)) == 0, 0.0, 1.0)
    assert found(make_trace(**{"fc1.weight.gradient_norm": first_only}), "no-gradient") == ()


def test_parameters_without_gradient_are_a_remark_where_the_loss_falls_well():
    well, guessing = noisy(2.3 * np.exp(-np.arange(400) / 50), 0.001), noisy(np.full(400, 2.3), 0.01)
    zero = {"fc2.weight.gradient_norm": 0.0}
    finding = the(make_trace(loss=well, **zero), "no-gradient")
    assert (finding.severity, "the loss fell nevertheless" in finding.message) == ("info", True)
    finding = the(make_trace(loss=guessing, **zero), "no-gradient")
    assert (finding.severity, "nevertheless" in finding.message) == ("warning", False)
    first, last = (
        {f"{name}.{part}.gradient_{each}": nan for part in ("weight", "bias") for each in ("mean", "std", "norm", "data")}
        for name in ("fc1", "head")
    )
    assert the(make_trace(loss=well, **last), "no-gradient").severity == "info"  # nothing comes after it
    assert the(make_trace(loss=guessing, **last), "no-gradient").severity == "warning"
    assert the(make_trace(loss=well, **first), "no-gradient").severity == "warning"  # others learn from what it gives


def test_parameters_left_out_of_the_optimiser():
    outside = tuple(replace(info, optimised=info.module != "fc2") for info in PARAMETERS)
    arriving = {f"fc2.{name}.gradient_norm": np.linspace(0.05, 1, len(STEPS)) for name in ("weight", "bias")}  # nobody clears it
    finding = the(make_trace(parameters=outside, **arriving), "not-optimised")
    assert finding.where == ("fc2.weight", "fc2.bias")
    assert found(make_trace(parameters=outside), "not-optimised") == ()  # what was left there before: none arrives
    unknown = tuple(replace(info, optimised=None) for info in PARAMETERS)
    assert outcome(make_trace(parameters=unknown), "not-optimised")[0] == "not run"
    still = the(make_trace(**{"fc3.weight.update_rms": 0.0, "fc3.weight.learning_rate": 0.0}), "never-moved")
    assert still.where == ("fc3.weight",)
    assert "learning rate is 0" in still.remedy


def test_what_nothing_moves_is_not_called_symmetric():
    alike = {"fc2.weight.duplicate": 1.0}
    assert the(make_trace(**alike), "symmetry").where == ("fc2.weight",)
    outside = tuple(replace(info, optimised=info.module != "fc2") for info in PARAMETERS)
    assert found(make_trace(parameters=outside, **alike), "symmetry") == ()


def test_a_step_too_small_to_be_seen_is_no_fault_of_the_optimiser():
    # At a rate of 0.1 a gradient of rms g moves weights of rms 0.2 by g / 2 of their size; float32 tells 1e-7 of it.
    for slope, wanted in ((1e-5, True), (1e-6, False)):
        figures = {"fc2.weight.update_rms": 0.0, "fc2.weight.gradient_norm": 20 * slope}
        assert bool(found(make_trace(**figures), "never-moved")) == wanted, slope
    figures = {"fc2.weight.update_rms": 0.0, "fc2.weight.gradient_norm": 1e-9, "fc2.weight.learning_rate": 0.0}
    assert "learning rate is 0" in the(make_trace(**figures), "never-moved").remedy


def test_units_that_stay_alike():
    cut_off = {"fc2.weight.duplicate": 1.0, "fc2.weight.gradient_norm": np.nan}
    assert found(make_trace(**cut_off), "symmetry") == ()  # it stays as it is because no gradient reaches it
    finding = the(make_trace(**{"fc2.weight.duplicate": 1.0}), "symmetry")
    assert finding.where == ("fc2.weight",)
    assert "std 0.22" in finding.remedy  # 1 / sqrt(20)
    healed = np.where(np.arange(len(STEPS)) == 0, 1.0, 0.0)
    assert found(make_trace(**{"head.weight.duplicate": healed}), "symmetry") == ()
    head_only = make_trace(steps=(0,), loss=[2.3], **{"head.weight.duplicate": 1.0, "head.weight.rms": 0.0})
    assert found(head_only, "symmetry") == ()


def test_updates_too_large():
    hardly = 1.9 + 0.4 * np.exp(-np.arange(200) / 10)
    trace = make_trace(loss=hardly, **{f"{name}.update_data": 0.1 for name in (*HIDDEN, "head.weight")})
    finding = the(trace, "update-too-large")
    assert finding.severity == "critical"
    assert "10 times or more, from 0.1 to 0.01" in finding.remedy
    assert finding.where == (*HIDDEN, "head.weight")
    one = the(make_trace(**{"fc2.weight.update_data": 0.8}), "update-too-large")
    assert (one.severity, one.where) == ("warning", ("fc2.weight",))
    jump = np.where(np.array(STEPS) < 8, 0.7, 1e-2)
    jumpy = the(make_trace(**{f"{name}.update_data": jump for name in (*HIDDEN, "head.weight")}), "update-too-large")
    assert (jumpy.value, jumpy.steps) == (0.7, (0, 199))
    assert "10 times or more, from 0.1 to 0.01" in jumpy.remedy
    alike = {f"{name}.{stat}": value for name in HIDDEN for stat, value in (("update_data", 0.8), ("std", 1e-3), ("rms", 0.2))}
    assert found(make_trace(**alike), "update-too-large") == ()
    early = np.where(np.array(STEPS) < 20, 0.1, 1e-3)
    assert found(make_trace(**{f"{name}.update_data": early for name in HIDDEN}), "update-too-large") == ()


def test_first_steps_of_weights_that_begin_at_zero():
    names, high = (*HIDDEN, "head.weight"), np.full(200, 2.0)
    growing = {f"{name}.update_data": 1 / np.maximum(np.array(STEPS), 1) for name in names}
    assert the(make_trace(loss=high, **growing), "update-too-large")
    zero = {f"{name}.rms": np.where(np.array(STEPS) == 0, 0.0, 0.3) for name in names}
    assert found(make_trace(loss=high, **growing, **zero), "update-too-large") == ()
    lasting = {f"{name}.update_data": 0.3 for name in names}
    assert the(make_trace(loss=high, **lasting, **zero), "update-too-large").severity == "critical"


def test_large_steps_at_first_are_forgiven_where_the_run_ends_well():
    large = {f"{name}.update_data": np.where(np.array(STEPS) < 8, 0.3, 1e-3) for name in (*HIDDEN, "head.weight")}
    for end, wanted in ((0.3, True), (0.22, True), (0.2, False)):  # squared errors; answers of variance 0.7 ** 2 = 0.49
        facts = replace(FACTS, classes=0, loss_chain=("MseLoss", "Mul"), notes={"reduction": "mean"})
        falling = np.maximum(20 * np.exp(-np.arange(200) / 10), end)
        assert bool(found(make_trace(facts=facts, loss=falling, **large), "update-too-large")) == wanted, end
    for end, wanted in ((0.75, True), (0.6, False)):  # three tenths of ln 10 = 2.3, or less
        falling = np.maximum(2.3 * np.exp(-np.arange(200) / 10), end)
        assert bool(found(make_trace(loss=falling, **large), "update-too-large")) == wanted, end
    # Those that have come down to a usual size are a remark; steps of more than half a weight's size, or that stay so, are none.
    high = np.maximum(falling, 1.4)
    assert the(make_trace(loss=high, **large), "update-too-large").severity == "info"
    little = the(
        make_trace(loss=np.maximum(falling, 2.0), **large), "update-too-large"
    )  # 2.0 of ln 10: hardly anything is learned
    assert little.severity == "critical"
    huge = {f"{name}.update_data": np.where(np.array(STEPS) < 8, 0.7, 1e-3) for name in (*HIDDEN, "head.weight")}
    assert the(make_trace(loss=high, **huge), "update-too-large").severity == "critical"
    lasting = {f"{name}.update_data": 0.3 for name in (*HIDDEN, "head.weight")}
    assert the(make_trace(loss=high, **lasting), "update-too-large").severity == "critical"
    between = {name: np.where(np.array(STEPS) < 8, 0.3, 0.08) for name in lasting}
    remark = the(make_trace(loss=high, **between), "update-too-large")  # much is learned
    assert (remark.severity, "Lower the learning rate" in remark.remedy) == ("info", False)
    assert the(make_trace(loss=np.maximum(falling, 1.9), **between), "update-too-large").severity == "critical"
    assert found(make_trace(loss=np.maximum(falling, 0.8), **lasting), "update-too-large")
    assert found(make_trace(loss=falling, **lasting), "update-too-large") == ()  # what learns well needs no other rate


def test_updates_too_small():
    names = (*HIDDEN, "head.weight")
    finding = the(make_trace(**{f"{name}.update_data": 2e-5 for name in names}), "update-too-small")
    assert "10 times or more, from 0.1 to 1" in finding.remedy
    fading = np.geomspace(1e-3, 1e-7, len(STEPS))
    assert found(make_trace(**{f"{name}.update_data": fading for name in names}), "update-too-small") == ()
    first = np.where(np.array(STEPS) == 0, 1.5, 6e-7)  # one step that threw everything, and then no gradient
    assert found(make_trace(**{f"{name}.update_data": first for name in names}), "update-too-small") == ()
    calm = np.where(np.array(STEPS) == 0, 1e-2, 6e-7)
    assert found(make_trace(**{f"{name}.update_data": calm for name in names}), "update-too-small")


def test_missing_zero_grad():
    left = np.where(np.arange(len(STEPS)) == 0, 0.0, 1.0)
    assert the(make_trace(**{"step.leftover_gradient": left}), "missing-zero-grad").severity == "critical"
    assert found(make_trace(**{"step.leftover_gradient": 1.0 - left}), "missing-zero-grad") == ()


def test_gradients_cleared_at_every_second_step():
    now_and_then = the(make_trace(**{"step.leftover_gradient": np.arange(len(STEPS)) % 2.0}), "missing-zero-grad")
    assert now_and_then.severity == "warning"
    assert "under one condition" in now_and_then.remedy
    once = np.where(np.arange(len(STEPS)) < 3, np.arange(len(STEPS)) > 0, 0.0)
    assert found(make_trace(**{"step.leftover_gradient": once}), "missing-zero-grad") == ()
