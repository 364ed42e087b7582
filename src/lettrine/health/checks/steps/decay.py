"""Check of weights that shrink at every step: by weight decay of the optimiser, or by a penalty in the loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite, log, nan, prod, sqrt

import numpy as np

from lettrine.health import limits, limits_wiring
from lettrine.health.checks.consequence import Consequence, consequence
from lettrine.health.checks.layers.restrained import hardly
from lettrine.health.checks.reading import late, listed, matrices, median, number, share, usable
from lettrine.health.checks.reference import loss_seen
from lettrine.health.checks.registry import Skip, check
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import ParameterInfo, Trace


@check("weight-decay", needs=("parameters",))
def weight_decay(trace: Trace) -> Iterator[Finding]:
    """Weight decay, or a penalty in the loss, that is stronger than the gradient: the weights shrink to 0, or what is learned.

    Measured: The size of each weight matrix that weight decay acts on, or of all matrices if the loss has a penalty on
    parameters. Where decay is added to the gradient: its size beside that of the gradient.
    Formula: left = rms(weights at the end) / rms(weights at the start); below {DECAYED} if no learning was seen, below
    {DECAYED_AWAY}, which is almost 0, if the loss did not fall far; below {DECAYED_HALF} under {DECAY_MUCH:g} times the usual
    decay of AdamW, if the loss ends at {HARDLY_LEARNED} of guessing or above. Added to the gradient: decay * rms(weights) /
    rms(gradient) >= {DECAY_OUTWEIGHS} of most matrices at {DECAY_FAR:g} times the usual decay or more, if the loss ends at
    {DECAY_LEFT} of guessing or above. Apart from the gradient: rate * decay >= {DECAY_STEP} of the weights at each step, under
    the same condition.
    """
    groups = [each for each in trace.seen("optimiser") if each.figure("weight_decay") > 0]
    loss = loss_seen(trace)
    penalty = loss is not None and "penalty" in loss.words["kind"]
    if not groups and not penalty:
        raise Skip("not applicable", "no weight decay and no penalty, or no settings of an optimizer were seen")
    course = consequence(trace)
    if penalty and not groups:
        course = _without_the_penalty(trace, course)
    if course.well:
        yield from _outweighed(trace, groups, course)
        return
    gone: list[Finding] = []
    for seen in groups:
        decay, decoupled = seen.figure("weight_decay"), bool(seen.figure("decoupled"))
        lower = (
            f"Lower weight_decay from {number(decay)} to {number(min(limits_wiring.DECAY_USUAL[decoupled], decay / 10))} or less"
        )
        more = "." if decoupled else "; with Adam use AdamW, which keeps decay and gradient apart."
        much = decoupled and decay >= limits_wiring.DECAY_MUCH * limits_wiring.DECAY_USUAL[decoupled]
        gone += _gone(trace, seen.where, course, f"Weight decay of {number(decay)}", lower + more, much=much)
    yield from gone or [*_outweighed(trace, groups, course), *_each_step(trace, groups, course)]
    if penalty and not groups:
        every = tuple(info.name for info in _weights(trace))
        lower = "Make the penalty in the loss 100 times smaller, or take AdamW with weight_decay=0.01 in its place."
        yield from _gone(trace, every, course, "A penalty in the loss", lower)


def _without_the_penalty(trace: Trace, course: Consequence) -> Consequence:
    """The course, where a loss with a penalty is no better than guessing.

    The penalty is part of the loss, so the loss has no reference; but the penalty cannot make the loss smaller.
    """
    chance = trace.facts.chance
    if course.bad or not isfinite(chance) or course.end < limits.CHANCE_SHARE * chance:
        return course
    words = f"the loss, {number(course.end, 3)} at step {course.steps[1]:,}, is no better than guessing ({number(chance, 3)})"
    return Consequence("guessing", course.steps, course.start, course.best, course.end, course.reference, words)


def _weights(trace: Trace) -> list[ParameterInfo]:
    return matrices(trace, embeddings=True)


def _gone(
    trace: Trace, names: tuple[str, ...], course: Consequence, what: str, remedy: str, *, much: bool = False
) -> Iterator[Finding]:
    """Whether half of these matrices, or more, have almost nothing left of their size. much: the decay is far above the usual."""
    little = much and course.left >= limits.HARDLY_LEARNED
    limit = limits_wiring.DECAYED_HALF if little else limits_wiring.DECAYED if course.bad else limits_wiring.DECAYED_AWAY
    sizes = {info.name: trace.parameter(info.name, "rms")[usable(trace)] for info in _weights(trace) if info.name in names}
    left = {name: float(rms[-1] / rms[0]) for name, rms in sizes.items() if len(rms) > 1 and rms[0] > 0}
    gone = [name for name, ratio in left.items() if ratio < limit]
    if not gone or len(gone) * 2 < len(left):
        return
    most, told = max(left[name] for name in gone), hardly(course) if little else course.words
    yield Finding(
        id="weight-decay",
        severity="critical" if course.bad else "warning",
        where=tuple(gone),
        steps=course.steps,
        value=most,
        limit=limit,
        message=f"{what} has shrunk {listed(gone)} to {share(max(0.0001, most))} or less of "
        f"{'its' if len(gone) == 1 else 'their'} size at the start, and {told}.",
        why="Each step takes more from the weights than the gradient of the error adds: every input gets the same answer.",
        remedy=remedy,
        reference="Loshchilov & Hutter 2019, Decoupled weight decay regularization",
    )


def _outweighed(trace: Trace, groups: Sequence[Evidence], course: Consequence) -> Iterator[Finding]:
    """Decay that is added to the gradient, and is as large as it: an optimiser that divides by their size follows it."""
    usual = limits_wiring.DECAY_USUAL[False]
    for seen in groups:
        decay = seen.figure("weight_decay")
        parts = {} if seen.figure("decoupled") else {info.name: _part(trace, info, decay) for info in _weights(trace)}
        held = {name: part for name, part in parts.items() if name in seen.where and isfinite(part)}
        over = [name for name, part in held.items() if part >= limits_wiring.DECAY_OUTWEIGHS]
        much = decay >= limits_wiring.DECAY_FAR * usual and len(held) > 1 and 2 * len(over) >= len(held)
        if not much or not course.left >= limits_wiring.DECAY_LEFT:
            continue
        least = min(held[name] for name in over)
        words = course.words if course.bad else f"the loss ends at {number(course.end, 3)}"
        yield Finding(
            id="weight-decay",
            severity="warning",
            where=tuple(over),
            steps=course.steps,
            value=least,
            limit=limits_wiring.DECAY_OUTWEIGHS,
            message=f"Weight decay of {number(decay)} adds to the gradient of {listed(over)} {number(least)} times its size or "
            f"more, and {words}, where {course.reference.words} gives {number(course.reference.value, 3)}.",
            why=f"{seen.words['kind']} steps along the sum of both: towards small weights as much as towards a small loss.",
            remedy=f"Lower weight_decay from {number(decay)} to {number(usual)} or less; with Adam use AdamW, which keeps decay "
            "and gradient apart.",
            reference="Loshchilov & Hutter 2019, Decoupled weight decay regularization",
        )


def _each_step(trace: Trace, groups: Sequence[Evidence], course: Consequence) -> Iterator[Finding]:
    """Decay apart from the gradient that takes so much at each step that nothing learned can last."""
    for seen in groups:
        decay, held = seen.figure("weight_decay"), [info.name for info in _weights(trace) if info.name in seen.where]
        rates = [median(trace.parameter(name, "learning_rate"), late(trace)) for name in held]
        rate = median(np.array(rates)) if rates else nan
        part = rate * decay
        if not seen.figure("decoupled") or not part >= limits_wiring.DECAY_STEP or not course.left >= limits_wiring.DECAY_LEFT:
            continue
        words = course.words if course.bad else f"the loss ends at {number(course.end, 3)}"
        yield Finding(
            id="weight-decay",
            severity="warning",
            where=tuple(held),
            steps=course.steps,
            value=part,
            limit=limits_wiring.DECAY_STEP,
            message=f"Weight decay of {number(decay)} at a learning rate of {number(rate)} takes {share(part)} of the weights "
            f"away at each step, half of them in {number(log(2) / part, 1)} steps, and {words}, where {course.reference.words} "
            f"gives {number(course.reference.value, 3)}.",
            why="The weights hold what the last few batches taught, and forget the rest.",
            remedy=f"Lower weight_decay from {number(decay)} to {number(limits_wiring.DECAY_USUAL[True])} or less.",
            reference="Loshchilov & Hutter 2019, Decoupled weight decay regularization",
        )


def _part(trace: Trace, info: ParameterInfo, decay: float) -> float:
    """The size of what decay adds to a gradient, by that of the gradient: the median of the late sampled steps."""
    rms, norm = trace.parameter(info.name, "rms"), trace.parameter(info.name, "gradient_norm")
    with np.errstate(divide="ignore", invalid="ignore"):
        return median(decay * rms / (norm / sqrt(prod(info.shape))), late(trace))
