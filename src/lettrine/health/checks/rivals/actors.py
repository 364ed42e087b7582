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
    below 0; of rewards that never are, and of numbers that are learned alone, nobody knows whether they are costs.
    """
    values = [each for each in trace.seen("values") if each.figure("rewards") >= ACTED_REWARDS]
    for seen in trace.seen("rivals"):
        untaught = seen.figure("judge_made") == 0 == seen.figure("judge_real")  # a judge is taught which score is good
        if not untaught or seen.figure("maker") != 1 or seen.figure("made") < limits.HANDED_POINTS:
            continue
        if values:
            yield _downhill(seen, next((each for each in values if each.where[:1] == seen.where[:1]), values[0]))
        elif (numbers := _numbers(trace, seen.where[0])) is not None:
            low, high = number(numbers.figure("low"), 3), number(numbers.figure("high"), 3)
            yield _finding(seen, "info", f"{seen.where[0]} is trained on numbers from {low} to {high}.")


def _numbers(trace: Trace, critic: str) -> Evidence | None:
    """What a critic learns where no next value is part of it: numbers that differ."""
    for each in trace.seen("comparison"):
        inside = each.where[0] == critic or each.where[0].startswith(f"{critic}.")
        if inside and each.words["expects"] in ("squared", "absolute") and each.figure("std") > 0:
            return each if each.figure("rows") >= ACTED_REWARDS else None
    return None


def _downhill(seen: Evidence, value: Evidence) -> Finding:
    low, costs = value.figure("low"), value.figure("low") >= 0
    least = f"none of {value.figure('rewards'):,.0f} was below 0" if costs else f"the lowest was {number(low, 3)}"
    taught = f"{value.where[0]} is trained on rewards and the values of next states ({least})."
    return _finding(seen, "info" if costs else "warning", taught)


def _finding(seen: Evidence, severity: str, taught: str) -> Finding:
    critic, actor = seen.where
    return Finding(
        id="policy-loss",
        severity=severity,
        where=(actor,),
        steps=seen.steps,
        value=seen.figure("made"),
        limit=float(limits.HANDED_POINTS),
        message=f"At all of {seen.figure('made'):.0f} looks the steps of {actor} made the value that {critic} gives to its "
        f"actions lower. {taught}",
        why=f"If that value says how much reward is to come, {actor} learns to earn as little as it can. It is right "
        "for costs alone.",
        remedy=f"Turn the sign: loss = -{critic}(state, {actor}(state)).mean(). If the rewards are costs, leave it.",
        reference="Lillicrap et al. 2016, Continuous control with deep reinforcement learning, algorithm 1",
    )
