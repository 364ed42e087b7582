"""Numbers of classes that are learned as amounts; reported as "other-loss"."""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.reading import share
from lettrine.health.findings import Finding
from lettrine.health.limits import TOLD_LEAST
from lettrine.health.trace import Trace


def numbered_classes(trace: Trace) -> Iterator[Finding]:
    """A squared or absolute error of one answer, whose targets name classes."""
    squares = [each for each in trace.seen("comparison") if each.words["expects"] in ("squared", "absolute")]
    each = squares[0] if len(squares) == 1 else None
    if each is None or not each.figure("alone") == each.figure("given") == each.figure("single") == 1:
        return
    for seen in trace.seen("inputs"):
        named = seen.figure("nearer") >= limits.NAMES_NEARER and seen.figure("kept") >= limits.NAMES_KEPT
        if not named or seen.figure("compared") < TOLD_LEAST:
            continue
        course, kinds = consequence(trace), int(seen.figure("numbers"))
        where = tuple(name for name in each.where[:1] if name)
        yield Finding(
            id="other-loss",
            severity="info" if course.well or course.kind == "unknown" else "warning",
            where=where,
            steps=each.steps,
            value=seen.figure("nearer"),
            limit=limits.NAMES_NEARER,
            message=f"The targets are {kinds} whole numbers that one answer is to come near ({each.words['function']}), but "
            f"their order says nothing: {share(seen.figure('nearer'))} of the ways to number them at random bring the numbers "
            f"of examples that are alike nearer together; {course.words}.",
            why="Such an error takes the first class to be far from the last one, and answers with a third between two.",
            remedy=f"Let the last layer have {kinds} outputs and use cross_entropy with the class numbers from 0 on. "
            "If they are amounts after all, leave it as it is.",
            reference="Bishop 2006, Pattern recognition and machine learning, section 4.1.3: least squares for classification",
        )
