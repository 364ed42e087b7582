"""Checks of inputs and of the order of batches on evidence written by hand: where each limit lies, and what is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from paper import MODULES, PARAMETERS, found, make_trace, noisy, outcome, the
from paper_evidence import FLAT, comparison, inputs, seen

from lettrine.health import limits
from lettrine.health.checks.data.input_scale import unscaled
from lettrine.health.evidence import Evidence
from lettrine.health.trace import ModuleInfo


def test_input_scale():
    wide = inputs(low=0, high=255, feature_most=150, feature_least=140)
    arrives = {"fc1.rms": 80.0}
    finding = the(seen(wide, loss=FLAT, **arrives), "input-scale")
    assert finding.severity == "warning"
    assert "by 255" in finding.remedy
    assert the(seen(wide, **arrives), "input-scale").severity == "info"  # learned all the same
    assert found(seen(inputs(), loss=FLAT, **arrives), "input-scale") == ()
    grey = inputs(mean=0.55, std=0.005, low=0.54, high=0.57, feature_most=0.55, feature_least=0.55)
    assert "hardly differ: their mean is 0.55, their std 0.005" in the(seen(grey, loss=FLAT), "input-scale").message
    assert found(seen(grey), "input-scale") == ()  # learned all the same
    assert found(seen(inputs(mean=0.55, std=0.05), loss=FLAT), "input-scale") == ()  # a faint picture, not a grey one
    assert found(seen(wide, loss=FLAT), "input-scale") == ()  # nothing of it arrives at the first layer
    assert found(seen(replace(wide, figures={**wide.figures, "rescaled": 1}), loss=FLAT, **arrives), "input-scale") == ()
    norm = replace(MODULES[0], kind="LayerNorm", role="norm")
    assert unscaled(seen(wide, modules=(norm, *MODULES[1:]), **arrives)) is None
    uneven = inputs(feature_most=9, feature_least=0.05)
    finding = the(seen(uneven, loss=FLAT, **arrives), "input-scale")
    assert "features of a size from 0.05 to 9" in finding.message


def test_inputs_of_a_model_that_goes_by_the_name_of_its_class():
    wide = replace(inputs(low=0, high=255, feature_most=150, feature_least=140), where=("Net",))
    net = ModuleInfo("Net", "Net", "other", "identity", 10, "", 7)  # ends in a function of its own, so its output is recorded
    assert the(seen(wide, loss=FLAT, modules=(*MODULES, net), **{"fc1.rms": 80.0}), "input-scale").where == ("Net",)
    critic = ModuleInfo("critic.0", "Linear", "linear", "identity", 10, "", 7, True)  # a part that is called by itself
    weight = replace(PARAMETERS[0], name="critic.0.weight", module="critic.0")
    parts = {"modules": (*MODULES, critic), "parameters": (*PARAMETERS, weight)}
    assert unscaled(seen(replace(wide, where=("critic",)), **parts, **{"fc1.rms": 80.0})) is None
    assert unscaled(seen(replace(wide, where=("critic",)), **parts, **{"critic.0.rms": 80.0}))
    # A single layer is all there is, whatever its first weights make of the inputs.
    alone = {"modules": (replace(MODULES[-1], depth=0), net), "parameters": PARAMETERS[-2:]}
    assert the(seen(wide, loss=FLAT, **alone), "input-scale").severity == "warning"
    # Above half of guessing it may still fall, or rest at the noise of the targets: a single layer rests nowhere else.
    for loss, severity in ((np.linspace(2.3, 1.6, 400), "warning"), (np.maximum(np.linspace(2.3, 0, 400), 1.6), "info")):
        assert the(seen(wide, loss=noisy(loss, 0.01), **alone), "input-scale").severity == severity
    assert found(seen(wide, loss=FLAT, modules=(*MODULES, net)), "input-scale") == ()


def test_repeated_batch():
    assert the(seen(inputs(same=0.75, distinct=5), comparison()), "repeated-batch").severity == "warning"
    assert the(seen(inputs(alike=1), comparison()), "repeated-batch").severity == "critical"
    for figures in ({"same": 1, "distinct": 1}, {"same": 0.4, "distinct": 5}, {"same": 0.75, "distinct": 5, "pairs": 2}):
        assert found(seen(inputs(**figures), comparison()), "repeated-batch") == ()
    assert found(seen(inputs(same=0.75, distinct=5), comparison(alone=0)), "repeated-batch") == ()  # several epochs of a rollout
    tasks = {"same": 0.75, "distinct": 5, "written": 2 * limits.WRITTEN_OVER}
    assert found(seen(inputs(**tasks), comparison()), "repeated-batch") == ()
    assert found(seen(inputs(**{**tasks, "written": limits.WRITTEN_OVER / 2}), comparison()), "repeated-batch")
    same = {"same": 1, "distinct": 1, "asked": 8}
    assert (
        "targets are others each time (8 batches" in the(seen(inputs(**same), comparison(), loss=FLAT), "repeated-batch").message
    )
    assert found(seen(inputs(**same), comparison()), "repeated-batch") == ()  # another argument may tell why
    assert found(seen(inputs(**{**same, "asked": 1}), comparison(), loss=FLAT), "repeated-batch") == ()


def test_tasks_that_begin_anew():
    """Reptile takes the weights back after some steps; weights that are clipped are written at every step."""
    for written, held, told in ((0.2, 0.8, False), (1.0, 0.8, True), (float("nan"), 0.8, True), (0.2, 0.0, True)):
        trace = seen(inputs(written=written, held=held), comparison(), loss=FLAT)
        assert (outcome(trace, "no-learning")[0] != "not applicable") is told


def test_a_store_that_fills_repeats_at_first():
    one = comparison("squared", low=-2, high=2, mean=0, std=1)
    assert the(seen(one, inputs(same=1)), "repeated-batch").severity == "warning"
    assert found(seen(one, inputs(same=1, grown=8)), "repeated-batch") == ()


def test_some_batches_of_nothing_but_0():
    def told(blank, batches):
        figures = {"blank": float(blank), "batches": float(batches)}
        seen = (inputs(), comparison(), Evidence("blank batches", (), (37, 90), figures))
        return found(make_trace(evidence=seen), "repeated-batch")

    (finding,) = told(4, 15)
    assert finding.severity == "warning"
    assert "4 of the 15 batches looked at are 0 in all rows, the first one at step 37" in finding.message
    assert told(1, 15) == ()  # a trial of shapes
    assert told(9, 15) == ()  # zeros that were asked for


def test_sorted_data():
    pure = comparison(classes_seen=5, pure=1, scatter=30)
    assert the(seen(pure, loss=FLAT), "sorted-data").severity == "critical"
    assert the(seen(pure), "sorted-data").severity == "warning"
    mixed = comparison(classes_seen=5, pure=0, scatter=limits.SCATTERED)
    assert "5 times more" in the(seen(mixed, loss=FLAT), "sorted-data").message
    assert the(seen(mixed), "sorted-data").severity == "info"  # and it learns
    steps = np.arange(400)
    waves = noisy(0.6 + np.exp(-steps / 20) + 0.2 * np.sin(steps * 2 * np.pi / 40), 0.02)
    swinging = the(seen(mixed, loss=waves), "sorted-data")
    assert swinging.severity == "warning"
    assert "swings up and down every 40 steps" in swinging.message
    for figures in ({"scatter": limits.SCATTERED - 0.1, "pure": 0}, {"single": 0}, {"labels": 32}, {"given": 0}):
        usual = {"classes_seen": 5, "pure": 1, "scatter": 30}
        assert found(seen(comparison(**(usual | figures)), loss=FLAT), "sorted-data") == ()
    words = {"kind": "binary cross-entropy", "nature": "adversarial"}
    against = Evidence("loss", (), (0, 94), {"terms": 1.0}, words)
    assert outcome(seen(pure, against), "sorted-data")[0] == "not applicable"  # what is real, then what was made


def test_numbers_in_blocks():
    swinging = noisy(2 + 0.5 * np.sin(np.arange(400) * 2 * np.pi / 40), 0.05)
    blocks = inputs(scatter=limits.SCATTERED)
    finding = the(seen(blocks, loss=swinging), "sorted-data")
    assert (finding.severity, finding.value) == ("warning", limits.SCATTERED)
    assert "differ 5 times more than chance allows" in finding.message
    assert "every 40 steps" in finding.message
    assert found(seen(blocks), "sorted-data") == ()  # the loss does not swing
    for figures in (
        {"scatter": limits.SCATTERED - 0.1},
        {"scatter": np.nan},
        {"scatter": 9, "rows": 4},
        {"scatter": 9, "looks": 4},
    ):
        assert found(seen(inputs(**figures), loss=swinging), "sorted-data") == ()


def test_shuffled_targets():
    apart = inputs(told=0.4, compared=500)
    assert the(seen(apart, loss=FLAT), "shuffled-targets").severity == "critical"
    assert found(seen(apart), "shuffled-targets") == ()  # it learns
    assert found(seen(inputs(told=limits.TOLD, compared=500), loss=FLAT), "shuffled-targets") == ()
    assert found(seen(inputs(told=0.4, compared=500, beside=1), loss=FLAT), "shuffled-targets") == ()  # two inputs tell together
    assert found(seen(inputs(told=0.4, compared=limits.TOLD_LEAST - 1), loss=FLAT), "shuffled-targets") == ()
    for pace in (5e-4, 1e-9):  # too little moved in 400 steps to know anything
        moved = {f"{name}.{kind}.update_data": pace for name in ("fc1", "fc2", "fc3", "head") for kind in ("weight", "bias")}
        assert found(seen(apart, loss=FLAT, **moved), "shuffled-targets") == ()


def test_rows_and_pictures_shuffled():
    pictures = inputs(told=0.9 * limits.TOLD_ROWS, compared=500, columns=64)
    assert the(seen(pictures, loss=FLAT), "shuffled-targets").limit == limits.TOLD_ROWS
    assert found(seen(inputs(told=1.1 * limits.TOLD_ROWS, compared=500, columns=64), loss=FLAT), "shuffled-targets") == ()
    far = comparison("squared", mean=98, std=24)
    assert found(seen(pictures, far, loss=FLAT), "shuffled-targets") == ()  # their size is the more direct cause


def test_padding_index():
    figures = {"looks": 8, "index": 0, "share": 0.1, "inside": 0.6, "targets": 1}
    each = Evidence("padding-index", ("table",), (0, 94), figures)
    assert "target class" in the(seen(each), "padding-index").message
    for name, value in (("share", 0.005), ("inside", 0.2), ("looks", 2)):
        assert found(seen(replace(each, figures={**figures, name: value})), "padding-index") == ()
