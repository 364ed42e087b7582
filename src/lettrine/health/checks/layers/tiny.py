"""Weights that begin far too small, in networks of any depth; reported as "activation-scale"."""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.consequence import consequence, fresh
from lettrine.health.checks.reading import listed, matrices, number, usual_std, usual_stds
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


def tiny_weights(trace: Trace) -> Iterator[Finding]:
    """All weight matrices begin with next to nothing, and the loss does not leave that of guessing."""
    course = consequence(trace)
    if not course.bad or not len(trace.steps) or trace.steps[0] != 0 or not fresh(trace):
        return
    weights = matrices(trace)
    shares = {info.name: float(trace.parameter(info.name, "rms")[0]) / usual_std(info) for info in weights}
    largest = max(shares.values(), default=1.0)
    if len(shares) < limits.TINY_MATRICES or not 0 < min(shares.values()) <= largest <= limits.TINY_WEIGHTS:
        return
    names = list(shares)
    yield Finding(
        id="activation-scale",
        severity="critical",
        where=tuple(names),
        steps=(0, course.steps[1]),
        value=largest,
        limit=limits.TINY_WEIGHTS,
        message=f"The weights of {listed(names)} begin at {number(largest)} of the usual 1/sqrt(fan_in) or less, and "
        f"{course.words}.",
        why="Each such layer makes outputs, and on the way back gradients, as many times smaller: the product of all of them is "
        "nothing.",
        remedy=f"Leave torch's own initialisation, or draw at random {usual_stds(weights)} (1/sqrt(fan_in)).",
        reference="Glorot & Bengio 2010, Understanding the difficulty of training deep feedforward neural networks",
    )
