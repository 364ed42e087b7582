"""Checks of what flows back: scale against depth, balance between layers, parameters left out, units that stay alike."""

from __future__ import annotations

from collections.abc import Iterator
from math import nan

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.reading import (
    late,
    layers_of_a_kind,
    listed,
    matrices,
    median,
    number,
    output_module,
    plural,
    share,
    span,
    usable,
)
from lettrine.health.checks.registry import Skip, check
from lettrine.health.findings import Finding
from lettrine.health.trace import Floats, ParameterInfo, Trace


@check("gradient-scale", needs=("gradients",), symptom="remark")
def gradient_scale(trace: Trace) -> Iterator[Finding]:
    """Gradients of the outputs that vanish or explode on their way back to the first layer."""
    names = [name for name in layers_of_a_kind(trace, limits.SCALE_LAYERS) if name in trace.gradients]
    mask = late(trace)
    steps = span(trace, mask)
    limit = limits.GRADIENT_RATIO if steps[1] >= limits.LEARNING_STEPS else limits.GRADIENT_RATIO_START
    scales = {name: median(trace.gradient(name, "rms"), mask) for name in names}
    scales = {name: scale for name, scale in scales.items() if scale > 0}
    if len(scales) < limits.SCALE_LAYERS:
        raise Skip("not run", f"fewer than {limits.SCALE_LAYERS} layers of a kind got gradients")
    names, sizes = list(scales), np.array(list(scales.values()))
    ratio = float(sizes[0] / sizes[-1])
    total = max(ratio, 1 / ratio)
    if total <= limit or _one_step(np.log(sizes)):
        return  # what changes at one layer is that layer, not the depth
    vanishes = ratio < 1
    each = total ** (1 / (len(names) - 1))
    yield Finding(
        id="gradient-scale",
        severity="critical" if total > limits.GRADIENT_CRITICAL else "warning",
        where=tuple(names),
        steps=steps,
        value=total,
        limit=limit,
        message=(
            f"Gradients {'vanish' if vanishes else 'explode'}: {number(total)} times {'smaller' if vanishes else 'larger'} at "
            f"{names[0]} than at {names[-1]}, {number(each)} times with each layer."
        ),
        why=(
            "The first layers hardly learn while the last ones do."
            if vanishes
            else "The first layers take steps far too large for the learning rate that suits the last ones."
        ),
        remedy=(
            f"Multiply the weights of the layers between by {number(each if vanishes else 1 / each)} each, "
            f"{'replace sigmoid by tanh or ReLU, ' if vanishes else 'clip gradients, '}"
            "or add normalisation or skip connections."
        ),
        reference=limits.GLOROT,
    )


def _one_step(values: Floats) -> bool:
    """Whether two levels describe a row of values better than a straight line does, by the squares that are left."""

    def left(part: Floats) -> float:
        return float(np.sum((part - part.mean()) ** 2))

    axis = np.arange(len(values))
    line = values - np.polyval(np.polyfit(axis, values, 1), axis)
    return min(left(values[:place]) + left(values[place:]) for place in axis[1:]) < float(line @ line)


