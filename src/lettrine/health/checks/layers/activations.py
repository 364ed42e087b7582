"""Checks of module outputs: saturation, dead units, scale against depth."""

from __future__ import annotations

from collections.abc import Iterator
from math import nan

import numpy as np

from lettrine.activations import ACTIVATIONS, TANH_SATURATED
from lettrine.health import limits
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.layers.recurrent import saturated_gates
from lettrine.health.checks.layers.restrained import peaked_attention
from lettrine.health.checks.layers.summed import DIVIDE, summed
from lettrine.health.checks.layers.tiny import tiny_weights
from lettrine.health.checks.reading import (
    Mask,
    bias_beside,
    feeding_weight,
    late,
    layers_of_a_kind,
    learning_rate,
    listed,
    median,
    middle,
    number,
    rounded,
    share,
    span,
    start,
    update_ratios,
    usable,
    usual_std,
    weight_of,
)
from lettrine.health.checks.registry import Skip, check
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


@check("saturation", needs=("outputs",), symptom="remark")
def saturation(trace: Trace) -> Iterator[Finding]:
    """Bounded activations whose outputs lie mostly where the slope is next to zero, at the start or later.

    Measured: Of each hidden layer with a bounded activation: the share of its outputs at which the slope of the activation is
        next to 0. Inside recurrent modules the states and gates are read as well, and of attention how much of its weight goes
        to a single place.
    Formula: share = (outputs in the flat end) / (all outputs); for tanh the flat end is abs(output) > {TANH_SATURATED}.
        Judged are the first step, and the median over the sampled steps after the first {LATE_FROM:.0%} of the run. Attention is
        named where {PEAKED} of the weight is on one place, the scores have a std of {PEAKED_SPREAD:g} or more, and the loss ends
        at {PLATEAU_HIGH} of guessing or above.
    """
    judged = [
        info
        for info in trace.modules
        if info.role != "output" and info.name in trace.outputs and getattr(ACTIVATIONS.get(info.activation), "saturated", None)
    ]
    if not judged and not trace.seen("gates") and not trace.seen("peaks"):
        raise Skip("not applicable", "no hidden layer with a bounded activation")
    yield from saturated_gates(trace)
    yield from peaked_attention(trace)
    windows = {"at the start": start(trace), "later": late(trace)}
    worst: dict[str, tuple[float, str]] = {}
    for info in judged:
        shares = {when: median(trace.output(info.name, "saturated"), mask) for when, mask in windows.items()}
        when = max(shares, key=lambda each: np.nan_to_num(shares[each], nan=-1.0))
        # Saturation at the start comes from the initialisation, even if training made it worse.
        if shares["at the start"] > limits.SATURATED_SHARE:
            when = "at the start"
        if shares[when] > limits.SATURATED_SHARE:
            worst[info.name] = (shares[when], when)
    if not worst:
        return
    names = list(worst)
    top = max(value for value, _ in worst.values())
    at_start = any(when == "at the start" for _, when in worst.values())
    course = consequence(trace)
    # Trained networks, and gates, may saturate by themselves. That is a fault only if almost nothing is learned.
    mild = not at_start and course.kind == "learns" and course.left < limits.HARDLY_LEARNED
    mask = windows["at the start"] if at_start else windows["later"]
    yield Finding(
        id="saturation",
        severity="info" if mild else "critical" if top >= limits.SATURATED_CRITICAL else "warning",
        where=tuple(names),
        steps=span(trace, mask),
        value=top,
        limit=limits.SATURATED_SHARE,
        message=(
            f"{share(top)} of the outputs of {listed(names)} are saturated"
            f"{' at the start' if at_start else ''}; up to {share(limits.SATURATED_SHARE)} is usual."
        ),
        why="A saturated output has a slope near 0, so the weights before it get almost no gradient and hardly learn.",
        remedy=_less_saturated(trace, names, at_start),
        reference=f"{limits.STUDY}: share of abs(tanh) > {TANH_SATURATED}",
    )


