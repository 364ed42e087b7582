"""Traces written by hand: a healthy three-layer tanh network, and whatever is changed about it; and what a check says of them."""

from __future__ import annotations

from dataclasses import replace
from math import log

import numpy as np

from lettrine.health.checks import examine
from lettrine.health.trace import (
    GRADIENT_STATS,
    NORM_STATS,
    OUTPUT_STATS,
    PARAMETER_STATS,
    STEP_STATS,
    Curve,
    Facts,
    ModuleInfo,
    ParameterInfo,
    Trace,
    Units,
)

MODULES = (
    ModuleInfo("fc1", "Linear", "linear", "identity", 20, "", 0, True),
    ModuleInfo("act1", "Tanh", "activation", "tanh", 20, "fc1", 1),
    ModuleInfo("fc2", "Linear", "linear", "identity", 20, "act1", 2, True),
    ModuleInfo("act2", "Tanh", "activation", "tanh", 20, "fc2", 3),
    ModuleInfo("fc3", "Linear", "linear", "identity", 20, "act2", 4, True),
    ModuleInfo("act3", "Tanh", "activation", "tanh", 20, "fc3", 5),
    ModuleInfo("head", "Linear", "output", "identity", 10, "act3", 6, True),
)
PARAMETERS = tuple(
    info
    for name, shape in (("fc1", (20, 5)), ("fc2", (20, 20)), ("fc3", (20, 20)), ("head", (10, 20)))
    for info in (
        ParameterInfo(f"{name}.weight", name, shape, True, True),
        ParameterInfo(f"{name}.bias", name, shape[:1], True, True),
    )
)
HIDDEN = ("fc1.weight", "fc2.weight", "fc3.weight")
STEPS = (0, 1, 2, 3, 5, 8, 12, 20, 40, 80, 120, 160, 199)
FACTS = Facts(
    source="torch", classes=10, batch_size=32, loss_chain=("NllLoss", "LogSoftmax", "Addmm"), optimiser="SGD", momentum=0.0
)


def losses(values):
    values = np.asarray(values, dtype=np.float64)
    steps = np.arange(len(values), dtype=np.float64)
    bad = ~np.isfinite(values)
    return Curve(steps, np.where(bad, np.nan, values), np.where(bad, np.inf, values), steps.copy())


def noisy(values, size=0.05, seed=0):
    return np.asarray(values) + size * np.random.default_rng(seed).standard_normal(len(values))


def healthy_losses(count=200):
    start = log(10)
    return noisy(0.8 + (start - 0.8) * np.exp(-np.arange(count) / 40)) - 0.05 * (np.arange(count) < 1)


def stats(columns, count, **figures):
    table = np.full((count, len(columns)), np.nan)
    for name, value in figures.items():
        table[:, columns.index(name)] = value
    return table


def units(count=20, steps=13, rows=32 * 13, dead=(), streak=None):
    flags = np.zeros(count)
    flags[list(dead)] = 1.0
    return Units(steps, rows, flags, np.full(count, 0.1), flags, flags * (steps if streak is None else streak))


def make_trace(*, steps=STEPS, loss=None, dev=(), **changes):
    """A healthy trace; `changes` are fields of Trace, or "module.stat" and "parameter.stat" figures (a value or one a step).

    A figure of a module is looked for in OUTPUT_STATS, then, as "gradient_…", in GRADIENT_STATS; NORM figures as "norm_…".
    """
    count = len(steps)
    curve = losses(healthy_losses() if loss is None else loss)
    fields = {
        "modules": MODULES,
        "parameters": PARAMETERS,
        "facts": FACTS,
        "steps": np.array(steps, dtype=np.int64),
        "step_stats": {name: np.full(count, np.nan) for name in STEP_STATS}
        | {
            "learning_rate": np.full(count, 0.1),
            "gradient_norm": np.full(count, 1.5),
            "leftover_gradient": np.zeros(count),
            "training": np.ones(count),
        },
        "outputs": {},
        "gradients": {},
        "parameter_stats": {},
        "norms": {},
        "output_histograms": {},
        "gradient_histograms": {},
        "units": {},
        "maps": {},
        "loss": curve,
        "recent": curve,
        "dev": losses(dev),
    }
    trace = replace(Trace(**fields), **{name: value for name, value in changes.items() if "." not in name})
    for info in trace.modules:
        saturated = {"saturated": 0.1, "dead": 0.0} if info.activation == "tanh" else {}
        trace.outputs[info.name] = stats(
            OUTPUT_STATS, count, mean=0.0, std=0.7, rms=0.7, min=-2.0, max=2.0, zero=0.0, nonfinite=0.0, **saturated
        )
        trace.gradients[info.name] = stats(GRADIENT_STATS, count, mean=0.0, std=1e-3, rms=1e-3, nonfinite=0.0)
        if info.activation in ("tanh", "relu") and info.name not in trace.units:
            trace.units[info.name] = units(info.units, count, 32 * count)
    for info in trace.parameters:
        trace.parameter_stats[info.name] = stats(
            PARAMETER_STATS,
            count,
            mean=0.0,
            std=0.2,
            rms=0.2,
            gradient_mean=0.0,
            gradient_std=2e-3,
            gradient_norm=0.05,
            gradient_data=1e-2,
            update_data=1e-3,
            update_rms=2e-4,
            duplicate=0.0 if len(info.shape) > 1 else np.nan,
            nonfinite=0.0,
            gradient_nonfinite=0.0,
            learning_rate=0.1,
        )
    for key, value in changes.items():
        if "." in key:
            name, _, stat = key.rpartition(".")
            set_figure(trace, name, stat, value)
    return trace


def set_figure(trace, name, stat, value):
    if name in trace.parameter_stats:
        trace.parameter_stats[name][:, PARAMETER_STATS.index(stat)] = value
    elif name == "step":
        trace.step_stats[stat][:] = value
    elif stat.startswith("norm_"):
        table = trace.norms.setdefault(name, np.full((len(trace.steps), len(NORM_STATS)), np.nan))
        table[:, NORM_STATS.index(stat.removeprefix("norm_"))] = value
    elif stat.startswith("gradient_"):
        trace.gradients[name][:, GRADIENT_STATS.index(stat.removeprefix("gradient_"))] = value
    else:
        trace.outputs[name][:, OUTPUT_STATS.index(stat)] = value


def found(trace, name):
    report = examine(trace, only=[name])
    assert report.outcomes[0].status in ("found", "passed"), report.outcomes
    return report.findings


def the(trace, name):
    findings = found(trace, name)
    assert len(findings) == 1, findings
    finding = findings[0]
    assert finding.id == name
    assert finding.message.endswith("."), "a message is a sentence"
    assert finding.remedy.endswith("."), "a remedy is a sentence"
    assert "nan" not in finding.message + finding.remedy
    return finding


def outcome(trace, name):
    result = examine(trace, only=[name]).outcomes[0]
    return result.status, result.reason