@check("gradient-data", needs=("parameters",), symptom="remark")
def gradient_data(trace: Trace) -> Iterator[Finding]:
    """One weight matrix whose gradient, relative to its size, is far from the others'.

    Under Adam and its kin, whose steps do not follow the size of the gradient, the updates are compared instead.
    """
    adaptive = any(word in trace.facts.optimiser.lower() for word in ("adam", "rmsprop", "adagrad", "lion", "adafactor"))
    stat, words = ("update_data", "update:data") if adaptive else ("gradient_data", "gradient:data")
    last = output_module(trace)
    # The output layer always stands out at first, and is not judged.
    judged = [info.name for info in matrices(trace) if last is None or info.module != last.name]
    mask = late(trace)
    ratios = {name: median(trace.parameter(name, stat), mask) for name in judged}
    ratios = {name: ratio for name, ratio in ratios.items() if ratio > 0}
    if len(ratios) < limits.GRADIENT_DATA_LAYERS:
        raise Skip("not applicable", f"fewer than {limits.GRADIENT_DATA_LAYERS} hidden weight matrices to compare")
    far: dict[str, float] = {}
    steps = span(trace, mask)
    limit = limits.GRADIENT_DATA_RATIO if steps[1] >= limits.LEARNING_STEPS else limits.GRADIENT_DATA_RATIO_START
    for name, ratio in ratios.items():
        others = float(np.median([each for other, each in ratios.items() if other != name]))
        if max(ratio / others, others / ratio) > limit:
            far[name] = ratio / others
    if not far or len(far) > len(ratios) // 2:
        return
    name = max(far, key=lambda each: max(far[each], 1 / far[each]))
    above = far[name] > 1
    factor = far[name] if above else 1 / far[name]
    spread = median(trace.parameter(name, "std"), mask)
    usual = float(np.median([median(trace.parameter(other, "std"), mask) for other in ratios if other not in far]))
    yield Finding(
        id="gradient-data",
        severity="warning",
        where=tuple(far),
        steps=steps,
        value=factor,
        limit=limit,
        message=f"{words} of {name} is {number(factor)} times {'above' if above else 'below'} that of the other layers.",
        why="One learning rate cannot suit layers that learn at so different a pace.",
        remedy=(
            f"Initialise {name} like the others: its weights have std {number(spread)}, theirs {number(usual)}; "
            f"or give it a learning rate {number(factor, 1)} times {'lower' if above else 'higher'}."
        ),
        reference=f"{limits.STUDY}: gradient:data ratio",
    )


@check("no-gradient", needs=("parameters",))
def no_gradient(trace: Trace) -> Iterator[Finding]:
    """Trainable parameters that never got a gradient, or only zeros."""
    mask = usable(trace)
    records = int(mask.sum())
    if not records:
        raise Skip("not run", "no sampled step before values stopped being finite")
    if all(np.isnan(trace.parameter(name, "gradient_norm")[mask]).all() for name in trace.parameter_stats):
        raise Skip("not run", "no gradient of a parameter was recorded")
    missing, zero = [], []
    for info in trace.parameters:
        if info.trainable and info.name in trace.parameter_stats:
            norms = trace.parameter(info.name, "gradient_norm")[mask]
            if np.isnan(norms).all():
                missing.append(info.name)
            elif records >= limits.NO_GRADIENT_RECORDS and np.nanmax(norms) == 0:
                zero.append(info.name)
    for names, what, remedy in (
        (
            missing,
            "never got a gradient",
            (
                "See that the forward pass uses {it}, and that no detach(), no_grad() or .data stands between {it} and the loss; "
                "if {it_is} meant to stay as {it_is} now, set requires_grad to False."
            ),
        ),
        (
            zero,
            "got a gradient of exactly 0 at every sampled step",
            "See what multiplies {it} by 0 on the way to the loss: dead units, a zero-initialised layer behind, a mask.",
        ),
    ):
        if names:
            words = {"it": plural(names, "it", "them"), "it_is": plural(names, "it is", "they are")}
            yield Finding(
                id="no-gradient",
                severity="warning",
                where=tuple(names),
                steps=span(trace, mask),
                value=0.0,
                limit=nan,
                message=f"{listed(names)} {what}.",
                why="Without a gradient a parameter stays at its initial value, and what depends on it does not learn.",
                remedy=remedy.format(**words),
                reference="torch.autograd: requires_grad and leaf tensors",
            )