def _less_saturated(trace: Trace, names: list[str], at_start: bool) -> str:
    if not at_start:
        calmer = f"Add weight decay or a normalisation before {listed(names)}."
        return f"{slower[0].upper()}{slower[1:]}, or {calmer[0].lower()}{calmer[1:]}" if (slower := _slower(trace, 3)) else calmer
    known, weights = {info.name: info for info in trace.modules}, {info.name: info for info in trace.parameters}
    parts = []
    for name in names[:4]:
        weight = feeding_weight(trace, name)
        feeder = known[name].fed_by if known[name].role != "linear" else ""  # the input of its own activation is not seen
        spread = median(trace.output(feeder, "std"), start(trace)) if feeder in trace.outputs else nan
        shift = median(trace.output(feeder, "mean"), start(trace)) if feeder in trace.outputs else nan
        if weight and abs(shift) > limits.SATURATED_SHIFT * spread:
            bias = bias_beside(weight)
            zero = f" and start {bias} at 0" if bias in trace.parameter_stats else ""
            parts.append(
                f"draw {weight} anew around 0 with std {number(usual_std(weights[weight]))} (1/sqrt(fan_in)){zero}: the "
                f"outputs of {feeder} lie around {number(shift)}"
            )
        elif weight and spread > limits.REMEDY_SHRINK:
            parts.append(f"scale what goes into {feeder} to mean 0 and std 1, its outputs have std {number(spread)}")
        elif weight and spread > limits.HEALTHY_PREACTIVATION:
            parts.append(f"multiply {weight} by {number(limits.HEALTHY_PREACTIVATION / spread)}")
        elif weight:
            parts.append(f"shrink {weight}")
    if not parts:
        return "Shrink the weights before these activations until their inputs have a standard deviation near 1."
    more = f" (and likewise for {len(names) - 4} more)" if len(names) > 4 else ""
    return f"{'; '.join(parts)[:1].upper()}{'; '.join(parts)[1:]}{more}, so that the inputs of the activation have std near 1."


@check("dead-units", needs=("outputs",), symptom="harm")
def dead_units(trace: Trace) -> Iterator[Finding]:
    """Units that pass no gradient for any example seen lately.

    Measured: Of each unit: how many sampled steps in a row, up to the last one, its slope was 0 for every example of the
        batch.
    Formula: dead share = (units with a streak >= the steps needed) / (units of the layer); needed are {DEAD_STEPS} sampled
        steps with {DEAD_ROWS} examples.
    """
    judged = [info for info in trace.modules if info.role != "output" and info.name in trace.units]
    judged = [info for info in judged if np.isfinite(trace.units[info.name].streak).any()]
    if not judged:
        raise Skip("not applicable", "no hidden layer with an activation that can die")
    dead: dict[str, float] = {}
    course = consequence(trace)
    enough, harmed = False, course.bad
    unjudged = course.kind == "unknown" and len(trace.loss.step) > 0  # then a lower rate may cost more than it saves
    for info in judged:
        units = trace.units[info.name]
        # At least DEAD_STEPS sampled steps, or the whole of a shorter watch, and in either case DEAD_ROWS examples.
        needed = max(min(limits.DEAD_STEPS, units.steps), limits.DEAD_ROWS * units.steps / max(units.rows, 1))
        if needed <= units.steps:
            enough = True
            # If most units died at once in mid-run, two sampled steps are enough: before, they worked. Three are enough if
            # almost all units of a layer are dead and nothing is learned.
            gone = harmed and _gone(trace, info.name)
            dead[info.name] = float(np.mean(units.streak >= (2 if _died(trace, info.name) else 3 if gone else needed)))
    if not enough:
        raise Skip("not run", f"fewer than {limits.DEAD_ROWS} examples were seen in the sampled steps")
    settled = span(trace, usable(trace))[1] >= limits.DEAD_SETTLED
    warned = limits.DEAD_SHARE if settled else limits.DEAD_CRITICAL
    for least, most in ((warned, 1.0), (limits.DEAD_NOTED, warned)):
        names = [name for name, value in dead.items() if least < value <= most]
        if not names:
            continue
        top = max(dead[name] for name in names)
        severity = "info" if least < warned else "critical" if top > limits.DEAD_CRITICAL else "warning"
        kinds = {info.activation for info in judged if info.name in names}
        yield Finding(
            id="dead-units",
            severity=severity,
            where=tuple(names),
            steps=_dead_since(trace, names),
            value=top,
            limit=warned,
            message=f"{share(top)} of the units of {listed(names)} are dead: no recent example gets a gradient through them.",
            why="A dead unit stays as it is, since no gradient reaches its weights; the layer is narrower than it looks.",
            remedy=_revive(trace, names, kinds, few=least < warned or unjudged),
            reference="Lu et al. 2019, Dying ReLU and initialization; " + limits.STUDY,
        )
        return  # beside a warning, leave out what is only a remark


