"""What keeps a network from learning although everything is connected.

Reported as "underfitting", "divergence" and "saturation".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import nan
from typing import Final

import numpy as np

from lettrine.health import limits, limits_wiring
from lettrine.health.checks.consequence import Consequence, consequence, fresh
from lettrine.health.checks.reading import finite_curve, listed, number, plural, share, tamed, usable
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace

_BETWEEN: Final = re.compile(r"\bweight_hh_l\d+$")
"""Weights between the steps of a recurrent module."""


def hardly(course: Consequence) -> str:
    """What became of a training that learned hardly anything, as half a sentence."""
    if course.bad:
        return course.words
    reference = course.reference
    return f"the loss, {number(course.end, 3)} at the end, is hardly better than {reference.words} ({number(reference.value, 3)})"


def dropped(trace: Trace) -> Iterator[Finding]:
    """Dropout of the answers themselves, or that drops nearly all."""
    for each in trace.seen("dropout"):
        if each.figure("looks") == each.figure("last") >= limits.HANDED_POINTS and each.figure("share") > 0:
            yield _answers_dropped(trace, each)
            return
    seen = [each for each in trace.seen("dropout") if limits_wiring.DROPPED <= each.figure("share") < 1]
    course = consequence(trace)
    if not seen or course.well or not (course.bad or course.left >= limits.HARDLY_LEARNED):
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


def _answers_dropped(trace: Trace, seen: Evidence) -> Finding:
    part = seen.figure("share")
    place = f"Dropout in {seen.where[0]}" if seen.where else "A dropout"
    return Finding(
        id="underfitting",
        severity="warning",
        where=seen.where,
        steps=consequence(trace).steps,
        value=part,
        limit=0.0,
        message=f"{place} is the last thing before the loss: in training {share(part)} of the answers are set to 0, whatever the "
        "network says.",
        why="No weights can make up for answers that are set to 0."
        + (f" The others become {number(1 / (1 - part))} times as large." if part < 1 else ""),
        remedy="Take this dropout out, or put it before the last layer.",
        reference="Srivastava et al. 2014, Dropout: a simple way to prevent neural networks from overfitting: hidden and input "
        "units",
    )


def memoryless(trace: Trace) -> Iterator[Finding]:
    """A recurrent layer whose weights between the steps never act: it is given sequences of one step, from a state of 0."""
    names, course = unused_memory(trace), consequence(trace)
    if not names:
        return
    modules = tuple(dict.fromkeys(name.rpartition(".")[0] for name in names))
    yield Finding(
        id="underfitting",
        severity="info" if course.well else "warning",
        where=modules,
        steps=course.steps,
        value=0.0,
        limit=0.0,
        message=f"{listed(list(modules))} remembers nothing: {listed(list(names))} got a gradient of exactly 0 at every sampled "
        f"step, as where sequences have one step and begin with a state of 0; {course.words}.",
        why="Each answer then depends on one step alone, as that of a linear layer with gates; what came before is lost.",
        remedy="Give it the steps along the axis of time: (batch, time, features) with batch_first=True, not (batch, 1, "
        "features) with all steps in one row of features; or hand the state of one call to the next.",
        reference="torch.nn.LSTM: inputs",
    )


def uncalled(trace: Trace) -> Iterator[Finding]:
    """Tables, such as those of positions, that are made and never added to anything: a remark where much is learned."""
    course = consequence(trace)
    little = course.bad or course.left >= limits.HARDLY_LEARNED
    for seen in trace.seen("uncalled"):
        if seen.figure("looks") < limits_wiring.MASK_LOOKS or course.well or course.kind == "unknown":
            continue
        one = len(seen.where) == 1
        yield Finding(
            id="underfitting",
            severity="warning" if little else "info",
            where=seen.where,
            steps=seen.steps,
            value=0.0,
            limit=nan,
            message=f"{listed(list(seen.where))} {'is' if one else 'are'} made with the model and never called, and what "
            f"{'it holds' if one else 'they hold'} is never used; {hardly(course) if little else course.words}.",
            why="What the table is for does not happen: attention without positions, for one, does not know the order of what it "
            "is given.",
            remedy=f"Call {'it' if one else 'them'} in forward, such as x = self.{seen.where[0]}(x) after the embedding, or take "
            f"{'it' if one else 'them'} out.",
            reference="Vaswani et al. 2017, Attention is all you need, section 3.5",
        )


def unused_memory(trace: Trace) -> tuple[str, ...]:
    """Weights between the steps of recurrent layers that got gradients of exactly 0 at all sampled steps, while others of the
    same layer got some.
    """
    mask = usable(trace)
    norms = {name: trace.parameter(name, "gradient_norm")[mask] for name in trace.parameter_stats}
    seen = {name: each[np.isfinite(each)] for name, each in norms.items()}
    still = [
        name
        for name, each in seen.items()
        if _BETWEEN.search(name) and len(each) >= limits.NO_GRADIENT_RECORDS and not each.any()
    ]
    return tuple(name for name in still if seen.get(name.replace("weight_hh", "weight_ih"), np.zeros(1)).any())


def heavy_momentum(trace: Trace) -> Iterator[Finding]:
    """Momentum that goes on in a direction for longer than the loss falls in it."""
    momentum, course = trace.facts.momentum, consequence(trace)
    if not limits_wiring.MOMENTUM_HEAVY <= momentum < 1:
        return
    best = course.best < limits.HARDLY_LEARNED * course.reference.value
    rose = course.kind == "rises" or (course.bad and best)
    swung = "" if rose else _swung(trace, course)
    if not rose and not swung:
        return
    yield Finding(
        id="divergence",
        severity="critical" if rose else "warning",
        where=(),
        steps=course.steps,
        value=momentum,
        limit=limits_wiring.MOMENTUM_HEAVY,
        message=f"A momentum of {number(momentum, 4)} ({trace.facts.optimiser}) lets each gradient act on for "
        f"{number(1 / (1 - momentum))} steps: the loss "
        + (swung or f"had come to {number(course.best, 3)} and ended at {number(course.end, 3)}")
        + ".",
        why="The steps keep their old direction long after the loss has begun to rise, and turn back just as late.",
        remedy=f"Set the momentum (beta1 of Adam) from {number(momentum, 4)} to 0.9; with SGD this makes the steps "
        f"{number(0.1 / (1 - momentum))} times smaller, so that the learning rate may rise again.",
        reference="Sutskever et al. 2013, On the importance of initialization and momentum in deep learning",
    )


def _swung(trace: Trace, course: Consequence) -> str:
    """What the loss did, if it lost half of what had been learned in mid-run, and is no lower at the end than before that."""
    _, losses = finite_curve(trace, trace.loss)
    if course.kind not in ("learns", "falls") or len(losses) < limits.LEARNING_STEPS:
        return ""
    levels = np.array([float(np.mean(part)) for part in np.array_split(tamed(losses), 20)])
    top = course.reference.value if course.reference.known else course.start
    lowest = np.minimum.accumulate(levels)
    lost = (levels - lowest) / np.maximum(top - lowest, limits.LEARNED_SHARE * abs(top))
    place = int(np.argmax(lost))
    if not lost[place] > limits.DIVERGED_SHARE or course.end < lowest[place]:
        return ""
    return (
        f"had come to {number(lowest[place], 3)}, rose to {number(levels[place], 3)} again, and ended at {number(course.end, 3)}"
    )


def peaked_attention(trace: Trace) -> Iterator[Finding]:
    """Attention that looks at one place from the start, since its scores are too large."""
    course = consequence(trace)
    seen = [
        each
        for each in trace.seen("peaks")
        if min(each.figure("first"), each.figure("last")) >= limits_wiring.PEAKED
        and each.figure("spread") >= limits_wiring.PEAKED_SPREAD
        and each.steps[0] == 0
    ]
    little = course.bad or course.left >= limits.PLATEAU_HIGH
    if not seen or not little or course.well or not fresh(trace):
        return
    names, spread = tuple(name for each in seen for name in each.where), max(each.figure("spread") for each in seen)
    first = max(each.figure("first") for each in seen)
    words = course.words if course.bad else f"the loss only reached {number(course.end, 3)}"
    yield Finding(
        id="saturation",
        severity="warning",
        where=names,
        steps=seen[0].steps,
        value=first,
        limit=limits_wiring.PEAKED,
        message=f"The softmax in {listed(names)} gives {share(first)} of its weight to one place of "
        f"{int(seen[0].figure('size'))} from the start, since its scores have a std of {number(spread)}; {words}.",
        why="Where one share is 1 and the others are 0, a softmax has almost no gradient: the layers before it hardly learn.",
        remedy="Divide the scores by the root of the size of queries and keys, scores / math.sqrt(d), or call "
        "F.scaled_dot_product_attention, which does so; and normalise what queries and keys are made of.",
        reference="Vaswani et al. 2017, Attention is all you need, section 3.2.1",
    )
