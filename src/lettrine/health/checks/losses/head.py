"""Checks of the path from predictions to the loss: shapes, and the axis of a softmax. The structure alone makes them certain."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, nan, prod
from typing import Final

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.comparing import NO_COMPARISON, operations_of
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.losses.mixtures import mixtures
from lettrine.health.checks.registry import Skip, check
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace

NORMALISED: Final = ("Softmax", "LogSoftmax")


@check("broadcast")
def broadcast(trace: Trace) -> Iterator[Finding]:
    """Predictions and targets that should be paired one by one but are combined all with all; an input with one row for a whole
    batch.

    Measured: The shapes of predictions and targets where they are combined, and the first axis of each input.
    Formula: none: (B, 1) against (B,) broadcasts to (B, B).
    """
    yield from _batch_sizes(trace)
    for each in trace.seen("broadcast"):
        size, answers, others = int(each.figure("size")), each.words["answers"], each.words["others"]
        if each.figure("columns") > 1:
            yield _one_against_many(each)
            continue
        if each.figure("weights") == 1:
            yield _table_of_weights(each)
            continue
        targets = "targets" if each.words["function"].endswith(("loss", "entropy", "logits")) else "numbers"
        sides = "the answers", f"the {targets}"
        other, longer = sides if len(_shape(others)) > len(_shape(answers)) else sides[::-1]
        yield Finding(
            id="broadcast",
            severity="critical",
            where=each.where,
            steps=each.steps,
            value=float(size),
            limit=1.0,
            message=(
                f"Answers of shape {answers} meet {targets} of shape {others} in {each.words['function']}: "
                f"they broadcast to {_pairs(answers, others, size)}."
            ),
            why="Each answer is compared with the targets of all examples: the best answer is their mean, whatever the input.",
            remedy=f"Give both the same shape: call squeeze(-1) on {longer}, or unsqueeze(-1) on {other}.",
            reference="torch.nn.MSELoss: input and target have the same shape; NumPy's rules of broadcasting",
        )


def _pairs(answers: str, others: str, size: int) -> str:
    """What two tables of so many numbers become together: their shapes as written in Python."""
    together = np.broadcast_shapes(_shape(answers), _shape(others))
    return f"{size} by {size} pairs" if prod(together) == size**2 else f"{prod(together):,} pairs of shape {together}"


def _shape(text: str) -> tuple[int, ...]:
    """A shape as written in Python: (32,) has one axis, and as many commas as (32, 1)."""
    return tuple(int(part) for part in text.strip("()").split(",") if part.strip())


def _table_of_weights(each: Evidence) -> Finding:
    size = int(each.figure("size"))
    return Finding(
        id="broadcast",
        severity="warning",
        where=each.where,
        steps=each.steps,
        value=float(size),
        limit=1.0,
        message=f"A column of shape ({size},) and one of shape ({size}, 1) are subtracted, and become a table of "
        f"{size} by {size} "
        f"that weights answers of shape {each.words['answers']}.",
        why="Each answer is weighted by the differences of all examples: what is taken off is the same mean for all.",
        remedy=f"Call squeeze(-1) on the column of shape ({size}, 1) before the difference, as in returns - values.squeeze(-1).",
        reference="NumPy's rules of broadcasting",
    )


def _one_against_many(each: Evidence) -> Finding:
    columns, answers, others = int(each.figure("columns")), each.words["answers"], each.words["others"]
    return Finding(
        id="broadcast",
        severity="warning",
        where=each.where,
        steps=each.steps,
        value=float(columns),
        limit=1.0,
        message=f"Answers of shape {answers} meet targets of shape {others} in {each.words['function']}: each answer is compared "
        f"with {columns} targets at once.",
        why="The best single answer to several targets is their mean, whatever each of them is.",
        remedy=f"Give the last layer {columns} outputs, or bring the targets to the shape {answers} first: a sum, a mean or a "
        "column "
        "left out by mistake (keepdim=True) is the usual cause.",
        reference="torch.nn.MSELoss: input and target have the same shape; NumPy's rules of broadcasting",
    )


def _batch_sizes(trace: Trace) -> Iterator[Finding]:
    for each in trace.seen("batch sizes"):
        if each.figure("fresh") != 1 or each.figure("looks") < limits.UPDATE_RECORDS:
            continue
        harm = consequence(trace)
        yield Finding(
            id="broadcast",
            severity="info" if harm.well or harm.kind == "unknown" else "warning",
            where=each.where,
            steps=each.steps,
            value=1.0,
            limit=each.figure("size"),
            message=(
                f"One input of {each.where[0]} has the shape {each.words['shape']}, another one row for each of "
                f"{int(each.figure('size'))} examples; {harm.words}."
            ),
            why="The single row, a new one at each step, is used for all examples: it fits one of them and is noise to others.",
            remedy="See how this input is gathered into batches: one row for each example, not one for all of them.",
            reference="NumPy's rules of broadcasting",
        )


@check("softmax-axis")
def softmax_axis(trace: Trace) -> Iterator[Finding]:
    """A softmax over a single unit, or not over the classes; attention or a mixture whose softmax uses another axis than the sum.

    Measured: The axis along which a softmax before the loss, or in an attention, sums to 1; and the number of units it is
        taken over.
    Formula: none: the sum over the classes is 1 for each example, or it is not.
    """
    yield from mixtures(trace, axis=True)
    if not any(trace.seen(each) for each in ("comparison", "attention", "softmax", "mixture")):
        raise Skip("not applicable", NO_COMPARISON)
    yield from _attention(trace)
    yield from _inside(trace)
    for each in trace.seen("comparison"):
        chain = [name for name in operations_of(each) if name != "Log"]
        softmax = chain[0].lower().replace("logsoftmax", "log-softmax") if chain and chain[0] in NORMALISED else ""
        single = each.words["expects"] == "classes" and each.figure("classes") == 1
        if "Share" in each.words["operations"].split() and each.figure("ones") == 1:
            yield _share_of_one(each)
            continue
        module = each.where[:1]
        if (softmax and each.figure("ones") == 1) or single:
            what = f"The {softmax} before the loss is" if softmax else "The softmax of the cross-entropy is"
            fits = each.words["expects"] in ("squared", "absolute")
            yield Finding(
                id="softmax-axis",
                severity="critical",
                where=module,
                steps=each.steps,
                value=1.0,
                limit=2.0,
                message=f"{what} taken over a single unit: it gives 1 whatever goes in, and no gradient.",
                why="With a single unit its share is always 1, so nothing is learned.",
                remedy=(
                    f"Leave the {softmax or 'softmax'} out, or end in a sigmoid where targets lie between 0 and 1."
                    if fits
                    else "For a question of yes or no give the raw output to binary_cross_entropy_with_logits, or end in a "
                    "sigmoid with binary_cross_entropy; or give the last layer two outputs, with cross_entropy."
                ),
                reference="torch.nn.Softmax: dim, along which the results sum to 1",
            )
        elif softmax and each.figure("sum_off") == 1:
            axis = each.figure("axis")
            over = "over the batch" if axis == 0 else f"along axis {int(axis)}" if isfinite(axis) else "with sums of other rows"
            right = "dim=1" if each.words["expects"] in ("classes", "logarithms") else "dim=-1"
            yield Finding(
                id="softmax-axis",
                severity="critical",
                where=module,
                steps=each.steps,
                value=axis,
                limit=nan,
                message=f"The {softmax} before the loss is taken {over}, not over the classes: no example's shares sum to 1.",
                why="Examples compete with one another for a class, instead of classes for an example.",
                remedy=f"Take the {softmax} with {right}, the axis of the classes."
                + ("" if isfinite(axis) else " Written by hand, divide by the sum along it, with keepdim=True."),
                reference="torch.nn.Softmax: dim, along which the results sum to 1",
            )


def _share_of_one(each: Evidence) -> Finding:
    return Finding(
        id="softmax-axis",
        severity="critical",
        where=each.where[:1],
        steps=each.steps,
        value=1.0,
        limit=2.0,
        message="The outputs before the loss are divided by their sum over a single unit: that gives 1 whatever goes in.",
        why="With a single unit its share is always 1, so the loss is almost 0 and nothing is learned.",
        remedy="For a question of yes or no use binary_cross_entropy on the sigmoid, or give the last layer two outputs.",
        reference="torch.nn.Softmax: dim, along which the results sum to 1",
    )


def _inside(trace: Trace) -> Iterator[Finding]:
    """Softmaxes inside the network."""
    heads = {each.where[0] for each in trace.seen("comparison")}
    for each in trace.seen("softmax"):
        single, axis = each.words["what"] == "unit", int(each.figure("axis"))
        if each.where[0] in heads or each.figure("looks") < limits.UPDATE_RECORDS:
            continue  # another check compares the last softmax with what the loss expects
        yield Finding(
            id="softmax-axis",
            severity="warning",
            where=each.where,
            steps=each.steps,
            value=float(axis),
            limit=nan,
            message=(
                f"A softmax is taken over the single unit of {each.where[0]}: it gives 1 whatever goes in, and no gradient."
                if single
                else f"A softmax in {each.where[0]} is taken along axis 0 of {int(each.figure('axes'))}, over the "
                f"{int(each.figure('size'))} examples of the batch."
            ),
            why=(
                "With a single unit its share is always 1: nothing is weighed."
                if single
                else "Examples compete with one another, and each answer depends on which others lie in its batch."
            ),
            remedy=(
                "Take the softmax along the axis of what is weighed, such as time: scores of shape (batch, time, 1) need dim=1."
                if single
                else "Take it along the axis of what is weighed for one example: dim=1, or dim=-1."
            ),
            reference="torch.nn.Softmax: dim, along which the results sum to 1",
        )


def _attention(trace: Trace) -> Iterator[Finding]:
    for each in trace.seen("attention"):
        if each.figure("off") < 1:
            continue
        axis, axes = int(each.figure("axis")), int(each.figure("axes"))
        over = "the batch" if axis == 0 else "the heads" if axis == 1 and axes > 3 else "the queries"
        yield Finding(
            id="softmax-axis",
            severity="warning",
            where=each.where,
            steps=each.steps,
            value=float(axis),
            limit=float(axes - 1),
            message=(
                f"The softmax of the attention{' in ' + each.where[0] if each.where else ''}{_scores(each)} is taken along "
                f"axis {axis} "
                f"of {axes}, over {over}: the weights of each query do not sum to 1."
            ),
            why="Each query gets a sum of any size instead of a mean of the values, and a mask over keys does not work.",
            remedy=f"Take the softmax of the scores along the keys, dim=-1, instead of dim={axis}.",
            reference="Vaswani et al. 2017, Attention is all you need, section 3.2.1",
        )


def _scores(each: Evidence) -> str:
    made = each.words.get("scores", "")
    return f" (of products of what {made} gives)" if made else ""
