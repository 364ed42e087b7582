"""What a health check could not judge: not seen is not healthy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lettrine.health.checks.by_rank import unheard
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.reading import number
from lettrine.health.limits import HEARD_SHARE, JUDGED_STEPS
from lettrine.health.trace import Trace


def unjudged(trace: Trace, broken: Sequence[str] = ()) -> tuple[str, ...]:
    """Reasons why the network cannot be called healthy, as half sentences; empty if it can. broken: checks that failed."""
    reasons = [f"the check {name} broke" for name in broken]
    if trace.facts.errors:
        reasons.append("the health check itself met an error")
    if not trace.outputs and "compiled" in trace.facts.notes:
        reasons.append("no module was heard, for they are compiled: train some hundred steps without torch.compile")
    elif not trace.outputs:
        reasons.append("no module was heard: watch the very model that is called, not one it was compiled or copied from")
    if missing := unheard(trace, watched=True):
        reasons.append(missing)
    taken = steps_taken(trace)
    if taken < JUDGED_STEPS:
        reasons.append(f"{taken:,} {'step says' if taken == 1 else 'steps say'} nothing of learning, {JUDGED_STEPS} are needed")
    heard, sampled = _heard(trace), len(trace.steps)
    if trace.outputs and heard < HEARD_SHARE * sampled:
        reasons.append(f"modules were heard at {heard} of {sampled} sampled steps only")
    course = consequence(trace)
    if course.kind == "falls" and course.reference.known:
        reasons.append(f"the loss, {number(course.end, 3)}, has not come to what {course.reference.words} gives")
    return tuple(reasons)


def steps_taken(trace: Trace) -> int:
    """How many steps were made, as far as they were counted."""
    last = [int(trace.steps[-1])] if len(trace.steps) else []
    last += [int(trace.recent.step[-1])] if len(trace.recent.step) else []
    return max(last, default=-1) + 1


def _heard(trace: Trace) -> int:
    """Sampled steps at which at least half of all recorded parts were recorded."""
    tables = [np.isfinite(table).any(axis=1) for table in trace.outputs.values()]
    return int((np.mean(tables, axis=0) >= HEARD_SHARE).sum()) if tables else 0
