"""Whether the network can express the task, and whether it has reached its limit. Reported as "underfitting"."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.consequence import Consequence, consequence
from lettrine.health.checks.layers.restrained import hardly
from lettrine.health.checks.reading import enough_losses, even_fall, finite_curve, listed, number, standard_error, usable
from lettrine.health.checks.reference import NEED_NOT_FALL, classes_of, ordinary
from lettrine.health.checks.registry import Skip
from lettrine.health.findings import Finding
from lettrine.health.trace import ModuleInfo, Trace

_BENDS = ("activation", "recurrent", "attention", "embedding")
_PASSING = ("dropout", "norm")
_PASSED = (*_PASSING, "activation")
_TWO = 2  # classes


def linear_stack(trace: Trace) -> Iterator[Finding]:
    """A network of linear layers only, without a non-linearity between them."""
    layers = _stack(trace)
    harm = consequence(trace)
    for seen in trace.seen("unbent"):
        count = int(seen.figure("layers"))
        if (
            count >= limits.UNBENT_LAYERS
            and seen.figure("looks") >= limits.UNBENT_LOOKS
            and harm.reference.known
            and not harm.well
        ):
            yield _unbent(count, harm)
            return
    broke = harm.kind == "not finite"  # by another fault than this one
    if len(layers) < 2 or harm.well or broke or not (harm.bad or harm.left >= limits.HARDLY_LEARNED):
        return
    yield Finding(
        id="underfitting",
        severity="warning",
        where=tuple(layers),
        steps=harm.steps,
        value=float(len(layers)),
        limit=1.0,
        message=f"{listed(layers)} follow one another without an activation between them: together they are one linear layer, "
        "and "
        f"{harm.words}.",
        why="A product of matrices is one matrix: however many layers there are, the network can only learn a linear function.",
        remedy=f"Put an activation between them, such as nn.ReLU() after {listed(layers[:-1])}.",
        reference="Goodfellow, Bengio & Courville 2016, Deep Learning, section 6.1",
    )


def squeezed(trace: Trace) -> Iterator[Finding]:
    """A hidden layer of one unit through which everything passes, in a network that learns hardly anything."""
    modules = sorted(trace.modules, key=lambda each: each.depth)
    known = {info.name: info for info in modules}
    shapes = {info.module: info.shape for info in trace.parameters if len(info.shape) > 1}
    layers = [info for info in modules if info.name in shapes]
    plain = all(info.kind == "Linear" for info in layers)
    if not plain or any(_before(info, known, through=_PASSED) != layer.name for layer, info in pairwise(layers)):
        return
    pairs = [(layer.name, shapes[layer.name], shapes[after.name]) for layer, after in pairwise(layers)]
    narrow = [name for name, own, after in pairs if own[0] == after[1] == 1 < min(own[1], after[0])]
    # What is to be given back through one number is asked for on purpose; two classes may follow from two inputs by accident.
    again = bool(layers) and shapes[layers[0].name][1] == shapes[layers[-1].name][0] and classes_of(trace) != _TWO
    harm = consequence(trace)
    hardly_any = harm.bad or harm.left >= limits.HARDLY_LEARNED
    long = harm.steps[1] - harm.steps[0] >= limits.PLATEAU_STEPS
    little = hardly_any or (long and harm.left >= limits.PLATEAU_HIGH)  # noise may be the rest of it
    if not narrow or again or harm.well or not little:
        return
    ends = f"the loss ends at {number(harm.end, 3)}, where {harm.reference.words} gives {number(harm.reference.value, 3)}"
    yield Finding(
        id="underfitting",
        severity="warning" if hardly_any else "info",
        where=tuple(narrow),
        steps=harm.steps,
        value=1.0,
        limit=1.0,
        message=f"{listed(narrow)} {'has' if len(narrow) == 1 else 'have'} one unit, and all that the layers after it see of an "
        f"example is that one number; {hardly(harm) if hardly_any else ends}.",
        why="However wide the layers after it are, the network can only be a function of one weighted sum of its inputs; behind "
        "a ReLU it is a constant for all examples on the wrong side of it.",
        remedy=f"Give {listed(narrow)} more units, such as {_usual_width(shapes, narrow)}.",
        reference="Goodfellow, Bengio & Courville 2016, Deep Learning, section 6.4.1",
    )


def _usual_width(shapes: dict[str, tuple[int, ...]], narrow: list[str]) -> str:
    """As many units as the next layers have, in figures."""
    return number(max(shape[0] for name, shape in shapes.items() if name not in narrow))


def _unbent(count: int, harm: Consequence) -> Finding:
    return Finding(
        id="underfitting",
        severity="warning",
        where=(),
        steps=harm.steps,
        value=float(count),
        limit=1.0,
        message=f"Nothing between the inputs and the outputs is non-linear: {count} convolutions and linear layers are together "
        f"one linear map; {harm.words}.",
        why="Convolutions and linear layers one after another can only learn a linear function, however many there are.",
        remedy="Put an activation after each layer but the last, such as relu() after each convolution or its batch norm.",
        reference="Goodfellow, Bengio & Courville 2016, Deep Learning, section 6.1",
    )


def plateau(trace: Trace) -> Iterator[Finding]:
    """A training loss that stopped falling far above the level that memorising the data would reach."""
    if not ordinary(trace):
        raise Skip("not applicable", NEED_NOT_FALL)
    steps, losses = enough_losses(trace, limits.PLATEAU_STEPS)
    harm = consequence(trace)
    if not at_rest(trace):
        return
    yield Finding(
        id="underfitting",
        severity="info",
        where=(),
        steps=(int(steps[-2 * (len(losses) // 3)]), int(steps[-1])),
        value=harm.end / harm.reference.value,
        limit=limits.PLATEAU_HIGH,
        message=f"The training loss stopped falling at {number(harm.end, 3)}; {harm.reference.words} gives "
        f"{number(harm.reference.value, 3)}.",
        why="Either the rest is noise, or the network is too small, too much regularised, or at a wrong learning rate.",
        remedy="See whether it fits one batch of 32 to a loss near 0; if not, widen it, take dropout and weight decay away, "
        "and try "
        "rates three times higher and lower.",
        reference="Karpathy 2019, A recipe for training neural networks: overfit",
    )


def at_rest(trace: Trace) -> bool:
    """Whether the training loss stopped falling below the loss of guessing and above half of it, without a schedule as the
    cause.
    """
    steps, losses = finite_curve(trace, trace.loss)
    harm, rates = consequence(trace), trace.step_stats["learning_rate"][usable(trace)]
    rates = rates[np.isfinite(rates)]
    few = min(len(losses), steps[-1] - steps[0] + 1 if len(steps) else 0) < limits.PLATEAU_STEPS
    if few or harm.kind != "learns" or harm.left < limits.PLATEAU_HIGH:
        return False
    if len(rates) and rates[-1] < limits.SLOW_EVEN * rates.max():
        return False  # the schedule lowered the learning rate to almost 0, so the loss stops falling
    third = len(losses) // 3
    fell, noise = float(np.mean(losses[-2 * third : -third]) - np.mean(losses[-third:])), standard_error(losses[-third:])
    return abs(fell) <= max(limits.FLAT_SHARE * harm.end, limits.NOISE * noise) and not even_fall(losses)[1]


def _stack(trace: Trace) -> list[str]:
    """The names of all linear layers in order, if each feeds the next without a non-linearity between; otherwise []."""
    modules = sorted(trace.modules, key=lambda each: each.depth)
    known, shapes = (
        {info.name: info for info in modules},
        {info.module: info.shape for info in trace.parameters if len(info.shape) > 1},
    )
    layers = [info for info in modules if info.kind == "Linear"]
    bent = any(info.role in _BENDS or (info.role == "norm" and "BatchNorm" not in info.kind) for info in modules)
    others = any(info.role == "linear" and info.kind != "Linear" for info in modules)
    if bent or others or any(_before(info, known) != layer.name for layer, info in pairwise(layers)):
        return []
    sizes = [shapes.get(info.name, (0, 0)) for info in layers]  # (out, in)
    narrow = any(first[0] < min(first[1], second[0]) for first, second in pairwise(sizes))
    return [] if narrow else [info.name for info in layers]


def _before(info: ModuleInfo, known: dict[str, ModuleInfo], *, through: tuple[str, ...] = _PASSING) -> str:
    """The layer that feeds this one, through dropout and batch norm."""
    name = info.fed_by
    while name in known and known[name].role in through:
        name = known[name].fed_by
    return name