@check("not-optimised", needs=("parameters",))
def not_optimised(trace: Trace) -> Iterator[Finding]:
    """Trainable parameters that no optimiser holds, or that got gradients and never moved."""
    if all(info.optimised is None for info in trace.parameters):
        raise Skip("not run", "no optimizer is known; pass it to health.watch(model, optimizer)")
    mask = usable(trace)
    trained = [info for info in trace.parameters if info.trainable]
    outside = [info.name for info in trained if info.optimised is False]
    held = [info for info in trained if info.optimised and info.name in trace.parameter_stats]
    still = [info.name for info in held if _never_moved(trace, info)]
    if outside:
        yield Finding(
            id="not-optimised",
            severity="critical" if len(outside) == len(trained) else "warning",
            where=tuple(outside),
            steps=span(trace, mask),
            value=len(outside) / len(trained),
            limit=0.0,
            message=f"No optimizer holds {listed(outside)}, so {plural(outside, 'it stays', 'they stay')} as initialised.",
            why="The gradient is computed and never used.",
            remedy=(
                f"Build the optimizer after the model is complete, from model.parameters(), or call "
                f"optimizer.add_param_group for {plural(outside, 'it', 'these')}; freeze with requires_grad=False."
            ),
            reference="torch.optim: constructing an optimizer",
        )
    if still:
        rates = [median(trace.parameter(name, "learning_rate"), mask) for name in still]
        yield Finding(
            id="not-optimised",
            severity="critical" if len(still) == len(trained) else "warning",
            where=tuple(still),
            steps=span(trace, mask),
            value=len(still) / len(trained),
            limit=0.0,
            message=f"{listed(still)} moved at no sampled step, although {plural(still, 'it has', 'they have')} a gradient.",
            why="The optimizer's steps change nothing.",
            remedy=(
                "Its learning rate is 0: set one, or look at the schedule."
                if any(rate == 0 for rate in rates)
                else "See that optimizer.step() acts on this model's own parameters and not on a copy of them."
            ),
            reference="torch.optim: constructing an optimizer",
        )


def _never_moved(trace: Trace, info: ParameterInfo) -> bool:
    """Whether a parameter stayed as it was, although a step along its gradient was large enough to be seen in its digits.

    A bias that a normalisation takes away again has a gradient of nothing but rounding, and rightly stays.
    """
    stats = {stat: trace.parameter(info.name, stat) for stat in ("update_rms", "gradient_norm", "learning_rate", "rms")}
    mask = usable(trace) & np.isfinite(stats["update_rms"])
    moved, norms, rates, sizes = (values[mask] for values in stats.values())
    slopes = norms / np.sqrt(max(int(np.prod(info.shape)), 1))
    seen = (rates == 0) | ~(np.nan_to_num(rates, nan=1.0) * slopes <= limits.UNSEEN * sizes)
    return len(moved) >= limits.NO_GRADIENT_RECORDS and bool((moved == 0).all() and (slopes > 0).all() and seen.any())


@check("symmetry", needs=("parameters",))
def symmetry(trace: Trace) -> Iterator[Finding]:
    """Units of one layer that have the same weights, and keep them."""
    mask = usable(trace)
    alike: dict[str, float] = {}
    seen = False
    for info in matrices(trace):
        values = trace.parameter(info.name, "duplicate")[mask]
        zeros = trace.parameter(info.name, "rms")[mask] == 0
        zeros, values = zeros[np.isfinite(values)], values[np.isfinite(values)]
        seen |= len(values) > 0
        # A zero matrix at the first step may be a head that moves at the next: only its staying so is a fault.
        if len(values) and min(values[0], values[-1]) > limits.SYMMETRIC_SHARE and not (len(values) == 1 and zeros[0]):
            alike[info.name] = float(values[-1])
    if not seen:
        raise Skip("not run", "whether units are alike was not recorded")
    if not alike:
        return
    names = list(alike)
    fans = {info.name: int(np.prod(info.shape[1:])) for info in trace.parameters if info.name in alike}
    stds = [f"{name} with std {number(1 / np.sqrt(fan))}" for name, fan in list(fans.items())[:4]]
    yield Finding(
        id="symmetry",
        severity="critical",
        where=tuple(names),
        steps=span(trace, mask),
        value=max(alike.values()),
        limit=limits.SYMMETRIC_SHARE,
        message=f"{share(max(alike.values()))} of the units of {listed(names)} have and keep the same weights as another unit.",
        why="Units that are equal get equal gradients and stay equal: the layer counts as one unit, whatever its width.",
        remedy=f"Initialise at random: {'; '.join(stds)} (1/sqrt(fan_in)); zeros are fine for biases only.",
        reference="Goodfellow, Bengio & Courville 2016, Deep Learning, section 8.4",
    )
