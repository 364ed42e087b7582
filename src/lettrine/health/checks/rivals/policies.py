"""The check of the losses of policies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.reading import listed, number
from lettrine.health.checks.reference import looked_at
from lettrine.health.checks.registry import check
from lettrine.health.checks.rivals.actors import downhill
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


@check("policy-loss")
def policy_loss(trace: Trace) -> Iterator[Finding]:
    """The loss of a policy that trains a value too, whose clip holds no step back, or that lowers the value of its actions.

    Measured: Whether what weights the log-probabilities of drawn actions has a graph to parameters; which of the clipped and the
        free ratio of probabilities the loss keeps; whether this is a ratio of new to old ones, and has a gradient; whether the
        ratio stays 1 while the probabilities change; whether the returns of an episode are sums of the rewards before a step;
        which way the steps of an actor move the value that a critic gives to its actions.
    Formula: loss = -mean(log_prob * advantage), with the advantage a constant. Clipped: -mean(min(ratio * advantage,
        clip(ratio) * advantage)). With a critic: -mean(critic(state, actor(state))).
    """
    for seen in trace.seen("trained weights"):
        if seen.figure("looks") >= max(limits.WEIGHTS_LOOKS, seen.figure("drawn") / 2):
            yield _trained_weights(seen)
    yield from _unclipped(trace)
    yield from _no_ratio(trace)
    yield from _never_old(trace)
    yield from _forwards(trace)
    yield from downhill(trace)
    looked_at(trace)


def _trained_weights(seen: Evidence) -> Finding:
    """A value that is no constant for the policy."""
    return Finding(
        id="policy-loss",
        severity="warning",
        where=seen.where,
        steps=seen.steps,
        value=seen.figure("looks"),
        limit=0.0,
        message=f"Log-probabilities of drawn actions are multiplied by something that {listed(seen.where)} "
        f"{'compute' if len(seen.where) > 1 else 'computes'}, with its graph: the loss of the policy trains them too.",
        why="That gradient makes a value wrong in the direction that makes the loss of the policy small; the policy then follows "
        "wrong values.",
        remedy="Detach it where it weights the policy: loss = -(log_prob * (returns - value.detach())).mean(); the value learns "
        "from its own loss alone.",
        reference="Mnih et al. 2016, Asynchronous methods for deep reinforcement learning, section 4",
    )


def _unclipped(trace: Trace) -> Iterator[Finding]:
    """A clipped ratio beside a free one, of which the loss keeps the wrong one."""
    for seen in trace.seen("unclipped"):
        if seen.figure("looks") < limits.UNCLIPPED_LOOKS:
            continue
        name = seen.words["function"]
        yield Finding(
            id="policy-loss",
            severity="warning",
            where=(),
            steps=seen.steps,
            value=seen.figure("looks"),
            limit=0.0,
            message=f"Of the clipped and the free ratio of probabilities, {name} keeps the one with the smaller loss: "
            f"the clip never "
            "holds a step back.",
            why="The clip is to take away what is gained by moving far from the old policy. The smaller loss always leaves it.",
            remedy="Take the minus outside of the minimum: loss = -torch.min(ratio * advantage, ratio.clamp(1 - eps, 1 + eps) * "
            "advantage).mean(); or, with the minus inside, take the maximum.",
            reference="Schulman et al. 2017, Proximal policy optimization algorithms, equation 7",
        )


_NO_RATIO: Final = {
    "inverse": (
        "The clipped ratio is exp(old - new): old probabilities by new ones.",
        "What makes the loss smaller then makes good actions less likely, and bad ones likelier.",
        "Put the new ones first: ratio = (log_prob - old_log_prob).exp().",
    ),
    "logarithm": (
        "What is clipped around 1 is a difference of log-probabilities, which is 0 where nothing has changed, and no ratio.",
        "It lies outside of the clip nearly always, which then decides what is learned from which action, not its advantage.",
        "Take the exponential: ratio = (log_prob - old_log_prob).exp().",
    ),
    "cancelled": (
        "The ratio of new and old probabilities is 1 for all actions, and both are made of the same weights with their graph.",
        "The gradient of one cancels that of the other: the policy learns nothing from its advantages.",
        "Take the old ones without a graph, as they were when the actions were drawn: under torch.no_grad().",
    ),
}


def _no_ratio(trace: Trace) -> Iterator[Finding]:
    """What is clipped is no ratio of new probabilities to old ones."""
    for seen in trace.seen("ratio"):
        if seen.figure("looks") < max(limits.UNCLIPPED_LOOKS, seen.figure("all")):
            continue
        message, why, remedy = _NO_RATIO[seen.words["what"]]
        yield Finding(
            id="policy-loss",
            severity="warning",
            where=(),
            steps=seen.steps,
            value=seen.figure("looks"),
            limit=0.0,
            message=message,
            why=why,
            remedy=remedy,
            reference="Schulman et al. 2017, Proximal policy optimization algorithms, equation 6",
        )


def _never_old(trace: Trace) -> Iterator[Finding]:
    """Old probabilities that are those of the present policy."""
    for seen in trace.seen("old probabilities"):
        if seen.figure("changed") < limits.OLD_LOOKS:
            continue
        yield Finding(
            id="policy-loss",
            severity="warning",
            where=(),
            steps=seen.steps,
            value=seen.figure("changed"),
            limit=float(limits.OLD_LOOKS),
            message="The ratio of new and old probabilities, which is clipped, is 1 for all actions at "
            f"{int(seen.figure('looks'))} looks. At {int(seen.figure('changed'))} of them the same actions had been trained on "
            f"before, and their log-probabilities had changed since by {number(seen.figure('apart'))} on average: the old "
            "ones are computed anew.",
            why="The clip is to stop the policy from moving far from the one that acted. A ratio to itself is always 1, and "
            "nothing is ever stopped.",
            remedy="Keep the log-probabilities of the time when the actions were drawn, under torch.no_grad(), and use these in "
            "all rounds over the same actions: ratio = (log_prob - kept_log_prob).exp().",
            reference="Schulman et al. 2017, Proximal policy optimization algorithms, equation 6",
        )


def _forwards(trace: Trace) -> Iterator[Finding]:
    """Rewards that are added up from the first step on."""
    for seen in trace.seen("returns"):
        looks = seen.figure("looks")
        if looks < limits.RETURNS_LOOKS or seen.figure("forwards") < looks:
            continue
        yield Finding(
            id="policy-loss",
            severity="warning",
            where=(),
            steps=seen.steps,
            value=looks,
            limit=float(limits.RETURNS_LOOKS),
            message=f"The log-probabilities of the {int(seen.figure('steps'))} actions of an episode are weighted by sums of "
            f"rewards that grow from the first step to the last, each {seen.figure('discount'):.3g} times the one before it plus "
            "a reward: they hold the rewards before an action, not those after it.",
            why="An action is then praised for what came before it, and the last ones, which ended the episode, most of all.",
            remedy="Add up from the end: g = 0; for r in reversed(rewards): g = r + gamma * g; returns.insert(0, g). With "
            "append, reverse the list before it meets the log-probabilities.",
            reference="Williams 1992, Simple statistical gradient-following algorithms",
        )
