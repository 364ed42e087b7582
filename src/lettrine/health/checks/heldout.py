"""A check of the held-out data: are they of the same kind as what is trained on?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.reading import finite_curve, number
from lettrine.health.checks.reference import guess_of
from lettrine.health.checks.registry import Skip, check
from lettrine.health.findings import Finding
from lettrine.health.trace import Floats, Trace


@check("held-out-labels", needs=("dev", "loss"))
def held_out_labels(trace: Trace) -> Iterator[Finding]:
    """The loss on held-out data never beats guessing, although that on the training data does."""
    guess = guess_of(trace)
    if not np.isfinite(guess):
        raise Skip("not applicable", "the loss of guessing is not known")
    kept = np.isfinite(trace.dev.mean)
    steps, dev = trace.dev.step[kept], trace.dev.mean[kept]
    train_steps, train = finite_curve(trace, trace.loss)
    if len(dev) < limits.OVERFITTING_POINTS or len(train) < limits.LEARNING_STEPS:
        raise Skip("not run", f"{len(dev)} evaluations; {limits.OVERFITTING_POINTS} are needed")
    lowest, end = float(dev.min()), float(np.mean(dev[-2:]))
    now = float(np.mean(train[-max(10, len(train) // 10) :]))
    limit = limits.HELD_OUT_CHANCE * guess
    if lowest <= limit or now >= limits.HELD_OUT_LEARNED * guess:
        return
    # A training loss far below guessing may be learned by heart: then it is overfitting that keeps the other from falling.
    if now <= limits.HELD_OUT_BY_HEART * guess and not _mirrored(steps, dev / guess, train_steps, train / guess):
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


def _mirrored(steps: Floats, dev: Floats, train_steps: Floats, train: Floats) -> bool:
    """Whether the loss on held-out data rose while that on the training data began to fall, both in units of guessing.

    What is learned by heart first leaves the held-out loss where it was; what is learned of other labels makes it worse at once.
    """
    before = [train[(train_steps <= step)][-limits.HELD_OUT_RECENT :] for step in steps]
    level = np.array([float(np.mean(part)) if len(part) else np.nan for part in before])
    early = (level > limits.HELD_OUT_EARLY) & (level < limits.HELD_OUT_LEARNED)
    return bool(early.any()) and float(np.median((dev[early] - 1) / (1 - level[early]))) > limits.HELD_OUT_MIRROR
