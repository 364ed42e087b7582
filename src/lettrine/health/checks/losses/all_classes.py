"""A cross-entropy without its targets: "other-loss"."""

from __future__ import annotations

from collections.abc import Iterator
from math import log

from lettrine.health import limits
from lettrine.health.checks.reading import number
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


def all_classes(trace: Trace) -> Iterator[Finding]:
    """The mean logarithm of a softmax over all classes is the whole loss."""
    for seen in trace.seen("all classes"):
        looks, classes = int(seen.figure("looks")), int(seen.figure("classes"))
        if looks < max(seen.figure("all"), limits.HANDED_POINTS):
            continue
        rows = " An index by the labels picks rows of the batch there, not classes." if seen.words["rows"] else ""
        yield Finding(
            id="other-loss",
            severity="critical",
            where=seen.where,
            steps=seen.steps,
            value=float(classes),
            limit=1.0,
            message=f"The loss is the mean logarithm of a softmax over all {classes} classes, at all {looks} steps looked at: no "
            f"target picks a class.{rows}",
            why=f"It is least, {number(log(classes), 3)}, where all classes are equally likely, whatever the input: that is what "
            "the network learns.",
            remedy="Pick the class of each target: F.cross_entropy(scores, classes), or -log_softmax(scores, "
            "1)[torch.arange(len(classes)), classes].mean().",
            reference="torch.nn.CrossEntropyLoss",
        )
