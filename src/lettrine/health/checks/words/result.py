"""Checks of the result of a training: its kept weights on training and held-out data, beside a simpler model.

They read `Facts.result`, which the training fills in at its end. Each gives a remark only, unless a consequence was measured:
a simpler model that does better.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.data.shared_rows import shared_rows
from lettrine.health.checks.data.untold import told_nothing
from lettrine.health.checks.layers.restrained import dropped, memoryless, uncalled
from lettrine.health.checks.reading import number, share
from lettrine.health.checks.registry import Skip, check
from lettrine.health.checks.words.capacity import linear_stack, plateau, squeezed
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace

UNDERFITTED = (
    "The network could still learn more from these words.",
    "Give it more time: --effort best, --seconds, or more --steps; or more width.",
    "Hestness et al. 2017, Deep learning scaling is predictable, empirically",
)


def _results(trace: Trace, *names: str) -> list[float]:
    found = [trace.facts.result.get(name, float("nan")) for name in names]
    if not np.isfinite(found).all():
        raise Skip("not applicable", "the result of the whole training was not recorded")
    return found


def _finding(trace: Trace, name: str, severity: str, value: float, limit: float, *text: str) -> Finding:
    steps = (int(trace.steps[-1]),) * 2 if len(trace.steps) else (0, 0)  # at the end: its weights are judged
    message, why, remedy, reference = text
    return Finding(name, severity, (), steps, value, limit, message, why, remedy, reference)


def _beaten_from(simple: float, error: float) -> float:
    """The held-out loss from which the simple model is better, and not by chance."""
    return simple + max(limits.WORSE_THAN_SIMPLE, 2 * error * limits.PAIRED)


@check("worse-than-counting")
def worse_than_counting(trace: Trace) -> Iterator[Finding]:
    """A model that only counts predicts held-out data better.

    Measured: The held-out loss of the kept model, and that of counting alone (Kneser-Ney) on the same words.
    Formula: limit = loss of counting + max({WORSE_THAN_SIMPLE} nats, 2 standard errors of the difference).
    """
    model, simple, error = _results(trace, "model", "simple", "error")
    limit = _beaten_from(simple, error)
    if model > limit:
        alone = trace.facts.result.get("alone") == 1.0
        yield _finding(
            trace,
            "worse-than-counting",
            "info" if alone else "warning",
            model,
            limit,
            f"The loss on held-out data is {number(model, 3)}; counting alone gets {number(simple, 3)}.",
            "A network alone seldom does better on words."
            if alone
            else "The network makes the counts worse: it was trained too little, too long, or at a wrong learning rate.",
            "Mix the two (--prior counts), and leave the size of the network and its training to the words.",
            "Chen & Goodman 1999, An empirical study of smoothing techniques for language modeling",
        )


@check("memorising")
def memorising(trace: Trace) -> Iterator[Finding]:
    """The kept weights have memorised the training data, even if they are the best of the run.

    Measured: The loss of the kept weights on training words and on held-out words.
    Formula: ratio = training loss / held-out loss. A warning where counting alone does better too, as for worse-than-counting.
    """
    train, held_out, model, simple = _results(trace, "train", "held_out", "model", "simple")
    limit = limits.MEMORISED * held_out
    if train < limit:
        hurts = model > _beaten_from(simple, trace.facts.result.get("error", 0.0))
        yield _finding(
            trace,
            "memorising",
            "warning" if hurts else "info",
            train,
            limit,
            f"The network's loss is {number(train, 3)} on its training data and {number(held_out, 3)} on held-out data.",
            "It has memorised much of its training data, which does not help on new data"
            + ("; what it predicts is still better than counting." if model <= simple else "."),
            "More words would help most; else more dropout (up to 0.5), fewer steps, or more networks (--networks 8).",
            "Srivastava et al. 2014, Dropout: a simple way to prevent neural networks from overfitting",
        )


@check("underfitting", needs=("loss",))
def underfitting(trace: Trace) -> Iterator[Finding]:
    """A network that has not learned all it could, or that cannot express the task.

    Measured: For any training: whether the network is only linear layers without a non-linearity between them, or passes
    through one unit, where the training loss stops falling, and how much dropout drops. For a whole run: the held-out losses
    of the last {UNDERFITTING_POINTS} evaluations, and the gap between training and held-out loss.
    Formula: end >= {PLATEAU_HIGH} * (loss of guessing), no longer falling; dropout of {DROPPED} or more, where the loss ends at
        {HARDLY_LEARNED} of guessing or above, or any dropout of the answers themselves; weights between the steps
        of a recurrent layer that get gradients of exactly 0; a table that is never used, or whose
        rows are shared by columns that have rows of their own in it; a network that is not told how much noise is in a row, where
        {UNTOLD_GAIN:.0%} of its squared error or more would go away by a factor for each quarter of the rows; for a whole run
        fall = (held-out loss
        {UNDERFITTING_POINTS} evaluations ago - last one) / the earlier one; gap = (held-out - training loss) / held-out loss,
        or fewer than {UNDERFITTING_PASSES:g} passes over the training data with as small a gap.
    """
    if not trace.facts.result:
        certain = (*linear_stack(trace), *squeezed(trace), *shared_rows(trace), *told_nothing(trace))
        yield from (*certain, *dropped(trace), *memoryless(trace), *uncalled(trace)) or plateau(trace)
        return
    train, held_out = _results(trace, "train", "held_out")
    passes = trace.facts.result.get("passes", np.inf)
    noise = limits.UNDERFITTING_NOISE * trace.facts.result.get("error", 0.0)
    alike = held_out - train < limits.UNDERFITTING_GAP * held_out + noise
    if alike and passes < limits.UNDERFITTING_PASSES:
        yield _finding(
            trace,
            "underfitting",
            "info",
            passes,
            limits.UNDERFITTING_PASSES,
            f"Training ended after {number(passes)} passes over the words, and the loss on held-out data "
            f"is close to that on training data ({number(held_out, 3)} and {number(train, 3)}).",
            *UNDERFITTED,
        )
        return
    dev = trace.dev.mean[np.isfinite(trace.dev.mean)]
    if len(dev) < limits.UNDERFITTING_POINTS:
        raise Skip("not run", f"{len(dev)} of the {limits.UNDERFITTING_POINTS} evaluations needed")
    late = dev[-limits.UNDERFITTING_POINTS]
    fell = float((late - dev[-1]) / late)
    if alike and fell > limits.UNDERFITTING_FALL and dev[-1] == dev.min():
        yield _finding(
            trace,
            "underfitting",
            "info",
            fell,
            limits.UNDERFITTING_FALL,
            f"The loss on held-out data was still falling, by {share(fell)} in the last evaluations, "
            f"and is close to that on training data ({number(held_out, 3)} and {number(train, 3)}).",
            *UNDERFITTED,
        )


@check("repeated-words")
def repeated_words(trace: Trace) -> Iterator[Finding]:
    """Held-out data that was also trained on.

    Measured: How many held-out words are also among the training words.
    Formula: share = (held-out words that were trained on) / (held-out words).
    """
    (repeated,) = _results(trace, "repeated")
    if repeated > limits.REPEATED_WORDS:
        yield _finding(
            trace,
            "repeated-words",
            "info",
            repeated,
            limits.REPEATED_WORDS,
            f"{share(repeated)} of the held-out words are also among the training words, because the list repeats words.",
            "The loss on held-out words is then partly that of words seen in training.",
            "If the list repeats words by accident, drop them: --unique. If they tell how frequent a word is, leave them.",
            "Kaufman et al. 2012, Leakage in data mining",
        )


@check("noisy-judgement")
def noisy_judgement(trace: Trace) -> Iterator[Finding]:
    """Too few held-out data for a clear result.

    Measured: The standard error of the held-out loss.
    Formula: error = standard error of the mean loss over the held-out words, relative to that loss.
    """
    error, held_out = _results(trace, "error", "model")
    limit = limits.NOISY_ERROR * held_out
    if error > limit:
        yield _finding(
            trace,
            "noisy-judgement",
            "info",
            error,
            limit,
            f"There are so few held-out words that their loss, {number(held_out, 3)}, has an uncertainty of {number(error, 2)}.",
            "A smaller difference between two trainings means nothing.",
            "Compare trainings over several --split-seed, or give more words.",
            "Bouthillier et al. 2021, Accounting for variance in machine learning benchmarks",
        )
