"""Numbers that are all the same in one of several losses, and one class that is left: reported as "target-constant"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lettrine.health import limits
from lettrine.health.checks.reading import number, share
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


def others_ignored(each: Evidence) -> Finding:
    """One class is left because the loss ignores what the others are numbered with."""
    number_of, kept = int(each.figure("ignored_number")), _one_class(each)
    return Finding(
        id="target-constant",
        severity="warning",
        where=each.where[:1],
        steps=each.steps,
        value=1.0,
        limit=2.0,
        message=f"{share(each.figure('ignored'))} of the targets are {number_of}, the number that the loss ignores, and all "
        f"others, up to step {each.steps[1]:,}, are {kept}.",
        why=f"Where nothing but {kept} counts, answering it always has a loss of 0: no other class is ever taught.",
        remedy=f"See how labels are numbered: if {number_of} stands for a class (masks of 0 and 255, or 1 taken from labels that "
        "begin at 0), give the classes the numbers 0, 1, ... and the loss an ignore_index that none of them has.",
        reference="torch.nn.CrossEntropyLoss: ignore_index",
    )


def _one_class(each: Evidence) -> str:
    """The only class that is left."""
    return next((f"class {name.removeprefix('seen ')}" for name in each.figures if name.startswith("seen ")), "one class")
