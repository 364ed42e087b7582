"""Checks of how the network was put together, of batch norm, and of values that are not finite."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from paper import FACTS, MODULES, STEPS, found, losses, make_trace, outcome, the

from lettrine.health.trace import KEPT, ModuleInfo, NonFinite, ParameterInfo


@pytest.mark.parametrize("phase", ["forward", "backward", "loss", "update", "data"])
def test_the_first_value_that_is_not_finite(phase):
    where = "" if phase == "loss" else "fc2"
    finding = the(make_trace(first_nonfinite=NonFinite(37, where, phase)), "non-finite")
    assert finding.severity == "critical"
    assert finding.steps == (37, 37)
    assert finding.where == ((where,) if where else ())
    assert "step 37" in finding.message
    if phase not in ("data", "loss"):
        assert "from 0.1 to 0.01" in finding.remedy


@pytest.mark.parametrize(("chain", "told"), [(("NllLoss", "LogSoftmax"), False), (("NllLoss", "Log", "Softmax"), True)])
def test_logits_are_advised_only_where_they_are_not_used(chain, told):
    trace = make_trace(facts=replace(FACTS, loss_chain=chain), first_nonfinite=NonFinite(37, "", "loss"))
    finding = the(trace, "non-finite")
    assert ("from logits" in finding.remedy) is told
    assert "every=1" in finding.remedy


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
    each_epoch = np.where(np.arange(len(STEPS)) == len(STEPS) // 2, 1.0, 0.0)
    each_epoch[0] = 1.0  # trained for one step at the start of an epoch, until the first evaluation
    assert "first seen at step 1:" in the(make_trace(modules=dropout, **{"step.training": each_epoch}), "wrong-mode").message
    half = {"step.training": np.array([1, 1, 1, 1, 0, 0])}
    assert the(make_trace(steps=(0, 1, 63, 94, 141, 211), modules=dropout, **half), "wrong-mode").value == 0.5
    assert found(make_trace(modules=dropout), "wrong-mode") == ()
    assert outcome(make_trace(**{"step.training": 0.0}), "wrong-mode")[0] == "not applicable"


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
    assert "from 0.001 to 0.02 or beyond" in finding.remedy
    assert outcome(slow.unfinished, "norm-statistics") == (
        "not run",
        "running statistics need time to follow: 3000 steps with this momentum",
    )
    little = replace(slow, dev=losses([0.02] * 3), loss=losses(np.full(200, 0.001)))
    assert the(little, "norm-statistics").severity == "info"  # 0.02 is 1 % of guessing
    keras = replace(slow, facts=replace(slow.facts, notes={"momentum": KEPT}))
    assert "Lower batch norm's momentum from 0.999 to 0.98 or beyond" in the(keras, "norm-statistics").remedy
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
    # Above 8 the momentum alone is to blame: sqrt(0.5 / 1.5 / 8) = 0.2, and 0.5 * (0.05 / 0.2)**2 = 0.03.
    strong = the(of_batches(8, 0.5), "norm-statistics")
    assert strong.remedy.startswith("Lower batch norm's momentum from 0.5 to 0.03,")
    # What is 0.9 here is 0.1 in other frameworks: the last batch is nearly all that is kept.
    last = the(of_batches(32, 0.9), "norm-statistics")
    assert last.severity == "warning"
    assert last.remedy == "Set momentum=0.1 in bn1."
    assert "new" in last.why
    told = of_batches(32, 0.9)
    told = the(replace(told, facts=replace(told.facts, notes={"momentum": KEPT})), "norm-statistics")
    assert told.remedy == "Set momentum=0.9 in bn1."  # 0.1 is kept
    assert "momentum of 0.1 takes 90 %" in told.message


def test_batch_norms_of_a_frozen_part_are_to_be_in_eval_mode():
    trace = of_batches(2, 0.1)
    for trained, wanted in ((False, "Call eval() on bn1 after each model.train()"), (True, "Enlarge the batch to 32")):
        own = (ParameterInfo("bn1.weight", "bn1", (20,), False, True), ParameterInfo("bn1.bias", "bn1", (20,), trained, True))
        finding = the(replace(trace, parameters=(*trace.parameters, *own)), "norm-statistics")
        assert finding.remedy.startswith(wanted)


def test_places_of_a_convolution_count_as_far_as_they_are_independent():
    assert found(of_batches(4, 0.1, gap=0.15), "norm-statistics") == ()
    assert the(of_batches(2, 0.1, gap=0.15), "norm-statistics").value == pytest.approx(sqrt(0.1 / 1.9 / 2))
    # Statistics that lag for another reason are no more uncertain than the batch makes them.
    assert the(of_batches(4, 0.1, gap=0.9), "norm-statistics").value == pytest.approx(sqrt(0.1 / 1.9 / 4))


def test_running_statistics_get_a_hundred_steps_to_follow():
    for last, status in ((8, "not run"), (99, "not run"), (100, "found")):
        steps = tuple(int(step) for step in np.linspace(0, last, 9))
        assert outcome(of_batches(32, 0.1, gap=3.0, steps=steps), "norm-statistics")[0] == status, last
