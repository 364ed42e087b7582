"""Checks of what the network is fed: scale, order, repetition, and whether inputs and targets belong together."""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits
from lettrine.health.checks.consequence import Consequence, consequence, wasted
from lettrine.health.checks.reading import median, number, share, start
from lettrine.health.checks.registry import Skip, check
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace

_FIRST = ("linear", "norm", "embedding", "recurrent", "attention", "output")
_NORMALIZING = "LeCun et al. 1998, Efficient BackProp, section 4.3: normalizing the inputs"


def unscaled(trace: Trace) -> Evidence | None:
    """What is fed to the network where its values are far from the usual size and nothing in the network takes care of that."""
    seen = next(iter(trace.seen("inputs")), None)
    if seen is None or seen.figure("rescaled") > 0:
        return None
    first = next((info for info in sorted(trace.modules, key=lambda each: each.depth) if info.role in _FIRST), None)
    if first is None or first.role in ("norm", "embedding") or first.name not in trace.outputs:
        return None
    most, least = seen.figure("feature_most"), seen.figure("feature_least")
    large = most >= limits.SCALE_FAR
    uneven = most >= limits.SCALE_UNEVEN * least and most >= 0.3 * limits.SCALE_FAR
    arrives = median(trace.output(first.name, "rms"), start(trace)) >= limits.SCALE_ARRIVES
    return seen if (large or uneven) and arrives else None


@check("input-scale", needs=("loss",))
def input_scale(trace: Trace) -> Iterator[Finding]:
    """Raw pixels, prices or other inputs far from the size that layers are initialised for.

    Measured: The size of each input feature, and the size of what the first layer makes of it. Networks that begin with a
        norm or an embedding are not judged.
    Formula: size = rms of a feature over the batch; judged are the largest one, and the largest divided by the smallest.
    """
    seen = unscaled(trace)
    if seen is None:
        return
    harm = consequence(trace)
    lost = wasted(trace) and not harm.well
    broke = trace.first_nonfinite is not None and trace.first_nonfinite.phase != "data"
    low, high = number(seen.figure("low"), 3), number(seen.figure("high"), 3)
    most, least = seen.figure("feature_most"), seen.figure("feature_least")
    uneven = f", and features of a size from {number(least)} to {number(most)}" if most > limits.SCALE_UNEVEN * least else ""
    told = (
        f"values stopped being finite at step {trace.first_nonfinite.step:,}" if broke and trace.first_nonfinite else harm.words
    )
    pixels = seen.figure("low") >= 0 and 200 < seen.figure("high") <= 255
    yield Finding(
        id="input-scale",
        severity="warning" if harm.bad or lost or broke else "info",
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


@check("repeated-batch")
def repeated_batch(trace: Trace) -> Iterator[Finding]:
    """The same batch several times in a row, or a batch that holds one row again and again.

    Measured: Whether a batch is the one before over again, and whether all rows of a batch are the same.
    Formula: share = (batches equal to the one before) / (pairs of batches that were compared).
    """
    seen = trace.seen("inputs")
    targets = [each for each in trace.seen("comparison") if each.figure("given") == 1]
    if not seen or not targets:
        raise Skip("not applicable", "no batch of real numbers with targets was seen")
    alone = all(each.figure("alone") == 1 for each in targets)
    for each in seen:
        if each.figure("alike") == 1 and each.figure("looks") >= limits.UPDATE_RECORDS:
            yield Finding(
                id="repeated-batch",
                severity="critical",
                where=each.where,
                steps=each.steps,
                value=each.figure("rows"),
                limit=1.0,
                message=f"All {int(each.figure('rows'))} rows of each batch are the same.",
                why="The inputs of a batch tell nothing of what its targets differ by.",
                remedy="Look at how rows are picked: an index that is not used, one example expanded, or a generator made anew.",
                reference="Karpathy 2019, A recipe for training neural networks: become one with the data",
            )
        elif alone and each.figure("same") >= limits.REPEATED and each.figure("pairs") >= 3 and each.figure("distinct") >= 3:
            yield Finding(
                id="repeated-batch",
                severity="warning",
                where=each.where,
                steps=each.steps,
                value=each.figure("same"),
                limit=limits.REPEATED,
                message=f"In the first steps {share(each.figure('same'))} of the batches are the one before over again.",
                why="Every example that is new costs several steps, and the network learns the few it sees by heart.",
                remedy=(
                    "See that loader workers do not share a seed (seed each of them in worker_init_fn), and that the batch is "
                    "drawn anew in each step."
                ),
                reference="torch.utils.data: randomness in multi-process data loading",
            )


@check("sorted-data", needs=("loss",))
def sorted_data(trace: Trace) -> Iterator[Finding]:
    """Examples that come class by class.

    Measured: The classes in each batch, against what shuffled data would give.
    Formula: scatter = chi-squared of the class counts over the batches / degrees of freedom; shuffled data give about 1.
    """
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
            reference="Bengio 2012, Practical recommendations for gradient-based training, section 2.1: i.i.d. examples",
        )


