"""What the answers to held-out data show: labels in another order, another scale, inputs paired with the wrong targets."""

from __future__ import annotations

from math import isfinite

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.reading import finite_curve, listed, number, share
from lettrine.health.checks.reference import guess_of
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Floats, Trace

_LOOK_AT_BOTH = "Karpathy 2019, A recipe for training neural networks: visualise what goes into the net"


def answers_of(trace: Trace) -> Evidence | None:
    """The answers to held-out data, if enough of them were seen."""
    seen = next(iter(trace.seen("held-out answers")), None)
    return seen if seen is not None and seen.figure("rows") >= limits.TARGETS_LEAST else None


def few_right(trace: Trace) -> bool:
    """Whether few of the answers to held-out data were seen to be right, beyond those that the commonest class gives."""
    seen = answers_of(trace)
    if seen is None or seen.words["targets"] != "classes":
        return False
    right, most = seen.figure("right"), seen.figure("most")
    return right - most < limits.FEW_RIGHT * (1 - most)


def other_labels(trace: Trace) -> Finding | None:
    """Held-out labels whose numbers or classes differ from those of the training data."""
    return _inputs_as_labels(trace) or _all_one_class(trace) or _never_shown(trace) or _renamed(trace)


def _inputs_as_labels(trace: Trace) -> Finding | None:
    """Held-out targets that are what one place of their own inputs holds, where those of the training data are not."""
    seen, trained = answers_of(trace), [each for each in trace.seen("inputs") if isfinite(each.figure("copied"))]
    if seen is None or len(trained) != 1 or not seen.figure("copied") >= limits.COPIED:
        return None
    if trained[0].figure("copied") > limits.COPIED_SELDOM or seen.figure("most") > limits.MAJORITY_SHARE:
        return None
    column = int(seen.figure("column"))
    where = f"the value in column {column} of their inputs" if column >= 0 else "the input at their own place"
    return Finding(
        id="held-out-labels",
        severity="critical",
        where=(),
        steps=_steps(trace),
        value=seen.figure("copied"),
        limit=limits.COPIED,
        message=f"{share(seen.figure('copied'))} of the held-out targets looked at are {where}; of the training targets "
        f"no place holds more than {share(trained[0].figure('copied'))}.",
        why="The held-out loss judges by something else than what is trained on.",
        remedy="Make the held-out targets as the training targets are made: "
        + (
            "take them from the same column of the data, and leave it out of the inputs."
            if column >= 0 and seen.words["targets"] == "numbers"
            else "the token after the input, for example, and not the input itself."
        ),
        reference=_LOOK_AT_BOTH,
    )


def _classes_of(trace: Trace) -> Evidence | None:
    """The answers, if they are classes and most of the training data had been learned by then."""
    seen = answers_of(trace)
    return seen if seen is not None and seen.words["targets"] == "classes" and _learned(trace, seen) else None


def _renamed(trace: Trace) -> Finding | None:
    """Answers that tell held-out classes apart, but by other numbers than those of their labels."""
    if (seen := _classes_of(trace)) is None:
        return None
    right, mapped = seen.figure("right"), seen.figure("mapped")
    if not mapped >= limits.RENAMED + max(right, seen.figure("most")):
        return None
    said, asked = int(seen.figure("from")), int(seen.figure("to"))
    return Finding(
        id="held-out-labels",
        severity="critical",
        where=(),
        steps=_steps(trace),
        value=mapped - right,
        limit=limits.RENAMED,
        message=f"{share(right)} of {int(seen.figure('rows'))} held-out answers are right; with one fixed exchange of class "
        f"numbers {share(mapped)} would be: answer {said}, for example, stands for label {asked}.",
        why="The network tells the held-out classes apart, but their numbers differ from those of the training data.",
        remedy="Number the classes of both data sets by one list that is made once. Print the names and numbers of both to "
        "compare them.",
        reference=_LOOK_AT_BOTH,
    )


def _all_one_class(trace: Trace) -> Finding | None:
    """Held-out labels that are all the same, while the network answers something else."""
    if (seen := _classes_of(trace)) is None:
        return None
    right = seen.figure("right")
    if seen.figure("most") < 1 or right > 1 - limits.RENAMED:
        return None
    return Finding(
        id="held-out-labels",
        severity="critical",
        where=(),
        steps=_steps(trace),
        value=1.0,
        limit=1.0,
        message=f"All {int(seen.figure('rows'))} held-out examples have the label {int(seen.figure('to'))}, which is the answer "
        f"to {share(right)} of them.",
        why="Labels of a single class, or of no class at all, do not show what was learned.",
        remedy="See how held-out labels are read, and shuffle the data before they are split: both parts need all classes.",
        reference=_LOOK_AT_BOTH,
    )


