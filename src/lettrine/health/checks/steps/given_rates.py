"""Learning rates that are not the ones that were meant: one that a schedule never reaches, and one of some weights alone.

Reported as "update-too-small".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lettrine.health import limits
from lettrine.health import limits_wiring as wiring
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.reading import listed, number, usable
from lettrine.health.findings import Finding
from lettrine.health.trace import Floats, Trace


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


def own_rate(trace: Trace, names: Sequence[str], table: Floats, limit: float) -> str:
    """The advice where the weights that hardly move have a far lower rate than others; "" if all have one."""
    sizes = {name: np.nanquantile(row, 0.9) for name, row in zip(names, table, strict=True)}
    rates = {name: float(np.nanmax(trace.parameter(name, "learning_rate"), initial=0.0)) for name in names}
    still, most = [name for name, size in sizes.items() if size < limit], max(rates.values())
    own = max((rates[name] for name in still), default=most)
    if not 0 < own <= most / wiring.GIVEN_FAR:
        return ""
    return (
        f"Raise the learning rate of {listed(still)} alone, from {number(own)} towards the {number(most)} of the others: "
        f"{'their' if len(still) > 1 else 'its'} parameter group has a rate of its own."
    )
