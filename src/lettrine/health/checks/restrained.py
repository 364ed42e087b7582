"""What keeps a network from learning although all is wired: reported as "underfitting" and "divergence"."""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits, limits_wiring
from lettrine.health.checks.consequence import Consequence, consequence
from lettrine.health.checks.reading import listed, number, plural, share
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


def hardly(course: Consequence) -> str:
    """What became of a training that learned hardly anything, as half a sentence."""
    if course.bad:
        return course.words
    reference = course.reference
    return f"the loss, {number(course.end, 3)} at the end, is hardly better than {reference.words} ({number(reference.value, 3)})"


def dropped(trace: Trace) -> Iterator[Finding]:
    """Dropout that drops nearly all."""
    seen = [each for each in trace.seen("dropout") if limits_wiring.DROPPED <= each.figure("share") < 1]
    course = consequence(trace)
    if not seen or course.well or not (course.bad or course.end >= limits.HARDLY_LEARNED * course.reference.value):
        return
    names = tuple(name for each in seen for name in each.where)
    most = max(each.figure("share") for each in seen)
    words, place = hardly(course), listed(names) if names else plural(seen, "that dropout", "those dropouts")
    yield Finding(
        id="underfitting",
        severity="warning",
        where=names,
        steps=course.steps,
        value=most,
        limit=limits_wiring.DROPPED,
        message=f"Dropout{f' in {listed(names)}' if names else ''} drops {share(most)} of the values, and {words}.",
        why=f"Of what a layer computes only {share(1 - most)} gets through, {number(1 / (1 - most))} times as large: the next "
        "layer sees mostly noise.",
        remedy=f"p is the share that is dropped, not the share that is kept: set p={number(1 - most)} in "
        f"{place}, or leave it out until the network learns.",
        reference="Srivastava et al. 2014, Dropout: a simple way to prevent neural networks from overfitting, section A.4",
    )


def heavy_momentum(trace: Trace) -> Iterator[Finding]:
    """Momentum that goes on in a direction for longer than the loss falls in it."""
    momentum, course = trace.facts.momentum, consequence(trace)
    best = course.best < limits.HARDLY_LEARNED * course.reference.value
    if not momentum >= limits_wiring.MOMENTUM_HEAVY or momentum >= 1 or not (course.kind == "rises" or (course.bad and best)):
        return
    yield Finding(
        id="divergence",
        severity="critical",
        where=(),
        steps=course.steps,
        value=momentum,
        limit=limits_wiring.MOMENTUM_HEAVY,
        message=f"A momentum of {number(momentum, 4)} ({trace.facts.optimiser}) lets each gradient act on for "
        f"{number(1 / (1 - momentum))} steps: the loss had come to {number(course.best, 3)} and ended at "
        f"{number(course.end, 3)}.",
        why="The steps go on in their old direction long after the loss has begun to rise in it, and come back as late.",
        remedy=f"Set the momentum (beta1 of Adam) from {number(momentum, 4)} to 0.9; with SGD this makes the steps "
        f"{number(0.1 / (1 - momentum))} times smaller, so that the learning rate may rise again.",
        reference="Sutskever et al. 2013, On the importance of initialization and momentum in deep learning",
    )
