"""One of several losses whose targets are one and the same number: reported as "target-constant"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lettrine.health import limits
from lettrine.health.checks.reading import number
from lettrine.health.checks.reference import loss_seen
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace

_NUMBERS = ("squared", "absolute")


def constant_parts(trace: Trace, seen: Sequence[Evidence]) -> Iterator[Finding]:
    """A part that learns numbers from data which are all the same, beside a part whose targets differ.

    Labels that the training makes itself, as for a judge or for a penalty, are no data.
    """
    whole = loss_seen(trace)
    if len(seen) < 2 or (whole is not None and whole.words["nature"]):
        return
    for each in seen:
        beside = next((one.where[0] for one in seen if one.words["place"] != each.words["place"] and _differ(one)), "")
        if beside and _same(each):
            part, value = each.where[0], number(each.figure("mean"), 4)
            yield Finding(
                id="target-constant",
                severity="warning",
                where=each.where[:1],
                steps=each.steps,
                value=1.0,
                limit=2.0,
                message=f"Every target of {part} is {value}, in all {int(each.figure('rows')):,} sampled examples up to "
                f"step {each.steps[1]:,}; those of {beside} differ.",
                why=f"{part} learns to answer {value} to everything, and its part of the loss is near 0 all the same.",
                remedy=f"See how the targets of {part} are read or made: a wrong column, file or conversion makes them {value}.",
                reference="Karpathy 2019, A recipe for training neural networks: become one with the data",
            )


def _same(each: Evidence) -> bool:
    late = each.figure("looks") >= limits.CONSTANT_LOOKS and each.steps[1] >= limits.CONSTANT_STEP
    many = each.figure("rows") >= limits.CONSTANT_ROWS and each.figure("given") == 1
    return late and many and each.words["expects"] in _NUMBERS and each.figure("std") == 0


def _differ(each: Evidence) -> bool:
    return each.figure("given") == 1 and (each.figure("std") > 0 or each.figure("classes_seen") > 1)
