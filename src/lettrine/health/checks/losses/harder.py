"""A loss that rises again because what is asked for becomes harder: a remark of "divergence"."""

from __future__ import annotations

from math import isfinite

import numpy as np

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.reading import (
    finite_curve,
    learning_rate,
    median,
    middle,
    number,
    rounded,
    update_ratios,
    usable,
)
from lettrine.health.checks.reference import guess_of
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


def pushed(trace: Trace, since: float) -> bool:
    """Whether the learning rate was raised since a step, or the gradients have grown many times."""
    for name, most in (("learning_rate", limits.DIVERGED_RATE), ("gradient_norm", limits.DIVERGED_GRADIENT)):
        before, later = (
            median(trace.step_stats[name], usable(trace) & part) for part in (trace.steps <= since, trace.steps > since)
        )
        if later > most * before > 0:
            return True
    return False


def little_by_little(trace: Trace) -> bool:
    """Whether the loss had fallen and rose again in many small parts, to about guessing and no further, in steps smaller than
    those by which it fell. Where the network breaks, one part is most of it, or the steps grow.
    """
    steps, losses = finite_curve(trace, trace.loss)
    guess = guess_of(trace)
    blocks = [float(np.mean(part)) for part in np.array_split(losses, max(1, min(20, len(losses) // 5)))]
    place = int(np.argmin(blocks))
    if not isfinite(guess) or not blocks[-1] <= limits.HARDER_END * guess or blocks[place] > limits.HARDER_LOWEST * guess:
        return False
    since = float(steps[min(len(steps) - 1, (place + 1) * len(steps) // len(blocks))])
    _, table = update_ratios(trace, usable(trace))
    sampled, sizes = trace.steps[usable(trace)], middle(table)
    before, after = sizes[sampled <= since], sizes[sampled > since]
    if not (np.isfinite(before).any() and np.isfinite(after).any()) or np.nanmax(after) > np.nanmedian(before):
        return False
    rise = max(blocks[place:]) - blocks[place]
    return float(np.diff(blocks[place:]).max(initial=0.0)) <= limits.HARDER_JUMP * rise and not pushed(trace, since)


def harder(trace: Trace, since: float, levels: tuple[float, float, float], untrained: str) -> Finding:
    """A loss that rose again, though not above where it began. untrained: how it ended, such as "lower than" untrained."""
    lowest, end, limit = levels
    rate = learning_rate(trace)
    return Finding(
        id="divergence",
        severity="info",
        where=(),
        steps=(int(since), int(trace.loss.step[-1])),
        value=end,
        limit=limit,
        message=f"The loss had come to {number(lowest, 3)} and ended at {number(end, 3)}: higher, but {untrained} untrained.",
        why="Where data become harder on the way, or a term of the loss heavier (a curriculum, a penalty that is raised, teacher "
        "forcing that fades), the loss rises by design. Where neither changes, the network gets worse.",
        remedy="If data and loss stay the same, lower the learning rate"
        + (f" from {number(rate)} to {number(rounded(rate / 3))}." if rate > 0 else "."),
        reference="LeCun et al. 1998, Efficient BackProp, section 4.6",
    )
