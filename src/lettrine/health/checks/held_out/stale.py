"""A held-out loss that does not follow the training at all."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Final

import numpy as np

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.reading import ends, finite_curve, number
from lettrine.health.checks.reference import guess_of
from lettrine.health.checks.registry import Skip, check
from lettrine.health.findings import Finding
from lettrine.health.trace import Floats, Trace

_RECENT: Final = 10  # training losses up to an evaluation


@check("stale-evaluation", needs=("dev", "loss"))
def stale_evaluation(trace: Trace) -> Iterator[Finding]:
    """A held-out loss that stays as it is at all evaluations, although the training loss falls.

    Measured: The losses on held-out data, the weights at these steps, and the training loss. Numbers that a count of right
        answers gives, and those of few digits, do not count.
    Formula: (largest held-out loss) - (smallest) = 0 at {STALE_EVALUATIONS} evaluations or more, each with other weights, while
        the training loss fell by {STALE_FELL:.0%} or more. Or largest / smallest - 1 <= {STALE_RANGE:.0%}, never below
        {STALE_GUESS} of guessing nor above {STALE_START} of the first training losses, while the training loss came down to
        {STALE_HALVED:.0%} of what it was at the first evaluation, and of guessing.
    """
    finite = np.isfinite(trace.dev.mean)
    steps, dev = trace.dev.step[finite], trace.dev.mean[finite]
    if len(np.unique(steps)) < limits.STALE_EVALUATIONS:
        raise Skip("not run", f"{len(np.unique(steps))} of the {limits.STALE_EVALUATIONS} evaluations needed")
    moved = all(seen.figure("different") == len(np.unique(steps)) for seen in trace.seen("evaluated weights"))
    value = float(dev[0])
    if bool((dev != value).any()):
        yield from _hardly_moves(trace, steps, dev)
        return
    if not moved or _counted(value):
        return
    beginning, end, _ = ends(finite_curve(trace, trace.loss)[1])
    if not beginning - end > limits.STALE_FELL * abs(beginning):
        return
    yield Finding(
        id="stale-evaluation",
        severity="warning",
        where=(),
        steps=(int(steps[0]), int(steps[-1])),
        value=float(len(dev)),
        limit=float(limits.STALE_EVALUATIONS),
        message=f"The loss on held-out data is the same to the last digit at all {len(dev)} evaluations ({number(value, 6)}), "
        f"while the weights changed and the training loss fell from {number(beginning, 3)} to {number(end, 3)}.",
        why="What is evaluated is not what is trained: a copy of the network from before, or a number from before.",
        remedy="Evaluate the network that is trained, anew each time. A copy (copy.deepcopy, a checkpoint, an average of the "
        "weights) stays as it was made: update it before each evaluation, such as ema.update_parameters(model).",
        reference="torch.optim.swa_utils: AveragedModel",
    )


def _hardly_moves(trace: Trace, steps: Floats, dev: Floats) -> Iterator[Finding]:
    """No better than guessing all the time, and nearly the same, while most of the training loss went away: answers of a network
    that memorises change.
    """
    guess, (train_steps, train) = guess_of(trace), finite_curve(trace, trace.loss)
    low, high = float(dev.min()), float(dev.max())
    parts = [train[train_steps <= step][-_RECENT:] for step in (steps[0], steps[-1])]
    if not all(map(len, parts)) or not low >= limits.STALE_GUESS * guess or not high <= (1 + limits.STALE_RANGE) * low:
        return
    if high > limits.STALE_START * float(train[:_RECENT].max()):
        return  # what was not trained yet does no worse than the network at its start: these are other targets
    before, now = (float(np.mean(part)) for part in parts)
    if not now <= limits.STALE_HALVED * min(before, guess):
        return
    yield Finding(
        id="stale-evaluation",
        severity="warning",
        where=(),
        steps=(int(steps[0]), int(steps[-1])),
        value=high / low - 1,
        limit=limits.STALE_RANGE,
        message=f"The loss on held-out data stays between {number(low, 3)} and {number(high, 3)}, no better than guessing "
        f"({number(guess, 3)}), while the training loss falls from {number(before, 3)} to {number(now, 3)}.",
        why="A network that learns, or memorises, changes its answers. What is evaluated here hardly changes.",
        remedy="Evaluate the network that is trained. An average of its weights needs about 1 / (1 - decay) steps to follow: in "
        "a short run take a decay of 0.99, or let it grow with the steps, as min(decay, (1 + step) / (10 + step)).",
        reference="torch.optim.swa_utils: AveragedModel",
    )


def _counted(value: float) -> bool:
    """Whether a number may be a share of examples (or that in per cent), or was rounded."""
    scale = 1 if abs(value) <= 1 else 100
    share = float(Fraction(value / scale).limit_denominator(limits.STALE_EXAMPLES)) * scale
    return bool(np.float32(share) == np.float32(value)) or round(value, limits.STALE_DIGITS) == value
