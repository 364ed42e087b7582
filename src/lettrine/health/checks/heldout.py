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
    """The loss on held-out data never falls, although that on the training data does."""
    kept = np.isfinite(trace.dev.mean)
    steps, dev = trace.dev.step[kept], trace.dev.mean[kept]
    train_steps, train = finite_curve(trace, trace.loss)
    if len(dev) < limits.OVERFITTING_POINTS or len(train) < limits.LEARNING_STEPS:
        raise Skip("not run", f"{len(dev)} evaluations; {limits.OVERFITTING_POINTS} are needed")
    if steps[0] > limits.HELD_OUT_FIRST * train_steps[-1]:
        raise Skip("not run", "no loss on held-out data was measured before or early in training")
    guess, first = guess_of(trace), float(dev[0])
    if np.isfinite(guess) and first < limits.HELD_OUT_TRAINED * guess:
        raise Skip("not applicable", "the network was trained before")
    lowest, end = float(dev.min()), float(np.mean(dev[-2:]))
    tail = max(10, len(train) // 10)
    began, now = float(np.mean(train[:5])), float(np.mean(train[-tail:]))
    never_fell = lowest > (1 - limits.HELD_OUT_FALL) * first and end > (1 + limits.OVERFITTING_RISE) * first
    if not never_fell or not limits.HELD_OUT_LEARNED * began < now < (1 - limits.OVERFITTING_RISE) * began:
        return
    yield Finding(
        id="held-out-labels",
        severity="critical",
        where=(),
        steps=(int(steps[0]), int(steps[-1])),
        value=end,
        limit=(1 + limits.OVERFITTING_RISE) * first,
        message=(
            f"The loss on held-out data never fell: {number(first, 3)} at step {int(steps[0])}, {number(end, 3)} at the end, "
            f"while the training loss went from {number(began, 3)} to {number(now, 3)}."
        ),
        why="Even a network that learns by heart does better on new data at first, unless these are something else.",
        remedy="Look at one held-out batch beside one training batch: its labels must be the targets and not the inputs, and its "
        "inputs prepared, scaled and encoded alike.",
        reference="Karpathy 2019, A recipe for training neural networks: visualise what goes into the net",
    )
