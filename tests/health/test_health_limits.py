"""Each limit from both sides: a figure just within it is silent, one just beyond it is found.

The figures are written out here, so that a limit cannot move unnoticed.
"""

from __future__ import annotations

from dataclasses import replace
from math import log

import numpy as np
import pytest
from paper import FACTS, MODULES, PARAMETERS, STEPS, healthy_losses, make_trace, noisy, units

from lettrine.activations import ACTIVATIONS, SELU_FLOOR
from lettrine.health import examine
from lettrine.health.trace import ModuleInfo

MATRICES = [info.name for info in PARAMETERS if len(info.shape) > 1]
EARLY = (0, 1, 2, 3, 5, 8, 12, 20, 40)
FIRST = np.array(STEPS) < 1
AXIS = np.arange(200)


def weights(stat, value):
    return make_trace(**{f"{name}.{stat}": value for name in MATRICES})


def started(sizes, *, activation="tanh"):
    """Scales of three activations at the first step; later all alike."""
    kinds = tuple(replace(info, activation=activation) if info.role == "activation" else info for info in MODULES)
    return make_trace(modules=kinds, **{f"act{place + 1}.rms": np.where(FIRST, size, 0.7) for place, size in enumerate(sizes)})


def later(ratio):
    return make_trace(**{f"act{place + 1}.rms": np.where(FIRST, 0.7, 0.7 * ratio ** (place / 2)) for place in range(3)})


def vanishing(ratio, steps):
    gradients = {f"act{place + 1}.gradient_rms": 1e-4 * ratio ** (place / 2) for place in range(3)}
    return make_trace(steps=steps, **gradients, **{"fc1.weight.update_data": 1e-5})


def balance(ratio, steps=STEPS, size=10.0):
    modules = (*MODULES[:-1], ModuleInfo("fc4", "Linear", "linear", "", 20, "act3", 6), MODULES[-1])
    extra = replace(PARAMETERS[2], name="fc4.weight", module="fc4")
    figures = {"fc2.weight.gradient_data": 1e-2 / ratio, "fc2.weight.std": 0.2 * size}
    return make_trace(steps=steps, modules=modules, parameters=(*PARAMETERS, extra), **figures)


def dead(count, streak=13, steps=STEPS):
    stuck = noisy(np.full(200, np.log(10)))  # where the network learns, units that do not are a remark
    return make_trace(steps=steps, loss=stuck, units={"act2": units(20, 13, 10_000, dead=range(count), streak=streak)})


def nearly_constant(std):
    figures = (("update_data", 0.4), ("std", std), ("rms", 0.2), ("update_rms", 2e-4))
    return make_trace(**{f"{name}.{stat}": value for name in MATRICES for stat, value in figures})


def zero_gradients(records):
    return make_trace(steps=tuple(range(records)), **{"fc2.weight.gradient_norm": 0.0})


def falling_to(lowest, *, within=60, classes=10):
    losses = np.maximum(np.linspace(log(classes), 0.0, within), 0) if not lowest else None
    if losses is None:
        losses = np.linspace(log(classes), lowest, within)
    losses = np.r_[losses, np.full(200 - len(losses), lowest)]
    return {"loss": losses, "facts": replace(FACTS, classes=classes)}


def leak(share, **options):
    classes = options.get("classes", 10)
    return make_trace(**falling_to(share * log(classes), **options))


def leak_but_dev(share):
    return make_trace(**falling_to(0.02), dev=[share * log(10)] * 150)


def regression_ending_at(end):
    return make_trace(loss=noisy(np.linspace(7.0, end, 200), 1e-4), facts=replace(FACTS, classes=0))


def chance_of(share):
    return make_trace(loss=noisy(np.maximum(5.0 - AXIS / 20, share * log(10)), 1e-3))


def rise_after_learning(share, learned=0.5):
    """Learns some share of the loss, then loses a share of that."""
    lowest = 2.3 * (1 - learned)
    return make_trace(loss=noisy(np.r_[np.linspace(2.3, lowest, 100), np.full(100, lowest + share * 2.3 * learned)], 1e-3))


def rise_without_learning(share):
    return make_trace(
        loss=noisy(np.r_[np.full(100, 2.3), np.linspace(2.3, 2.3 * (1 + share), 10), np.full(90, 2.3 * (1 + share))], 1e-3)
    )


