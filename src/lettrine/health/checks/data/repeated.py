"""Batches or rows that come again and again, or are empty: "repeated-batch"."""

from __future__ import annotations

from collections.abc import Iterator
from math import nan

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.data.jumps import strange_batches
from lettrine.health.checks.data.standing import standing
from lettrine.health.checks.data.untold import untold
from lettrine.health.checks.held_out.kept import kept
from lettrine.health.checks.reading import finite_curve, number, share
from lettrine.health.checks.reference import reference_of
from lettrine.health.checks.registry import Skip, check
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


@check("repeated-batch")
def repeated_batch(trace: Trace) -> Iterator[Finding]:
    """The same batch several times in a row, a batch in which all rows are equal, or sometimes a batch of nothing but 0; or one
    amount of noise that a network is told for all rows; or a condition that stays the same while all else changes; or a seed
    that is set in each step.

    Measured: Whether a batch equals the one before, whether all rows of a batch are the same, and whether all its values are 0;
        as a remark, losses that jump for one step to what guessing gives.
        Whether each row of a batch resembles the row at the same place of the batch before, and no other row, although their
        labels differ. Whether the network is told one number while noise is mixed into the rows by many amounts. Whether one of
        several inputs is the same batch at all looks, its rows in no order, while the others and the targets are others each
        time and are no more alike for the same row of it than by chance. Whether torch's random generator is in one state at
        {RESEEDED} steps or more, although numbers are drawn: more than a remark where noise is, outside of the model.
    Formula: share = (batches equal to the one before) / (pairs of batches that were compared); one batch of inputs with
        {SORTED_LOOKS} or more of targets; batches of 0:
        {BLANK_LEAST} or more, and at most {BLANK_MOST:.0%} of all.
    """
    yield from _blank(trace)
    yield from _reseeded(trace)
    yield from strange_batches(trace)
    yield from untold(trace)
    yield from standing(trace)
    yield from (_same_numbers(each) for each in trace.seen("alike rows") if each.figure("alike") >= limits.ALIKE_PAIRS)
    seen = trace.seen("inputs")
    targets = [each for each in trace.seen("comparison") if each.figure("given") == 1]
    if not seen or not targets:
        raise Skip("not applicable", "no batch of real numbers with targets was seen")
    alone = all(each.figure("alone") == 1 for each in targets)
    for each in seen:
        if each.figure("alike") == 1 and each.figure("looks") >= limits.UPDATE_RECORDS and not consequence(trace).well:
            yield Finding(
                id="repeated-batch",
                severity="critical",
                where=each.where,
                steps=each.steps,
                value=each.figure("rows"),
                limit=1.0,
                message=f"All {int(each.figure('rows'))} rows of each batch are the same.",
                why="The inputs of a batch do not tell why its targets differ.",
                remedy="Look at how rows are picked: an index that is not used, one example expanded, or a generator made anew.",
                reference="Karpathy 2019, A recipe for training neural networks: become one with the data",
            )
        elif _empty(each) and not consequence(trace).well:
            yield _of_one_value(each)
        elif each.figure("distinct") == 1 and each.figure("asked") >= limits.SORTED_LOOKS and consequence(trace).bad:
            yield _same_for_all(each, consequence(trace).words)
        elif alone and _one_after_another(each):
            yield Finding(
                id="repeated-batch",
                severity="warning",
                where=each.where,
                steps=each.steps,
                value=each.figure("same"),
                limit=limits.REPEATED,
                message=f"In the first steps {share(each.figure('same'))} of the batches are the one before over again.",
                why="Every new example costs several steps, and the network memorises the few it sees.",
                remedy=(
                    "See that loader workers do not share a seed (seed each of them in worker_init_fn), and that the batch is "
                    "drawn anew in each step."
                ),
                reference="torch.utils.data: randomness in multi-process data loading",
            )
        elif alone and each.figure("period") >= 1 and (apart := _by_heart(trace)):
            yield _returning(each, apart) if not _all_there_are(trace, each) else _few_rows(each, apart)


