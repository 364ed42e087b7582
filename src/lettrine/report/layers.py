"""Pictures over depth: what flows forward, what flows back, and how large it is in each layer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan
from typing import Any, Final

import numpy as np

from lettrine.health.trace import Histogram, ModuleInfo, Trace
from lettrine.report.beside import ALONE, Beside, walked
from lettrine.report.densities import ROWS, Density, density_rows
from lettrine.report.draw import nothing, step_names
from lettrine.report.kinds import few, kinds, module_kinds
from lettrine.report.picking import Floats, ends, gradient_row, named, norm_row, output_row, parameter_row, pick_by_kind, weights
from lettrine.report.profiles import PROFILE_ROWS, Row, profile
from lettrine.report.strands import strands
from lettrine.report.words import number, percent, scientific, spread

ALL: Final = slice(None)
WITHIN: Final = 6.0  # standard deviations to either side that are shown of densities with units of their own
SEVERAL: Final = 2  # so many kinds in one picture have units of their own


def activation_density(trace: Trace, focus: Collection[str] = (), beside: Beside = ALONE) -> Any:
    """Distribution of the outputs of each activation, or of each linear layer where the network has no activation.

    focus, here and below: names that are drawn even where there are too many layers, in red.
    """
    return densities(trace, activations(trace), OUTPUTS, "output", focus, beside)


def preactivation_density(trace: Trace, focus: Collection[str] = (), beside: Beside = ALONE) -> Any:
    """Distribution of the inputs of each activation."""
    names = {m.fed_by for m in trace.modules if m.role == "activation" and m.fed_by}
    return densities(trace, [m for m in trace.modules if m.name in names], OUTPUTS, "input of the activation", focus, beside)


def gradient_density(trace: Trace, focus: Collection[str] = (), beside: Beside = ALONE) -> Any:
    """Distribution of the gradient of the loss with respect to each activation's output. Scales should agree across layers."""
    return densities(trace, activations(trace), GRADIENTS, "gradient of the output", focus, beside)


def output_scale(trace: Trace, focus: Collection[str] = (), beside: Beside = ALONE) -> Any:
    """Standard deviation of each layer's output against depth."""
    names = named(scaled(trace, trace.outputs))
    return over_depth(trace, names, lambda t, name: output_row(t, name, "std"), "std of the output", focus, beside, log=True)


def gradient_scale(trace: Trace, focus: Collection[str] = (), beside: Beside = ALONE) -> Any:
    """Standard deviation of the gradient of each layer's output against depth."""
    names = named(scaled(trace, trace.gradients))
    return over_depth(trace, names, lambda t, name: gradient_row(t, name, "std"), "std of the gradient", focus, beside, log=True)


def dead_units(trace: Trace, focus: Collection[str] = (), beside: Beside = ALONE) -> Any:
    """Share of units of each activation that are dead on the whole batch."""
    names = [m.name for m in trace.modules if m.bends and m.name in trace.outputs]
    axis = "share of units dead on the batch"
    return over_depth(trace, names, lambda t, name: output_row(t, name, "dead"), axis, focus, beside, form=".0%")


def gradient_data(trace: Trace, focus: Collection[str] = (), beside: Beside = ALONE) -> Any:
    """gradient:data = std(gradient) / std(weight) of each weight with two axes or more."""
    names, axis = [p.name for p in weights(trace)], "std(gradient) / std(weight)"
    return over_depth(trace, names, lambda t, name: parameter_row(t, name, "gradient_data"), axis, focus, beside, log=True)


def norm_gap(trace: Trace, beside: Beside = ALONE) -> Any:
    """Distance from batch norm's running mean to that of the batch, in standard deviations of the batch, rms over channels."""
    names, axis = list(trace.norms), "running mean to batch mean, in standard deviations"
    return over_depth(trace, names, lambda t, name: norm_row(t, name, "mean_gap"), axis, (), beside)


def norm_variance(trace: Trace, beside: Beside = ALONE) -> Any:
    """Batch norm's running variance over that of the batch, geometric mean over channels. They agree at 1."""
    names, axis = list(trace.norms), "running variance / batch variance"
    return over_depth(
        trace, names, lambda t, name: norm_row(t, name, "variance_ratio"), axis, (), beside, log=True, reference=1.0
    )


def activations(trace: Trace) -> list[ModuleInfo]:
    """Modules whose outputs get a density: activations, or all modules with weights where there are none."""
    found = [m for m in trace.modules if m.bends]
    return found or [m for m in trace.modules if m.role in {"linear", "recurrent", "attention", "output"}]


def scaled(trace: Trace, recorded: Mapping[str, Floats]) -> list[ModuleInfo]:
    """Modules whose scale is followed down the network: activations, or linear layers if there is only one activation or none.

    Where blocks repeat, each kind has its own curve: all modules are followed, except those that set their own scale.
    """
    kept = [m for m in trace.modules if m.name in recorded]
    if module_kinds(trace):
        return [m for m in kept if m.role not in {"norm", "dropout"}]
    active = [m for m in kept if m.bends]
    return (
        active if len(active) > 1 else [m for m in kept if m.role in {"linear", "recurrent", "attention", "activation", "output"}]
    )


@dataclass(frozen=True)
class Recorded:
    """What a picture of densities shows of a trace. remark: makes the words at the right of a row, from its figures."""

    histograms: Callable[[Trace], Mapping[str, Histogram]]
    std: Callable[[Trace, str], Floats]
    remark: Callable[[Trace, str, slice], str]
    symmetric: bool


