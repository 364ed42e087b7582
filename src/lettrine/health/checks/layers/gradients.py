"""Checks of gradients: scale against depth, balance between layers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.layers.restrained import hardly
from lettrine.health.checks.reading import (
    feeding_weight,
    in_a_row,
    late,
    layers_of_a_kind,
    matrices,
    median,
    number,
    output_module,
    span,
    weight_of,
)
from lettrine.health.checks.registry import Skip, check
from lettrine.health.findings import Finding
from lettrine.health.trace import Floats, Trace


@check("gradient-scale", needs=("gradients",), symptom="remark")
def gradient_scale(trace: Trace) -> Iterator[Finding]:
    """Gradients of the outputs that vanish or explode on their way back to the first layer.

    Layers beside each other are not compared: while attention is flat, the gradients of its queries and keys are small by
    nature, and so are those of a gate.

    Measured: The size of the gradients with respect to the outputs of the longest row of layers of one kind, each fed by the one
        before, directly or through modules that are fed by one alone.
    Formula: ratio = rms(output gradients of the first layer) / rms(those of the last layer), or its inverse, after the first
        {LATE_FROM:.0%} of the run. A remark if something is learned and the steps move the weights of all these layers alike,
        update:data within {MOVED_ALIKE:.0f} times of each other, as under Adam; but not where gradients vanish and the loss is
        still above {HARDLY_LEARNED:g} of guessing after {PLATEAU_STEPS} steps.
    """
    names = in_a_row(trace, [name for name in layers_of_a_kind(trace, limits.SCALE_LAYERS) if name in trace.gradients])
    mask = late(trace)
    steps = span(trace, mask)
    limit = limits.GRADIENT_RATIO if steps[1] >= limits.LEARNING_STEPS else limits.GRADIENT_RATIO_START
    scales = {name: median(trace.gradient(name, "rms"), mask) for name in names}
    scales = {name: scale for name, scale in scales.items() if scale > 0}
    if len(scales) < limits.SCALE_LAYERS:
        raise Skip("not run", f"fewer than {limits.SCALE_LAYERS} layers of a kind, one fed by the other, got gradients")
    names, sizes = list(scales), np.array(list(scales.values()))
    ratio = float(sizes[0] / sizes[-1])
    total = max(ratio, 1 / ratio)
    if total <= limit or _one_step(np.log(sizes)):
        return  # a change at one layer comes from that layer, not from the depth
    vanishes = ratio < 1
    each = total ** (1 / (len(names) - 1))
    course = consequence(trace)
    alike = _move_alike(trace, names) if course.kind in ("learns", "falls") else ""
    long = course.steps[1] - course.steps[0] >= limits.PLATEAU_STEPS
    late_yet = vanishes and long and course.left >= limits.HARDLY_LEARNED
    if alike and late_yet:
        alike = f"{alike.replace('; but', '; although')}, {hardly(course)}"
    yield Finding(
        id="gradient-scale",
        severity="info" if alike and not late_yet else "critical" if total > limits.GRADIENT_CRITICAL else "warning",
        where=tuple(names),
        steps=steps,
        value=total,
        limit=limit,
        message=(
            f"Gradients {'vanish' if vanishes else 'explode'}: {number(total)} times {'smaller' if vanishes else 'larger'} at "
            f"{names[0]} than at {names[-1]}, {number(each)} times with each layer{alike}."
        ),
        why=(
            "The first layers hardly learn while the last ones do."
            if vanishes
            else "The first layers take steps far too large for the learning rate that suits the last ones."
        ),
        remedy=_even_out(each, vanishes, _sigmoids(trace, names)),
        reference=limits.GLOROT,
    )


def uneven(trace: Trace) -> bool:
    """Whether gradients vanish or explode on their way back, with a consequence."""
    try:
        return any(each.severity != "info" for each in gradient_scale(trace))
    except Skip:
        return False


def _sigmoids(trace: Trace, names: list[str]) -> bool:
    """Whether there is a sigmoid between these layers. One at the end of the network does not make their gradients vanish."""
    depths = {info.name: info.depth for info in trace.modules}
    return any(info.activation == "sigmoid" and info.depth <= depths[names[-1]] for info in trace.modules)


def _even_out(each: float, vanishes: bool, sigmoids: bool) -> str:
    """The advice. each: the change of the gradients with a layer. Larger weights only saturate sigmoids, so these come first."""
    if vanishes and sigmoids:
        return (
            "Replace the sigmoids between the layers by tanh or ReLU, or add normalisation or skip connections; or multiply the "
            f"weights of the layers between by {number(each)} each."
        )
    return (
        f"Multiply the weights of the layers between by {number(each if vanishes else 1 / each)} each, "
        f"{'' if vanishes else 'clip gradients, '}or add normalisation or skip connections."
    )


def _move_alike(trace: Trace, names: list[str]) -> str:
    """Half a sentence if the steps nevertheless move the weights of these layers at about the same pace; otherwise "".

    What hinders a layer whose gradients are too small or too large is the size of its steps. Adam's do not depend on it.
    """
    weights = [weight_of(trace, name) or feeding_weight(trace, name) for name in names]
    mask = late(trace)
    moved = [median(trace.parameter(name, "update_data"), mask) for name in weights if name in trace.parameter_stats]
    if len(moved) < len(names) or not max(moved) <= limits.MOVED_ALIKE * min(moved):
        return ""
    return f"; but each step moves their weights alike, by {number(min(moved))} to {number(max(moved))} of their size"


def _one_step(values: Floats) -> bool:
    """Whether two constant levels fit a row of values better than a straight line does, by the sum of squared residuals."""

    def left(part: Floats) -> float:
        return float(np.sum((part - part.mean()) ** 2))

    axis = np.arange(len(values))
    line = values - np.polyval(np.polyfit(axis, values, 1), axis)
    return min(left(values[:place]) + left(values[place:]) for place in axis[1:]) < float(line @ line)


@check("gradient-data", needs=("parameters",), symptom="remark")
def gradient_data(trace: Trace) -> Iterator[Finding]:
    """One weight matrix whose gradient, relative to its size, is far from the others'.

    Under Adam and similar optimisers, whose steps do not depend on the size of the gradient, the updates are compared instead.

    Measured: For each hidden weight matrix: the std of its gradient, relative to the std of its values.
    Formula: ratio = std(gradient) / std(weights), divided by the median ratio of the other matrices. Under Adam and similar
    optimisers update:data is used instead of gradient:data. A matrix whose values have a std of {MARKS:,.0f} or more is left
    out: they mark what is forbidden, such as the transitions of a conditional random field, and are no weights to compare. Under
    other optimisers one whose std is within {SIZES_ALIKE:.0f} times of the others' is not named: while attention is flat, or a
    gate is closed, the gradients behind it are small by nature.
    """
    adaptive = any(word in trace.facts.optimiser.lower() for word in ("adam", "rmsprop", "adagrad", "lion", "adafactor"))
    stat, words = ("update_data", "update:data") if adaptive else ("gradient_data", "gradient:data")
    last = output_module(trace)
    # The output layer always stands out at first, and is not judged.
    judged = [info.name for info in matrices(trace) if last is None or info.module != last.name]
    mask = late(trace)
    stds = {name: median(trace.parameter(name, "std"), mask) for name in judged}
    ratios = {name: median(trace.parameter(name, stat), mask) for name in judged if stds[name] < limits.MARKS}
    ratios = {name: ratio for name, ratio in ratios.items() if ratio > 0}
    if len(ratios) < limits.GRADIENT_DATA_LAYERS:
        raise Skip("not applicable", f"fewer than {limits.GRADIENT_DATA_LAYERS} hidden weight matrices to compare")
    far: dict[str, float] = {}
    steps = span(trace, mask)
    limit = limits.GRADIENT_DATA_RATIO if steps[1] >= limits.LEARNING_STEPS else limits.GRADIENT_DATA_RATIO_START
    for name, ratio in ratios.items():
        others = float(np.median([each for other, each in ratios.items() if other != name]))
        size = stds[name] / float(np.median([stds[other] for other in ratios if other != name]))
        apart = adaptive or max(size, 1 / size) > limits.SIZES_ALIKE
        if apart and max(ratio / others, others / ratio) > limit:
            far[name] = ratio / others
    if not far or len(far) > len(ratios) // 2:
        return
    name = max(far, key=lambda each: max(far[each], 1 / far[each]))
    above = far[name] > 1
    factor = far[name] if above else 1 / far[name]
    usual = float(np.median([stds[other] for other in ratios if other not in far]))
    yield Finding(
        id="gradient-data",
        severity="warning",
        where=tuple(far),
        steps=steps,
        value=factor,
        limit=limit,
        message=f"{words} of {name} is {number(factor)} times {'above' if above else 'below'} that of the other layers.",
        why="One learning rate cannot suit layers that learn at such different speeds.",
        remedy=(
            f"Initialise {name} like the others: its weights have std {number(stds[name])}, theirs {number(usual)}; "
            f"or give it a learning rate {number(factor, 1)} times {'lower' if above else 'higher'}."
        ),
        reference=f"{limits.STUDY}: gradient:data ratio",
    )
