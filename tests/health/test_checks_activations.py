"""Checks of outputs: saturation, dead units, scale against depth."""

from __future__ import annotations

from dataclasses import replace
from math import log

import numpy as np
import pytest
from paper import MODULES, STEPS, found, make_trace, noisy, outcome, the, units

from lettrine.health.trace import ModuleInfo


def test_saturation_follows_the_published_boundary():
    assert found(make_trace(**{"act1.saturated": 0.30, "act2.saturated": 0.298}), "saturation") == ()
    finding = the(make_trace(**{"act2.saturated": 0.466, "fc2.std": 4.0}), "saturation")
    assert finding.where == ("act2",)
    assert finding.severity == "warning"
    assert "multiply fc2.weight by 0.25" in finding.remedy.lower()
    assert the(make_trace(**{"act1.saturated": 0.95}), "saturation").severity == "critical"


def test_saturation_on_one_side_is_not_a_matter_of_size():
    shifted = the(make_trace(**{"act2.saturated": 0.9, "fc2.std": 1.3, "fc2.mean": 16.0}), "saturation")
    assert "Draw fc2.weight anew around 0 with std 0.22 (1/sqrt(fan_in)) and start fc2.bias at 0" in shifted.remedy
    assert "the outputs of fc2 lie around 16" in shifted.remedy
    wide = the(make_trace(**{"act2.saturated": 0.9, "fc2.std": 4.0, "fc2.mean": 1.0}), "saturation")
    assert wide.remedy.startswith("Multiply fc2.weight by 0.25")


def test_saturation_that_comes_later_blames_the_learning_rate():
    shares = np.linspace(0.1, 0.8, len(STEPS))
    large = {"fc1.weight.update_data": 0.02, "fc2.weight.update_data": 0.02, "fc3.weight.update_data": 0.02}
    finding = the(make_trace(**large, **{"act3.saturated": shares}), "saturation")
    assert "from 0.1 to 0.03" in finding.remedy
    assert finding.steps[0] > 0
    usual = the(make_trace(**{"act3.saturated": shares}), "saturation")
    assert "rate" not in usual.remedy  # steps of the usual size have not done it


def test_a_saturated_output_layer_is_no_fault():
    modules = (*MODULES[:-1], ModuleInfo("head", "Sigmoid", "output", "sigmoid", 10, "act3", 6))
    assert found(make_trace(modules=modules, **{"head.saturated": 0.99}), "saturation") == ()


def test_dead_units():
    assert found(make_trace(units={"act1": units(20, dead=[3])}), "dead-units") == ()
    note = the(make_trace(units={"act1": units(20, dead=[3, 4, 5])}), "dead-units")
    assert (note.severity, note.value) == ("info", 0.15)
    remark = the(make_trace(units={"act2": units(20, dead=range(12))}), "dead-units")
    assert remark.severity == "info"  # the loss falls
    assert "the loss fell nevertheless" in remark.message
    stuck = noisy(np.full(200, log(10)))
    finding = the(make_trace(units={"act2": units(20, dead=range(12))}, loss=stuck), "dead-units")
    assert (finding.severity, finding.where, finding.value) == ("warning", ("act2",), 0.6)
    assert "rate" not in finding.remedy  # steps of the usual size have not done it
    large = {f"{name}.weight.update_data": 0.02 for name in ("fc1", "fc2", "fc3")}
    fast = make_trace(units={"act2": units(20, dead=range(12))}, loss=stuck, **large)
    assert "10 times, from 0.1 to 0.01" in the(fast, "dead-units").remedy
    few = make_trace(units={"act2": units(20, dead=[3, 4, 5])}, loss=stuck, **large)
    assert "rate" not in the(few, "dead-units").remedy  # it would slow the other units
    assert the(make_trace(units={"act2": units(20, dead=range(20))}), "dead-units").severity == "critical"
    born = make_trace(units={"act2": units(20, dead=range(12))}, loss=stuck, **{"act2.dead": 0.6})
    assert "dead at the first step: start fc2.bias at 0, draw fc2.weight anew around 0" in the(born, "dead-units").remedy


def test_dead_needs_a_streak_and_enough_examples():
    assert found(make_trace(units={"act1": units(20, dead=range(12), streak=3)}), "dead-units") == ()
    few = make_trace(units={name: units(20, 13, 100, dead=range(12)) for name in ("act1", "act2", "act3")})
    assert outcome(few, "dead-units") == ("not run", "fewer than 256 examples were seen in the sampled steps")


def test_a_layer_of_which_nothing_is_left():
    """Half of it was dead at first, all of it at the last three sampled steps, and nothing is learned."""
    gone = np.where(np.arange(len(STEPS)) >= len(STEPS) - 3, 1.0, 0.5)
    relu = tuple(replace(info, activation="relu") if info.name == "act2" else info for info in MODULES)
    all_of_it = units(20, len(STEPS), 32 * len(STEPS), dead=range(20), streak=3)

    def trace(**changes):
        told = {"loss": noisy(np.full(200, 2.3)), "units": {"act2": all_of_it}, "act2.dead": gone, "fc2.weight.update_data": 0.1}
        return make_trace(modules=relu, **{**told, **changes})

    finding = the(trace(), "dead-units")
    assert (finding.severity, finding.value) == ("critical", 1.0)
    assert "first step" not in finding.remedy
    assert found(trace(loss=2.3 * np.exp(-np.arange(200) / 50)), "dead-units") == ()  # it learns all the same
    assert found(trace(**{"act2.dead": np.ones(len(STEPS))}), "dead-units") == ()  # born dead: asks for the usual streak


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


def test_units_that_die_in_mid_run():
    """At the last two sampled steps most are dead; before, none was."""
    died = np.where(np.arange(len(STEPS)) >= len(STEPS) - 2, 0.6, 0.0)
    relu = tuple(replace(info, activation="relu") if info.name == "act2" else info for info in MODULES)
    half = units(20, len(STEPS), 32 * len(STEPS), dead=range(12), streak=2)
    guessing = noisy(np.full(200, 2.3))
    finding = the(make_trace(modules=relu, units={"act2": half}, loss=guessing, **{"act2.dead": died}), "dead-units")
    assert finding.value == 0.6
    # Two dead steps of a layer that often had some say nothing yet.
    often = np.where(np.arange(len(STEPS)) % 2, 0.6, 0.0)
    assert found(make_trace(modules=relu, units={"act2": half}, loss=guessing, **{"act2.dead": often}), "dead-units") == ()
