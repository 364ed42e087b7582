"""The check of the gains of norms."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.consequence import consequence, fresh
from lettrine.health.checks.reading import listed, number, plural
from lettrine.health.checks.registry import Skip, check
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


@check("norm-gain", needs=("parameters", "loss"))
def norm_gain(trace: Trace) -> Iterator[Finding]:
    """Gains of norms that begin as small numbers of either sign, as an initialisation of all parameters leaves them.

    Measured: Mean and standard deviation of the gain of each norm, before the first step.
    Formula: |mean| < {GAIN_ERRORS} * std / sqrt(units), and rms < {GAIN_SMALL}; in {GAIN_SHARE:.0%} of the norms
        or more. A remark if much was learned.
    """
    gains = {info.name: f"{info.name}.weight" for info in trace.modules if info.role == "norm"}
    gains = {name: weight for name, weight in gains.items() if weight in trace.parameter_stats}
    if not gains:
        raise Skip("not applicable", "no norm with a gain")
    if not len(trace.steps) or trace.steps[0] != 0 or not fresh(trace):
        raise Skip("not run", "the first step was not seen, or the network had been trained before")
    units = {info.name: max(info.shape, default=1) for info in trace.parameters}
    drawn = {}
    for name, weight in gains.items():
        mean, std = trace.parameter(weight, "mean")[0], trace.parameter(weight, "std")[0]
        if abs(mean) < limits.GAIN_ERRORS * std / sqrt(units.get(weight, 1)):
            drawn[name] = sqrt(mean**2 + std**2)
    small = {name: size for name, size in drawn.items() if size < limits.GAIN_SMALL}
    if len(small) < limits.GAIN_SHARE * len(gains):
        return
    names, size, course = tuple(small), max(small.values()), consequence(trace)
    yield Finding(
        id="norm-gain",
        severity="info" if course.well else "warning",
        where=names,
        steps=(0, 0),
        value=size,
        limit=limits.GAIN_SMALL,
        message=f"The {plural(names, 'gain', 'gains')} of {listed(names)} {plural(names, 'begins', 'begin')} as random numbers "
        f"of either sign, of the size of {number(size)}, instead of 1; {course.words}.",
        why=f"A norm brings values to the size of 1, and its gain makes them {number(1 / size)} times smaller again: so are what "
        "the next layers see and the gradients of the layers before.",
        remedy="Leave norms out of the initialisation, as in: if isinstance(module, (nn.Linear, nn.Embedding)): "
        "nn.init.normal_(module.weight, std=0.02); norms begin with a gain of 1 and a bias of 0.",
        reference="Ioffe & Szegedy 2015, Batch Normalization; Ba et al. 2016, Layer Normalization: the gain begins at 1",
    )
