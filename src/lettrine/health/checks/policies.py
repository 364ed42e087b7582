"""How losses of policies, of values and of flows, and those with weights of the examples, are put together: reported as
"other-loss".
"""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.reading import number
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


def mispaired(trace: Trace) -> Iterator[Finding]:
    """All of them."""
    yield from _late_weights(trace)
    yield from _chased(trace)
    yield from _unclipped(trace)
    yield from _shrinking(trace)


def _late_weights(trace: Trace) -> Iterator[Finding]:
    """Weights of the examples that meet a mean or sum over the examples."""
    for seen in trace.seen("late weights"):
        if seen.figure("looks") < limits.LATE_LOOKS:
            continue
        rows, of = int(seen.figure("rows")), seen.words.get("of", "mean")
        ratio = seen.words.get("how") == "ratio"
        yield Finding(
            id="other-loss",
            severity="warning",
            where=seen.where,
            steps=seen.steps,
            value=float(rows),
            limit=1.0,
            message=f"A {of} over {rows} examples "
            + (
                f"of their log-probabilities is set against {rows} earlier ones, one for each example."
                if ratio
                else f"is multiplied by {rows} weights, one for each example: all examples count alike, and only the mean of the "
                "weights matters."
            ),
            why="Each example then has the ratio of all of them together, far from 1, and the clip holds it still."
            if ratio
            else f"{of}(loss) * mean(weights) is not mean(loss * weights): which weight belongs to which example is lost.",
            remedy="Keep the log-probability of each example: sum(-1) adds those of its actions if they have an axis of their "
            "own, and all examples if squeeze() took that axis away."
            if ratio
            else "Multiply first and take the mean after that: (loss * weights).mean(), where the loss of each example comes "
            'from reduction="none", or the log-probability of each step is left as it is.',
            reference="torch.nn.CrossEntropyLoss: reduction; Williams 1992, Simple statistical gradient-following algorithms",
        )


def _chased(trace: Trace) -> Iterator[Finding]:
    """Values whose target is trained along with them."""
    for seen in trace.seen("chased"):
        if seen.figure("looks") < limits.CHASED_LOOKS:
            continue
        yield Finding(
            id="other-loss",
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


def _unclipped(trace: Trace) -> Iterator[Finding]:
    """A clipped ratio beside a free one, of which the loss keeps the wrong one."""
    for seen in trace.seen("unclipped"):
        if seen.figure("looks") < limits.UNCLIPPED_LOOKS:
            continue
        name = seen.words["function"]
        yield Finding(
            id="other-loss",
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


def _shrinking(trace: Trace) -> Iterator[Finding]:
    """A flow that is rewarded for shrinking its codes."""
    for seen in trace.seen("volume"):
        first, last, before, after = (seen.figure(name) for name in ("first", "last", "before", "after"))
        vanished = last <= limits.VOLUME_VANISHED < first and after <= before - limits.VOLUME_FELL
        if seen.figure("looks") < limits.VOLUME_LOOKS or not vanished:
            continue
        yield Finding(
            id="other-loss",
            severity="warning",
            where=seen.where,
            steps=seen.steps,
            value=last,
            limit=limits.VOLUME_VANISHED,
            message=f"The codes of {seen.where[0]} shrink to 0: their mean square was {number(first, 2)} at first and is "
            f"{number(last, 2)} at step {seen.steps[1]:,}, where a standard normal prior has 1, and the number beside them "
            f"fell from {number(before, 2)} to {number(after, 2)}.",
            why="A likelihood pays for shrinking by the log-volume. With the wrong sign it is rewarded for it: all examples "
            "end in one point.",
            remedy="Turn the sign of the log-volume: loss = -(prior.log_prob(z).sum(1) + log_det).mean(), where log_det is "
            "that of z by x, positive where the flow expands.",
            reference="Dinh, Sohl-Dickstein & Bengio 2017, Density estimation using real NVP, section 3.2",
        )