@check("shuffled-targets", needs=("loss",))
def shuffled_targets(trace: Trace) -> Iterator[Finding]:
    """Inputs that tell nothing of their targets, as if the two had been shuffled apart.

    Measured: Whether examples with similar inputs have similar targets: each example is held against its nearest neighbour
        among those seen. Asked only where nothing was learned.
    Formula: told = (agreement of the targets of neighbours - its mean under permuted targets) / (its standard deviation under
        them).
    """
    harm = consequence(trace)
    if harm.kind not in ("guessing", "held out", "flat"):
        return
    for each in trace.seen("inputs"):
        told, compared = each.figure("told"), each.figure("compared")
        if not (compared >= limits.TOLD_LEAST and told < limits.TOLD) or unscaled(trace) is not None or not _moves(trace, harm):
            continue
        yield Finding(
            id="shuffled-targets",
            severity="critical",
            where=each.where,
            steps=each.steps,
            value=told,
            limit=limits.TOLD,
            message=(
                f"Inputs tell nothing of their targets: of {int(compared)} examples, those next to one another have targets as "
                f"different as any others ({number(told)} standard deviations from chance), and {harm.words}."
            ),
            why="What does not belong together cannot be learned, only learned by heart.",
            remedy=(
                "Look at a few inputs beside their targets: both must be sorted, shuffled and filtered by the same index; then "
                "fit one batch of 32 to a loss near 0."
            ),
            reference="Karpathy 2019, A recipe for training neural networks: overfit one batch",
        )


def _moves(trace: Trace, harm: Consequence) -> bool:
    """Whether the weights moved enough to have learned something: else nothing is known of the data."""
    sizes = [median(trace.parameter(name, "update_data")) for name in trace.parameter_stats]
    return harm.kind == "held out" or any(limits.UPDATE_SMALL < size < limits.UPDATE_LARGE_EARLY for size in sizes)


@check("padding-index")
def padding_index(trace: Trace) -> Iterator[Finding]:
    """An index that is kept for padding and used as a token.

    Measured: How often the index that an embedding keeps for padding occurs, and whether it stands alone between two other
        tokens.
    Formula: share = (indices equal to padding_idx) / (all indices); inside = (those with another token on both sides) /
        (those equal to padding_idx).
    """
    for each in trace.seen("padding-index"):
        used = each.figure("share") >= limits.PADDING_SHARE and each.figure("inside") >= limits.PADDING_INSIDE
        if not (used and each.figure("looks") >= limits.UPDATE_RECORDS):
            continue
        index, name = int(each.figure("index")), each.where[0]
        asked = " and the loss asks for it as a class" if each.figure("targets") else ""
        yield Finding(
            id="padding-index",
            severity="warning",
            where=each.where,
            steps=each.steps,
            value=each.figure("inside"),
            limit=limits.PADDING_INSIDE,
            message=(
                f"{name} keeps index {index} for padding, but {share(each.figure('share'))} of its inputs are {index}: in "
                f"{share(each.figure('inside'))} of the cases it stands alone between two others, as a token does{asked}."
            ),
            why="The row of padding_idx gets no gradient: that token keeps the vector it began with, usually all zeros.",
            remedy=f"Leave out padding_idx={index}, or give padding an index of its own that no token has.",
            reference="torch.nn.Embedding: padding_idx",
        )
