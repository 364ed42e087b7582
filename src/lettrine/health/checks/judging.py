"""What a health check could not judge: not seen is not healthy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from lettrine.health.checks.by_rank import unrecorded
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.reading import number
from lettrine.health.evidence import Evidence
from lettrine.health.limits import JUDGED_STEPS, SEEN_SHARE
from lettrine.health.trace import Trace

_EAGERLY: Final = (
    'train some hundred steps without torch.compile, by torch.compiler.set_stance("force_eager") before the watch begins'
)


def unjudged(trace: Trace, broken: Sequence[str] = ()) -> tuple[str, ...]:
    """Reasons why the network cannot be called healthy, as half sentences; empty if it can. broken: checks that failed."""
    reasons = [f"the check {name} broke" for name in broken]
    reasons += filter(None, [trace.facts.notes.get("captured")])
    if trace.facts.errors:
        reasons.append("the health check itself met an error")
    taken = steps_taken(trace)
    if taken <= 1 and (unseen := trace.seen("compiled loop")):
        return (*reasons, *_not_even_losses(unseen[0]))
    if not trace.outputs and "compiled" in trace.facts.notes:
        reasons.append(f"no module was seen, since they are compiled: {_EAGERLY}")
    elif not trace.outputs and _reached(trace):
        reasons.append(
            "outputs were not seen, since no forward of the model or its layers is called; losses, gradients and steps were: "
            "let a forward do the work to have its outputs judged too"
        )
    elif not trace.outputs:
        reasons.append("no module was seen: watch the model that is called, not one it was compiled or copied from")
    if missing := unrecorded(trace, watched=True):
        reasons.append(missing)
    if taken < JUDGED_STEPS:
        says = "step says" if taken == 1 else "steps say"
        reasons.append(f"{taken:,} {says} nothing about learning, {JUDGED_STEPS} are needed")
    seen, sampled = _seen(trace), len(trace.steps)
    if trace.outputs and seen < SEEN_SHARE * sampled:
        reasons.append(f"modules were seen at {seen} of {sampled} sampled steps only")
    course = consequence(trace)
    if course.kind == "falls" and course.reference.known:
        reasons.append(f"the loss, {number(course.end, 3)}, has not reached that of {course.reference.words}")
    return tuple(reasons)


def _not_even_losses(seen: Evidence) -> Iterator[str]:
    """Of a training that was compiled as a whole, with no loss handed over."""
    yield (
        "neither a step nor a loss was seen, since the step is compiled: call watch.loss(loss) after each step, outside of what "
        f"is compiled, or {_EAGERLY}"
    )
    if not seen.figure("changed"):
        yield "none of the weights has changed: if they were to learn, the compiled code trains another model, or makes no step"


def steps_taken(trace: Trace) -> int:
    """How many steps were made, as far as they were counted."""
    last = [int(trace.steps[-1])] if len(trace.steps) else []
    last += [int(trace.recent.step[-1])] if len(trace.recent.step) else []
    return max(last, default=-1) + 1


def _reached(trace: Trace) -> bool:
    """Whether gradients reach the parameters: then they are those of the network that is trained."""
    return any(np.nan_to_num(trace.parameter(name, "gradient_norm")).any() for name in trace.parameter_stats)


def _seen(trace: Trace) -> int:
    """Sampled steps at which at least half of all recorded parts were recorded."""
    tables = [np.isfinite(table).any(axis=1) for table in trace.outputs.values()]
    return int((np.mean(tables, axis=0) >= SEEN_SHARE).sum()) if tables else 0
