"""Which weights of a run are kept: those of its end, or those of an earlier evaluation."""

from __future__ import annotations

import numpy as np

from lettrine.health import limits
from lettrine.health.trace import Floats, Trace


def kept(trace: Trace, steps: Floats, dev: Floats) -> tuple[float, str]:
    """The loss on held-out data of the best weights that were kept before the end, and how; infinite and "" if none were.

    steps, dev: all evaluations, (E,). An evaluation was chosen if more copies of the weights were made there than at any later
    one but the last: copies made at each evaluation choose none, and one may be made at the end whatever happens. A copy from
    before the best evaluation may be one of the start, and counts only if it is as good, up to OVERFITTING_RISE.
    """
    if trace.facts.result.get("best_kept") == 1.0:
        return float(dev.min()), "the weights of the best step were kept"
    seen = next(iter(trace.seen("evaluated weights")), None)
    if seen is None:
        return float("inf"), ""
    loaded = np.flatnonzero(steps == seen.figure("loaded"))
    if len(loaded):
        return float(dev[loaded[-1]]), f"the weights of step {int(steps[loaded[-1]]):,} were loaded again"
    copies = np.array([seen.figures.get(f"at {int(step)}", 0.0) if step > 0 else 0.0 for step in steps])
    copies[(np.arange(len(dev)) < dev.argmin()) & (dev > dev.min() + limits.OVERFITTING_RISE * abs(dev.min()))] = 0
    most, best, when = 0.0, float("inf"), 0
    for place in range(len(steps) - 2, -1, -1):
        if copies[place] > most:
            most = float(copies[place])
            best, when = min((best, when), (float(dev[place]), int(steps[place])))
    return best, f"a copy of the weights of step {when:,} was made"
