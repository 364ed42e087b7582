"""Checks of the loss: where it starts, whether it falls, how it ends."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, log, nan

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.reading import (
    finite_curve,
    learning_rate,
    median,
    number,
    output_module,
    pace,
    rounded,
    share,
    standard_error,
    start,
    update_ratios,
    usable,
    weight_of,
)
from lettrine.health.checks.reference import guess_of, guess_of_values
from lettrine.health.checks.registry import Skip, check
from lettrine.health.findings import Finding
from lettrine.health.trace import Floats, Trace


def _losses(trace: Trace, least: int) -> tuple[Floats, Floats]:
    """Steps and losses, if there are enough to speak of a trend."""
    steps, losses = finite_curve(trace, trace.loss)
    taken = int(steps[-1] - steps[0]) + 1 if len(steps) else 0
    if taken < least or len(losses) < least:
        raise Skip("not run", f"{taken} losses were recorded; {least} are needed")
    return steps, losses


def _ends(losses: Floats) -> tuple[float, float, float]:
    """Loss at the start, over the last tenth, and the noise of their difference."""
    tail = losses[-max(10, len(losses) // 10) :]
    beginning = float(np.mean(losses[: min(5, len(losses))]))
    noise = standard_error(tail)
    return beginning, float(np.mean(tail)), noise * np.sqrt(len(tail) / 5) if isfinite(noise) else 0.0


@check("initial-loss", needs=("loss",))
def initial_loss(trace: Trace) -> Iterator[Finding]:
    """The untrained network is confidently wrong."""
    classes = trace.facts.classes
    if classes < 2:
        raise Skip("not applicable", "the number of classes is not known; a loss without classes has no starting value to expect")
    if trace.loss.step[0] != 0:
        raise Skip("not run", "the first step was not watched")
    value, expected = _first_loss(trace), log(classes)
    if not isfinite(value):
        raise Skip("not run", "the first loss was not finite")
    batch = trace.facts.batch_size
    averaged = trace.facts.notes.get("reduction") == "mean"
    if batch > 1 and not averaged and abs(value / batch - expected) < limits.INITIAL_LOSS_EXCESS:
        return  # summed over the batch instead of averaged
    limit = expected + limits.INITIAL_LOSS_EXCESS
    if value <= limit:
        return
    last = output_module(trace)
    spread = median(trace.output(last.name, "std"), start(trace)) if last is not None and last.name in trace.outputs else nan
    weight = weight_of(trace, last.name) if last is not None else ""
    if spread > limits.INITIAL_LOGIT_STD and weight:
        remedy = (
            f"Multiply {weight} by {number(limits.INITIAL_LOGIT_STD / spread)} and start its bias at 0, "
            f"to start near ln {classes} = {number(expected, 3)}."
        )
    else:
        remedy = f"Shrink the last layer's weights and start its bias at 0, to start near ln {classes} = {number(expected, 3)}."
    yield Finding(
        id="initial-loss",
        severity="warning",
        where=(last.name,) if last is not None else (),
        steps=(0, 0),
        value=value,
        limit=limit,
        message=(
            f"The loss starts at {number(value, 3)}; guessing evenly among {classes} classes gives "
            f"ln {classes} = {number(expected, 3)}."
        ),
        why="The untrained network is confidently wrong, and the first steps only shrink its last layer.",
        remedy=remedy,
        reference=f"{limits.STUDY}: expected loss at initialisation",
    )


def _first_loss(trace: Trace) -> float:
    """The loss of step 0 itself: in a long run the first point of the curve is a mean over many steps."""
    sampled = trace.step_stats["loss"]
    if len(trace.steps) and trace.steps[0] == 0 and isfinite(sampled[0]):
        return float(sampled[0])
    return float(trace.loss.mean[0])


@check("divergence", needs=("loss",))
def divergence(trace: Trace) -> Iterator[Finding]:
    """The loss ends far above what it had reached."""
    steps, losses = _losses(trace, 20)
    blocks = [float(np.mean(part)) for part in np.array_split(losses, min(20, len(losses) // 5))]
    beginning, end, noise = _ends(losses)
    place = int(np.argmin(blocks))
    lowest = blocks[place]
    guess = guess_of(trace)
    reference = min(beginning, guess) if isfinite(guess) else beginning
    limit = max(lowest + limits.DIVERGED_SHARE * max(reference - lowest, 0.0), lowest + limits.NOISE * noise)
    if reference - lowest <= limits.LEARNED_SHARE * abs(reference):  # nothing was learned: only a rise above the start counts
        limit = max(beginning, beginning + limits.DIVERGED_SHARE * abs(beginning), beginning + limits.NOISE * noise)
    if end <= limit:
        return
    rate = learning_rate(trace)
    slower = (
        f"Lower the learning rate about 10 times, from {number(rate)} to {number(rounded(rate / 10))}"
        if rate > 0
        else ("Lower the learning rate about 10 times")
    )
    norm = median(trace.step_stats["gradient_norm"], usable(trace))
    yield Finding(
        id="divergence",
        severity="critical",
        where=(),
        steps=(int(steps[min(len(steps) - 1, (place + 1) * len(steps) // len(blocks))]), int(steps[-1])),
        value=end,
        limit=limit,
        message=f"The loss had come to {number(lowest, 3)} and ended at {number(end, 3)}.",
        why="Training makes the network worse: what it had learned is lost.",
        remedy=slower + (f", or clip the gradient norm at about {number(rounded(norm))}." if norm > 0 else "."),
        reference="LeCun et al. 1998, Efficient BackProp, section 4.6",
    )


@check("spike", needs=("loss",))
def spike(trace: Trace) -> Iterator[Finding]:
    """One step after which the loss is far above what it was, and stays there."""
    steps, losses = _losses(trace, 40)
    width = max(10, len(losses) // 20)
    # A run that broke off soon after the jump needs no losses to show that nothing came back.
    broke_off = trace.first_nonfinite is not None
    judged = losses if broke_off else losses[:-2]
    window = np.lib.stride_tricks.sliding_window_view(judged, width)[:-1]  # row k: the losses before place width + k
    level = np.median(window, axis=1)
    noise = 1.4826 * np.median(np.abs(window - level[:, None]), axis=1)
    jump = judged[width:] - level - np.maximum(limits.SPIKE_NOISE * noise, limits.SPIKE_RISE * np.abs(level))
    # One jump out of ordinary losses, not the end of a climb, and nothing comes back from it.
    calm = window[:, -3:].max(axis=1) < level + limits.NOISE * noise
    learned = float(np.mean(losses[:5])) - level
    lasting = level + np.maximum(noise, limits.SPIKE_LOSS * np.abs(learned))
    places = []
    for k in np.flatnonzero((jump > 0) & calm):
        peak, later = losses[width + k], losses[width + k :]
        soon = broke_off and len(later) <= 2 * width
        if lasting[k] < np.median(later) and (soon or np.median(later) < limits.SPIKE_CLIMB * peak):
            places.append(k)
    if not places:
        return
    place = width + int(max(places, key=lambda k: jump[k]))
    before, later = losses[place - width : place], losses[place:]
    culprit = int(trace.loss.peak[np.searchsorted(trace.loss.step, steps[place])])
    norm = median(trace.step_stats["gradient_norm"], usable(trace) & (trace.steps < culprit))
    cap = f"clip the gradient norm at about {number(rounded(norm))}, its median before" if norm > 0 else "clip the gradient norm"
    yield Finding(
        id="spike",
        severity="critical",
        where=(),
        steps=(culprit, int(steps[-1])),
        value=float(losses[place]),
        limit=float(np.median(before)),
        message=(
            f"Step {culprit} broke the run: the loss jumped from {number(float(np.median(before)), 3)} to "
            f"{number(float(losses[place]), 3)} and stayed near {number(float(np.median(later)), 3)}."
        ),
        why="One huge gradient, from an unusual batch or a rare overflow, moved the weights to where they no longer work.",
        remedy=f"Look at the batches of steps {culprit - 1} and {culprit}, {cap}, and go on from an earlier checkpoint.",
        reference="Pascanu, Mikolov & Bengio 2013, On the difficulty of training recurrent neural networks",
    )


@check("no-learning", needs=("loss",))
def no_learning(trace: Trace) -> Iterator[Finding]:
    """The loss does not fall, or stops at what guessing gives."""
    steps, losses = _losses(trace, limits.PLATEAU_STEPS)
    beginning, end, noise = _ends(losses)
    guess, how = guess_of(trace), "guessing"
    if not isfinite(guess):
        guess, how = guess_of_values(trace, end), "answering the mean whatever the input"
    most = end + trace.facts.gain + limits.GAIN_NOISE * trace.facts.gain_error
    if not isfinite(trace.facts.chance) and end >= limits.CHANCE_SHARE * most:
        guess, how = end + trace.facts.gain, "giving every input the same answer"
    if not isfinite(guess) and steps[0] != 0:
        raise Skip("not run", "the first step was not watched, and the loss of guessing is not known")
    third = max(10, len(losses) // 3)
    earlier, later = losses[:third], losses[-third:]
    noise_of_means = standard_error(losses[third:]) or 0.0
    fell = float(np.mean(earlier) - np.mean(later))
    flat = beginning - end < max(limits.FLAT_SHARE * abs(beginning), 3 * noise) and fell < max(
        limits.FLAT_SHARE * abs(beginning), 3 * noise_of_means
    )
    above_guess = isfinite(guess) and end >= limits.CHANCE_SHARE * guess
    falling = float(np.mean(losses[-2 * third : -third]) - np.mean(later)) > max(limits.FLAT_SHARE * end, 3 * noise_of_means)
    stuck = above_guess and not falling
    if (not flat or (isfinite(guess) and not above_guess)) and not stuck:
        return
    if end > (1 + limits.FLAT_SHARE) * max(beginning, guess if isfinite(guess) else 0.0) + limits.NOISE * noise:
        return  # worse than at the start and than guessing: another check's matter
    what = (
        f"After {int(steps[-1]) + 1:,} steps the loss is {number(end, 3)}, no better than {how} ({number(guess, 3)})."
        if stuck
        else f"The loss stays where it was: {number(beginning, 3)} at first, {number(end, 3)} at step {int(steps[-1]):,}."
    )
    yield Finding(
        id="no-learning",
        severity="critical",
        where=(),
        steps=(int(steps[0]), int(steps[-1])),
        value=end,
        limit=guess if stuck else beginning,
        message=what,
        why="Whatever the network learns, it is not what the inputs say about the targets.",
        remedy=_get_it_moving(trace),
        reference="Karpathy 2019, A recipe for training neural networks",
    )


def _get_it_moving(trace: Trace) -> str:
    """What to try, by how far the steps move the weights."""
    rate = learning_rate(trace)
    try:
        _, table = update_ratios(trace, usable(trace))
        size = pace(table[:, np.isfinite(table).any(axis=0)])
    except Skip:
        size = nan
    if 0 < size < limits.UPDATE_TIMID:
        factor = rounded(limits.UPDATE_AIM / size)
        towards = f", from {number(rate)} to {number(rounded(rate * factor))}" if rate > 0 else ""
        return (
            f"Raise the learning rate about {number(factor, 1)} times{towards}: the steps change the weights by only "
            f"{number(size)} of their size, where about {number(limits.UPDATE_AIM)} is usual."
        )
    fit = "See that inputs and targets belong together (shuffled alike?) by fitting one batch of 32 to a loss near 0"
    if not rate > 0:
        return f"{fit}; then try learning rates ten times higher and lower."
    lower, higher = number(rounded(rate / 10)), number(rounded(rate * 10))
    if size > limits.UPDATE_LARGE:
        return f"{fit}; then try a learning rate of {lower} instead of {number(rate)}."
    return f"{fit}; then try learning rates of {higher} and {lower} instead of {number(rate)}."


@check("leak", needs=("loss",))
def leak(trace: Trace) -> Iterator[Finding]:
    """So good so soon that the answer must be in the input."""
    guess = guess_of(trace)
    if not isfinite(guess):
        raise Skip("not applicable", "the loss of guessing is not known")
    steps, losses = finite_curve(trace, trace.loss)
    if not len(losses) or steps[0] != 0:
        raise Skip("not run", "the first step was not watched")
    if trace.facts.notes.get("batches") == "one, repeated":
        raise Skip("not applicable", "one batch is trained on again and again, which any network learns by heart")
    if losses[0] < 0.5 * guess:
        raise Skip("not applicable", "the network was trained before")
    many = trace.facts.classes >= limits.LEAK_CLASSES
    within, least = (limits.LEAK_STEPS_MANY, limits.LEAK_SHARE_MANY) if many else (limits.LEAK_STEPS, limits.LEAK_SHARE)
    early = losses[steps < within]
    if len(early) < 10:
        raise Skip("not run", "fewer than 10 losses among the first steps")
    smooth = np.convolve(early, np.full(5, 0.2), mode="valid")
    limit = least * guess
    if smooth.min() >= limit:
        return
    place = int(np.argmax(smooth < limit)) + 4
    when = int(steps[place])
    held_out = trace.dev.mean[trace.dev.step >= when]
    if np.isfinite(held_out).any() and np.nanmin(held_out) > limits.LEAK_DEV * guess:
        return
    yield Finding(
        id="leak",
        severity="warning",
        where=(),
        steps=(when, int(steps[-1])),
        value=float(smooth.min()),
        limit=limit,
        message=f"The loss fell to {number(float(smooth.min()), 2)} within {when} steps, {share(least)} of guessing "
        f"({number(guess, 3)}): the input very likely holds the target.",
        why="The network copies the answer instead of predicting it, and is of no use where the answer is not known.",
        remedy="Compare the inputs of one batch with its targets, column by column; for sequences see that the target is the "
        f"element after the context. For an easy task or a few examples a loss of {number(limit)} so soon is no fault.",
        reference="Kaufman et al. 2012, Leakage in data mining",
    )


@check("overfitting", needs=("dev",))
def overfitting(trace: Trace) -> Iterator[Finding]:
    """The loss on held-out data rises while that on the training data falls."""
    kept = np.isfinite(trace.dev.mean)
    steps, dev = trace.dev.step[kept], trace.dev.mean[kept]
    if len(dev) < limits.OVERFITTING_POINTS:
        raise Skip("not run", f"{len(dev)} evaluations; {limits.OVERFITTING_POINTS} are needed")
    place = int(np.argmin(dev))
    best, end = float(dev[place]), float(np.mean(dev[-2:]))
    limit = best * (1 + limits.OVERFITTING_RISE)
    if place >= len(dev) - 2 or end <= limit:
        return
    when = int(steps[place])
    train_steps, train = finite_curve(trace, trace.loss)
    then, now = train[train_steps <= when][-50:], train[-50:]
    if len(then) and len(now) and float(np.mean(now)) > float(np.mean(then)):
        return  # both rise: that is divergence
    gap = f", while the training loss is {number(float(np.mean(now)), 3)}" if len(now) else ""
    yield Finding(
        id="overfitting",
        severity="warning",
        where=(),
        steps=(when, int(steps[-1])),
        value=end,
        limit=limit,
        message=f"The loss on held-out data was best at step {when} ({number(best, 3)}) and has risen to {number(end, 3)}{gap}.",
        why="The network learns its training examples by heart; what it gains there it loses on new ones.",
        remedy=f"Stop at step {when}, or go on with more data, a smaller network, dropout (0.1 to 0.5) or more weight decay "
        "(10 times what it is now, or 0.01 if it is 0).",
        reference="Prechelt 1998, Early stopping, but when?",
    )
