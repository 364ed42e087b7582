"""Pictures that stand beside the targets of others; reported as "shuffled-targets"."""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.reading import number
from lettrine.health.checks.reference import ordinary
from lettrine.health.findings import Finding
from lettrine.health.limits import TOLD_ROWS
from lettrine.health.trace import Trace


def exchanged_pictures(trace: Trace) -> Iterator[Finding]:
    """Some targets are much like an input, its own is not, and answers are no more like their own targets either.

    Only where a judge is trained beside: of other losses the course tells it.
    """
    for seen in () if ordinary(trace) else trace.seen("exchanged pictures"):
        own, answered, told = (seen.figure(name) for name in ("own", "answered", "told"))
        apart = abs(own) < limits.EXCHANGED_OWN and told < TOLD_ROWS and seen.figure("compared") >= limits.EXCHANGED_ROWS
        unlearned = answered < limits.EXCHANGED_OWN and seen.figure("answers") >= limits.EXCHANGED_ANSWERS
        alike = seen.figure("like") >= limits.EXCHANGED_LIKE
        if not (apart and unlearned and alike and seen.steps[1] >= limits.EXCHANGED_STEP):
            continue
        yield Finding(
            id="shuffled-targets",
            severity="warning",
            where=seen.where,
            steps=seen.steps,
            value=own,
            limit=limits.EXCHANGED_OWN,
            message=f"Pictures say nothing about their targets: of {int(seen.figure('compared'))} inputs each is much like some "
            f"target (correlation {number(seen.figure('like'), 2)}), but no more like its own than like those of others "
            f"({number(own, 2)} standard errors), and so are the answers ({number(answered, 2)}), up to step {seen.steps[1]:,}.",
            why="The network is asked for another picture than the one it is given, and can only answer with a blur of all.",
            remedy="Look at a few inputs beside their targets. Pair them by name, as sorted(inputs.iterdir()) with "
            "sorted(targets.iterdir()), and shuffle both by the same index; without pairs compare no place with another.",
            reference="Isola et al. 2017, Image-to-image translation with conditional adversarial networks, section 3.1: pairs",
        )
