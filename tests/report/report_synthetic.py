"""A small tanh net trained in numpy and measured as the engines are, so that the pictures show figures that hang together.

Five hidden layers of tanh after Linear layers, as in the published tables; the task is made up.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from lettrine.health import measure
from lettrine.health.findings import Finding, Outcome, Report
from lettrine.health.recorder import Recorder
from lettrine.health.trace import Facts, ModuleInfo, ParameterInfo, Trace


def tanh_trace(
    *,
    gain: float = 5 / 3,
    hidden: int = 60,
    depth: int = 5,
    classes: int = 27,
    steps: int = 600,
    lr: float = 0.1,
    dead: int = 0,
    norm: bool = False,
    name: str = "layers.{i}",
    seed: int = 7,
) -> Trace:
    """Trace of `steps` steps of plain SGD; the first `dead` units of the second layer start with a bias of 100."""
    rng = np.random.default_rng(seed)
    fan = [30, *[hidden] * depth, classes]
    weights = [rng.normal(size=(i, o)) * (gain if n < depth else 0.1) / i**0.5 for n, (i, o) in enumerate(pairwise(fan))]
    biases = [np.zeros(o) for o in fan[1:]]
    biases[1][:dead] = 100.0
    centres = rng.normal(size=(classes, 30))
    names = [name.format(i=i) for i in range(2 * depth + 1)]
    linear, tanh = names[::2], names[1::2]
    recorder = Recorder(facts=Facts("numpy", classes, 32, chance=float(np.log(classes)) - 0.02, optimiser="SGD"))
    for i, each in enumerate(names):
        kind, role = ("Tanh", "activation") if i % 2 else ("Linear", "linear" if i < 2 * depth else "output")
        recorder.add(
            ModuleInfo(each, kind, role, "tanh" if i % 2 else "", fan[i // 2 + 1], names[i - 1] if i else "", i, not i % 2)
        )
        if not i % 2:
            recorder.add(ParameterInfo(f"{each}.weight", each, (fan[i // 2 + 1], fan[i // 2]), True, True))
            recorder.add(ParameterInfo(f"{each}.bias", each, (fan[i // 2 + 1],), True, True))
    if norm:
        recorder.add(*[ModuleInfo(f"norm{i}", "BatchNorm1d", "norm", units=hidden, depth=99) for i in range(3)])
    due = 0
    for step in range(steps):
        y = rng.integers(classes, size=32)
        hs, zs = [centres[y] * 0.6 + rng.normal(size=(32, 30))], []
        for n, (w, b) in enumerate(zip(weights, biases, strict=True)):
            zs.append(hs[-1] @ w + b)
            hs.append(np.tanh(zs[-1]) if n < depth else zs[-1])
        p = np.exp(zs[-1] - zs[-1].max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        loss = float(-np.log(p[np.arange(32), y]).mean())
        dz, dh = [(p - np.eye(classes)[y]) / 32], []
        for n in reversed(range(1, depth + 1)):
            dh.insert(0, dz[0] @ weights[n].T)
            dz.insert(0, dh[0] * (1 - hs[n] ** 2))
        slopes = [hs[n].T @ dz[n] for n in range(depth + 1)]
        before = [(w.copy(), b.copy()) for w, b in zip(weights, biases, strict=True)]
        for n in range(depth + 1):
            weights[n] -= lr * slopes[n]
            biases[n] -= lr * dz[n].sum(0)
        if step >= due:
            due = recorder.schedule.after(step)
            detail = recorder.detailed(step)
            outputs = {each: measure.output(zs[n], detail=detail) for n, each in enumerate(linear)}
            outputs |= {each: measure.output(hs[n + 1], activation="tanh", detail=detail) for n, each in enumerate(tanh)}
            gradients = {each: measure.gradient(dz[n], detail=detail) for n, each in enumerate(linear)}
            gradients |= {each: measure.gradient(dh[n], detail=detail) for n, each in enumerate(tanh)}
            parameters = {
                f"{each}.weight": measure.parameter(before[n][0], weights[n], slopes[n], lr) for n, each in enumerate(linear)
            }
            parameters |= {
                f"{each}.bias": measure.parameter(before[n][1], biases[n], dz[n].sum(0), lr) for n, each in enumerate(linear)
            }
            gaps = {f"norm{i}": np.array([0.9 / (step + 1) + 0.02 * i, 1 - 0.5 / (step + 1)]) for i in range(3)} if norm else {}
            recorder.record(
                step, outputs=outputs, gradients=gradients, parameters=parameters, norms=gaps, loss=loss, learning_rate=lr
            )
        recorder.record_loss(step, loss)
        if step % max(1, steps // 8) == 0:
            recorder.record_dev(step, loss + 0.08)
    return recorder.trace()


def rows(chart: Any, *fields: str) -> list[dict[str, Any]]:
    """Rows of a chart's data that have all of the fields, each once."""
    found = [row for values in chart["datasets"].values() for row in values]
    kept = [row for row in found if all(field in row for field in fields)]
    return list({repr(row): row for row in kept}.values())


def a_finding(**changes: Any) -> Finding:
    """A finding that says something."""
    finding = Finding(
        id="saturation",
        severity="critical",
        where=("layers.1", "layers.3"),
        steps=(3, 40),
        value=0.5,
        limit=0.46,
        message="Half of the outputs are saturated.",
        why="Where tanh is flat hardly any gradient passes.",
        remedy="Multiply the weights by 0.56.",
        reference="Glorot & Bengio 2010",
    )
    return replace(finding, **changes)


def a_report(**changes: Any) -> Report:
    """A report of one finding on a short run."""
    left = Outcome("overfitting", "not run", "no loss on held-out data was given")
    outcomes = (Outcome("saturation", "found"), Outcome("dead-units", "passed"), left)
    values = {"findings": (a_finding(),), "outcomes": outcomes, "trace": None, "title": "Health of a small net"} | changes
    return Report(**(values | {"trace": values["trace"] or tanh_trace(steps=12)}))
