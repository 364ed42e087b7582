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
    """Gradients of the outputs that vanish or explode on their way back to the first layer.

    Measured: The size of the gradients with respect to the outputs of layers of one kind.
    Formula: ratio = rms(output gradients of the first layer) / rms(those of the last layer), or its inverse, after the first
        {LATE_FROM:.0%} of the run.
    """
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

    Measured: Of each hidden weight matrix: the spread of its gradient, relative to the spread of its values.
    Formula: ratio = std(gradient) / std(weights), divided by the median ratio of the other matrices. Under Adam and its kin
        update:data takes the place of gradient:data.
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
    """Trainable parameters that never got a gradient, or only zeros.

    Measured: Of each trainable parameter: whether it has a gradient, and the norm of it, at every sampled step.
    Formula: none: the gradient is missing, or exactly 0, at all of them ({NO_GRADIENT_RECORDS} or more for zeros).
    """
    mask = usable(trace)
    records = int(mask.sum())
    if not records:
        raise Skip("not run", "no sampled step before values stopped being finite")
    norms = {name: trace.parameter(name, "gradient_norm")[mask] for name in trace.parameter_stats}
    if all(np.isnan(values).all() for values in norms.values()):
        yield from _no_backward(trace)
        return
    trained = [info for info in trace.parameters if info.trainable and info.name in norms]
    missing = [info for info in trained if np.isnan(norms[info.name]).all()]
    unused = [info.name for info in missing if info.module not in trace.outputs and not _root(trace, info.module)]
    zero = [
        info.name
        for info in trained
        if records >= limits.NO_GRADIENT_RECORDS
        and not np.isnan(norms[info.name]).all()
        and np.nanmax(norms[info.name]) == 0
        and not _cancels(info, trained, norms)
    ]
    called = next(iter(trace.seen("without graph")), None)
    bare = [name for name in unused if called is not None and name.rpartition(".")[0] in called.where]
    unused = [name for name in unused if name not in bare]
    missed = [info.name for info in missing if info.name not in (*unused, *bare)]
    hidden = _handed_on_without_graph(trace, missed)
    for names, severity, what, remedy in (
        (
            missed,
            "warning",
            "never got a gradient",
            (
                f"{hidden}See that no detach(), no_grad() or .data stands between {{it}} and the loss; if {{it_is}} meant to "
                f"stay as "
                "{it_is} now, set requires_grad to False."
            ),
        ),
        (
            bare,
            "warning" if called is not None and called.figure("fresh") else "info",
            "never got a gradient: {it_is} called without a graph (no_grad, inference_mode)",
            (
                "Call {them} outside of torch.no_grad() to let {them} learn; if {it_is} meant to stay as {it_is} now, set "
                "requires_grad to False."
            ),
        ),
        (
            unused,
            "warning",
            "never got a gradient: the forward pass does not call {them}",
            "Leave {it} out if nothing will ever use {it}; if the forward pass should, see why it does not.",
        ),
        (
            zero,
            "warning",
            "got a gradient of exactly 0 at every sampled step",
            "See what multiplies {it} by 0 on the way to the loss: dead units, a zero-initialised layer behind, a mask.",
        ),
    ):
        if names:
            words = {
                "it": plural(names, "it", "them"),
                "it_is": plural(names, "it is", "they are"),
                "them": plural(names, "it", "them"),
            }
            yield Finding(
                id="no-gradient",
                severity=severity,
                where=tuple(names),
                steps=span(trace, mask),
                value=0.0,
                limit=nan,
                message=f"{listed(names)} {what.format(**words)}.",
                why="Without a gradient a parameter stays at its initial value, and what depends on it does not learn.",
                remedy=remedy.format(**words),
                reference="torch.autograd: requires_grad and leaf tensors",
            )


def _root(trace: Trace, module: str) -> bool:
    """Whether a module is the model itself, which is always called: only its parameters have no other module's name in front."""
    return not any(info.module != module and info.name.startswith(f"{module}.") for info in trace.parameters) and all(
        not info.name.startswith(f"{module}.") for info in trace.parameters
    )


def _cancels(info: ParameterInfo, trained: list[ParameterInfo], norms: dict[str, Floats]) -> bool:
    """Whether a bias gets no gradient while the weight beside it does: it cancels further on, in a difference or a softmax."""
    beside = [norms[other.name] for other in trained if other.module == info.module and len(other.shape) > 1]
    return len(info.shape) == 1 and any(np.nan_to_num(values).max(initial=0.0) > 0 for values in beside)


