"""The check of a classifier that answers the most frequent class, and no other."""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.losses.favoured import favoured
from lettrine.health.checks.losses.lost import lost_classes
from lettrine.health.checks.reading import number, share
from lettrine.health.checks.registry import Skip, check
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


def rare_among(trace: Trace, examples: float) -> float:
    """How many of so many examples are of other classes than the one that all are answered; all, where answers differ."""
    return examples * min((1.0 - each.figure("most") for each in trace.seen("one answer")), default=1.0)


@check("majority-class", needs=("loss",))
def majority_class(trace: Trace) -> Iterator[Finding]:
    """A classifier of rare classes that answers the most frequent class to every example, and hardly learns anything else.

    Measured: The class answered to each example and its label, at all looks; and how far the loss is below that of guessing.
    Formula: labels of that class >= {MAJORITY_SHARE:.0%} of all; no other answer to {MAJORITY_ROWS} examples or more, of which
        {MAJORITY_OTHERS} or more have another label; loss at the end >= {MAJORITY_LEFT} * (loss of guessing), or a remark from
        {PLATEAU_HIGH} of it on. Or: weights of classes that grow with the number of their labels, at least as their power
        {WEIGHTS_POWER:g}, and {WEIGHTS_RECALL:.0%} or less of the rarest class are answered rightly. Or: a loss of overlap that
        is one ratio for all classes, or one for each pixel, and {OVERLAP_RIGHT:.0%} or less of a class that has
        {OVERLAP_SHARE:.0%} of the pixels or less are answered rightly.
    """
    yield from (told := [*favoured(trace), *lost_classes(trace)])
    seen = next(iter(trace.seen("one answer")), None)
    if seen is None and told:
        return
    if seen is None:
        raise Skip("not applicable", "no classifier was seen that answers one class only")
    course = consequence(trace)
    rare = seen.figure("most") >= limits.MAJORITY_SHARE and seen.figure("others") >= limits.MAJORITY_OTHERS
    long = seen.figure("rows") >= limits.MAJORITY_ROWS and seen.figure("looks") >= limits.MAJORITY_LOOKS
    several = seen.figure("several") == 1
    hardly = course.left >= (limits.MAJORITY_LEFT_SEVERAL if several else limits.MAJORITY_LEFT)
    little = course.kind in ("learns", "guessing") and course.left >= limits.PLATEAU_HIGH
    if not (rare and long and little):
        return
    most = seen.figure("most")
    times = number(most / (1 - most), 2)
    yield Finding(
        id="majority-class",
        severity="warning" if hardly else "info",
        where=seen.where,
        steps=seen.steps,
        value=most,
        limit=limits.MAJORITY_SHARE,
        message=(_of_labels(seen) if several else _of_classes(seen))
        + f"; the loss, {number(course.end, 3)} at step {course.steps[1]:,}, is not far below guessing "
        f"({number(course.reference.value, 3)}).",
        why="Where one class is so frequent, answering it always costs little, and few examples show what the others are.",
        remedy=f"Weight what is rare, up to about {times} times (weight= of cross_entropy, pos_weight= of "
        "binary_cross_entropy_with_logits), or draw it more often (WeightedRandomSampler), and judge by recall or average "
        "precision, not by accuracy; or choose a threshold below one half.",
        reference="He & Garcia 2009, Learning from imbalanced data",
    )


def _of_classes(seen: Evidence) -> str:
    return (
        f"{share(seen.figure('most'))} of the labels are class {int(seen.figure('answer'))}, and from step {seen.steps[0]:,} on "
        f"it is the answer to all {int(seen.figure('rows')):,} examples looked at, also to the {int(seen.figure('others'))} of "
        "another class"
    )


def _of_labels(seen: Evidence) -> str:
    """Of examples that have several labels each."""
    answer, other = ("yes", "no") if seen.figure("answer") else ("no", "yes")
    return (
        f"{share(seen.figure('most'))} of the labels say {answer}, and from step {seen.steps[0]:,} on {answer} is the answer for "
        f"each label of all examples looked at, also for the {int(seen.figure('others'))} of {int(seen.figure('rows')):,} that "
        f"say {other}"
    )
