"""Steps that all go one way while the loss falls like a line: the rate is too low, reported as "update-too-small"."""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits
from lettrine.health import limits_wiring as wiring
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.reading import ends, even_fall, finite_curve, learning_rate, number, rounded, usable
from lettrine.health.checks.reference import loss_seen, ordinary
from lettrine.health.checks.steps.held_back import held_back
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


def straight_on(trace: Trace, size: float) -> Iterator[Finding]:
    """A run whose steps could have been one, and that has hardly learned. size: update:data at its largest."""
    seen = next(iter(trace.seen("travel")), None)
    if seen is None or not seen.figure("straight") >= wiring.STRAIGHT or not size <= wiring.STRAIGHT_SIZE or _rising(trace):
        return
    steps, losses = finite_curve(trace, trace.loss)
    if len(losses) < limits.SHORT_STEPS or steps[-1] - steps[0] + 1 < wiring.STRAIGHT_STEPS:
        return
    beginning, end, _ = ends(losses)
    if not even_fall(losses)[1] or not _hardly(trace, beginning, end):
        return
    rate = learning_rate(trace)
    towards = f", from {number(rate)} to {number(rounded(rate * limits.REMEDY_FACTOR))}" if rate > 0 else ""
    yield Finding(
        id="update-too-small",
        severity="warning",
        where=(),
        steps=(int(steps[0]), int(steps[-1])),
        value=seen.figure("straight"),
        limit=wiring.STRAIGHT,
        message=f"The weights go straight on: the way of the last steps has the direction of the first ones (cosine "
        f"{number(seen.figure('straight'))}), and the loss falls as evenly, from {number(beginning, 3)} to only "
        f"{number(end, 3)} at step {int(steps[-1]):,}.",
        why="Steps that all point the same way could be one: after hundreds of them the slope is still the same.",
        remedy=held_back(trace) or f"Raise the learning rate {number(limits.REMEDY_FACTOR)} times or more{towards}.",
        reference="Goodfellow, Bengio & Courville 2016, Deep Learning, section 8.3.1: learning curves and the learning rate",
    )


def _hardly(trace: Trace, beginning: float, end: float) -> bool:
    """Whether little was learned: by the loss of guessing, or else by the loss at first."""
    if ordinary(trace) and (course := consequence(trace)).reference.known:
        return course.left >= limits.HARDLY_LEARNED
    seen = loss_seen(trace)
    taught = seen is not None and seen.words["nature"] == "bootstrapped"  # by a network that does not change, as a rule
    return (ordinary(trace) or taught) and 0 < limits.HARDLY_LEARNED * beginning <= end


def _rising(trace: Trace) -> bool:
    """Whether the rate is still growing at the end: a warm-up, in which little is expected."""
    rates = trace.step_stats["learning_rate"][usable(trace)]
    return bool(len(rates)) and bool(rates[-1] > (1 + wiring.GIVEN_MOVES) * rates[len(rates) // 2])
