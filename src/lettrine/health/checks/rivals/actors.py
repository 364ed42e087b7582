"""An actor that is stepped towards lower values of its critic; reported as "policy-loss"."""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits
from lettrine.health.checks.reading import number
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.limits_wiring import ACTED_REWARDS
from lettrine.health.trace import Trace


def downhill(trace: Trace) -> Iterator[Finding]:
    """What is learned is a value only where it is trained on rewards and next values. Costs, which are to be low, are seldom
    below 0; of rewards that never are, nobody knows whether they are costs.
    """
    values = [each for each in trace.seen("values") if each.figure("rewards") >= ACTED_REWARDS]
    for seen in trace.seen("rivals"):
        untaught = seen.figure("judge_made") == 0 == seen.figure("judge_real")  # a judge is taught which score is good
        if values and untaught and seen.figure("maker") == 1 and seen.figure("made") >= limits.HANDED_POINTS:
            yield _downhill(seen, next((each for each in values if each.where[:1] == seen.where[:1]), values[0]))


def _downhill(seen: Evidence, value: Evidence) -> Finding:
    critic, actor = seen.where
    low, costs = value.figure("low"), value.figure("low") >= 0
    least = f"none of {value.figure('rewards'):,.0f} was below 0" if costs else f"the lowest was {number(low, 3)}"
    return Finding(
        id="policy-loss",
        severity="info" if costs else "warning",
        where=(actor,),
        steps=seen.steps,
        value=seen.figure("made"),
        limit=float(limits.HANDED_POINTS),
        message=f"At all of {seen.figure('made'):.0f} looks the steps of {actor} made the value that {critic} gives to its "
        f"actions lower. {value.where[0]} is trained on rewards and the values of next states ({least}).",
        why=f"A value says how much reward is to come: {actor} learns to earn as little as it can. Only for costs is that meant.",
        remedy=f"Turn the sign: loss = -{critic}(state, {actor}(state)).mean(). If the rewards are costs, leave it.",
        reference="Lillicrap et al. 2016, Continuous control with deep reinforcement learning, algorithm 1",
    )