def jump(peak, after=None, *, level=1.0, size=0.01):
    losses = noisy(np.r_[np.linspace(2.0, level, 60), np.full(140, level)], size)
    losses[140:] += (peak if after is None else after) - level
    losses[140] = peak
    return make_trace(loss=losses)


def swing(share, points=200):
    axis = np.arange(points)
    return make_trace(loss=1.0 + share * np.sqrt(2) * np.sin(2 * np.pi * axis / 12))


def dev(*values):
    return make_trace(dev=list(values))


def normed(gap, ratio):
    modules = (*MODULES, ModuleInfo("bn", "BatchNorm1d", "norm", "", 20))
    facts = replace(FACTS, norm_momentum=0.1)
    return make_trace(modules=modules, facts=facts, **{"bn.norm_mean_gap": gap, "bn.norm_variance_ratio": ratio})


def flags(stat, share, **options):
    count = round(share * 100)
    steps = tuple(range(101))
    values = (
        np.r_[0.0, np.ones(count), np.zeros(100 - count)]
        if stat == "leftover_gradient"
        else np.r_[np.ones(101 - count), np.zeros(count)]
    )
    return make_trace(steps=steps, **{f"step.{stat}": values}, **options)


def evaluated(share_of_late):
    # 101 records, of which those from step 20 on are judged.
    return flags("training", 0.81 * share_of_late, modules=(*MODULES, ModuleInfo("drop", "Dropout", "dropout")))


def first_loss(excess):
    return make_trace(loss=[log(10) + excess, *healthy_losses()[1:]])


@pytest.mark.parametrize(
    ("check", "make", "within", "beyond"),
    [
        ("initial-loss", first_loss, 0.9, 1.1),
        ("saturation", lambda value: make_trace(**{"act2.saturated": value}), 0.38, 0.42),
        ("update-too-large", lambda value: weights("update_data", np.where(np.array(STEPS) < 20, 1e-3, value)), 0.04, 0.06),
        ("update-too-large", lambda value: weights("update_data", np.where(np.array(STEPS) < 12, value, 1e-3)), 0.15, 0.25),
        ("update-too-large", lambda value: make_trace(**{"fc2.weight.update_data": value}), 0.4, 0.6),
        ("update-too-large", nearly_constant, 0.018, 0.022),
        ("update-too-small", lambda value: weights("update_data", value), 1.2e-4, 7e-5),
        ("activation-scale", lambda value: started((0.1, 0.2, 0.1 * value)), 4.5, 5.5),
        ("activation-scale", lambda value: started((0.9, 0.2, 0.9 / value)), 13, 16),
        ("activation-scale", lambda value: started((0.9, 0.2, 0.9 / value), activation="relu"), 40, 50),
        ("activation-scale", later, 50, 70),
        ("activation-scale", later, 1 / 50, 1 / 70),
        ("gradient-scale", lambda value: vanishing(value, STEPS), 25, 35),
        ("gradient-scale", lambda value: vanishing(value, EARLY), 800, 1200),
        ("gradient-data", balance, 40, 60),
        ("gradient-data", lambda value: balance(value, EARLY), 400, 600),
        ("gradient-data", lambda value: balance(100, size=value), 3.5, 4.5),
        ("no-gradient", zero_gradients, 2, 3),
        ("symmetry", lambda value: make_trace(**{"fc2.weight.duplicate": value}), 0.45, 0.55),
        ("leak", leak, 0.06, 0.045),
        ("leak", lambda value: leak(0.01, within=value), 110, 90),
        ("leak", lambda value: leak(0.08, classes=value), 19, 20),
        ("leak", lambda value: leak(value, classes=27), 0.12, 0.09),
        ("leak", lambda value: leak(0.01, within=value, classes=27), 165, 140),
        ("leak", leak_but_dev, 0.6, 0.4),
        ("no-learning", regression_ending_at, 6.85, 6.96),
        ("no-learning", chance_of, 0.98, 1.0),
        ("divergence", rise_after_learning, 0.4, 0.6),
        ("divergence", lambda value: rise_after_learning(1.0, learned=value), 0.04, 0.08),
        ("divergence", rise_without_learning, 0.4, 0.6),
        ("spike", jump, 1.2, 1.35),
        ("spike", lambda value: jump(1.5, value), 1.2, 1.32),
        ("spike", lambda value: jump(2.0, 2.0 * value), 1.65, 1.35),
        ("spike", lambda value: jump(1 + value, size=0.05), 0.4, 0.7),
        ("oscillation", swing, 0.008, 0.013),
        ("overfitting", lambda value: dev(2.0, 1.0, 1.05, value, value), 1.08, 1.12),
        ("norm-statistics", lambda value: normed(value, 1.0), 0.62, 0.72),
        ("norm-statistics", lambda value: normed(0.0, value), 1.7, 1.9),
        ("norm-statistics", lambda value: normed(0.0, value), 1 / 1.7, 1 / 1.9),
        ("wrong-mode", evaluated, 0.45, 0.55),
        ("missing-zero-grad", lambda value: flags("leftover_gradient", value), 0.18, 0.22),
    ],
)
def test_limit(check, make, within, beyond):
    for value, wanted in ((within, False), (beyond, True)):
        report = examine(make(value), only=[check])
        assert report.outcomes[0].status != "failed", report.outcomes
        assert bool(report.findings) == wanted, (value, report.findings, report.outcomes)