def _died(trace: Trace, name: str) -> bool:
    """Whether most units of a layer that had worked are dead at the last two sampled steps."""
    share_dead = trace.output(name, "dead")[usable(trace)]
    share_dead = share_dead[np.isfinite(share_dead)]
    before, now = share_dead[:-2], share_dead[-2:]
    return len(before) >= limits.DEAD_STEPS and float(np.median(before)) < limits.DEAD_NOTED and now.min() > limits.DEAD_SHARE


def _gone(trace: Trace, name: str) -> bool:
    """Whether almost all units of a layer were dead at each of the last three sampled steps, and not at the first."""
    share_dead = trace.output(name, "dead")[usable(trace)]
    share_dead = share_dead[np.isfinite(share_dead)]
    return len(share_dead) > 3 and share_dead[0] < limits.DEAD_CRITICAL < float(share_dead[-3:].min())


def _dead_since(trace: Trace, names: list[str]) -> tuple[int, int]:
    """The first and the last step with that many dead units."""
    mask = usable(trace)
    dead = np.max([trace.output(name, "dead") for name in names], axis=0)
    return span(trace, mask & (np.nan_to_num(dead) > limits.DEAD_NOTED))


def _revive(trace: Trace, names: list[str], kinds: set[str], *, few: bool) -> str:
    """The advice. few: so few are dead, or so little is known of the loss, that a lower rate, which slows all others, would cost
    more than they do.
    """
    from_start = all(median(trace.output(name, "dead"), start(trace)) > limits.DEAD_SHARE for name in names)
    from_start &= not all(_gone(trace, name) for name in names)
    weights = listed([weight for name in names if (weight := feeding_weight(trace, name))]) or "their weights"
    if from_start:
        biases = [bias_beside(weight) for name in names if (weight := feeding_weight(trace, name))]
        moved = [name for name in biases if name in trace.parameter_stats and trace.parameter(name, "rms")[0] > 0]
        zero = f"start {listed(moved)} at 0, " if moved else ""
        other = ", or use leaky ReLU or GELU" if kinds & {"relu", "relu6"} else ""
        # A ReLU is dead or alive whatever the size of the weights before it: their signs and the bias decide.
        return (
            f"They were dead at the first step: {zero}draw {weights} anew around 0, and see that what goes in has mean 0 and "
            f"std 1{other}."
        )
    ways = [slower] if not few and (slower := _slower(trace, 10)) else []
    ways += ["use leaky ReLU or GELU"] if kinds & {"relu", "relu6"} else []
    ways = ways or [f"add a normalisation before {listed(names)}"]
    return f"{ways[0][0].upper()}{', or '.join(ways)[1:]}; units that are already dead need new weights."


def _slower(trace: Trace, factor: int) -> str:
    """The advice to lower the learning rate, if some steps were large enough to be the cause; otherwise ""."""
    try:
        _, table = update_ratios(trace, usable(trace))
    except Skip:
        return ""
    if not np.nanmax(middle(table), initial=0.0) > limits.UPDATE_AIM_EARLY:
        return ""
    rate = learning_rate(trace)
    towards = f", from {number(rate)} to {number(rounded(rate / factor))}" if rate > 0 else ""
    return f"lower the learning rate about {factor} times{towards}"


