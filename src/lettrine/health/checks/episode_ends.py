"""Targets of values that count the next state only where an episode ends: reported under "other-loss"."""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits
from lettrine.health.checks.reading import share
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


def kept_ends(trace: Trace) -> Iterator[Finding]:
    """A mask of the ends of episodes that is turned round."""
    for seen in trace.seen("ends of episodes"):
        kept, values = seen.figure("kept"), int(seen.figure("values"))
        if not 0 < kept <= limits.ENDS_KEPT or values < limits.ENDS_VALUES or seen.figure("looks") < limits.HANDED_POINTS:
            continue
        yield Finding(
            id="other-loss",
            severity="warning",
            where=(),
            steps=seen.steps,
            value=kept,
            limit=limits.ENDS_KEPT,
            message=f"In the targets of values a mask keeps the value of the next state for {share(kept)} of {values:,} "
            f"transitions and sets it to 0 for all others. If that were right, an episode would have {1 / (1 - kept):.1f} steps "
            "on average.",
            why="Where the next state does not count, the target is the reward alone: nothing that comes later is learned. The "
            "mask seems to be turned round, and the value after the end of an episode counts.",
            remedy="Multiply by what goes on: target = reward + gamma * (1 - done) * next_value.",
            reference="Mnih et al. 2015, Human-level control through deep reinforcement learning, algorithm 1",
        )
