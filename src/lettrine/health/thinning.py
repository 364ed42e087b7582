"""A trace of bounded size, before another one follows it: a run may be stopped and resumed without end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lettrine.health.curves import BUCKETS
from lettrine.health.rows import RECORDS
from lettrine.health.trace import Curve, Floats, Trace


def thinned(trace: Trace) -> Trace:
    """At most RECORDS sampled steps, with the first and the last, and BUCKETS points of a curve, with the highest losses."""
    kept = _spread(len(trace.steps))

    def rows(table: Mapping[str, Floats]) -> dict[str, Floats]:
        return {name: values[kept] for name, values in table.items()}

    def few(table: Mapping[str, Any]) -> dict[str, Any]:
        found = {}
        for name, each in table.items():
            chosen = _spread(len(each.steps))
            found[name] = type(each)(each.steps[chosen], each.counts[chosen], each.low[chosen], each.high[chosen])
        return found

    return replace(
        trace,
        steps=trace.steps[kept],
        step_stats=rows(trace.step_stats),
        outputs=rows(trace.outputs),
        gradients=rows(trace.gradients),
        parameter_stats=rows(trace.parameter_stats),
        norms=rows(trace.norms),
        output_histograms=few(trace.output_histograms),
        gradient_histograms=few(trace.gradient_histograms),
        loss=_shorter(trace.loss),
        dev=_shorter(trace.dev),
    )


def _spread(count: int) -> NDArray[np.int64]:
    """At most RECORDS places of `count`, spread evenly from the first to the last."""
    return np.linspace(0, max(count - 1, 0), min(count, RECORDS)).round().astype(np.int64)


def _shorter(curve: Curve) -> Curve:
    """The curve in at most BUCKETS points: neighbours become one."""
    size = -(-len(curve.step) // BUCKETS)
    if size < 2:
        return curve
    begins = np.arange(0, len(curve.step), size)
    known = np.isfinite(curve.mean)
    counts = np.add.reduceat(known.astype(np.float64), begins)
    with np.errstate(invalid="ignore"):
        mean = np.add.reduceat(np.where(known, curve.mean, 0.0), begins) / counts
    high = np.maximum.reduceat(curve.high, begins)
    parts = np.split(np.arange(len(curve.step)), begins[1:])
    peaks = np.array([part[curve.high[part].argmax()] for part in parts])
    return Curve(curve.step[begins], mean, high, curve.peak[peaks])
