"""Different examples that become the same inside the network: reported as "no-learning"."""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.reading import share
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


def blank_rows(trace: Trace) -> Iterator[Finding]:
    """A part of the examples whose inputs are lost on the way, from the first look to the last."""
    for seen in trace.seen("blank rows"):
        if seen.figure("looks") != seen.figure("all") or seen.figure("looks") < limits.BLANK_LOOKS:
            continue
        name, after, course = seen.where[0], seen.words["after"], consequence(trace)
        between = f"between {after} and {name}" if after else f"before {name}"
        yield Finding(
            id="no-learning",
            severity="info" if course.well else "warning",
            where=seen.where,
            steps=seen.steps,
            value=seen.figure("share"),
            limit=0.0,
            message=f"{share(seen.figure('share'))} of the examples get one and the same answer, although their inputs differ: "
            f"what {name} is given is exactly 0 for all of them; {course.words}.",
            why="What tells these examples apart is lost before it, so they can only get the answer that is best on average.",
            remedy=f"See what happens to these rows {between}: a node of a graph without neighbours keeps its own features only "
            "with a loop to itself (A + I); a mask or an index may leave rows out.",
            reference="Kipf & Welling 2017, Semi-supervised classification with graph convolutional networks, section 2",
        )
        return
