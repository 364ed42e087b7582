"""Checks of the input data: their order, and whether inputs and targets belong together."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import Final

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.consequence import Consequence, consequence, weigh
from lettrine.health.checks.data.displaced import displaced
from lettrine.health.checks.data.exchanged_pictures import exchanged_pictures
from lettrine.health.checks.data.input_scale import unscaled
from lettrine.health.checks.data.turned import turned
from lettrine.health.checks.held_out.answers import torn
from lettrine.health.checks.losses.majority import rare_among
from lettrine.health.checks.losses.oscillation import swings
from lettrine.health.checks.reading import finite_curve, median, number, share
from lettrine.health.checks.reference import NEED_NOT_FALL, ordinary
from lettrine.health.checks.registry import Skip, check
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace

_IN_ORDER = "Bengio 2012, Practical recommendations for gradient-based training, section 2.1: i.i.d. examples"
_TOGETHER: Final = (
    " It may be otherwise: targets that depend on many columns only together, as a parity or a sum modulo a number does, or that "
    "vary fast, look the same, and take far longer to learn."
)


@check("sorted-data", needs=("loss",))
def sorted_data(trace: Trace) -> Iterator[Finding]:
    """Examples that come class by class, or task by task.

    Measured: The classes in each batch, against what shuffled data would give; where targets are numbers, inputs and targets of
        each batch against those of the others, if the loss swings with a period of several batches.
    Formula: scatter = chi-squared of the class counts over the batches / degrees of freedom, or Fisher's F of the batches;
        shuffled data give about 1.
    """
    if not ordinary(trace):
        raise Skip("not applicable", NEED_NOT_FALL)
    for each in by_class(trace):
        harm, pure, period = consequence(trace), each.figure("pure") == 1, swings(trace)
        largest = each.figure("largest")
        held = "only one class" if pure else f"classes that differ {number(each.figure('scatter'))} times more than chance allows"
        if nearly := not pure and largest >= limits.SORTED_NEARLY:
            held = f"hardly more than one class ({share(largest)} of a batch on average)"
        swing = f"the loss swings up and down every {period} steps, and " if period and not harm.bad else ""
        yield Finding(
            id="sorted-data",
            severity="critical" if harm.bad else "warning" if pure or nearly or period else "info",
            where=each.where[:1],
            steps=each.steps,
            value=each.figure("scatter"),
            limit=limits.SCATTERED,
            message=f"The examples come class by class: each batch that was looked at holds {held}; {swing}{harm.words}.",
            why="The network learns to answer the current class, and forgets it when the next one comes.",
            remedy="Shuffle the training data in each epoch: DataLoader(…, shuffle=True).",
            reference=_IN_ORDER,
        )
    yield from _in_blocks(trace)


def by_class(trace: Trace) -> list[Evidence]:
    """Losses whose batches differ in their classes far more than those of shuffled data."""
    found = []
    for each in trace.seen("comparison"):
        many = each.figure("looks") >= limits.SORTED_LOOKS and each.figure("classes_seen") > 1
        single = each.figure("single") == 1 and each.figure("labels") >= limits.SORTED_ROWS * each.figure("looks")
        if many and single and each.figure("given") == 1 and each.figure("scatter") >= limits.SCATTERED:
            found.append(each)
    return found


def _in_blocks(trace: Trace) -> Iterator[Finding]:
    """Numbers that come in blocks longer than a batch: their batches differ, and the loss swings as the blocks come and go."""
    for each in trace.seen("inputs"):
        many = each.figure("looks") >= limits.SORTED_LOOKS and each.figure("rows") >= limits.SORTED_ROWS
        period = swings(trace) if many and each.figure("scatter") >= limits.SCATTERED else 0
        if not period:
            continue
        finding = Finding(
            id="sorted-data",
            severity="warning",
            where=each.where,
            steps=each.steps,
            value=each.figure("scatter"),
            limit=limits.SCATTERED,
            message=f"The examples come in blocks: inputs and targets of the batches looked at differ "
            f"{number(each.figure('scatter'))} times more than chance allows, and the loss swings up and down every {period} "
            "steps.",
            why="The network learns the current part of the data, and forgets it when the next one comes.",
            remedy="Shuffle the training data in each epoch: DataLoader(…, shuffle=True).",
            reference=_IN_ORDER,
        )
        if (weighed := weigh(finding, trace)) is not None:
            yield weighed


@check("shuffled-targets", needs=("loss",))
def shuffled_targets(trace: Trace) -> Iterator[Finding]:
    """Inputs that carry no information about their targets, as if the pairs had been shuffled.

    Measured: Whether examples with similar inputs have similar targets: each example is compared with its nearest neighbour
        among those seen. And whether any feature varies with any number of the targets, which may be rows or pictures. Asked
        only if nothing was learned; or nothing that depends on the input: the answers fit their own targets no better than the
        mean of the answers does, within {GAIN_NOISE:g} standard errors, and gain less than {LEARNED_SHARE:.0%}; or little, and
        only once the same examples came again. And, of sequences, the places of the targets among the tokens given; of maps,
        whether they lie mirrored or turned against their pictures, or, where a judge is trained beside, are no more like their
        own pictures than like those of others, within {EXCHANGED_OWN:g} standard errors, and answers neither.
        A remark where it is not certain: with {TOLD_UNSURE:g} or more, or where inputs are columns of few values that are not
        correlated, and no inputs are close enough to show that targets depend on all of them together.
    Formula: told = (agreement of the targets of neighbours - its mean under permuted targets) / (its standard deviation under
        them), or the same of the squares of all covariances, whichever is larger; limit = {TOLD:g}, and {TOLD_ROWS:g} for rows,
        pictures and tokens.
    """
    if certain := [*displaced(trace), *turned(trace), *exchanged_pictures(trace)]:
        yield from certain
        return
    harm = consequence(trace)
    hardly = harm.reference.known and harm.left >= limits.HELD_OUT_CHANCE and ordinary(trace)
    nothing = harm.kind in ("guessing", "held out", "flat") or (harm.kind in ("learns", "falls") and hardly)
    blind = not nothing and same_for_all(trace, harm)
    plain = nothing or blind or by_heart_only(trace, harm)
    for each in trace.seen("inputs"):
        told, compared = each.figure("told"), each.figure("compared")
        limit = limits.TOLD_ROWS if each.figure("columns") > 1 else limits.TOLD
        enough = compared >= limits.TOLD_LEAST and rare_among(trace, compared) >= limits.TOLD_RARE
        enough |= (taken_apart := torn(trace) == "training")
        again = not plain and _once_again(trace, harm, each)
        if each.figure("beside") > 0 and not taken_apart:
            continue  # what tells the target may be how two inputs differ, and neither of them alone
        if not (plain or again) or not (enough and told < limit) or not _moves(trace, harm):
            continue
        if unscaled(trace) is not None or _far_targets(trace):
            continue  # their scale is the more direct cause
        jointly = each.figure("drawn") == 1 and not isfinite(each.figure("closest"))  # no two inputs differ in few columns
        unsure = jointly or (limit == limits.TOLD and told >= limits.TOLD_UNSURE)
        yield Finding(
            id="shuffled-targets",
            severity="info" if unsure else "warning" if again else "critical",
            where=each.where,
            steps=each.steps,
            value=told,
            limit=limit,
            message=(
                f"Inputs say nothing about their targets: of {int(compared)} examples, those that are alike have targets as "
                f"different as any others ({number(told)} standard deviations from chance), and "
                f"{_one_for_all(harm) if blind else _what_became(trace, harm)}"
                f"{', but only once the same examples came again' if again else ''}."
                f"{_TOGETHER if unsure else ''}"
            ),
            why="The network cannot learn targets that do not belong to their inputs. It can only memorise them.",
            remedy=(
                "Look at a few inputs, as they are after augmentation, beside their targets: both must be sorted, shuffled and "
                "filtered by the same index, and what tells them apart must still be there; then fit one batch of 32 to a loss "
                "near 0."
            ),
            reference="Karpathy 2019, A recipe for training neural networks: overfit one batch",
        )


def _far_targets(trace: Trace) -> bool:
    squares = [each for each in trace.seen("comparison") if each.words["expects"] in ("squared", "absolute")]
    return any(each.figure("mean") ** 2 + each.figure("std") ** 2 >= limits.SCALE_FAR**2 for each in squares)


def by_heart_only(trace: Trace, harm: Consequence) -> bool:
    """Whether the model only memorised: the held-out loss was never below guessing, or it was lowest at the first evaluation,
    before the model could memorise anything.
    """
    dev = trace.dev.mean[np.isfinite(trace.dev.mean)]
    reference = harm.reference.value
    if len(dev) < limits.OVERFITTING_POINTS or harm.kind not in ("learns", "falls") or not harm.reference.known:
        return False
    never = float(dev.min()) > limits.HELD_OUT_CHANCE * reference and harm.end >= limits.HARDLY_LEARNED * reference
    rose = float(np.median(dev[len(dev) // 2 :])) > dev[0] >= limits.HELD_OUT_LEARNED * reference
    return never or (rose and float(dev.min()) >= limits.HELD_OUT_LEARNED * reference)


def _once_again(trace: Trace, harm: Consequence, inputs: Evidence) -> bool:
    """Whether the loss stayed at guessing as long as the examples were new, and fell only a little when they came again.

    How many examples there are is told by how many of those kept were kept before: of k examples drawn from n, k² / 2n.
    """
    kept, steps = inputs.figure("taken"), harm.steps[1] - harm.steps[0]
    pairs = kept - inputs.figure("compared")
    close = inputs.figure("near") <= limits.NEAR  # otherwise nothing is alike, and likeness tells nothing
    if harm.kind not in ("learns", "falls") or not ordinary(trace) or not pairs >= limits.CAME_AGAIN or not close:
        return False
    guess = harm.reference.value
    new = kept**2 / 2 / pairs / inputs.figure("rows")  # steps until all were met
    taken, losses = finite_curve(trace, trace.loss)
    losses = losses[(taken >= new / 2) & (taken <= new)]
    still = len(losses) > 0 and float(losses.mean()) >= limits.HELD_OUT_CHANCE * guess
    return still and steps >= 3 * new and harm.end >= limits.HELD_OUT_LEARNED * guess


def same_for_all(trace: Trace, harm: Consequence) -> bool:
    """Whether the answers were seen to fit their targets no better than one answer to every input, however low the loss is."""
    if harm.steps[1] - harm.steps[0] < limits.PLATEAU_STEPS or not ordinary(trace):
        return False
    numbers = [each for each in trace.seen("comparison") if each.figure("alone") == each.figure("given") == 1]
    gains = [(each.figure("gain"), each.figure("gain_error"), 1.0) for each in numbers[:1] if len(numbers) == 1]
    gains.append((trace.facts.gain, trace.facts.gain_error, harm.end))
    noise = limits.GAIN_NOISE
    return any(gain < noise * error and gain + noise * error < limits.LEARNED_SHARE * whole for gain, error, whole in gains)


def _one_for_all(harm: Consequence) -> str:
    return f"the loss, {number(harm.end, 3)} at step {harm.steps[1]:,}, is no lower than with one answer to all of them"


def _what_became(trace: Trace, harm: Consequence) -> str:
    if harm.bad or not np.isfinite(trace.dev.mean).any():
        return harm.words
    dev = trace.dev.mean[np.isfinite(trace.dev.mean)]
    return (
        f"the loss on held-out data goes from {number(float(dev[0]), 3)} to {number(float(dev[-1]), 3)} "
        f"({harm.reference.words}: {number(harm.reference.value, 3)})"
    )


def _moves(trace: Trace, harm: Consequence) -> bool:
    """Whether the weights moved enough to learn something. If they did not, nothing is known about the data."""
    sizes = [median(trace.parameter(name, "update_data")) for name in trace.parameter_stats]
    known = [size for size in sizes if np.isfinite(size)]
    if harm.kind == "held out":
        return True
    far = len(known) > 0 and float(np.median(known)) * (harm.steps[1] - harm.steps[0]) >= limits.TRAVELLED
    return far and (harm.kind == "learns" or any(limits.UPDATE_SMALL < size < limits.UPDATE_LARGE_EARLY for size in known))