def _blank(trace: Trace) -> Iterator[Finding]:
    """Some batches are 0 throughout, and others are not."""
    for each in trace.seen("blank batches"):
        blank, batches = int(each.figure("blank")), int(each.figure("batches"))
        if blank >= limits.BLANK_LEAST and blank <= limits.BLANK_MOST * batches:
            yield Finding(
                id="repeated-batch",
                severity="warning",
                where=(),
                steps=each.steps,
                value=blank / batches,
                limit=limits.BLANK_LEAST / batches,
                message=f"{blank} of the {batches} batches looked at are 0 in all rows, the first one at step {each.steps[0]:,}.",
                why="Such a batch teaches only how frequent each target is.",
                remedy="See where batches get lost on their way to the model: a copy to the device that is used before it has "
                "arrived (non_blocking=True), memory that is filled again too soon, or a data set that returns zeros where "
                "reading failed. Assert x.any() before each step.",
                reference="torch.Tensor.to: non_blocking",
            )


def _reseeded(trace: Trace) -> Iterator[Finding]:
    """A seed that is set in the loop."""
    for each in trace.seen("reseeded"):
        looks, same, course = int(each.figure("looks")), int(each.figure("same")), consequence(trace)
        if same < max(limits.RESEEDED, looks - 1):
            continue
        apart = _by_heart(trace)
        hurts = course.bad or bool(apart) or each.figure("noise") == 1
        told = f"; {apart or course.words}" if hurts and (apart or course.kind != "unknown") else ""
        yield Finding(
            id="repeated-batch",
            severity="warning" if hurts else "info",
            where=(),
            steps=each.steps,
            value=float(same),
            limit=float(limits.RESEEDED),
            message=f"At {same} of {looks} steps looked at torch's random generator is in one and the same state, although "
            f"numbers are drawn in each: every step draws the same ones{told}.",
            why="What is drawn to make each step another one (dropout, noise, a choice of rows) is always the same, and learned "
            "by heart.",
            remedy="Call torch.manual_seed(...) once, before the loop, and not in it or in forward; numbers that have to stay "
            "the same take a torch.Generator of their own.",
            reference="torch.manual_seed",
        )


def _same_numbers(each: Evidence) -> Finding:
    """The random numbers of an augmentation come again in the next batch."""
    alike, pairs = int(each.figure("alike")), int(each.figure("pairs"))
    return Finding(
        id="repeated-batch",
        severity="warning",
        where=each.where,
        steps=each.steps,
        value=each.figure("near"),
        limit=0.0,
        message=f"In {alike} of {pairs} pairs of batches that follow one another each row resembles the row at the same place of "
        f"the other batch (correlation {number(each.figure('near'), 2)}), and no other row, although their labels differ: the "
        "same random numbers were laid over different examples.",
        why="What is drawn at random to make examples more various is the same several times over.",
        remedy="See that loader workers do not share a seed: NumPy's global generator is copied into each of them. Seed each in "
        "worker_init_fn (numpy.random.seed(torch.initial_seed() % 2**32)), or draw with torch.",
        reference="torch.utils.data: randomness in multi-process data loading",
    )


def _empty(each: Evidence) -> bool:
    """Whether many examples hold nothing, although their targets differ as those of all do."""
    enough = each.figure("looks") >= limits.UPDATE_RECORDS and each.figure("compared") >= limits.TARGETS_LEAST
    return enough and each.figure("empty") >= limits.EMPTY and each.figure("empty_spread") >= limits.EMPTY_SPREAD


def _of_one_value(each: Evidence) -> Finding:
    return Finding(
        id="repeated-batch",
        severity="warning",
        where=each.where,
        steps=each.steps,
        value=each.figure("empty"),
        limit=limits.EMPTY,
        message=f"{share(each.figure('empty'))} of the examples hold one value throughout, and their targets differ.",
        why="An empty example teaches only how frequent each target is.",
        remedy="See how these files are read: a path that is not found, or a picture that cannot be decoded, may give zeros.",
        reference="Karpathy 2019, A recipe for training neural networks: become one with the data",
    )