def _never_shown(trace: Trace) -> Finding | None:
    """Held-out classes that no batch of the training data contained, although chance would have brought each of them."""
    seen, heads = _classes_of(trace), [each for each in trace.seen("comparison") if each.figure("labels") > 0]
    if seen is None or len(heads) != 1 or heads[0].figure("labels") < limits.TARGETS_LEAST:
        return None  # of several heads it is not known whose classes the held-out ones are
    trained = heads[0]
    asked = {name.removeprefix("asked "): part for name, part in seen.figures.items() if name.startswith("asked ")}
    new = {label: part for label, part in asked.items() if f"seen {label}" not in trained.figures}
    new = {label: part for label, part in new.items() if part * trained.figure("labels") >= limits.NEVER_SHOWN_EXPECTED}
    if trained.figure("classes_seen") > limits.NEVER_SHOWN_MOST or sum(new.values()) < limits.NEVER_SHOWN:
        return None
    return Finding(
        id="held-out-labels",
        severity="critical",
        where=(),
        steps=_steps(trace),
        value=sum(new.values()),
        limit=limits.NEVER_SHOWN,
        message=f"{share(sum(new.values()))} of the held-out examples are of classes that the training data never showed: "
        f"{listed(list(new))}. The {int(trained.figure('labels'))} training targets looked at have "
        f"{int(trained.figure('classes_seen'))} other classes.",
        why="The network cannot learn a class that it never sees, and the held-out loss does not show what it did learn.",
        remedy="Shuffle the data before they are split, or split each class by itself (stratify): both parts need all classes.",
        reference="sklearn.model_selection.train_test_split: shuffle, stratify",
    )


def rescaled(trace: Trace) -> Finding | None:
    """Held-out inputs or targets of another scale than those of the training data, with a held-out loss that suffers."""
    seen = answers_of(trace)
    if seen is None or not _learned(trace, seen):
        return None
    guess, dev = guess_of(trace), trace.dev.mean[np.isfinite(trace.dev.mean)]
    left, fitted = seen.figure("left"), seen.figure("fitted")
    # On held-out data of another scale the answers never beat guessing; with a batch norm that lags behind they sometimes do.
    if left >= 1 and fitted <= limits.RESCALED_LEFT and float(dev.min()) >= guess:
        slope, offset = seen.figure("slope"), seen.figure("offset")
        return _of_another_scale(
            trace,
            left,
            f"The answers to held-out inputs miss {number(left)} times the variance of their targets, but only {share(fitted)} "
            f"of it if each answer is multiplied by {number(slope, 3)} and {number(offset, 3)} is added.",
            "Scale the inputs and targets of both data sets by the same numbers, taken from the training data.",
        )
    _, losses = finite_curve(trace, trace.loss)
    now = float(np.mean(losses[-max(10, len(losses) // 10) :]))
    trained = next((each for each in trace.seen("inputs") if isfinite(each.figure("std"))), None)
    if trained is None or not isfinite(seen.figure("std")):
        return None
    own, other = seen.figure("std"), trained.figure("std")
    moved = abs(seen.figure("mean") - trained.figure("mean")) / max(own, other) if max(own, other) > 0 else 0.0
    factor = max(own, other) / min(own, other) if min(own, other) > 0 else 1.0
    suffers = max(limits.PLATEAU_HIGH * guess, 2 * now)
    if factor >= limits.INPUTS_FAR:  # nobody means that: less of a consequence will do
        suffers = min(suffers, max(limits.RESCALED_HURTS * guess, limits.INPUTS_FAR * now))
    if float(dev.min()) < suffers or (factor < limits.INPUTS_APART and moved < limits.INPUTS_MOVED):
        return None
    return _of_another_scale(
        trace,
        factor,
        f"Held-out inputs have a mean of {number(seen.figure('mean'), 3)} and a std of {number(own, 3)}, those of the training "
        f"data {number(trained.figure('mean'), 3)} and {number(other, 3)}; the held-out loss is {number(float(dev.min()), 3)} at "
        f"best, the training loss {number(now, 3)}.",
        "Scale held-out inputs in the same way as the training inputs: by the same numbers, at the same place in the program.",
    )


def torn(trace: Trace) -> str:
    """Where inputs and targets do not belong together: "training" if only held-out inputs predict their targets, "held out" if
    only those of the training data do; otherwise "".
    """
    seen = answers_of(trace)
    for each in trace.seen("inputs") if seen is not None else ():
        own, ours = each.figure("told"), each.figure("compared")
        other, theirs = (seen.figure("told"), seen.figure("compared")) if seen is not None else (own, ours)
        if min(ours, theirs) < limits.TARGETS_LEAST:
            continue
        per_row = (theirs / ours) ** 0.5  # the figure grows with the square root of the number of examples
        if own < limits.TOLD_ROWS and other >= limits.TOLD_TORN * max(1.0, per_row):
            return "training"
        if other < limits.TOLD_ROWS and own >= limits.TOLD_TORN * max(1.0, 1 / per_row):
            return "held out"
    return ""


def _of_another_scale(trace: Trace, value: float, message: str, remedy: str) -> Finding:
    return Finding(
        id="dev-scale",
        severity="warning",
        where=(),
        steps=_steps(trace),
        value=value,
        limit=1.0,
        message=message,
        why="What the network learned holds for numbers of the size that it was trained on.",
        remedy=remedy,
        reference=_LOOK_AT_BOTH,
    )


def _learned(trace: Trace, seen: Evidence) -> bool:
    """Whether the training data were mostly learned when these answers were given."""
    guess, place = guess_of(trace), int(seen.figure("evaluation"))
    steps, losses = finite_curve(trace, trace.loss)
    if not isfinite(guess) or place >= len(trace.dev.step):
        return False
    level = losses[steps <= trace.dev.step[place]][-limits.HELD_OUT_RECENT :]
    return len(level) > 0 and float(np.mean(level)) <= limits.PLATEAU_HIGH * guess


def _steps(trace: Trace) -> tuple[int, int]:
    steps: Floats = trace.dev.step
    return int(steps[0]), int(steps[-1])
