"""Checks of heads, targets, data and NaNs on evidence written by hand: where each limit lies, and what is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from paper import FACTS, MODULES, PARAMETERS, found, make_trace, noisy, outcome, the

from lettrine.health import limits
from lettrine.health.checks.data.input_scale import unscaled
from lettrine.health.evidence import Evidence
from lettrine.health.trace import ModuleInfo, NonFinite

FLAT = noisy(np.full(400, np.log(10)), 0.01)


def comparison(expects="classes", operations="", words=(), **figures):
    figures = {"looks": 8, "rows": 256, "alone": 1, "given": 1, "classes": 10, "labels": 256, "single": 1, **figures}
    named = {"expects": expects, "function": "cross_entropy", "operations": operations, "place": "head.weight", "shape": "(32,)"}
    return Evidence("comparison", ("head", expects), (0, 94), figures, {**named, **dict(words)})


def inputs(**figures):
    usual = {"looks": 8, "rows": 32, "mean": 0, "std": 1, "low": -3, "high": 3, "feature_most": 1, "feature_least": 0.9}
    usual |= {"rescaled": 0, "pairs": 4, "same": 0, "distinct": 8, "alike": 0, "told": 30, "compared": 256}
    return Evidence("inputs", ("Net",), (0, 94), {**usual, **figures})


def operation(name, broke="", guarded="no", where="loss", of="sum", **figures):
    usual = {"least": 0.2, "first": 0.5, "last": 0.4, "step": 120 if broke else float("nan")}
    return Evidence("operation", (where, name), (0, 94), {**usual, **figures}, {"of": of, "broke": broke, "guarded": guarded})


def seen(*evidence, **changes):
    return make_trace(evidence=evidence, **changes)


@pytest.mark.parametrize(
    "name", ["softmax-axis", "relu-logits", "target-range", "target-constant", "target-rows", "target-scale", "repeated-batch"]
)
def test_nothing_to_compare(name):
    assert outcome(make_trace(), name)[0] == "not applicable"


def test_broadcast():
    words = {"function": "mse_loss", "answers": "(32, 1)", "others": "(32,)"}
    finding = the(seen(Evidence("broadcast", ("head",), (0, 94), {"looks": 8, "size": 32}, words)), "broadcast")
    assert (
        finding.message == "Answers of shape (32, 1) meet targets of shape (32,) in mse_loss: they broadcast to 32 by 32 pairs."
    )
    assert finding.remedy.endswith("call squeeze(-1) on the answers, or unsqueeze(-1) on the targets.")
    words |= {"answers": "(32,)", "others": "(32, 1)"}
    turned = the(seen(Evidence("broadcast", ("head",), (0, 94), {"looks": 8, "size": 32}, words)), "broadcast")
    assert turned.remedy.endswith("call squeeze(-1) on the targets, or unsqueeze(-1) on the answers.")
    words |= {"answers": "(8, 8)", "others": "(8, 8, 1)"}
    rows = the(seen(Evidence("broadcast", ("head",), (0, 94), {"looks": 8, "size": 64}, words)), "broadcast")
    assert rows.message.endswith("in mse_loss: they broadcast to 512 pairs of shape (8, 8, 8).")
    assert found(make_trace(), "broadcast") == ()


@pytest.mark.parametrize(
    ("each", "words"),
    [
        (comparison("probabilities", "Softmax", ones=1), "single unit"),
        (comparison("classes", classes=1), "single unit"),
        (comparison("logarithms", "LogSoftmax", sum_off=1, axis=0), "over the batch"),
        (comparison("logarithms", "Log Softmax", sum_off=1, axis=2), "axis 2"),
    ],
)
def test_softmax_axis(each, words):
    assert words in the(seen(each), "softmax-axis").message


def test_softmax_axis_must_be_off_at_every_look():
    assert found(seen(comparison("logarithms", "LogSoftmax", sum_off=0.9, axis=0)), "softmax-axis") == ()
    assert found(seen(comparison("probabilities", "Sigmoid", ones=1)), "softmax-axis") == ()  # saturated, not a softmax


@pytest.mark.parametrize(
    ("axis", "axes", "words"), [(0, 3, "the batch"), (1, 3, "the queries"), (1, 4, "the heads"), (2, 4, "the queries")]
)
def test_attention(axis, axes, words):
    figures = {"looks": 8, "off": 1, "axis": axis, "axes": axes}
    each = Evidence("attention", ("block.attention",), (0, 94), figures)
    finding = the(seen(each, comparison()), "softmax-axis")
    assert words in finding.message
    assert found(seen(replace(each, figures={**figures, "off": 0.8}), comparison()), "softmax-axis") == ()


@pytest.mark.parametrize(
    ("each", "severity"),
    [
        (comparison("logits", "Relu", zeros=0.5), "critical"),
        (comparison("probabilities", "Sigmoid Relu"), "critical"),
        (comparison("classes", "Relu", zeros=limits.CUT_LOGITS), "warning"),
        (comparison("classes", "Relu", zeros=limits.CUT_LOGITS - 0.01), "info"),
        (comparison("classes", "Softplus"), "info"),
    ],
)
def test_relu_logits(each, severity):
    finding = the(seen(each), "relu-logits")
    assert (finding.severity, finding.where) == (severity, ("head",))


def test_relu_elsewhere():
    assert found(seen(comparison("squared", "Relu")), "relu-logits") == ()


def test_target_range():
    assert found(seen(comparison("probabilities", low=-1e-4, high=1 + 1e-4)), "target-range") == ()
    finding = the(seen(comparison("logits", low=0, high=3)), "target-range")
    assert "give the last layer 4 outputs" in finding.remedy
    assert "mse_loss" in the(seen(comparison("likelihood", low=-2.5, high=1)), "target-range").remedy
    reach = {"low": -2, "high": 3, "reach_low": 0, "reach_high": float("inf"), "outside": 0.5}
    finding = the(seen(comparison("squared", "Relu", lost=0.3, **reach)), "target-range")
    assert finding.severity == "critical"
    assert "only values above 0, but 50 % of the targets" in finding.message
    assert the(seen(comparison("squared", "Relu", lost=0.1, **reach)), "target-range").severity == "warning"
    assert found(seen(comparison("squared", "Relu", lost=0.9 * limits.OUT_OF_REACH, **reach)), "target-range") == ()
    assert found(seen(comparison("squared", "Relu", lost=0.3, given=0.5, **reach)), "target-range") == ()  # made in the step
    few = 2 * limits.TARGETS_OUTSIDE  # half of them outside
    assert the(seen(comparison("squared", "Relu", lost=0.3, rows=few, **reach)), "target-range").severity == "critical"
    assert found(seen(comparison("squared", "Relu", lost=0.3, rows=few - 1, **reach)), "target-range") == ()
    rarely = {**reach, "outside": 0.2}
    assert found(seen(comparison("squared", "Relu", lost=0.3, rows=limits.TARGETS_LEAST - 1, **rarely)), "target-range") == ()


def test_target_constant():
    one = comparison(classes_seen=1)
    sinking = 2.3 * np.exp(-np.arange(200) / 8)
    assert "belong to the same class" in the(seen(one, loss=sinking), "target-constant").message
    assert found(seen(one, loss=sinking + 0.3 * (np.arange(200) == 150)), "target-constant") == ()  # another class, not looked at
    assert found(seen(replace(one, steps=(0, 9)), loss=sinking), "target-constant") == ()
    assert found(seen(comparison(classes_seen=2), loss=sinking), "target-constant") == ()
    assert found(seen(one, comparison("squared", std=0), loss=sinking), "target-constant") == ()  # a loss of several parts
    ignored = replace(one, figures={**one.figures, "ignored": 0.14, "ignored_number": 255.0, "seen 0": 1.0})
    finding = the(seen(ignored, loss=sinking), "target-constant")
    assert finding.message.startswith("14 % of the targets are 255, the number that the loss ignores, and all others")
    assert finding.message.endswith("are class 0.")
    few = replace(ignored, figures={**ignored.figures, "ignored": 0.9 * limits.IGNORED_SHARE})
    assert "belong to the same class" in the(seen(few, loss=sinking), "target-constant").message
    assert "the target 0.5" in the(seen(comparison("squared", std=0, mean=0.5), loss=sinking), "target-constant").message


def test_target_rows():
    assert the(seen(comparison("squared", "Softmax", rows_many=0.3)), "target-rows").value == 0.3
    assert found(seen(comparison("squared", "Sigmoid", rows_many=0.3)), "target-rows") == ()
    assert found(seen(comparison("classes", rows_many=limits.ROWS_OF_MANY)), "target-rows") == ()
    assert "cross_entropy ignores" in the(seen(comparison("classes", all_ignored=1)), "target-constant").message
    assert found(seen(comparison("classes", all_ignored=0.3)), "target-constant") == ()


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


def test_target_scale():
    far = comparison("squared", mean=-2700, std=30, low=-2800, high=-2600)
    facts = replace(FACTS, classes=0, loss_chain=("MseLoss",), chance=float("nan"))
    finding = the(seen(far, loss=noisy(np.full(400, 900.0), 5), facts=facts), "target-scale")
    assert finding.remedy == "Train on (y + 2,700) / 30, and undo it in the predictions."
    falling = 7e6 * np.exp(-np.arange(400) / 20) + 10
    assert found(seen(far, loss=falling, facts=facts), "target-scale") == ()
    near = comparison("squared", mean=1, std=3)
    assert found(seen(near, loss=noisy(np.full(400, 9.0), 0.1), facts=facts), "target-scale") == ()


def test_targets_whose_mean_takes_most_of_the_run():
    known = Evidence("loss", (), (0, 94), {"reference": 49.0, "even": 449.0}, {"kind": "squared error", "nature": ""})
    shifted = comparison("squared", mean=20, std=7, low=5, high=35)

    def falling(to, reached):
        """A loss that comes from 449 down to 49 at a step, and goes on to an end."""
        return np.concatenate([np.linspace(449, 49, reached), np.linspace(48.9, to, 400 - reached)])

    finding = the(seen(shifted, known, loss=falling(42, 300)), "target-scale")
    assert finding.remedy == "Train on (y - 20) / 7, and undo it in the predictions."
    assert "of 400 steps to their mean" in finding.message
    for loss in (falling(42, 150), falling(20, 300)):  # soon there, or learned all the same
        assert found(seen(shifted, known, loss=loss), "target-scale") == ()


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


def test_padding_index():
    figures = {"looks": 8, "index": 0, "share": 0.1, "inside": 0.6, "targets": 1}
    each = Evidence("padding-index", ("table",), (0, 94), figures)
    assert "target class" in the(seen(each), "padding-index").message
    for name, value in (("share", 0.005), ("inside", 0.2), ("looks", 2)):
        assert found(seen(replace(each, figures={**figures, name: value})), "padding-index") == ()


BROKEN = np.where(np.arange(200) < 120, 1.0 + 0.01 * np.sin(np.arange(200)), np.nan)


def broken(*evidence, loss=BROKEN, phase="loss", **changes):
    return seen(*evidence, loss=loss, first_nonfinite=NonFinite(120, "", phase), **changes)


@pytest.mark.parametrize(
    ("each", "words", "remedy"),
    [
        (operation("sqrt", "backward"), "root of sum in the loss was computed at exactly 0", "before the root"),
        (operation("div", "forward", where="pool"), "division in pool made it from finite values", "clamp(min=1)"),
        (operation("softmax", "forward", where="attention"), "everything was masked", "unmasked"),
        (operation("cross_entropy", "ignored"), "cross_entropy ignores", "labels are masked"),
        (operation("log"), "Nothing had grown before", "log(p + 1e-8)"),
        (operation("log", of="sigmoid", least=0.09), "it came down to 0.09", "log(p + 1e-8)"),
        (operation("log", of="sigmoid", least=0.3), "the batch may hold it", "Look at batch 120, inputs and targets"),
        (operation("div", least=1e-5), "Nothing had grown before", "clamp(min=1)"),
        (operation("div", least=2, first=16, last=3), "Nothing had grown before", "clamp(min=1)"),
    ],
)
def test_non_finite(each, words, remedy):
    finding = the(broken(each), "non-finite")
    assert words in finding.message
    assert remedy in finding.remedy
    assert "learning rate" not in finding.remedy


def test_non_finite_after_a_loss_of_exactly_nothing():
    loss = BROKEN.copy()
    loss[119] = 0.0
    finding = the(broken(operation("sqrt", least=0.3), loss=loss), "non-finite")
    assert "The loss before it was exactly 0" in finding.message


@pytest.mark.parametrize("each", [operation("sqrt", guarded="yes"), operation("div", least=5, first=6, last=5)])
def test_what_is_guarded_is_not_blamed(each):
    finding = the(broken(each), "non-finite")
    assert "kept away" not in finding.message
    assert finding.remedy.startswith("Look at batch 120")  # nothing had grown
    assert "learning rate" not in finding.remedy


def test_what_had_grown_is_blamed_on_the_rate():
    growing = np.where(np.arange(200) < 120, np.exp(np.maximum(0, np.arange(200) - 110)), np.nan)
    finding = the(broken(operation("sqrt"), loss=growing), "non-finite")
    assert finding.remedy.startswith("Lower the learning rate")
    shares = the(broken(operation("log", of="softmax"), loss=growing), "non-finite")
    assert "The input of the log of softmax in the loss is not kept away from 0" in shares.message
    assert "rate" not in shares.remedy  # a probability becomes 0 at any rate


def test_what_is_taken_for_probabilities():
    raw = the(seen(comparison("likelihood", "Log Clamp")), "probabilities-as-logits")
    assert (raw.severity, raw.message) == ("critical", "The loss expects probabilities and gets raw outputs.")
    assert "sigmoid" in raw.remedy
    assert "softmax" in the(seen(comparison("product", "Log Clamp Share", rows_one=1)), "probabilities-as-logits").remedy
    assert "sigmoid" in the(seen(comparison("probabilities", "Clamp")), "probabilities-as-logits").remedy
    for fine in (("likelihood", "Log Clamp Sigmoid"), ("product", "Log Share Softmax"), ("probabilities", "Clamp Sigmoid")):
        assert found(seen(comparison(*fine, rows_one=1)), "probabilities-as-logits") == ()
    assert found(seen(comparison("product", "Log", rows_one=0.2)), "probabilities-as-logits") == ()  # rates, as of Poisson
    cut = the(seen(comparison("likelihood", "Log Clamp Relu")), "relu-logits")
    assert (cut.severity, "sigmoid" in cut.remedy) == ("critical", True)


def test_a_share_of_one_unit():
    assert "over a single unit" in the(seen(comparison("product", "Log Clamp Share Sigmoid", ones=1)), "softmax-axis").message
    assert found(seen(comparison("product", "Log Clamp Share Sigmoid", ones=0)), "softmax-axis") == ()


def test_squares_of_probabilities_are_a_remark():
    def squares(operations="Sigmoid", loss=FLAT, **figures):
        labels = {"low": 0, "high": 1, "mean": 0.4, "std": 0.24**0.5}
        figures = {**labels, **figures}
        known = Evidence("loss", (), (0, 94), {"reference": 2.3, "even": 2.3}, {"kind": "squared error", "nature": ""})
        return seen(comparison("squared", operations, **figures), known, loss=loss)

    assert the(squares(), "other-loss").severity == "info"
    learned = 3.3 * np.exp(-np.arange(400) / 20)
    for other in (squares(""), squares("Tanh"), squares(std=0.2), squares(loss=learned)):
        assert outcome(other, "other-loss")[0] == "not run"


def test_a_store_that_fills_repeats_at_first():
    one = comparison("squared", low=-2, high=2, mean=0, std=1)
    assert the(seen(one, inputs(same=1)), "repeated-batch").severity == "warning"
    assert found(seen(one, inputs(same=1, grown=8)), "repeated-batch") == ()


def test_targets_far_from_zero_under_a_sum():
    def far(square, loss, variance=100.0):
        figures = {"terms": 1, "classes": 0, "reference": variance, "even": square, "value 0": square}
        return seen(Evidence("loss", (), (0, 94), figures, {"kind": "squared error", "nature": ""}), loss=loss)

    slowly = np.concatenate([np.linspace(40_000, 100, 200), noisy(np.full(200, 99.0), 0.1)])
    finding = the(far(40_000.0, slowly), "target-scale")
    assert "200 from 0 with a std of 10" in finding.message
    assert finding.severity == "warning"
    learned = np.concatenate([np.linspace(40_000, 100, 200), np.linspace(100, 5, 200)])
    for near in (far(40_000.0, learned), far(400.0, slowly)):
        assert outcome(near, "target-scale")[0] == "not applicable"


MIXED = {"rows_mixed": 1, "row_sum": 0.1, "row_spread": 1.4, "low": -2.5, "high": 2.8, "mean": 0, "std": 1}


def test_amounts_under_a_softmax():
    for each in (
        comparison(**MIXED),
        comparison("product", "Log Softmax", **MIXED),
        comparison("product", "LogSoftmax", **MIXED),
    ):
        finding = the(seen(each), "target-range")
        assert finding.severity == "critical"
        assert "mse_loss" in finding.remedy
    positive = {**MIXED, "low": 0.1, "high": 14, "row_sum": 5}
    assert "how large the numbers of a row are" in the(seen(comparison(**positive)), "target-range").why
    shares = {**positive, "high": 1, "row_sum": 1, "row_spread": 0}
    for healthy in (
        comparison(**shares),
        comparison(**{**positive, "rows_mixed": 0}),  # counts of words
        comparison("product", "LogSoftmax", **{**MIXED, "alone": 0}),  # one term of several, such as advantages
        comparison("product", "LogSoftmax", **{**MIXED, "rows_mixed": limits.ROWS_MIXED}),  # an advantage in one of the places
        comparison(**{**positive, "row_spread": limits.ROWS_UNEVEN * 5}),
        comparison("squared", "Softmax", **MIXED),
    ):
        assert found(seen(healthy), "target-range") == ()


def test_labels_for_signs():
    labels = {"low": 0, "high": 1, "mean": 0.4, "std": 0.24**0.5}
    assert "2 * y - 1" in the(seen(comparison("signs", **labels)), "target-range").remedy
    assert found(seen(comparison("signs", **{**labels, "low": -1})), "target-range") == ()
    assert found(seen(comparison("signs", **{**labels, "std": 0.2})), "target-range") == ()  # numbers between 0 and 1


def test_rows_that_sum_to_something_else():
    rows = comparison(rows_mixed=1, row_sum=6, row_spread=0, low=0.5, high=1.5)
    assert the(seen(rows, loss=FLAT), "target-rows").severity == "warning"
    assert the(seen(rows), "target-rows").severity == "info"  # it learns all the same
    assert found(seen(comparison(rows_mixed=1, row_sum=1, row_spread=0), loss=FLAT), "target-rows") == ()


def test_returns_far_above_the_answers():
    far = {"alone": 0, "given": 0, "mean": 600, "std": 200, "square": 4e5, "answer": 600.0, "error": 3.8e5}
    finding = the(seen(comparison("squared", **far)), "target-scale")
    assert (finding.severity, finding.where) == ("warning", ("head",))
    assert "still at 24.5" in finding.message
    for figures in (
        {"error": 0.9 * limits.HARDLY_LEARNED * 4e5},
        {"square": 0.9 * limits.SCALE_APART**2, "error": 0.9 * limits.SCALE_APART**2},
        {"rows": limits.TARGETS_LEAST - 1},
    ):
        assert found(seen(comparison("squared", **(far | figures))), "target-scale") == ()
    early = replace(comparison("squared", **far), steps=(0, 9))
    assert found(seen(early), "target-scale") == ()  # it may still come to them


@pytest.mark.parametrize(
    ("expects", "operations", "given"),
    [("log rates", "Exp", "exponential"), ("paths", "Softmax", "probabilities"), ("paths", "", "raw outputs")],
)
def test_logarithms_that_are_none(expects, operations, given):
    assert given in the(seen(comparison(expects, operations, above=1)), "probabilities-as-logits").message
    for healthy in (comparison("log rates", "", above=1), comparison("paths", "LogSoftmax"), comparison("paths", "Log Softmax")):
        assert found(seen(healthy), "probabilities-as-logits") == ()


def test_a_loss_of_means():
    def averaged(**figures):
        usual = {"looks": 8.0, "rows": 32.0, "left": 1.1}
        return Evidence("averaged first", ("head",), (0, 94), {**usual, **figures}, {"what": "answers"})

    finding = the(seen(averaged()), "averaged-first")
    assert (finding.severity, finding.where) == ("warning", ("head",))
    assert "misses its target by 110 %" in finding.message
    assert the(seen(averaged(left=0.9 * limits.AVERAGED_LEFT)), "averaged-first").severity == "info"  # it learns all the same
    assert the(seen(averaged(looks=limits.HANDED_POINTS - 1)), "averaged-first").severity == "info"
    assert "Each answer" not in the(seen(averaged(left=float("nan"))), "averaged-first").message


def test_rows_and_pictures_shuffled():
    pictures = inputs(told=0.9 * limits.TOLD_ROWS, compared=500, columns=64)
    assert the(seen(pictures, loss=FLAT), "shuffled-targets").limit == limits.TOLD_ROWS
    assert found(seen(inputs(told=1.1 * limits.TOLD_ROWS, compared=500, columns=64), loss=FLAT), "shuffled-targets") == ()
    far = comparison("squared", mean=98, std=24)
    assert found(seen(pictures, far, loss=FLAT), "shuffled-targets") == ()  # their size is the more direct cause


def test_a_softmax_of_shares():
    figures = {"looks": 5.0, "all": 5.0, "size": 5.0}
    twice = Evidence("softmax twice", ("match",), (0, 9), figures, {"what": "loss"})
    finding = the(make_trace(evidence=(twice,)), "probabilities-as-logits")
    assert finding.severity == "critical"
    assert "share that comes out is 40 %" in finding.why  # e / (e + 4)
    assert "below 0.9" in finding.why  # ln(1 + 4 / e)
    assert found(make_trace(evidence=(replace(twice, figures={**figures, "looks": 2.0, "all": 2.0}),)), finding.id) == ()
    inside = replace(twice, words={"what": "inside"})
    assert the(make_trace(evidence=(inside,)), finding.id).severity == "info"  # it learns all the same
    assert the(make_trace(evidence=(inside,), loss=noisy(np.full(200, 2.3))), finding.id).severity == "warning"


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
