"""The check of the gains of norms."""

from __future__ import annotations

from collections.abc import Iterator
from math import nan, sqrt

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.consequence import consequence, fresh
from lettrine.health.checks.reading import listed, number, plural
from lettrine.health.checks.registry import Skip, check
from lettrine.health.findings import Finding
from lettrine.health.limits import HARDLY_LEARNED
from lettrine.health.trace import Trace


@check("norm-gain", needs=("parameters", "loss"))
def norm_gain(trace: Trace) -> Iterator[Finding]:
    """Gains of norms that begin as small numbers of either sign, as an initialisation of all parameters leaves them; or an eps
    that is not small.

    Measured: Mean and standard deviation of the gain of each norm, before the first step; its eps, and the size of what it gives.
    Formula: |mean| < {GAIN_ERRORS} * std / sqrt(units), and rms < {GAIN_SMALL}; in {GAIN_SHARE:.0%} of the norms
        or more. A remark if much was learned. Or: eps >= {NORM_EPS}; more than a remark where outputs begin at {NORM_SHRUNK} of
        the gain or less, and {HARDLY_LEARNED:.0%} of the loss of guessing is left.
    """
    yield from _large_eps(trace)
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


def _large_eps(trace: Trace) -> Iterator[Finding]:
    """An eps beside which the variance of what a norm is given may be nothing."""
    for seen in trace.seen("norm eps"):
        course, eps = consequence(trace), seen.figure("most")
        known = [name for name in seen.where if name in trace.outputs and trace.steps[0] == 0]
        sizes = {name: trace.output(name, "rms")[0] / _gain(trace, name) for name in known}
        shrunk = tuple(name for name, size in sizes.items() if size <= limits.NORM_SHRUNK)
        little = course.bad or course.left >= HARDLY_LEARNED
        size = min((sizes[name] for name in shrunk), default=nan)
        so = f": what {listed(shrunk)} {plural(shrunk, 'gives', 'give')} is {number(size)} of the usual size" if shrunk else ""
        yield Finding(
            id="norm-gain",
            severity="warning" if shrunk and little else "info",
            where=shrunk or seen.where,
            steps=seen.steps,
            value=eps,
            limit=limits.NORM_EPS,
            message=f"The eps of {listed(shrunk or seen.where)} is {number(eps)}{so}"
            + (f", and {course.words}." if shrunk and course.kind != "unknown" else "."),
            why="A norm divides by the root of the variance and eps: beside a large eps it leaves what it is given as it is, or "
            "makes it smaller.",
            remedy="Leave eps at 1e-5. The second argument of a BatchNorm is its eps; write momentum=... where that is meant.",
            reference="torch.nn.BatchNorm1d: eps",
        )


def _gain(trace: Trace, name: str) -> float:
    """The size of a norm's gain at first; 1 for a norm without one."""
    weight = f"{name}.weight"
    return float(trace.parameter(weight, "rms")[0]) if weight in trace.parameter_stats else 1.0