@check("activation-scale", needs=("outputs",), symptom="silent")
def activation_scale(trace: Trace) -> Iterator[Finding]:
    """Outputs that grow or shrink from layer to layer.

    Measured: The size of the outputs of layers of one kind, from the first to the last; where the features of nodes are added up
        over their neighbours, how many these are.
    Formula: ratio = rms(outputs of the last layer) / rms(outputs of the first layer), at the first step and as the median
        after the first {LATE_FROM:.0%} of the run. And, of all weight matrices at the first step, rms(weights) *
        sqrt(fan_in) <= {TINY_WEIGHTS}, where the loss stays at guessing.
    """
    if any(info.role == "norm" for info in trace.modules):
        raise Skip("not applicable", "normalisation keeps the scale")
    if tiny := list(tiny_weights(trace)):
        yield from tiny
        return
    frozen = {info.name for info in trace.parameters if not info.trainable}
    names = layers_of_a_kind(trace, limits.SCALE_LAYERS)
    names = [name for name in names if _scaling_weight(trace, name) not in frozen]
    if len(names) < limits.SCALE_LAYERS:
        raise Skip("not applicable", "the weights that set the scale are frozen")
    kinds = {info.activation for info in trace.modules if info.name in names}
    halved = any(ACTIVATIONS[kind].rectifier for kind in kinds if kind)
    shrinkage = limits.SCALE_SHRINKAGE_RECTIFIER if halved else limits.SCALE_SHRINKAGE
    for mask, growth, shrinks in ((start(trace), limits.SCALE_GROWTH, shrinkage), (late(trace), *2 * (limits.SCALE_LATER,))):
        scales = {name: median(trace.output(name, "rms"), mask) for name in names}
        scales = {name: scale for name, scale in scales.items() if scale > 0}
        if len(scales) < limits.SCALE_LAYERS:
            continue  # layers with zero output are a matter of dead units or of wrong connections
        sizes = list(scales.values())
        ratio = sizes[-1] / sizes[0]
        if ratio > growth or ratio < 1 / shrinks:
            yield _uneven(trace, list(scales), mask, ratio, growth if ratio > 1 else shrinks)
            return


def _scaling_weight(trace: Trace, name: str) -> str:
    """The weight that sets the size of a module's output. Where no gradient flows, links are unknown: then the last one before
    it.
    """
    if weight := weight_of(trace, name) or feeding_weight(trace, name):
        return weight
    order = sorted(trace.modules, key=lambda info: info.depth)
    before = [info.name for info in order[: [info.name for info in order].index(name)]]
    return next((weight for each in reversed(before) if (weight := weight_of(trace, each))), "")


def _uneven(trace: Trace, names: list[str], mask: Mask, ratio: float, limit: float) -> Finding:
    grows = ratio > 1
    each, total = ratio ** (1 / (len(names) - 1)), max(ratio, 1 / ratio)
    sums = summed(trace) if grows else ""
    change = f"Initialise the weights in front of {listed(names[1:])} with std gain/sqrt(fan_in)"
    if 1 / limits.REMEDY_FACTOR < each < limits.REMEDY_FACTOR:
        change = (
            f"Multiply the weights in front of {listed(names[1:])} by {number(1 / each)} each, or give them std gain/sqrt(fan_in)"
        )
    return Finding(
        id="activation-scale",
        severity="critical" if total > limits.SCALE_CRITICAL else "warning",
        where=tuple(names),
        steps=span(trace, mask),
        value=total,
        limit=limit,
        message=(
            f"Outputs {'grow' if grows else 'shrink'} {number(total)} times from {names[0]} to {names[-1]}, "
            f"{number(each)} times with each layer.{f' {sums}.' if sums else ''}"
        ),
        why=(
            "Gradients grow the same way on their way back, and the loss begins far too high."
            if grows
            else "The last layers see hardly any difference between inputs, and the first get hardly any gradient."
        ),
        remedy=DIVIDE if sums else f"{change} (gain 5/3 for tanh, sqrt(2) for ReLU, 1 without activation), or normalise.",
        reference=f"{limits.GLOROT}; {limits.HE}",
    )
