"""Targets of values that are made of the wrong state, without an action or without the ends of episodes: reported as
"value-target".
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isnan, nan

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.reading import number
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace

_SOURCE = "Mnih et al. 2015, Human-level control through deep reinforcement learning, algorithm 1"


def next_states(trace: Trace) -> Iterator[Finding]:
    """All of them; the likeliest cause first."""
    for seen in trace.seen("values"):
        looks = seen.figure("looks")
        if looks < limits.VALUE_LOOKS:
            continue
        if seen.figure("same") == looks and seen.figure("moved") == 1:
            yield _same_state(seen)
        elif seen.figure("unpicked") == seen.figure("picked") == looks:
            yield _no_action(seen)
        elif _beyond_reach(seen) > limits.VALUES_BEYOND:
            yield _run_away(seen)
        elif seen.figure("unmasked") == looks and _one_reward(seen):
            yield _all_alike(seen)
        elif seen.figure("unmasked") == seen.figure("picked") == looks:
            yield _no_ends(seen)
        elif seen.figure("own") == seen.figure("picked") == looks:
            yield _no_copy(seen)
        if _worth_ahead(seen) < limits.AHEAD_WORTH:
            yield _short_sighted(seen)


def _same_state(seen: Evidence) -> Finding:
    rows, one = int(seen.figure("rows")), seen.figure("alike") == seen.figure("looks")
    alike = f" All {rows} rows of a batch are even one and the same." if one else ""
    return _finding(
        seen,
        "warning",
        f"The targets of {seen.where[0]} are a reward plus a value of the very states whose values are trained: in all {rows} "
        f"transitions the next state equals the state.{alike}",
        "Nothing that an action leads to comes into the value: it becomes the reward divided by (1 - discount), whatever is "
        "done.",
        "Store a copy of each observation (obs.copy(), tensor.clone()): an environment that writes into one array changes what "
        "the memory holds."
        if one
        else "Ask for the value of the next state: target = reward + gamma * (1 - done) * value(next_state). If the code does, "
        "store a copy of each observation (obs.copy()): the environment may write into one array.",
    )


def _no_action(seen: Evidence) -> Finding:
    return _finding(
        seen,
        "warning",
        f"What {seen.where[0]} is trained on is the largest of its answers, not that for the action that was taken: the reward "
        "of any action goes to the best one.",
        "Which action brought which reward is lost, and the values of the others are never learned.",
        "Pick the value of the action taken: net(state).gather(1, action.unsqueeze(1)).squeeze(1). The maximum belongs in the "
        "target only.",
    )


def _one_reward(seen: Evidence) -> bool:
    """Whether every transition brought the same reward, for going on. (One for each step may be a cost until an end that has not
    been reached yet.)
    """
    return seen.figure("low") == seen.figure("high") > 0 and seen.figure("rewards") >= limits.ONE_REWARD


def _all_alike(seen: Evidence) -> Finding:
    reward, discount = seen.figure("high"), seen.figure("discount")
    end = f"{number(reward / (1 - discount), 3)}, which is {number(reward, 3)} / (1 - {discount:g})"
    return _finding(
        seen,
        "warning",
        f"Each of {int(seen.figure('rewards')):,} transitions looked at brought the reward {number(reward, 3)}, and the targets "
        f"of {seen.where[0]} are this + {discount:g} * (value of the next state) for every one: nothing marks the ends of "
        "episodes.",
        f"Then all actions in all states are worth the same, {end}: only that nothing follows an end makes a difference.",
        "Let nothing follow an end: target = reward + gamma * (1 - done) * next_value, with done stored for each transition.",
    )


def _bound(seen: Evidence) -> float:
    """The largest sum of discounted rewards, if each is as large as the largest that was seen."""
    return max(abs(seen.figure("low")), abs(seen.figure("high"))) / (1 - seen.figure("discount"))


def _beyond_reach(seen: Evidence) -> float:
    """How many times larger than that the values are; 0 where too few rewards were seen to say."""
    known = seen.figure("rewards") >= limits.VALUES_REWARDS and seen.figure("picked") == seen.figure("looks")
    bound = _bound(seen) if known and seen.figure("discount") < 1 else 0.0
    return seen.figure("most") / bound if bound > 0 else 0.0


def _run_away(seen: Evidence) -> Finding:
    own = seen.figure("own") == seen.figure("looks")
    return _finding(
        seen,
        "warning",
        f"The targets of {seen.where[0]} have run away, to {number(seen.figure('most'), 3)}: with the rewards of "
        f"{int(seen.figure('rewards')):,} transitions and the discount {seen.figure('discount'):g} no value can be larger than "
        f"{number(_bound(seen), 3)}."
        + (" The values of next states are told by the very network that is trained." if own else ""),
        "Each step raises values of next states along with those that are trained, and these raise the targets in turn.",
        "Take next values from a copy that is filled every few hundred steps: target.load_state_dict(net.state_dict())."
        if own
        else "Fill the copy more seldom, lower the learning rate, and choose the action by one network and tell its value by the "
        "other (double Q-learning).",
    )


def _no_copy(seen: Evidence) -> Finding:
    return _finding(
        seen,
        "info",
        f"The targets of {seen.where[0]} are a reward plus its own values of the next states: there is no copy that stays as it "
        "is for a while.",
        "What is trained moves its own targets. Small networks often learn so, more slowly; in others the values run away.",
        "If it does not learn: take next values from a copy that is filled every few hundred steps: "
        "target.load_state_dict(net.state_dict()).",
    )


def _apart(seen: Evidence) -> float:
    """How many transitions lie between two rewards that stand out, on average."""
    return seen.figure("rewards") / seen.figure("paid") if seen.figure("paid") else nan


def _worth_ahead(seen: Evidence) -> float:
    """What is left of a reward so far ahead; 1 where it is not known."""
    worth = seen.figure("discount") ** _apart(seen) if seen.figure("rewards") >= limits.AHEAD_REWARDS else nan
    return 1.0 if isnan(worth) else float(worth)


def _short_sighted(seen: Evidence) -> Finding:
    discount, apart = seen.figure("discount"), _apart(seen)
    return _finding(
        seen,
        "info",
        f"The targets of {seen.where[0]} are a reward plus {discount:g} * (value of the next state), and one transition in "
        f"{number(apart, 2)} brings a reward unlike the rest: so far ahead it is worth {number(_worth_ahead(seen), 2)} of "
        "itself.",
        "A small reward nearby then counts for more than a large one ahead, and the values of most states lie within the "
        "network's errors.",
        f"If what is done now is to serve a reward {number(apart, 2)} steps ahead, take a discount of about "
        f"{1 - 1 / (2 * apart):.2g}: it leaves more than half of it.",
    )


def _no_ends(seen: Evidence) -> Finding:
    return _finding(
        seen,
        "info",
        f"The targets of {seen.where[0]} are reward + {seen.figure('discount'):g} * (value of the next state) for every "
        "transition: nothing marks the ends of episodes.",
        "Where an episode ends nothing follows: with a value there, an end that should be avoided looks as good as any state.",
        "If episodes can end other than by a time limit: target = reward + gamma * (1 - done) * next_value, with done stored for "
        "each transition. Try it and compare the returns.",
    )


def _finding(seen: Evidence, severity: str, message: str, why: str, remedy: str) -> Finding:
    return Finding(
        id="value-target",
        severity=severity,
        where=seen.where,
        steps=seen.steps,
        value=seen.figure("looks"),
        limit=float(limits.VALUE_LOOKS),
        message=message,
        why=why,
        remedy=remedy,
        reference=_SOURCE,
    )
