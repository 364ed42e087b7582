"""A learning rate that the optimiser was made with and that its schedule never reaches: reported as "update-too-small"."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lettrine.health import limits
from lettrine.health import limits_wiring as wiring
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.reading import number, usable
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


def never_reached(trace: Trace) -> Iterator[Finding]:
    """All rates of the run lie far below the one that was given, and hardly anything was learned."""
    groups, course = trace.seen("optimiser"), consequence(trace, least=limits.LEARNING_STEPS)
    rates = trace.step_stats["learning_rate"][usable(trace)]
    rates = rates[np.isfinite(rates)]
    if len(groups) != 1 or not len(rates) or groups[0].figure("state") != 0:
        return
    given, most = groups[0].figure("given"), float(rates.max())
    scheduled = most > (1 + wiring.GIVEN_MOVES) * float(rates.min())
    hardly = course.kind in ("guessing", "flat") or course.left >= limits.HARDLY_LEARNED
    if not scheduled or not hardly or not 0 < most <= given / wiring.GIVEN_FAR:
        return
    yield Finding(
        id="update-too-small",
        severity="warning",
        where=(),
        steps=(int(trace.steps[0]), int(trace.steps[-1])),
        value=most / given,
        limit=1 / wiring.GIVEN_FAR,
        message=f"The optimizer was made with the learning rate {number(given)}, and its schedule never came above "
        f"{number(most)}; {course.words}.",
        why="A scheduler writes its own rates over that of the optimizer: a max_lr or a base rate of its own, or a warm-up that "
        "is longer than the run.",
        remedy=f"Give the schedule the rate that is meant, OneCycleLR(max_lr={number(given)}) for example, and a warm-up in the "
        "unit in which scheduler.step() is called (steps or epochs), a small part of the run.",
        reference="torch.optim.lr_scheduler",
    )
