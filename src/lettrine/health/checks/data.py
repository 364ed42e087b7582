"""Checks of the input data: scale, order, and whether inputs and targets belong together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.answers import torn
from lettrine.health.checks.consequence import Consequence, consequence, wasted, weigh
from lettrine.health.checks.majority import rare_among
from lettrine.health.checks.oscillation import swings
from lettrine.health.checks.reading import late, median, number, share, start
from lettrine.health.checks.reference import NEED_NOT_FALL, ordinary
from lettrine.health.checks.registry import Skip, check
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import ModuleInfo, Trace

_FIRST = ("linear", "norm", "embedding", "recurrent", "attention", "output")
_NORMALIZING = "LeCun et al. 1998, Efficient BackProp, section 4.3: normalizing the inputs"
_IN_ORDER = "Bengio 2012, Practical recommendations for gradient-based training, section 2.1: i.i.d. examples"


def unscaled(trace: Trace) -> Evidence | None:
    """The inputs, if their size is far from the usual one and nothing in the network corrects it; otherwise None."""
    seen = next(iter(trace.seen("inputs")), None)
    if seen is None or seen.figure("rescaled") > 0:
        return None
    first = _first_layer(trace)
    return seen if first is not None and (_large(trace, seen, first) or _tiny(seen)) else None


def _first_layer(trace: Trace, root: str = "") -> ModuleInfo | None:
    """The first layer with weights, of the model or of one of its parts; None if it is one that corrects the scale."""
    inside = [info for info in trace.modules if not root or info.name == root or info.name.startswith(f"{root}.")]
    first = next((info for info in sorted(inside, key=lambda each: each.depth) if info.role in _FIRST), None)
    return None if first is None or first.role in ("norm", "embedding") or first.name not in trace.outputs else first


def _large(trace: Trace, seen: Evidence, first: ModuleInfo) -> bool:
    """Whether inputs are far above the usual size, or one of them far above another, and arrive so."""
    most, least = seen.figure("feature_most"), seen.figure("feature_least")
    uneven = most >= limits.SCALE_UNEVEN * least and most >= 0.3 * limits.SCALE_FAR
    arrives = median(trace.output(first.name, "rms"), start(trace)) >= limits.SCALE_ARRIVES
    return (most >= limits.SCALE_FAR or uneven) and arrives


def _drowned(trace: Trace) -> Iterator[Finding]:
    """Inputs of some part that are so large that the activation behind its first layer is saturated from beginning to end.

    For a loss that has no reference, that is harm enough: hardly any gradient reaches the first layer.
    """
    for seen in trace.seen("inputs"):
        first = _first_layer(trace, seen.where[0])
        if first is None or seen.figure("rescaled") > 0 or not _large(trace, seen, first):
            continue
        behind = next((info for info in trace.modules if info.fed_by == first.name and info.name in trace.outputs), None)
        if behind is None:
            continue
        shares = [median(trace.output(behind.name, "saturated"), mask) for mask in (start(trace), late(trace))]
        if not min(shares) >= limits.DROWNED:
            continue
        low, high = number(seen.figure("low"), 3), number(seen.figure("high"), 3)
        yield Finding(
            id="input-scale",
            severity="warning",
            where=seen.where,
            steps=seen.steps,
            value=seen.figure("feature_most"),
            limit=limits.SCALE_FAR,
            message=f"The inputs of {seen.where[0] or 'the network'} go from {low} to {high}: {share(shares[0])} of the outputs "
            f"of {behind.name}, behind its first layer, are saturated at the start, and {share(shares[1])} still are later.",
            why="Saturated outputs tell only on which side of 0 an input lies, and let hardly any gradient through.",
            remedy="Subtract each feature's mean and divide by its std, both of the training data, or begin with a norm layer.",
            reference=_NORMALIZING,
        )
        return


def _tiny(seen: Evidence) -> bool:
    """Whether all inputs are so small that fresh layers output almost only their biases."""
    return 0 < seen.figure("feature_most") <= limits.SCALE_TINY


@check("input-scale", needs=("loss",))
def input_scale(trace: Trace) -> Iterator[Finding]:
    """Raw pixels, prices or other inputs far from the size that layers are initialised for.

    Measured: The size of each input feature, and the size of the first layer's output. Networks that begin with a
        norm or an embedding are not judged.
    Formula: size = rms of a feature over the batch; judged are the largest one, and the largest divided by the smallest. Inputs
        that are all below {SCALE_TINY:g} are named if the loss ends above that of the best single answer. Where the loss need
        not fall: {DROWNED:.0%} or more of the outputs behind the first layer are saturated, at the start and later.
    """
    seen, harm = unscaled(trace), consequence(trace)
    if harm.kind == "unknown" and not ordinary(trace) and (drowned := list(_drowned(trace))):
        yield from drowned
        return
    if seen is None:
        return
    # Batch norm removes the scale, and the training learned: a bad held-out loss has another cause.
    bad = harm.bad and not (harm.kind == "held out" and trace.norms)
    if _tiny(seen):
        if bad or worse_than_one_answer(harm):
            yield _too_small(seen, harm)
        return
    little = harm.kind == "learns" and harm.end >= limits.PLATEAU_HIGH * harm.reference.value
    lost = little or (wasted(trace) and not harm.well)
    broke = trace.first_nonfinite is not None and trace.first_nonfinite.phase != "data"
    if broke and any(each.words["broke"] for each in trace.seen("operation")):
        return  # a logarithm, a root or a division that broke is the more direct cause
    low, high = number(seen.figure("low"), 3), number(seen.figure("high"), 3)
    most, least = seen.figure("feature_most"), seen.figure("feature_least")
    uneven = f", and features of a size from {number(least)} to {number(most)}" if most > limits.SCALE_UNEVEN * least else ""
    told = (
        f"values stopped being finite at step {trace.first_nonfinite.step:,}" if broke and trace.first_nonfinite else harm.words
    )
    pixels = seen.figure("low") >= 0 and 200 < seen.figure("high") <= 255
    yield Finding(
        id="input-scale",
        severity="warning" if bad or lost or broke else "info",
        where=seen.where,
        steps=seen.steps,
        value=most,
        limit=limits.SCALE_FAR,
        message=f"The inputs go from {low} to {high}{uneven}: {told}.",
        why="Layers are initialised for inputs of about 1: larger ones saturate or overwhelm them, and rule each step.",
        remedy=(
            "Divide the pixels by 255, or normalise each channel by its mean and std over the training data."
            if pixels
            else "Subtract each feature's mean and divide by its std, both of the training data, or begin with a norm layer."
        ),
        reference=_NORMALIZING,
    )


def _too_small(seen: Evidence, harm: Consequence) -> Finding:
    most = seen.figure("feature_most")
    return Finding(
        id="input-scale",
        severity="warning",
        where=seen.where,
        steps=seen.steps,
        value=most,
        limit=limits.SCALE_TINY,
        message=f"The inputs go from {number(seen.figure('low'), 3)} to {number(seen.figure('high'), 3)}, with a root mean "
        f"square of {number(most)} at most: {harm.words}.",
        why="Layers are initialised for inputs of about 1: of such small ones they see their own biases, and the gradients of "
        "the first weights are as many times too small.",
        remedy="Subtract each feature's mean and divide by its std, both of the training data; see that pixels are not "
        "divided by 255 twice (ToTensor does it once).",
        reference=_NORMALIZING,
    )


def worse_than_one_answer(harm: Consequence) -> bool:
    """Whether a training of some length still loses more than the best single answer to every input would."""
    taken = harm.steps[1] - harm.steps[0] + 1
    return harm.reference.known and taken >= limits.LEARNING_STEPS and harm.end >= harm.reference.value


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
    for each in trace.seen("comparison"):
        many = each.figure("looks") >= limits.SORTED_LOOKS and each.figure("classes_seen") > 1
        single = each.figure("single") == 1 and each.figure("labels") >= limits.SORTED_ROWS * each.figure("looks")
        if not (many and single and each.figure("given") == 1 and each.figure("scatter") >= limits.SCATTERED):
            continue
        harm, pure = consequence(trace), each.figure("pure") == 1
        if not (harm.bad or pure):
            continue
        held = "only one class" if pure else f"classes that differ {number(each.figure('scatter'))} times more than chance allows"
        yield Finding(
            id="sorted-data",
            severity="critical" if harm.bad else "warning",
            where=each.where[:1],
            steps=each.steps,
            value=each.figure("scatter"),
            limit=limits.SCATTERED,
            message=f"The examples come class by class: each batch that was looked at holds {held}; {harm.words}.",
            why="The network learns to say the class that is on, and forgets it when the next one comes.",
            remedy="Shuffle the training data in each epoch: DataLoader(…, shuffle=True).",
            reference=_IN_ORDER,
        )
    yield from _in_blocks(trace)


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
            why="The network learns the part of the data that is on, and forgets it when the next one comes.",
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
        only if nothing was learned.
    Formula: told = (agreement of the targets of neighbours - its mean under permuted targets) / (its standard deviation under
        them), or the same of the squares of all covariances, whichever is larger; limit = {TOLD:g}, and {TOLD_ROWS:g} for rows,
        pictures and tokens.
    """
    harm = consequence(trace)
    hardly = harm.reference.known and harm.end >= limits.HELD_OUT_CHANCE * harm.reference.value and ordinary(trace)
    nothing = harm.kind in ("guessing", "held out", "flat") or (harm.kind in ("learns", "falls") and hardly)
    if not nothing and not by_heart_only(trace, harm):
        return
    for each in trace.seen("inputs"):
        told, compared = each.figure("told"), each.figure("compared")
        limit = limits.TOLD_ROWS if each.figure("columns") > 1 else limits.TOLD
        enough = compared >= limits.TOLD_LEAST and rare_among(trace, compared) >= limits.TOLD_RARE
        enough |= torn(trace) == "training"
        if not (enough and told < limit) or not _moves(trace, harm):
            continue
        if unscaled(trace) is not None or _far_targets(trace):
            continue  # their scale is the more direct cause
        yield Finding(
            id="shuffled-targets",
            severity="critical",
            where=each.where,
            steps=each.steps,
            value=told,
            limit=limit,
            message=(
                f"Inputs tell nothing of their targets: of {int(compared)} examples, those that are alike have targets as "
                f"different as any others ({number(told)} standard deviations from chance), and {_what_became(trace, harm)}."
            ),
            why="What does not belong together cannot be learned, only learned by heart.",
            remedy=(
                "Look at a few inputs beside their targets: both must be sorted, shuffled and filtered by the same index; then "
                "fit one batch of 32 to a loss near 0."
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
    return harm.kind in ("held out", "learns") or any(limits.UPDATE_SMALL < size < limits.UPDATE_LARGE_EARLY for size in sizes)