def output_remark(trace: Trace, name: str, steps: slice = ALL) -> str:
    """Such as: std 0.75 → 0.80, 24 % saturated."""
    text = f"std {change(output_row(trace, name, 'std')[steps])}"
    saturated = output_row(trace, name, "saturated")[steps]
    found = ends(saturated)
    return text if found is None else f"{text}, {percent(float(saturated[found[1]]))} saturated"


def gradient_remark(trace: Trace, name: str, steps: slice = ALL) -> str:
    """Such as: std 2.20e-3 → 2.41e-3."""
    return f"std {change(gradient_row(trace, name, 'std')[steps], scientific)}"


OUTPUTS: Final = Recorded(
    lambda trace: trace.output_histograms, lambda trace, name: output_row(trace, name, "std"), output_remark, symmetric=False
)
GRADIENTS: Final = Recorded(
    lambda trace: trace.gradient_histograms, lambda trace, name: gradient_row(trace, name, "std"), gradient_remark, symmetric=True
)


def densities(
    trace: Trace, modules: Sequence[ModuleInfo], what: Recorded, axis: str, focus: Collection[str], beside: Beside
) -> Any:
    """Rows of densities for those of the modules that have one. Several kinds of repeated layers have each a unit of its own."""
    histograms, former = what.histograms(trace), {} if beside.before is None else what.histograms(beside.before)
    rows = []
    measured = [m for m in modules if m.name in histograms]
    units = own_units(trace, measured, what)
    for module in pick_by_kind(measured, ROWS, focus, module_kinds(trace)):
        name = module.name
        histogram = in_units(histograms[name], units.get(name, 1.0))
        remarks = []
        if beside.walk:
            at = np.maximum(np.searchsorted(trace.steps, histogram.steps, side="right"), 1)
            remarks = [what.remark(trace, name, slice(place - 1, place)) for place in at]
        before = last_record(in_units(former[name], units.get(name, 1.0))) if name in former else None
        remark = what.remark(trace, name, ALL)
        rows.append(Density(name, remark, histogram, module.kind, name in focus, before, remarks))
    if not units:
        return density_rows(rows, axis, symmetric=what.symmetric)
    return density_rows(rows, f"{axis}, over the std of its kind at the start", symmetric=what.symmetric, within=WITHIN)


def own_units(trace: Trace, modules: Sequence[ModuleInfo], what: Recorded) -> dict[str, float]:
    """The unit of each module's row: the std of its kind at the first step, in the median. Empty where one unit serves all.

    Of GPT-2's layers, some have gradients of a thousandth of others'. On one axis they were needles.
    """
    names = {module.name for module in modules}
    first = {name: float(row[at[0]]) for name in names if (at := ends(row := what.std(trace, name))) is not None}
    shared = [[each for each in kind.members if each in first] for kind in module_kinds(trace)]
    shared = [members for members in shared if members]
    if len(shared) < SEVERAL:
        return {}
    inside = {each for members in shared for each in members}
    units: dict[str, float] = {}
    for members in [*shared, *([name] for name in first if name not in inside)]:
        unit = float(np.median([first[each] for each in members]))
        units |= dict.fromkeys(members, unit if unit > 0 else 1.0)
    return units


def in_units(histogram: Histogram, unit: float) -> Histogram:
    """The same histogram, its values divided by `unit`."""
    return histogram if unit == 1 else replace(histogram, low=histogram.low / unit, high=histogram.high / unit)


def last_record(histogram: Histogram) -> Histogram | None:
    """The same histogram with its last record alone."""
    whole = vars(histogram)
    return Histogram(**{name: each[-1:] for name, each in whole.items()}) if len(histogram.steps) else None


def change(row: Floats, form: Callable[[float], str] = number) -> str:
    """First and last figure of a row."""
    found = ends(row)
    if found is None:
        return number(float("nan"))
    first, last = (form(float(row[k])) for k in found)
    return first if found[0] == found[1] else f"{first} → {last}"


def over_depth(
    trace: Trace,
    names: Sequence[str],
    figure: Callable[[Trace, str], Floats],
    axis: str,
    focus: Collection[str],
    beside: Beside,
    *,
    log: bool = False,
    reference: float | None = None,
    form: str = "",
) -> Any:
    """One figure of modules or weights down the network: the first and the last finite one of each over the sampled steps.

    `strands` where blocks repeat, else `profile`, in which layers of one kind follow each other.
    """
    steps, classes = trace.steps, {module.name: module.kind for module in trace.modules}
    walk = walked(steps.tolist()) if beside.walk else []
    rows, which = {}, []
    for name in names:
        row = figure(trace, name)
        if (found := ends(row)) is None:
            continue
        former = np.zeros(0) if beside.before is None else figure(beside.before, name)
        before = float(former[last[1]]) if (last := ends(former)) is not None else nan
        label = name.removesuffix(".weight")
        rows[label] = Row(label, float(row[found[0]]), float(row[found[1]]), before, row[walk], marked=name in focus)
        which.append(found)
    if not rows:
        return nothing("None of these figures was recorded.")
    kept_steps = steps[walk].tolist()
    span = (int(steps[min(first for first, _ in which)]), int(steps[max(last for _, last in which)]))
    named_rows = {label: classes.get(label, "") for label in rows}
    found_kinds = kinds(named_rows)
    if found_kinds:
        return strands(found_kinds, rows, step_names(span), axis, log=log, reference=reference, form=form, steps=kept_steps)
    groups: dict[tuple[str, str], list[Row]] = {}
    for label, key in few(named_rows).items():
        groups.setdefault(key, []).append(rows[label])
    ordered = [replace(row, kind=i) for i, each in enumerate(groups.values()) for row in each]
    kept = spread(ordered, PROFILE_ROWS, [i for i, row in enumerate(ordered) if row.marked])
    return profile(kept, step_names(span), axis, log=log, reference=reference, form=form, steps=kept_steps)
