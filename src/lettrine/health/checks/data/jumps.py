"""Batches that are unlike all others, told by their losses: reported under "repeated-batch"."""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd

import numpy as np
from numpy.typing import NDArray

from lettrine.health import limits
from lettrine.health.checks.data.order import by_class
from lettrine.health.checks.reading import finite_curve, number
from lettrine.health.checks.reference import ordinary, reference_of
from lettrine.health.findings import Finding
from lettrine.health.trace import Floats, Trace

_AROUND = 10  # losses before and after one, which it is compared with


def strange_batches(trace: Trace) -> Iterator[Finding]:
    """Losses that jump for one step to what guessing gives, and are back at the next: the batch is strange, not the weights."""
    steps, losses = finite_curve(trace, trace.recent)
    if len(losses) < limits.JUMP_STEPS or not ordinary(trace) or by_class(trace) or not _many_labels(trace):
        return
    reference = reference_of(trace, float(np.mean(losses[-_AROUND:])))
    level, far = _around(losses)
    jumped = (far >= limits.JUMP) & (losses >= limits.CHANCE_SHARE * reference.value) & (level <= limits.JUMP_LEARNED * losses)
    beside = np.convolve(far >= limits.JUMP_USUAL, (1, 0, 1), mode="same") > 0
    places = np.flatnonzero(jumped & ~beside)
    many = limits.JUMP_LEAST <= len(places) <= limits.JUMP_MOST * len(losses)
    if not (reference.known and many) or _regular(places) or np.sum((far >= limits.JUMP_USUAL) & ~jumped) > len(places):
        return
    one = places[np.argmax(far[places])]
    yield Finding(
        id="repeated-batch",
        severity="info",
        where=(),
        steps=(int(steps[places[0]]), int(steps[places[-1]])),
        value=float(len(places)),
        limit=float(limits.JUMP_LEAST),
        message=f"At {len(places)} of {len(losses)} steps the loss jumps for that step alone to what guessing gives or above, at "
        f"step {int(steps[one]):,} from {number(float(level[one]), 3)} to {number(float(losses[one]), 3)}: these batches are "
        "unlike all others.",
        why="The weights are the same as at the steps beside, so it is the batch: inputs or targets that were lost or mixed up "
        "teach nothing.",
        remedy="Stop where the loss jumps, and look at the batch: whether x is 0 throughout (a copy to the device that is used "
        "before it has arrived, non_blocking=True; a file that could not be read), and whether y belongs to x.",
        reference="torch.Tensor.to: non_blocking",
    )


def _around(losses: Floats) -> tuple[Floats, Floats]:
    """For each loss, the median of those around it, and how many of their standard deviations (from medians) it is above."""
    level, far = np.empty(len(losses)), np.empty(len(losses))
    for place in range(len(losses)):
        others = np.delete(losses[max(0, place - _AROUND) : place + _AROUND + 1], min(place, _AROUND))
        level[place] = np.median(others)
        far[place] = (losses[place] - level[place]) / max(1.4826 * float(np.median(np.abs(others - level[place]))), 1e-12)
    return level, far


def _regular(places: NDArray[np.signedinteger]) -> bool:
    """Whether they come at one place of each pass over the data, as a last batch of one or two examples does."""
    return gcd(*np.diff(places).tolist()) > limits.JUMP_PERIOD


def _many_labels(trace: Trace) -> bool:
    """Whether batches hold many labels: the loss of a few may be anything."""
    seen = [each for each in trace.seen("comparison") if each.figure("classes_seen") > 1 and each.figure("given") == 1]
    return bool(seen) and all(each.figure("labels") >= limits.JUMP_LABELS * each.figure("looks") for each in seen)
