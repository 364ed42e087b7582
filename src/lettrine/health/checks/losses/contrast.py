"""The check of contrastive losses."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, log, nan

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.reading import middle, number, share, update_ratios, usable
from lettrine.health.checks.registry import Skip, check
from lettrine.health.checks.wiring.connections import seen_once
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


@check("raw-contrast")
def raw_contrast(trace: Trace) -> Iterator[Finding]:
    """A contrastive loss computed from vectors that are not normalised to length 1.

    Measured: The lengths of the vectors, the largest logit, and the first loss beside that of guessing among the examples.
    Formula: std(lengths) / mean(lengths) > {CONTRAST_SPREAD} or largest logit > {CONTRAST_MOST:g}, and first loss >
        {CONTRAST_FAR:g} ln(examples). A warning if the first steps changed the weights by more than {UPDATE_LARGE_ONE:.0%} of
        their size, values became non-finite, or the loss is still above ln(examples) at the last look; otherwise a remark.
    """
    seen = seen_once(trace, "contrast")
    if seen is None:
        raise Skip("not applicable", "no loss that tells the examples of a batch apart was seen")
    count, value, spread = int(seen.figure("examples")), seen.figure("value"), seen.figure("spread")
    even = log(count)
    raw = spread > limits.CONTRAST_SPREAD or seen.figure("most") > limits.CONTRAST_MOST
    if not raw or not value > limits.CONTRAST_FAR * even:
        return
    size, last = _first_steps(trace), seen.figure("last")
    thrown, broke = size > limits.UPDATE_LARGE_ONE, trace.first_nonfinite is not None
    harm = (
        f"; values stopped being finite at step {trace.first_nonfinite.step}"
        if trace.first_nonfinite is not None
        else f"; the first steps changed the weights by {share(size)} of their size"
        if thrown
        else f"; at step {seen.steps[1]:,} it was {number(last, 3) if isfinite(last) else 'not finite'}"
    )
    yield Finding(
        id="raw-contrast",
        severity="warning" if thrown or broke or not isfinite(last) or last > even else "info",
        where=(),
        steps=(0, seen.steps[1]),
        value=value,
        limit=limits.CONTRAST_FAR * even,
        message=f"Examples are compared by products of vectors whose length is about {number(seen.figure('length'))}, and not "
        f"1: logits reach {number(seen.figure('most'))}, and the loss starts at {number(value, 3)}, where guessing among {count} "
        f"gives ln {count} = {number(even, 3)}{harm}.",
        why="Long vectors win every comparison. A temperature below 1 makes logits and gradients larger still.",
        remedy="Bring both sides to length 1 before their product: z = functional.normalize(z, dim=-1). Usual temperatures, such "
        "as 0.07 or 0.1, are meant for products from -1 to 1.",
        reference="Chen et al. 2020, A simple framework for contrastive learning of visual representations, section 5.1",
    )


def _first_steps(trace: Trace) -> float:
    """The largest of the first steps, relative to the weights; NaN if unknown."""
    try:
        _, table = update_ratios(trace, usable(trace))
    except Skip:
        return nan
    sizes = middle(table[:, :3])
    return float(np.nanmax(sizes)) if np.isfinite(sizes).any() else nan
