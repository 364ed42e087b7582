"""The check for inputs that contain the target."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

import numpy as np

from lettrine.health import limits
from lettrine.health import limits_wiring as wiring
from lettrine.health.checks.consequence import consequence, fresh
from lettrine.health.checks.data.order import by_class
from lettrine.health.checks.data.trained_on import trained_on
from lettrine.health.checks.reading import finite_curve, number, share
from lettrine.health.checks.reference import classes_of, guess_of
from lettrine.health.checks.registry import Skip, check
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace

_SOURCE = "Kaufman et al. 2012, Leakage in data mining"
_WHY = "The network copies the answer instead of predicting it, and is of no use where the answer is not known."


@check("leak", needs=("loss",))
def leak(trace: Trace) -> Iterator[Finding]:
    """A part of the input that is the target, or held-out data that are trained on; and, as a remark, a loss that falls so fast
    that there may be one.

    Measured: Columns, positions or sequences of the input that determine the target without an exception. Tokens that are asked
        for where they are not hidden, and the loss there beside that at those that are. Held-out examples that
        are equal, inputs and target, to training examples looked at before. If there are none, how fast the loss falls.
    Formula: (held-out examples seen in training before) / (all looked at) >= {TRAINED_ON_SHARE:.0%}, at least {TRAINED_ON_LEAST}
        of them, and {TRAINED_ON_CHANCE:.0f} times what chance brings; mean of five losses < {LEAK_SHARE:.0%} of the loss of
        guessing within {LEAK_STEPS} steps (a remark only).
    """
    known = (*trained_on(trace), *_copied_places(trace))
    yield from known
    if seen := trace.seen("leak"):
        yield _held(trace, seen[0])
    elif not known:
        yield from _fast(trace)


def _held(trace: Trace, seen: Evidence) -> Finding:
    place, count = int(seen.figure("place")), int(seen.figure("places"))
    more = f" (and {count - 1} more)" if count > 1 else ""
    cell = f"x[:, -1, {place}]" if seen.figure("axes") == 3 else f"x[:, {place}]"
    what, where, remedy = {
        "column": (
            f"Column {place}{more} of the input tells the target",
            f"x[:, :, {place}]" if seen.figure("axes") == 3 else f"x[:, {place}]",
            f"Leave column {place} out of the inputs{more}, and look at where it comes from.",
        ),
        "position": (
            f"Position {place}{more} of the input is the target",
            f"x[:, {place}]",
            "Shift the window: the target is the element after the last one of the input.",
        ),
        "code": (
            f"Column {place}{more} of the input holds one value for each class, and another for each: it is the label",
            cell,
            f"Leave column {place} out of the inputs{more}, and look at where it comes from.",
        ),
        "threshold": (
            f"Column {place}{more} of the input tells the class by a threshold",
            cell,
            f"See how column {place} is made: if from the target, or from what is known only after it, leave it out.",
        ),
        "mark": (
            f"Column {place}{more} of the input holds one and the same value for all examples of one class, and for no other",
            cell,
            f"See when column {place} is recorded: if only after the answer is known, leave it out.",
        ),
        "line": (
            f"The target is a straight line of column {place}{more} of the input",
            cell,
            f"See how column {place} is made: if from the target, or from what is known only after it, leave it out.",
        ),
        "itself": (
            f"The answers are compared with input {seen.figure('input'):.0f} of the network itself, number by number",
            "x",
            "Compare them with what the input hides: in a diffusion model the noise, mse_loss(net(noisy, t), noise).",
        ),
        "sequence": (
            "The target is the input itself, position by position",
            "x",
            "Shift the targets by one: inputs are tokens[:-1], targets tokens[1:].",
        ),
    }[seen.words["what"]]
    examples = int(seen.figure("examples"))
    # If many columns each tell the target, as in made-up data, that is the task. A label left in the input gives one column per
    # class.
    # A sequence that equals its target may belong to an autoencoder; one that is copied at once does not.
    meant = seen.words["what"] in ("column", "code", "threshold", "mark", "line") and count > max(classes_of(trace), 1)
    meant |= seen.words["what"] in ("sequence", "itself") and not _at_once(trace)
    # A window that runs too far ends in the target. To remember what stood somewhere inside is a task.
    meant |= seen.words["what"] == "position" and 0 < place < seen.figure("wide") - 1
    return Finding(
        id="leak",
        severity="info" if meant or consequence(trace).bad else "warning",
        where=(),
        steps=seen.steps,
        value=float(examples),
        limit=0.0,
        message=f"{what} ({where}), without an exception in {examples:,} examples.",
        why=_WHY,
        remedy=remedy,
        reference=_SOURCE,
    )


def _copied_places(trace: Trace) -> Iterator[Finding]:
    """Tokens that are not hidden and asked for all the same; a warning where those that are hidden are hardly learned."""
    for seen in trace.seen("hidden tokens"):
        hidden, unseen, rest, guess = (seen.figure(name) for name in ("hidden", "unseen", "seen", "guess"))
        if seen.figure("looks") < wiring.MASK_LOOKS or rest >= wiring.COPIED_PLACES * unseen:
            continue
        yield Finding(
            id="leak",
            severity="warning" if unseen >= limits.HARDLY_LEARNED * guess else "info",
            where=(),
            steps=seen.steps,
            value=1 - hidden,
            limit=0.0,
            message=f"{share(1 - hidden)} of the targets are the input itself at their own place; {share(hidden)} are hidden by "
            f"token {int(seen.figure('token'))}. There the loss is {number(unseen, 3)} (guessing gives {number(guess, 3)}), at "
            f"the others {number(rest, 3)}.",
            why="To copy what is seen is easy and makes the mean small, and most of each gradient is about that.",
            remedy="Let the loss ask only for the tokens that are hidden: labels[input != mask_token] = -100, which "
            "cross_entropy ignores.",
            reference="Devlin et al. 2019, BERT, section 3.1: only the masked words are predicted",
        )


def _at_once(trace: Trace) -> bool:
    try:
        return bool(list(_fast(trace)))
    except Skip:
        return False


def _fast(trace: Trace) -> Iterator[Finding]:
    guess = guess_of(trace)
    if not isfinite(guess):
        raise Skip("not applicable", "the loss of guessing is not known")
    steps, losses = finite_curve(trace, trace.loss)
    if not len(losses) or steps[0] != 0:
        raise Skip("not run", "the first step was not watched")
    if trace.facts.notes.get("batches") == "one, repeated":
        raise Skip("not applicable", "one batch is trained on again and again, which any network memorises")
    if trace.facts.result.get("repeated", 0.0) > limits.REPEATED_WORDS:
        raise Skip("not applicable", "the held-out data repeats the training data")
    if not fresh(trace):
        raise Skip("not applicable", "the network was trained before")
    if by_class(trace):
        raise Skip("not applicable", "the data are sorted, so that a batch tells the classes of the next one")
    many = trace.facts.classes >= limits.LEAK_CLASSES
    within, least = (limits.LEAK_STEPS_MANY, limits.LEAK_SHARE_MANY) if many else (limits.LEAK_STEPS, limits.LEAK_SHARE)
    early = losses[steps < within]
    if len(early) < 10:
        raise Skip("not run", "fewer than 10 losses among the first steps")
    smooth = np.convolve(early, np.full(5, 0.2), mode="valid")
    limit = least * guess
    if smooth.min() >= limit:
        return
    when = int(steps[int(np.argmax(smooth < limit)) + 4])
    held_out = trace.dev.mean[trace.dev.step >= when]
    if np.isfinite(held_out).any() and np.nanmin(held_out) > limits.LEAK_DEV * guess:
        return
    yield Finding(
        id="leak",
        severity="info",
        where=(),
        steps=(when, int(steps[-1])),
        value=float(smooth.min()),
        limit=limit,
        message=f"The loss fell to {number(float(smooth.min()), 2)} within {when} steps, {share(least)} of guessing "
        f"({number(guess, 3)}): the task is easy, or the input holds the target.",
        why=_WHY,
        remedy="If that surprises you, compare the inputs of one batch with its targets, column by column; for sequences see "
        "that the target is the element after the context.",
        reference=_SOURCE,
    )
