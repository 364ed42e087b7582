"""Cosines taken for logits; reported as "probabilities-as-logits"."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp, log

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.reading import number
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


def cosines(trace: Trace) -> Iterator[Finding]:
    """Cosines whose scale leaves no room for a low loss: it was left out, or they were multiplied by a temperature below 1."""
    for seen in trace.seen("cosines"):
        scale, classes = seen.figure("scale"), int(seen.figure("classes"))
        floor, even = log(1 + (classes - 1) * exp(-2 * scale)), log(classes)
        if seen.figure("looks") < limits.COSINE_LOOKS or not floor >= limits.COSINE_FLOOR * even:
            continue
        grows = scale > limits.COSINE_GROWS * seen.figure("first")
        yield Finding(
            id="probabilities-as-logits",
            severity="info" if grows else "warning",
            where=(),
            steps=seen.steps,
            value=floor,
            limit=limits.COSINE_FLOOR * even,
            message=f"The loss expects logits and gets cosines times {number(scale, 3)}: among {classes} it cannot fall below "
            f"{number(floor, 3)}, where guessing gives {number(even, 3)}; it was {number(seen.figure('value'), 3)} at step "
            f"{seen.steps[1]:,}.",
            why="A cosine lies between -1 and 1. Without a large factor their softmax is nearly even, and never certain.",
            remedy="Divide the cosines by a temperature such as 0.07, or multiply them by a scale such as 16 to 64, fixed or "
            "learned (logit_scale.exp()). To multiply by a temperature below 1 makes them smaller.",
            reference="Wang et al. 2017, NormFace, section 3.3; Radford et al. 2021, CLIP, section 2.3",
        )
