"""Rare classes that get lost in a loss of overlap; reported as "majority-class"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lettrine.health import limits
from lettrine.health.checks.reading import share
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace

_WHAT: Final = {
    "together": "one ratio of all {classes} classes together",
    "each": "taken of each pixel by itself",
}
_WHY: Final = {
    "together": "The sums are those of the frequent classes: whether a rare one is found hardly changes their ratio.",
    "each": "Where a pixel is not of the class its overlap is 0 whatever the answer: only the frequent class tells the network "
    "anything.",
}
_REMEDY: Final = {
    "together": "Sum over the pixels and the batch alone, so that each class has a ratio of its own, and take their mean last: "
    "dims = (0, 2, 3); dice = 2 * (p * t).sum(dims) / (p.sum(dims) + t.sum(dims) + 1e-5); loss = 1 - dice.mean().",
    "each": "Sum over the pixels before you divide: dims = (0, 2, 3); dice = 2 * (p * t).sum(dims) / (p.sum(dims) + t.sum(dims) "
    "+ 1e-5); loss = 1 - dice.mean().",
}


def lost_classes(trace: Trace) -> Iterator[Finding]:
    """A class that no answer names, where the overlap is not one ratio for each class."""
    for seen in trace.seen("overlap classes"):
        right, part, how = seen.figure("right"), seen.figure("share"), seen.words["how"]
        rare = part <= limits.OVERLAP_SHARE and seen.figure("pixels") >= limits.OVERLAP_PIXELS
        if not (right <= limits.OVERLAP_RIGHT and rare and seen.steps[1] >= limits.OVERLAP_STEPS):
            continue
        classes, lost = int(seen.figure("classes")), int(seen.figure("class"))
        yield Finding(
            id="majority-class",
            severity="warning",
            where=seen.where,
            steps=seen.steps,
            value=right,
            limit=limits.OVERLAP_RIGHT,
            message=f"The overlap in the loss is {_WHAT[how].format(classes=classes)}, and {share(right)} of the pixels of class "
            f"{lost} ({share(part)} of all) are answered rightly, up to step {seen.steps[1]:,}.",
            why=_WHY[how],
            remedy=_REMEDY[how],
            reference="Milletari et al. 2016, V-Net, section 3",
        )
