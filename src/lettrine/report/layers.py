"""Pictures over depth: what flows forward, what flows back, and how large it is in each layer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lettrine.health.trace import Histogram, ModuleInfo, Trace
from lettrine.report.densities import ROWS, Density, density_rows
from lettrine.report.draw import nothing, step_names
from lettrine.report.picking import Floats, ends, gradient_row, output_row, pick, weight_name, weights
from lettrine.report.profiles import PROFILE_ROWS, Row, profile
from lettrine.report.words import number, percent, scientific, spread


def activation_density(trace: Trace, focus: Collection[str] = ()) -> Any:
    """Distribution of the outputs of each activation; of each linear layer where the network has no activation.

    focus, here and below: names to draw in any case where there are too many layers, and to print in red.
    """
    return densities(trace, activations(trace), trace.output_histograms, output_remark, "output", focus)


def preactivation_density(trace: Trace, focus: Collection[str] = ()) -> Any:
    """Distribution of what goes into each activation."""
    names = {m.fed_by for m in trace.modules if m.role == "activation" and m.fed_by}
    modules = [m for m in trace.modules if m.name in names]
    return densities(trace, modules, trace.output_histograms, output_remark, "input of the activation", focus)


def gradient_density(trace: Trace, focus: Collection[str] = ()) -> Any:
    """Distribution of the gradient of the loss with respect to each activation's output. Scales should agree across layers."""
    return densities(
        trace, activations(trace), trace.gradient_histograms, gradient_remark, "gradient of the output", focus, symmetric=True
    )


def output_scale(trace: Trace, focus: Collection[str] = ()) -> Any:
    """Standard deviation of each layer's output against depth."""
    modules = pick(scaled(trace, trace.outputs), PROFILE_ROWS, focus)
    return over_modules(modules, trace.steps, lambda m: trace.output(m.name, "std"), "std of the output", log=True)


def gradient_scale(trace: Trace, focus: Collection[str] = ()) -> Any:
    """Standard deviation of the gradient of each layer's output against depth."""
    modules = pick(scaled(trace, trace.gradients), PROFILE_ROWS, focus)
    return over_modules(modules, trace.steps, lambda m: trace.gradient(m.name, "std"), "std of the gradient", log=True)


def dead_units(trace: Trace, focus: Collection[str] = ()) -> Any:
    """Share of units of each activation that are dead on the whole batch."""
    modules = pick([m for m in trace.modules if m.role == "activation" and m.name in trace.outputs], PROFILE_ROWS, focus)
    return over_modules(
        modules, trace.steps, lambda m: trace.output(m.name, "dead"), "share of units dead on the batch", log=False, form=".0%"
    )


def gradient_data(trace: Trace, focus: Collection[str] = ()) -> Any:
    """gradient:data = std(gradient) / std(weight) of each weight with two axes or more."""
    chosen = pick(weights(trace), PROFILE_ROWS, focus)
    series = [(weight_name(p), trace.parameter(p.name, "gradient_data")) for p in chosen]
    return over_depth(series, trace.steps, "std(gradient) / std(weight)", log=True)


def norm_gap(trace: Trace) -> Any:
    """Distance between batch norm's running mean and the batch's, in standard deviations of the batch, rms over channels."""
    series = [(name, trace.norm(name, "mean_gap")) for name in trace.norms]
    return over_depth(spread(series, PROFILE_ROWS), trace.steps, "running mean to batch mean, in standard deviations", log=False)


def norm_variance(trace: Trace) -> Any:
    """Ratio of batch norm's running variance to the batch's, geometric mean over channels; they agree at 1."""
    series = [(name, trace.norm(name, "variance_ratio")) for name in trace.norms]
    return over_depth(spread(series, PROFILE_ROWS), trace.steps, "running variance / batch variance", log=True, reference=1.0)


def activations(trace: Trace) -> list[ModuleInfo]:
    """Modules whose outputs are worth a density: activations, else whatever has weights."""
    found = [m for m in trace.modules if m.role == "activation"]
    return found or [m for m in trace.modules if m.role in {"linear", "recurrent", "attention", "output"}]


def scaled(trace: Trace, recorded: Mapping[str, Floats]) -> list[ModuleInfo]:
    """Modules whose scale is followed down the network: activations, or linear layers where there is at most one of those."""
    kept = [m for m in trace.modules if m.name in recorded]
    active = [m for m in kept if m.role == "activation"]
    return (
        active if len(active) > 1 else [m for m in kept if m.role in {"linear", "recurrent", "attention", "activation", "output"}]
    )


def densities(
    trace: Trace,
    modules: Sequence[ModuleInfo],
    histograms: Mapping[str, Histogram],
    remark: Callable[[Trace, str], str],
    axis: str,
    focus: Collection[str],
    *,
    symmetric: bool = False,
) -> Any:
    """Rows of densities for those of the modules that have one."""
    chosen = pick([m for m in modules if m.name in histograms], ROWS, focus)
    rows = [Density(m.name, remark(trace, m.name), histograms[m.name], m.kind, m.name in focus) for m in chosen]
    return density_rows(rows, axis, symmetric=symmetric)


def output_remark(trace: Trace, name: str) -> str:
    """Such as: std 0.75 → 0.80, 24 % saturated."""
    text = f"std {change(output_row(trace, name, 'std'))}"
    saturated = output_row(trace, name, "saturated")
    found = ends(saturated)
    return text if found is None else f"{text}, {percent(float(saturated[found[1]]))} saturated"


def gradient_remark(trace: Trace, name: str) -> str:
    """Such as: std 2.20e-3 → 2.41e-3."""
    return f"std {change(gradient_row(trace, name, 'std'), scientific)}"


def change(row: Floats, form: Callable[[float], str] = number) -> str:
    """First and last figure of a row."""
    found = ends(row)
    if found is None:
        return number(float("nan"))
    first, last = (form(float(row[k])) for k in found)
    return first if found[0] == found[1] else f"{first} → {last}"


def over_modules(
    modules: Sequence[ModuleInfo],
    steps: NDArray[np.int64],
    figure: Callable[[ModuleInfo], Floats],
    axis: str,
    *,
    log: bool,
    form: str = "",
) -> Any:
    """`profile` of one figure of the modules."""
    return over_depth([(m.name, figure(m)) for m in modules], steps, axis, log=log, form=form)


def over_depth(
    series: Sequence[tuple[str, Floats]],
    steps: NDArray[np.int64],
    axis: str,
    *,
    log: bool,
    reference: float | None = None,
    form: str = "",
) -> Any:
    """`profile` of rows over the sampled steps: the first and the last finite figure of each."""
    found = [(name, row, ends(row)) for name, row in series]
    rows = [Row(name, float(row[which[0]]), float(row[which[1]])) for name, row, which in found if which is not None]
    which = [e for _, _, e in found if e is not None]
    if not rows:
        return nothing("None of these figures was recorded.")
    span = (int(steps[min(first for first, _ in which)]), int(steps[max(last for _, last in which)]))
    return profile(rows, step_names(span), axis, log=log, reference=reference, form=form)