@pytest.mark.parametrize(
    ("make", "within", "beyond", "severity"),
    [
        (dead, 7, 9, "warning"),
        (dead, 17, 19, "critical"),
        (dead, 1, 3, "info"),
        (lambda count: dead(count, steps=EARLY[:6]), 17, 19, "critical"),
        (lambda last: dead(12, steps=(0, 1, 2, 3, 5, 8, last)), 19, 20, "warning"),
        (lambda streak: dead(12, streak), 4, 5, "warning"),
        (lambda value: make_trace(**{"act2.saturated": value}), 0.85, 0.95, "critical"),
        (lambda value: vanishing(value, STEPS), 8e4, 1.2e5, "critical"),
        (lambda value: started((0.9, 0.2, 0.9 * value)), 900.0, 1100.0, "critical"),
    ],
)
def test_severity(make, within, beyond, severity):
    worst = [
        examine(make(value), only=["dead-units", "saturation", "gradient-scale", "activation-scale"]).worst
        for value in (within, beyond)
    ]
    assert worst[0] != severity
    assert worst[1] == severity


@pytest.mark.parametrize(
    ("check", "make", "few", "enough"),
    [
        ("update-too-small", lambda count: make_trace(steps=tuple(range(count))), 2, 3),
        ("overfitting", lambda count: dev(*[1.0] * count), 3, 4),
        ("no-learning", lambda count: make_trace(loss=healthy_losses(count)), 199, 200),
        ("oscillation", lambda count: swing(0.0, count), 90, 110),
        ("leak", lambda count: make_trace(loss=healthy_losses(count)), 9, 10),
    ],
)
def test_too_little_to_judge_by(check, make, few, enough):
    assert examine(make(few), only=[check]).outcomes[0].status == "not run"
    assert examine(make(enough), only=[check]).outcomes[0].status != "not run"


def test_the_table_of_activations():
    assert ACTIVATIONS["tanh"].saturated.high == 0.97
    assert ACTIVATIONS["tanh"].dead.high == 0.99
    assert ACTIVATIONS["sigmoid"].saturated.low == pytest.approx(0.015)
    assert pytest.approx(-1.7581, abs=1e-4) == SELU_FLOOR
    gains = {"identity": 1, "sigmoid": 1, "tanh": 5 / 3, "relu": 2**0.5, "leaky-relu": (2 / 1.0001) ** 0.5, "selu": 0.75}
    assert {name: ACTIVATIONS[name].gain for name in gains} == pytest.approx(gains)


def test_two_layers_make_no_trend_and_three_matrices_no_majority():
    small = (MODULES[0], MODULES[1], MODULES[2], MODULES[3], MODULES[-1])
    shrunk = make_trace(modules=small, **{"act2.rms": 1e-3, "act2.gradient_rms": 1.0})
    report = examine(shrunk, only=["activation-scale", "gradient-scale", "gradient-data"])
    assert [outcome.status for outcome in report.outcomes] == ["not applicable"] * 3
