"""The figures of a trace as scalars, (step, key, value), for trackers and tables.

Keys: "health/" and then
    <module>/output_mean, output_std, …: OUTPUT_STATS of its output; without "output_" for saturated, dead and zero
    <module>/grad_mean, grad_std, …: GRADIENT_STATS of the gradient of the loss with respect to that output
    <parameter>/update_data, gradient_data, std, …: PARAMETER_STATS
    <module>/norm_mean_gap, norm_variance_ratio: NORM_STATS
    loss, dev_loss, learning_rate, gradient_norm, …: of the whole step; loss and dev_loss at every step they are known for
Figures that are not finite are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lettrine.health.trace import GRADIENT_STATS, NORM_STATS, OUTPUT_STATS, PARAMETER_STATS, Trace

ROOT: Final = "health"
_SHARES: Final = ("saturated", "dead", "zero")
SUFFIXES: Final[Mapping[str, tuple[str, ...]]] = {
    "outputs": tuple(stat if stat in _SHARES else f"output_{stat}" for stat in OUTPUT_STATS),
    "gradients": tuple(f"grad_{stat}" for stat in GRADIENT_STATS),
    "parameters": PARAMETER_STATS,
    "norms": tuple(f"norm_{stat}" for stat in NORM_STATS),
}
"""The last part of the key of each column, by kind of table."""


def of_step(tables: Mapping[str, Mapping[str, Sequence[float]]], stats: Mapping[str, float]) -> dict[str, float]:
    """The scalars of one sampled step. tables: rows by module or parameter, by kind as in SUFFIXES."""
    found = {f"{ROOT}/{name}": float(value) for name, value in stats.items() if isfinite(value)}
    for kind, rows in tables.items():
        for name, row in rows.items():
            for suffix, value in zip(SUFFIXES[kind], row, strict=True):
                if isfinite(value):
                    found[f"{ROOT}/{name}/{suffix}"] = float(value)
    return found


def of_trace(trace: Trace) -> Iterator[tuple[int, str, float]]:
    """All scalars, in the order of the steps."""
    points: dict[int, dict[str, float]] = {}
    kinds = {"outputs": trace.outputs, "gradients": trace.gradients, "parameters": trace.parameter_stats, "norms": trace.norms}
    for place, step in enumerate(trace.steps.tolist()):
        tables = {kind: {name: table[place] for name, table in rows.items()} for kind, rows in kinds.items()}
        points[step] = of_step(tables, {name: float(values[place]) for name, values in trace.step_stats.items()})
    for key, curve in (("loss", trace.loss), ("dev_loss", trace.dev)):
        for step, value in zip(curve.step.tolist(), curve.mean.tolist(), strict=True):
            if isfinite(value):
                points.setdefault(int(step), {})[f"{ROOT}/{key}"] = value
    for step in sorted(points):
        for key, value in points[step].items():
            yield step, key, value


def columns(trace: Trace) -> dict[str, NDArray[Any]]:
    """A table: "step" (R,), and a column (R,) for each key, NaN where it is not known for that step."""
    found = list(of_trace(trace))
    steps = sorted({step for step, _, _ in found})
    row = {step: place for place, step in enumerate(steps)}
    table: dict[str, NDArray[Any]] = {"step": np.array(steps, np.int64)}
    for step, key, value in found:
        if key not in table:
            table[key] = np.full(len(steps), np.nan)
        table[key][row[step]] = value
    return table
