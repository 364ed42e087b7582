"""Checks of a loss that rises: all the way, or at one step."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.layers.restrained import heavy_momentum
from lettrine.health.checks.reading import ends, enough_losses, learning_rate, median, number, rounded, standard_error, usable
from lettrine.health.checks.reference import NEED_NOT_FALL, guess_of, ordinary
from lettrine.health.checks.registry import Skip, check
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


@check("divergence", needs=("loss",))
def divergence(trace: Trace) -> Iterator[Finding]:
    """The loss ends far above its lowest level.

    Measured: The loss at the end, compared with its lowest level; and the momentum of the optimiser, where it is
        {MOMENTUM_HEAVY} or more.
    Formula: limit = lowest + max({DIVERGED_SHARE} * (start - lowest), {NOISE:g} standard errors); lowest is the lowest mean
        of up to 20 stretches of the run, and start is at most the loss of guessing.
    """
    if not ordinary(trace):
        raise Skip("not applicable", NEED_NOT_FALL)
    steps, losses = enough_losses(trace, 20)
    yield from (heavy := list(heavy_momentum(trace)))
    if heavy:
        return
    parts = np.array_split(losses, min(20, len(losses) // 5))
    blocks = [float(np.mean(part)) for part in parts]
    beginning, end, noise = ends(losses)
    place = int(np.argmin(blocks))
    lowest = blocks[place]
    noise = max(noise, standard_error(parts[place]))  # one loss alone can make a short stretch low
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
    """One step after which the loss is far above its earlier level, and stays there.

    Measured: The jump from one loss to the next, compared with the losses before and after it.
    Formula: jump = loss - median(losses before); it must exceed {SPIKE_NOISE:g} robust standard deviations (1.4826 * median
        absolute deviation) and {SPIKE_RISE:.0%} of the level, and the median of the losses that follow, and of their last
        fifth, stays above.
    """
    if not ordinary(trace):
        raise Skip("not applicable", NEED_NOT_FALL)
    if any(heavy_momentum(trace)):
        return  # that is the cause, and another check reports it
    steps, losses = enough_losses(trace, 40)
    width = max(10, len(losses) // 20)
    # If the run stopped soon after the jump, no later losses are needed as proof.
    broke_off = trace.first_nonfinite is not None
    judged = losses if broke_off else losses[:-2]
    window = np.lib.stride_tricks.sliding_window_view(judged, width)[:-1]  # row k: the losses before place width + k
    level = np.median(window, axis=1)
    noise = 1.4826 * np.median(np.abs(window - level[:, None]), axis=1)
    jump = judged[width:] - level - np.maximum(limits.SPIKE_NOISE * noise, limits.SPIKE_RISE * np.abs(level))
    # One jump out of ordinary losses, not the end of a slow rise, and the loss does not come back.
    calm = window[:, -3:].max(axis=1) < level + limits.NOISE * noise
    guess = guess_of(trace)
    began = float(np.mean(losses[:5]))
    learned = (max(began, guess) if isfinite(guess) else began) - level  # a run that continues from trained weights begins low
    lasting = level + np.maximum(noise, limits.SPIKE_LOSS * np.abs(learned))
    places = []
    for k in np.flatnonzero((jump > 0) & calm):
        peak, later = losses[width + k], losses[width + k :]
        soon = broke_off and len(later) <= 2 * width
        stayed = min(np.median(later), np.median(later[-max(1, len(later) // 5) :]))  # a new task is learned anew
        if lasting[k] < stayed and (soon or np.median(later) < limits.SPIKE_CLIMB * peak):
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