def _no_backward(trace: Trace) -> Iterator[Finding]:
    """No gradient of any parameter was recorded: say so if steps were looked at that had none."""
    told = trace.seen("gradients")
    steps = sum(each.figure("steps") for each in told)
    if not told or steps < limits.NO_GRADIENT_RECORDS or any(each.figure("none") < each.figure("steps") for each in told):
        raise Skip("not run", "no gradient of a parameter was recorded")
    if any(each.figure("called") for each in told):
        raise Skip("not run", "gradients were gone when the optimizer stepped; see gradients-cleared")
    if all(each.figure("frozen") for each in told):
        raise Skip("not run", "the optimizer holds only frozen parameters; see never-moved")
    yield Finding(
        id="no-gradient",
        severity="critical",
        where=(),
        steps=span(trace, usable(trace)),
        value=0.0,
        limit=nan,
        message=f"No parameter had a gradient at any of the {int(steps)} steps looked at.",
        why="The optimizer steps, and nothing tells it where to.",
        remedy="Call loss.backward() before optimizer.step(), on a loss made of the watched model's output, and clear gradients "
        "only "
        "after the step.",
        reference="torch.autograd: requires_grad and leaf tensors",
    )


def _handed_on_without_graph(trace: Trace, names: list[str]) -> str:
    """Where the graph is cut behind these parameters, as a sentence; "" if that was not seen."""
    for pair in trace.seen("detached"):
        maker, taker = pair.where
        if pair.figure("looks") == pair.figure("passes") and any(name.startswith(f"{maker}.") for name in names):
            return f"{taker} is given the output of {maker} without its graph. "
    return ""


@check("not-optimised", needs=("parameters",))
def not_optimised(trace: Trace) -> Iterator[Finding]:
    """Trainable parameters that get a gradient and that no optimiser holds.

    Measured: Of each trainable parameter: whether one of the known optimisers holds it, and whether a gradient reaches it. What
        none reaches, such as a backbone that is called under no_grad, is kept as it is on purpose.
    Formula: share = (trainable parameters that no optimiser holds) / (trainable parameters).
    """
    if all(info.optimised is None for info in trace.parameters):
        raise Skip("not run", "no optimizer is known; pass it to health.watch(model, optimizer)")
    mask = usable(trace)
    trained = [info for info in trace.parameters if info.trainable]
    outside = [info.name for info in trained if info.optimised is False and _reached(trace, info.name)]
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


def _reached(trace: Trace, name: str) -> bool:
    """Whether a gradient reaches a parameter, as far as that was measured: what was left there before the watch began never
    changes, while nobody clears what arrives.
    """
    if name not in trace.parameter_stats:
        return True
    norms = np.nan_to_num(trace.parameter(name, "gradient_norm")[usable(trace)])
    return len(norms) < limits.NO_GRADIENT_RECORDS or bool(np.ptp(norms) > 0)


@check("never-moved", needs=("parameters",))
def never_moved(trace: Trace) -> Iterator[Finding]:
    """Parameters that have a gradient and an optimiser and stay as they are; an optimiser that holds nothing it could move.

    Measured: Of each parameter with a gradient and an optimiser: how far real steps move it.
    Formula: rms(after - before) = 0 at {NO_GRADIENT_RECORDS} or more sampled steps, where learning rate * rms(gradient) >
        {UNSEEN:g} * rms(weights), or the learning rate is 0.
    """
    if all(info.optimised is None for info in trace.parameters):
        raise Skip("not run", "no optimizer is known; pass it to health.watch(model, optimizer)")
    mask = usable(trace)
    trained = [info for info in trace.parameters if info.trainable]
    frozen = [each for each in trace.seen("gradients") if each.figure("frozen")]
    if frozen:
        names = [name for each in frozen for name in each.where]
        others = [info.name for info in trained if info.optimised is False]
        yield Finding(
            id="never-moved",
            severity="critical",
            where=tuple(names),
            steps=span(trace, mask),
            value=float(len(names)),
            limit=0.0,
            message=f"An optimizer holds nothing that can move: {listed(names) if names else 'all it holds'} "
            f"{plural(names, 'has', 'have')} requires_grad=False.",
            why="The optimizer's steps change nothing.",
            remedy=f"Give it {listed(others)}, which can be trained and which no optimizer holds, or let its parameters train: "
            "requires_grad_(True)."
            if others
            else "Let its parameters train: requires_grad_(True), before the optimizer is built.",
            reference="torch.optim: constructing an optimizer",
        )
    held = [info for info in trained if info.optimised and info.name in trace.parameter_stats]
    still = [info.name for info in held if _never_moved(trace, info)]
    if still:
        rates = [median(trace.parameter(name, "learning_rate"), mask) for name in still]
        yield Finding(
            id="never-moved",
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
    """Units of one layer that have the same weights, and keep them.

    Measured: Of each weight matrix: how many of its rows are equal to another row, at the first and at the last sampled step.
    Formula: share = (rows equal to another row) / (rows), the lower one of the two steps.
    """
    mask = usable(trace)
    alike: dict[str, float] = {}
    seen = False
    for info in matrices(trace):
        if info.optimised is False:
            continue  # it stays as it is because nothing moves it
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
