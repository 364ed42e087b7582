"""The check of units that are made alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.reading import listed, matrices, number, share, span, usable, usual_stds
from lettrine.health.checks.registry import Skip, check
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


@check("symmetry", needs=("parameters",))
def symmetry(trace: Trace) -> Iterator[Finding]:
    """Units of one layer that have the same weights at first and stay equal.

    Measured: For each weight matrix: how many of its rows are equal to another row, at the first and at the last sampled step.
        And whether all values of several matrices are one number before the first step, so that only biases tell units apart.
    Formula: share = (rows equal to another row) / (rows), the lower one of the two steps. One number throughout: a remark where
        less than {PLATEAU_HIGH:g} of the loss of guessing is left.
    """
    mask = usable(trace)
    alike: dict[str, float] = {}
    seen = False
    cut_off = {name for name in trace.parameter_stats if np.isnan(trace.parameter(name, "gradient_norm")[mask]).all()}
    cut_off = cut_off if len(cut_off) < len(trace.parameter_stats) else set()
    for info in matrices(trace):
        if info.optimised is False or info.name in cut_off:
            continue  # it does not change because nothing moves it
        values = trace.parameter(info.name, "duplicate")[mask]
        zeros = trace.parameter(info.name, "rms")[mask] == 0
        zeros, values = zeros[np.isfinite(values)], values[np.isfinite(values)]
        seen |= len(values) > 0
        # A zero matrix at the first step may be a head that moves at the next step: it is a fault only if it stays zero.
        if len(values) and min(values[0], values[-1]) > limits.SYMMETRIC_SHARE and not (len(values) == 1 and zeros[0]):
            alike[info.name] = float(values[-1])
    if not seen:
        raise Skip("not run", "whether units are alike was not recorded")
    if not alike:
        yield from _one_number(trace)
        return
    names, course = list(alike), consequence(trace)
    yield Finding(
        id="symmetry",
        severity="info" if course.well else "critical",  # such as a matrix whose rows are averaged right after it
        where=tuple(names),
        steps=span(trace, mask),
        value=max(alike.values()),
        limit=limits.SYMMETRIC_SHARE,
        message=f"{share(max(alike.values()))} of the units of {listed(names)} have the weights of another unit at all steps"
        + (f"; {course.words}." if course.well else "."),
        why="Units that are equal get equal gradients and stay equal: the layer counts as one unit, whatever its width.",
        remedy=_drawn_at_random(trace, names),
        reference="Goodfellow, Bengio & Courville 2016, Deep Learning, section 8.4",
    )


def _one_number(trace: Trace) -> Iterator[Finding]:
    """Matrices that begin with one number throughout, other than 0: their units part only as far as their biases differ."""
    if not len(trace.steps) or trace.steps[0] != 0:
        return
    begun = {
        info.name: float(trace.parameter(info.name, "rms")[0])
        for info in matrices(trace)
        if info.optimised is not False
        and trace.parameter(info.name, "duplicate")[0] == 1
        and trace.parameter(info.name, "std")[0] <= limits.ONE_NUMBER * trace.parameter(info.name, "rms")[0]
    }
    names = [name for name, size in begun.items() if size > 0]
    course = consequence(trace)
    if len(names) < limits.ONE_NUMBER_MATRICES:
        return
    hurt = course.bad or course.left >= limits.PLATEAU_HIGH
    yield Finding(
        id="symmetry",
        severity="warning" if hurt else "info",
        where=tuple(names),
        steps=(0, course.steps[1]),
        value=1.0,
        limit=limits.SYMMETRIC_SHARE,
        message=f"All weights of each of {listed(names)} begin with one number ({number(begun[names[0]])}): only biases tell "
        f"their units apart; {course.words}.",
        why="Units that are equal but for their biases get nearly equal gradients, and do much the same for long.",
        remedy=_drawn_at_random(trace, names),
        reference="Goodfellow, Bengio & Courville 2016, Deep Learning, section 8.4",
    )


def _drawn_at_random(trace: Trace, names: Sequence[str]) -> str:
    stds = usual_stds([info for info in trace.parameters if info.name in names])
    return f"Initialise at random: {stds} (1/sqrt(fan_in)); zeros are fine for biases only."
