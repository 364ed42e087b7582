"""The pictures of a trace: which there are, their titles, and how to read each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np

from lettrine.health.findings import Finding
from lettrine.health.limits import UPDATE_AIM, UPDATE_LARGE, UPDATE_SMALL
from lettrine.health.trace import Trace
from lettrine.report import curves, heat, images, layers
from lettrine.report.beside import ALONE, REPLAYED, Beside
from lettrine.report.densities import ROWS
from lettrine.report.figure import Figure
from lettrine.report.kinds import kinds, module_kinds
from lettrine.report.lines import LINES
from lettrine.report.picking import pick_by_kind, weight_name, weights

Draw: TypeAlias = Callable[[], Any]

TEXTS: Final = {
    "loss": (
        "Loss",
        (
            "A fresh network starts at the loss of a uniform guess, falls steeply, then slowly. "
            "One that starts far above the line is confidently wrong."
        ),
    ),
    "update-data": (
        "Size of the updates",
        (
            "How far one step moves each weight, measured by the spread of the weight itself. "
            f"About {UPDATE_AIM:g} is healthy, more in the first steps; above {UPDATE_LARGE:g} the learning rate is too high, "
            f"below {UPDATE_SMALL:g} too low."
        ),
    ),
    "output-heat": (
        "Layers by time: outputs",
        (
            "A row is a layer, the input at the top of each band; a column is a measured step. Without colour the spread of the "
            "outputs is that of its kind of layer at the start. A healthy band is pale; one that turns strong red, with depth or "
            "with time, is a signal that grows out of all scale, strong blue one that fades."
        ),
    ),
    "gradient-heat": (
        "Layers by time: gradients",
        (
            "Spread of what flows back, beside the median of the same kind of layer at the same step. A healthy band is pale; "
            "one that is red at one end and blue at the other tells of gradients that explode or vanish on their way."
        ),
    ),
    "activations": (
        "Activations",
        "What comes out of each layer, input at the top. The rows should look alike; heaps at the very ends are saturated.",
    ),
    "gradients": (
        "Gradients of the activations",
        "What flows back. The widths should agree: rows that narrow towards the input vanish, rows that widen explode.",
    ),
    "output-scale": (
        "Scale on the way forward",
        (
            "Spread of the outputs down the network. It should stay about the same; "
            "a slope means that the signal grows or fades with depth."
        ),
    ),
    "gradient-scale": (
        "Scale on the way back",
        "Spread of the gradients down the network. A lean to the left at the top means that they vanish towards the input.",
    ),
    "gradient-data": (
        "Gradient to data",
        (
            "Spread of each weight's gradient over the spread of the weight. One that stands apart learns at a pace of its own; "
            "the last layer of a fresh network always does."
        ),
    ),
    "dead-units": (
        "Dead units",
        "Units that pass no gradient for any example of the batch. None is best; some of a ReLU layer are common.",
    ),
    "saturation-first": (
        "Saturation map at the start",
        (
            "A row is an example, a column a unit; white passes hardly any gradient. "
            "White from top to bottom (red mark) is a dead unit; half of a healthy ReLU layer is white."
        ),
    ),
    "saturation-last": (
        "Saturation map at the end",
        "The same units after training. More white than before means that the layer is driven into its flat ends.",
    ),
    "norm-mean": (
        "Batch norm: running mean",
        "How far the running mean is from the batch's. It starts away from it and should come close to 0.",
    ),
    "norm-variance": (
        "Batch norm: running variance",
        (
            "Running variance over the batch's. It should come close to 1, "
            "or the network behaves differently once it no longer sees batches."
        ),
    ),
    "preactivations": (
        "Pre-activations",
        "What goes into each activation. Wide rows are pushed into its flat ends, narrow ones use only its straight middle.",
    ),
}
"""By name, in reading order: title, and how to read the picture."""


def figures(trace: Trace, findings: Sequence[Finding] = ()) -> dict[str, Figure]:
    """Every picture that the trace has data for, by its name in `TEXTS`, in that order.

    If there are too many layers for one picture, those that a finding names are drawn in any case. They are red.
    """
    focus = {name for finding in findings if finding.severity != "info" for name in finding.where}
    drawn = {name: (draw, note) for name, draw, note in charts(trace, focus, REPLAYED)}
    return {
        name: Figure(title, reading + drawn[name][1], drawn[name][0]())
        for name, (title, reading) in TEXTS.items()
        if name in drawn
    }


def charts(trace: Trace, focus: Collection[str], beside: Beside = ALONE) -> Iterator[tuple[str, Draw, str]]:
    """Each picture that has data: its name, the function that draws it, and a note on what it leaves out."""
    if len(trace.loss.step):
        yield "loss", partial(curves.loss_curve, trace, log10=curves.wide(trace, beside.before), beside=beside), ""
    if weights(trace):
        yield "update-data", partial(curves.update_data, trace, focus, beside), update_note(trace, focus)
        yield "gradient-data", partial(layers.gradient_data, trace, focus, beside), curve_note(trace)
    if trace.norms:
        yield "norm-mean", partial(layers.norm_gap, trace, beside), curve_note(trace)
        yield "norm-variance", partial(layers.norm_variance, trace, beside), curve_note(trace)
    if module_kinds(trace):
        yield "output-heat", partial(heat.output_heat, trace, set(focus), beside), ""
        yield "gradient-heat", partial(heat.gradient_heat, trace, set(focus), beside), ""
    yield from densities(trace, focus, beside)
    yield from scales(trace, focus, beside)
    yield from maps(trace, focus, beside)


def update_note(trace: Trace, focus: Collection[str]) -> str:
    """What the picture of the updates draws, and what it leaves out."""
    names = [weight_name(info) for info in weights(trace)]
    found = kinds(dict.fromkeys(names, ""))
    lines = len(names) - sum(len(kind.members) - 1 for kind in found)
    parts = " A line is the median of one kind of layer; the star counts blocks." if found else ""
    parts += left_out(range(lines), LINES, "kinds" if found else "weights")
    above = f" Here many were above {UPDATE_LARGE:g} and no check finds fault with it, so no limit is drawn."
    return parts + (above if curves.crossed(trace, focus) else "")


def curve_note(trace: Trace) -> str:
    """How to read what is drawn of kinds."""
    curves_of_kinds = " A curve is one kind of layer, the star counts blocks; at the right the median."
    return curves_of_kinds if module_kinds(trace) else " A line joins layers of one kind."


def densities(trace: Trace, focus: Collection[str], beside: Beside) -> Iterator[tuple[str, Draw, str]]:
    """Distributions, one row for each layer."""
    active = layers.activations(trace)
    fed = [m.fed_by for m in trace.modules if m.role == "activation"]
    for name, draw, recorded, names in (
        ("activations", layers.activation_density, trace.output_histograms, [m.name for m in active]),
        ("gradients", layers.gradient_density, trace.gradient_histograms, [m.name for m in active]),
        ("preactivations", layers.preactivation_density, trace.output_histograms, fed),
    ):
        found = module_kinds(trace)
        measured = [m for m in trace.modules if m.name in names and m.name in recorded]
        if measured:
            shown = len(pick_by_kind(measured, ROWS, focus, found))
            alike = " Compare rows of one kind." if found else ""
            yield name, partial(draw, trace, focus, beside), left_out(measured, shown, "layers") + alike


def scales(trace: Trace, focus: Collection[str], beside: Beside) -> Iterator[tuple[str, Draw, str]]:
    """One figure for each layer, down the network."""
    if layers.scaled(trace, trace.outputs):
        yield "output-scale", partial(layers.output_scale, trace, focus, beside), curve_note(trace)
    if layers.scaled(trace, trace.gradients):
        yield "gradient-scale", partial(layers.gradient_scale, trace, focus, beside), curve_note(trace)
    if any(np.isfinite(trace.output(name, "dead")).any() for name in trace.outputs):
        yield "dead-units", partial(layers.dead_units, trace, focus, beside), curve_note(trace)


def maps(trace: Trace, focus: Collection[str], beside: Beside) -> Iterator[tuple[str, Draw, str]]:
    """Saturation maps: two, or one if only one step was recorded."""
    mapped = images.mapped(trace, "last")
    for snapshot in ("first", "last") if len(trace.steps) > 1 else ("first",):
        if mapped:
            yield (
                f"saturation-{snapshot}",
                partial(images.saturation_map, trace, snapshot, focus, beside),
                left_out(mapped, images.MAPS, "layers"),
            )


def left_out(items: Collection[Any], most: int, noun: str) -> str:
    """Says so where not all are drawn."""
    return f" Drawn: {most} of {len(items)} {noun}, evenly spaced and those that a finding names." if len(items) > most else ""
