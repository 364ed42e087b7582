"""The check of the targets of values."""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits
from lettrine.health.checks.reading import share
from lettrine.health.checks.reference import looked_at
from lettrine.health.checks.registry import check
from lettrine.health.checks.rivals.next_states import next_states
from lettrine.health.findings import Finding
from lettrine.health.limits_wiring import CHASED_LOOKS
from lettrine.health.trace import Trace


@check("value-target")
def value_target(trace: Trace) -> Iterator[Finding]:
    """Targets of values (a reward plus the value of the next state) that are trained along, or count the wrong next states.

    Measured: Whether the target of a value has a graph to the network that gives the value; for how many transitions a mask of
        ends keeps the value of the next state, and whether there is one; whether the next states are the very rows whose values
        are trained; and whether the trained value is that of the action taken, or the largest.
    Formula: target = reward + gamma * (1 - done) * value(next state), without a graph. A mask that keeps
        {ENDS_KEPT:.0%} of the next states or less is turned round. Without a mask, and with one positive reward in all of
        {ONE_REWARD} transitions or more, every value tends to reward / (1 - gamma). A remark: gamma ** (transitions for each
        unusual reward) < {AHEAD_WORTH:g}.
    """
    yield from _chased(trace)
    yield from _ends(trace)
    yield from next_states(trace)
    looked_at(trace)


def _chased(trace: Trace) -> Iterator[Finding]:
    """Values whose target is trained along with them."""
    for seen in trace.seen("chased"):
        if seen.figure("looks") < CHASED_LOOKS:
            continue
        yield Finding(
            id="value-target",
            severity="warning",
            where=seen.where,
            steps=seen.steps,
            value=seen.figure("looks"),
            limit=0.0,
            message=f"{seen.where[0]} is compared with a reward plus its own best value of the next state, and that target has a "
            "graph: each step moves the target towards the answer, too.",
            why="Values of later states are then pulled to those of earlier ones. Where chance decides what comes "
            "next, they come "
            "out wrong, and elsewhere they are learned slowly.",
            remedy="Compute the target without a graph: with torch.no_grad(): target = reward + discount * "
            "net(next).max(1).values "
            "* (1 - done); better still with a copy of the network that is updated now and then.",
            reference="Mnih et al. 2015, Human-level control through deep reinforcement learning, algorithm 1; Baird "
            "1995, Residual "
            "algorithms",
        )


def _ends(trace: Trace) -> Iterator[Finding]:
    """A mask of the ends of episodes that is turned round."""
    for seen in trace.seen("ends of episodes"):
        kept, values = seen.figure("kept"), int(seen.figure("values"))
        if not 0 < kept <= limits.ENDS_KEPT or values < limits.ENDS_VALUES or seen.figure("looks") < limits.HANDED_POINTS:
            continue
        yield Finding(
            id="value-target",
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
