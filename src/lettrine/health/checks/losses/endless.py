"""A loss that falls without end: "wrong-direction"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.reading import finite_curve, number
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace

ADD_THE_DIVERGENCE: Final = (
    "Add the divergence, do not subtract it: loss = reconstruction + kl, where kl = -0.5 * (1 + log_var - mean**2 - "
    "log_var.exp()).sum(1).mean() is never below 0."
)


def endless(trace: Trace) -> Iterator[Finding]:
    """A loss that has no lowest value: far below 0, and falling faster and faster."""
    steps, losses = finite_curve(trace, trace.loss)
    if len(losses) < limits.UNBOUNDED_LOSSES:
        return
    tenth = max(1, len(losses) // 10)
    first, middle, end = (float(np.median(part)) for part in (losses[:5], losses[len(losses) // 2 :][:tenth], losses[-tenth:]))
    deep = end <= -limits.UNBOUNDED * max(abs(first), 1.0) and end <= limits.UNBOUNDED_GROWS * middle < 0
    if not deep or trace.seen("rivals") or len(trace.seen("gradients")) > 1:
        return
    code = next((each for each in trace.seen("latents") if each.figure("kl") >= limits.UNBOUNDED), None)
    yield Finding(
        id="wrong-direction",
        severity="critical",
        where=(),
        steps=(int(steps[0]), int(steps[-1])),
        value=end,
        limit=-limits.UNBOUNDED * max(abs(first), 1.0),
        message=f"The loss falls without end: it was {number(first, 3)} at first, {number(middle, 3)} half-way, and is "
        f"{number(end, 3)} now"
        + (
            "."
            if code is None
            else f", while the divergence of the latent variables from a standard normal grew from "
            f"{number(code.figure('kl_first'), 3)} to {number(code.figure('kl'), 3)} nats."
        ),
        why="A term with the wrong sign has no lowest value: the steps make it larger and larger, and the rest of the loss no "
        "longer counts.",
        remedy="Turn the sign of the term that grows; print each term of the loss once in a while."
        if code is None
        else ADD_THE_DIVERGENCE,
        reference="Kingma & Welling 2014, Auto-encoding variational Bayes, equation 10",
    )
