"""Checks of a loss that rises: all the way, or at one step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite

import numpy as np

from lettrine.health import limits, limits_wiring
from lettrine.health.checks.layers.restrained import heavy_momentum
from lettrine.health.checks.losses.endless import endless
from lettrine.health.checks.losses.harder import harder, little_by_little, pushed
from lettrine.health.checks.reading import (
    ends,
    enough_losses,
    learning_rate,
    matrices,
    median,
    number,
    rounded,
    standard_error,
    tamed,
    usable,
)
from lettrine.health.checks.reference import NEED_NOT_FALL, guess_of, ordinary
from lettrine.health.checks.registry import Skip, check
from lettrine.health.findings import Finding
from lettrine.health.trace import Floats, Trace


@dataclass(frozen=True)
class _Rise:
    """Levels of a loss that rose: at first, at its lowest, at the end, and what the end must exceed. place: the end of the lowest
    stretch, as a share of the run.
    """

    beginning: float
    lowest: float
    end: float
    limit: float
    place: float


def _risen(losses: Floats, guess: float) -> _Rise | None:
    """How far losses end above their lowest level; None if not beyond their noise."""
    parts = np.array_split(losses, min(20, len(losses) // 5))
    blocks = [float(np.mean(part)) for part in parts]
    beginning, end, noise = ends(losses)
    place = int(np.argmin(blocks))
    lowest = blocks[place]
    noise = max(noise, standard_error(parts[place]))  # one loss alone can make a short stretch low
    reference = min(beginning, guess) if isfinite(guess) else beginning
    limit = max(lowest + limits.DIVERGED_SHARE * max(reference - lowest, 0.0), lowest + limits.NOISE * noise)
    if reference - lowest <= limits.LEARNED_SHARE * abs(reference):  # nothing was learned: only a rise above the start counts
        limit = max(beginning, beginning + limits.DIVERGED_SHARE * abs(beginning), beginning + limits.NOISE * noise)
    return _Rise(beginning, lowest, end, limit, (place + 1) / len(blocks)) if end > limit else None


@check("divergence", needs=("loss",))
def divergence(trace: Trace) -> Iterator[Finding]:
    """The loss ends far above its lowest level.

    Measured: The loss at the end, compared with its lowest level; and the momentum of the optimiser, where it is
        {MOMENTUM_HEAVY} or more. A loss that ends below {CHANCE_SHARE:.0%} of guessing (below its start where that is unknown) is
        a remark, unless since its lowest level the learning rate was raised {DIVERGED_RATE:g} times or the gradient norm grew
        {DIVERGED_GRADIENT:g} times: it also rises where data become harder or a term of the loss heavier. So is one that came
        back to {HARDER_END:g} times guessing at most, little by little ({HARDER_JUMP:.0%} of the rise at most in one stretch), in
        steps (update:data) that were never above the median of those by which it had fallen.
    Formula: limit = lowest + max({DIVERGED_SHARE} * (start - lowest), {NOISE:g} standard errors); lowest is the lowest mean
        of up to 20 stretches of the run, and start is at most the loss of guessing. Where single losses hide a rise, all
        are cut at {OUTLIER:g} robust standard deviations above the median of their stretch.
    """
    if any(endless(trace)):
        return  # that has no lowest level, and another check reports it
    if not ordinary(trace):
        raise Skip("not applicable", NEED_NOT_FALL)
    steps, losses = enough_losses(trace, 20)
    yield from (heavy := list(heavy_momentum(trace)))
    if heavy:
        return
    guess = guess_of(trace)
    # One loss far above all others hides the rise of these in the noise that it makes.
    risen = _risen(losses, guess) or _risen(tamed(losses), guess)
    if risen is None:
        return
    lowest, end, limit = risen.lowest, risen.end, risen.limit
    since = float(steps[min(len(steps) - 1, int(risen.place * len(steps)))])
    untrained = limits.CHANCE_SHARE * guess if isfinite(guess) else risen.beginning
    if not pushed(trace, since) and (end < untrained or little_by_little(trace)):
        yield harder(trace, since, (lowest, end, limit), "lower than" if end < untrained else "no higher than")
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
        steps=(int(since), int(steps[-1])),
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
        Judged are losses that were below their start or below guessing.
        It is a remark if the loss stays below {SPIKE_ABOVE:g} times its start, and no weight moved by {SPIKE_MOVED:.0%} of its
        size around the step and {SPIKE_FASTER:g} times as fast as before: then new data are the likelier cause.
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
    sure = 2 * 1.25 * noise / np.sqrt(width)  # two standard errors of a median
    lost = (learned > -sure) | broke_off  # a loss above its start and above guessing was broken before
    places = []
    for k in np.flatnonzero((jump > 0) & calm & lost):
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
    stays = float(np.median(later))
    worse = broke_off or stays >= limits_wiring.SPIKE_ABOVE * max(began, guess if isfinite(guess) else began)
    if not worse and not _weights_jumped(trace, culprit):
        yield _changed(culprit, int(steps[-1]), (float(np.median(before)), float(losses[place]), stays))
        return
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


def _weights_jumped(trace: Trace, culprit: int) -> bool:
    """Whether a weight changed much between the looks before and after a step."""
    after = int(np.searchsorted(trace.steps, culprit, side="right"))
    if not 2 <= after < len(trace.steps):
        return False
    looks = slice(after - 2, after + 1)  # the last one is the first after the jump
    sizes = np.array([trace.parameter(info.name, "rms")[looks] for info in matrices(trace)]).reshape(-1, 3)
    with np.errstate(divide="ignore", invalid="ignore"):
        usual, there = np.abs(np.diff(np.log(sizes), axis=1)).T / np.diff(trace.steps[looks])[:, None]
    long = float(trace.steps[after] - trace.steps[after - 1])
    return bool(((there * long > limits_wiring.SPIKE_MOVED) & (there > limits_wiring.SPIKE_FASTER * usual)).any())


def _changed(culprit: int, last: int, levels: tuple[float, float, float]) -> Finding:
    """A jump that no weight made: what was asked for is another thing since."""
    before, peak, later = (number(level, 3) for level in levels)
    return Finding(
        id="spike",
        severity="info",
        where=(),
        steps=(culprit, last),
        value=levels[1],
        limit=levels[0],
        message=f"At step {culprit} the loss jumped from {before} to {peak} and stayed near {later}; no weight jumped with it.",
        why="The batches or the loss are most likely others since: a new task, another augmentation, a term that was added.",
        remedy=f"If nothing was meant to change there, look at the batches of steps {culprit - 1} and {culprit}.",
        reference="Pascanu, Mikolov & Bengio 2013, On the difficulty of training recurrent neural networks",
    )