def _same_for_all(each: Evidence, harm: str) -> Finding:
    """One batch of inputs, and other targets each time."""
    return Finding(
        id="repeated-batch",
        severity="critical",
        where=each.where,
        steps=each.steps,
        value=each.figure("asked"),
        limit=1.0,
        message=f"The inputs are the same {int(each.figure('rows'))} rows at all {int(each.figure('looks'))} looks, and the "
        f"targets are others each time ({int(each.figure('asked'))} batches of them); {harm}.",
        why="Nothing in the inputs tells why the targets differ: all that can be learned is their mean.",
        remedy="Take inputs and targets of one batch from one iterator, for x, y in loader: next(iter(loader)) makes a new one, "
        "which begins anew.",
        reference="Karpathy 2019, A recipe for training neural networks: become one with the data",
    )


def _one_after_another(each: Evidence) -> bool:
    """Whether batches repeat several times in a row, and not only while the data store is still small; nor as in
    meta-learning, where each batch is a task, and the weights are taken back or averaged after some steps with it.
    """
    enough = each.figure("pairs") >= 3 and each.figure("distinct") >= 3
    tasks = each.figure("written") >= limits.WRITTEN_OVER
    return enough and each.figure("same") >= limits.REPEATED and not each.figure("grown") > limits.STORE_GROWN and not tasks


def _by_heart(trace: Trace) -> str:
    """How far the held-out loss is from the training loss, if it is far; "" if it is near or unknown."""
    _, losses = finite_curve(trace, trace.loss)
    finite = np.isfinite(trace.dev.mean)
    dev = trace.dev.mean[finite]
    if len(losses) < limits.CONSEQUENCE_STEPS or not len(dev):
        return ""
    end = float(np.mean(losses[-max(10, len(losses) // 10) :]))
    held_out = min(float(np.median(dev[-3:])), kept(trace, trace.dev.step[finite], dev)[0])
    far = held_out > limits.BY_HEART * end and held_out > limits.LEARNED_WELL * reference_of(trace, end).value
    return f"the loss on held-out data is {number(held_out, 3)}, that of training {number(end, 3)}" if far else ""


def _all_there_are(trace: Trace, each: Evidence) -> bool:
    """Whether one batch is trained on by design, as all nodes of a graph at once: data are split so that most are trained on, and
    no more are held out. One batch of many is held against more rows than its own.
    """
    return each.figure("period") == 1 and any(
        judged.figure("rows") * judged.figure("passes") <= each.figure("rows") for judged in trace.seen("evaluated")
    )


def _few_rows(each: Evidence, apart: str) -> Finding:
    """All rows at once in every step, and they were learned by heart."""
    return Finding(
        id="repeated-batch",
        severity="info",
        where=each.where,
        steps=each.steps,
        value=each.figure("rows"),
        limit=nan,
        message=f"Every step sees the same {int(each.figure('rows'))} rows; {apart}.",
        why="The network has learned these rows by heart, and little that holds for others.",
        remedy="Gather more data, take a smaller network or more weight decay, or stop where the held-out loss is lowest.",
        reference="Prechelt 1998, Early stopping, but when?",
    )


def _returning(each: Evidence, apart: str) -> Finding:
    period, rows = int(each.figure("period")), int(each.figure("rows"))
    one = period == 1
    return Finding(
        id="repeated-batch",
        severity="warning",
        where=each.where,
        steps=each.steps,
        value=float(period),
        limit=nan,
        message=(
            f"Every step sees the same batch of {rows} rows; {apart}."
            if one
            else f"The same {period} batches of {rows} rows come again and again, in the same order; {apart}."
        ),
        why="The network memorises the few examples it sees, and learns nothing that holds for others.",
        remedy=(
            "Take the next batch at each step, for x, y in loader, and not next(iter(loader)), which is always the first one. If "
            "these rows are all there are, they are too few for this network."
            if one
            else "Where batches are drawn or augmented at random, seed the generator once before the first epoch and not in each "
            "one; where they come from a data set, shuffle it. If these rows are all there are, they are too few for this "
            "network."
        ),
        reference="torch.utils.data: randomness in multi-process data loading",
    )
