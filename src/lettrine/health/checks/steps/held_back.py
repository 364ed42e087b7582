"""Why steps are small although the learning rate is not: clipping, a large eps, or a loss that is divided once too often."""

from __future__ import annotations

from math import isfinite, sqrt
from typing import Final

import numpy as np

from lettrine.health import limits
from lettrine.health import limits_wiring as wiring
from lettrine.health.checks.reading import median, number
from lettrine.health.checks.reference import loss_seen
from lettrine.health.trace import Trace

_DIVIDES: Final = ("Adam", "NAdam", "RAdam", "RMSprop", "Adagrad")  # by the size of gradients, plus eps
_FOLLOWS: Final = ("SGD", "ASGD")  # a gradient half as large is a step half as large


def held_back(trace: Trace) -> str:
    """The advice that takes away what keeps the steps small; "" if that may be the rate."""
    return _clipped(trace) or _eps(trace) or _divided(trace)


def _clipped(trace: Trace) -> str:
    """At each sampled step gradients shrank to one norm, far below 1."""
    clipped, norms = trace.step_stats["clipped"], trace.step_stats["gradient_norm"]
    clipped, norms = clipped[np.isfinite(clipped)], norms[np.isfinite(norms)]
    norm = median(norms)
    even = norm > 0 and bool((np.abs(norms / norm - 1) < limits.CLIPPED_EVEN).all())
    if len(clipped) < limits.CLIPPED_LOOKS or not clipped.all() or not even or norm > limits.CLIPPED_SMALL:
        return ""
    return (
        f"Gradients are clipped to a norm of {number(norm)} at each step: give clip_grad_norm_ a limit that few steps reach, "
        "such as 1 (print what it returns, the norm before clipping)."
    )


def _eps(trace: Trace) -> str:
    """What is added to the size of each gradient before it divides is far larger than that."""
    groups = trace.seen("optimiser")
    if not groups or not all(each.words["kind"].removesuffix("W") in _DIVIDES for each in groups):
        return ""
    eps, kind = min(each.figure("eps") for each in groups), groups[0].words["kind"]
    sizes = [
        median(trace.parameter(info.name, "gradient_norm")) / sqrt(float(np.prod(info.shape)))
        for info in trace.parameters
        if len(info.shape) > 1 and info.name in trace.parameter_stats
    ]
    known = [each for each in sizes if isfinite(each)]
    if not known or not eps >= wiring.EPS_ABOVE * max(known):
        return ""
    return (
        f"Give {kind} its usual eps, 1e-8: it has {number(eps)}, which is added to the size of each gradient before that divides "
        f"the step, and gradients are {number(max(known))} or less."
    )


def _divided(trace: Trace) -> str:
    """The gradients of all backward passes of a step together are a small part of that of the mean loss."""
    seen, groups = loss_seen(trace), trace.seen("optimiser")
    if seen is None or not groups or not all(each.words["kind"] in _FOLLOWS for each in groups):
        return ""
    weight, parts = seen.figure("weight"), seen.figure("parts")
    if not 0 < weight * parts <= wiring.DIVIDED_SMALL:
        return ""
    called = f"called on {number(weight)} times the mean over the examples, and a step has"
    if parts > 1:
        return (
            f"Divide the loss by {int(parts)} alone, so that a step follows its mean: backward() is {called} {int(parts)} "
            "backward passes."
        )
    return f"Call backward() on the mean over the examples: it is {called} one backward pass."
