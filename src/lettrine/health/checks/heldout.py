"""A check of the held-out data: are they of the same kind as what is trained on?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.losses import guess_of
from lettrine.health.checks.reading import finite_curve, number
from lettrine.health.checks.registry import Skip, check
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


@check("held-out-labels", needs=("dev", "loss"))
def held_out_labels(trace: Trace) -> Iterator[Finding]:
    """The loss on held-out data never beats guessing, although that on the training data does."""
    guess = guess_of(trace)
    if not np.isfinite(guess):
        raise Skip("not applicable", "the loss of guessing is not known")
    kept = np.isfinite(trace.dev.mean)
    steps, dev = trace.dev.step[kept], trace.dev.mean[kept]
    _, train = finite_curve(trace, trace.loss)
    if len(dev) < limits.OVERFITTING_POINTS or len(train) < limits.LEARNING_STEPS:
        raise Skip("not run", f"{len(dev)} evaluations; {limits.OVERFITTING_POINTS} are needed")
    lowest, end = float(dev.min()), float(np.mean(dev[-2:]))
    now = float(np.mean(train[-max(10, len(train) // 10) :]))
    limit = limits.HELD_OUT_CHANCE * guess
    # A training loss far below guessing may be learned by heart: then it is overfitting that keeps the other from falling.
    if lowest <= limit or not limits.HELD_OUT_BY_HEART * guess < now < limits.HELD_OUT_LEARNED * guess:
        return
    yield Finding(
        id="held-out-labels",
        severity="critical",
        where=(),
        steps=(int(steps[0]), int(steps[-1])),
        value=lowest,
        limit=limit,
        message=(
            f"The loss on held-out data never beat guessing ({number(guess, 3)}): {number(lowest, 3)} at best, "
            f"{number(end, 3)} at the end, while the training loss is {number(now, 3)}."
        ),
        why="What holds for the training examples says nothing about the held-out ones: these are something else.",
        remedy="Look at one held-out batch beside one training batch: its labels must be the targets and not the inputs, and its "
        "inputs prepared, scaled and encoded alike.",
        reference="Karpathy 2019, A recipe for training neural networks: visualise what goes into the net",
    )
