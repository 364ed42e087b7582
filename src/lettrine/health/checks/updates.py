"""Checks of the steps the optimiser takes: too large, too small, on stale gradients."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.reading import (
    Mask,
    late,
    learning_rate,
    listed,
    matrices,
    median,
    number,
    rounded,
    share,
    span,
    usable,
)
from lettrine.health.checks.registry import Skip, check
from lettrine.health.findings import Finding
from lettrine.health.trace import Floats, Trace


def _ratios(trace: Trace, mask: Mask) -> tuple[list[str], Floats]:
    """update:data of the weight matrices over a window, (names, (P, K')).

    Of weights that are nearly equal to one another, whose std says nothing of their size, rms(update) / rms(data).
    """
    if int(mask.sum()) < limits.UPDATE_RECORDS:
        raise Skip("not run", f"fewer than {limits.UPDATE_RECORDS} sampled steps after warm-up")
    names = [info.name for info in matrices(trace) or matrices(trace, embeddings=True)]
    table = np.array([_ratio(trace, name)[mask] for name in names]).reshape(len(names), -1)
    kept = np.isfinite(table).any(axis=1) if names else np.zeros(0, dtype=np.bool_)
    if not kept.any():
        raise Skip("not run", "no update of a weight matrix was recorded")
    return [name for name, keep in zip(names, kept, strict=True) if keep], table[kept]


def _ratio(trace: Trace, name: str) -> Floats:
    std, rms = trace.parameter(name, "std"), trace.parameter(name, "rms")
    alike = (std < limits.NEARLY_CONSTANT * rms) & (rms > 0)
    size = trace.parameter(name, "update_rms") / np.where(rms > 0, rms, np.nan)
    ratio: Floats = np.where(alike, size, trace.parameter(name, "update_data"))
    return ratio


def _middle(table: Floats) -> Floats:
    """By column the median of what is finite, of an even number the lower one: at least half are as large. NaN for none."""
    finite = np.where(np.isfinite(table), table, np.nan)
    place = np.maximum(np.isfinite(table).sum(axis=0) - 1, 0) // 2
    middle: Floats = np.take_along_axis(np.sort(finite, axis=0), place[None], axis=0)[0]
    return middle


@check("update-too-large", needs=("parameters",))
def update_too_large(trace: Trace) -> Iterator[Finding]:
    """Steps too large for the weights they move: the learning rate is too high."""
    names, table = _ratios(trace, usable(trace))
    steps = trace.steps[usable(trace)]
    network = _middle(table)
    # Three sampled steps in a row, so that one odd step does not count.
    runs = _middle(np.stack([network[:-2], network[1:-1], network[2:]]))
    early = int(np.argmax(np.nan_to_num(runs) > limits.UPDATE_LARGE_EARLY))
    if runs[early] > limits.UPDATE_LARGE_EARLY:
        mask = (trace.steps >= steps[early]) & usable(trace)
        value, limit, aim = float(np.nanmax(runs)), limits.UPDATE_LARGE_EARLY, limits.UPDATE_AIM_EARLY
        each = np.array([np.nanmax(row[early : early + 3], initial=0.0) for row in table])
    elif steps[-1] - steps[0] >= limits.LEARNING_STEPS:
        mask, aim = late(trace), limits.UPDATE_AIM
        each = np.array([median(row[mask[usable(trace)]]) for row in table])
        value = float(_middle(each[:, None])[0])
        limit = limits.UPDATE_LARGE if value > limits.UPDATE_LARGE else limits.UPDATE_LARGE_ONE
    else:
        return
    large = [name for name, ratio in zip(names, each, strict=True) if ratio > limit]
    if not large:
        return
    general = limit < limits.UPDATE_LARGE_ONE
    value = value if general else float(np.nanmax(each))
    rate, factor = learning_rate(trace, mask), rounded(value / aim)
    towards = f", from {number(rate)} to {number(rounded(rate / factor))}" if rate > 0 else ""
    yield Finding(
        id="update-too-large",
        severity="critical" if general else "warning",
        where=tuple(large),
        steps=span(trace, mask),
        value=value,
        limit=limit,
        message=f"Each step changes {listed(large)} by {number(value)} of {'their' if len(large) > 1 else 'its'} size; about "
        f"{number(aim)} is usual.",
        why="Steps this large throw away what earlier ones found: the loss jumps about, units saturate or die, values overflow.",
        remedy=f"Lower the learning rate about {number(factor, 1)} times{towards}"
        + ("." if general else f", for {listed(large)} alone, or initialise {listed(large)} larger."),
        reference=f"{limits.STUDY}: log10 of update:data, with a line at -3",
    )


@check("update-too-small", needs=("parameters",))
def update_too_small(trace: Trace) -> Iterator[Finding]:
    """Steps that hardly move the weights, even when they were largest: the learning rate is too low."""
    mask = usable(trace)
    _, table = _ratios(trace, mask)
    kept = np.isfinite(table).any(axis=0)
    network = _middle(table[:, kept])
    # The best the run ever did: gradients fade as a net converges, and schedules end near 0.
    value = float(np.quantile(network, 0.9))
    if value >= limits.UPDATE_SMALL or value == 0:
        return  # steps of exactly 0 are another check's
    rate, factor = learning_rate(trace), rounded(limits.UPDATE_AIM / value)
    towards = f", from {number(rate)} to {number(rounded(rate * factor))}" if rate > 0 else ""
    yield Finding(
        id="update-too-small",
        severity="warning",
        where=(),
        steps=span(trace, mask),
        value=value,
        limit=limits.UPDATE_SMALL,
        message=f"The steps change the weights by {number(value)} of their size; about {number(limits.UPDATE_AIM)} is usual.",
        why="At this pace it takes far more steps than needed to learn anything.",
        remedy=(
            f"Raise the learning rate about {number(factor, 1)} times{towards}; "
            "if the weights were initialised too large, shrink them instead."
        ),
        reference=f"{limits.STUDY}: log10 of update:data, with a line at -3",
    )


@check("missing-zero-grad")
def missing_zero_grad(trace: Trace) -> Iterator[Finding]:
    """Gradients of earlier steps still in place when the backward pass begins."""
    mask = usable(trace)
    mask[:1] = False
    left = trace.step_stats["leftover_gradient"][mask]
    left = left[np.isfinite(left)]
    if not len(left):
        raise Skip("not run", "whether gradients were cleared was not recorded for a second step")
    value = float(np.mean(left > 0))
    if value <= limits.LEFTOVER_SHARE:
        return
    yield Finding(
        id="missing-zero-grad",
        severity="critical",
        where=(),
        steps=span(trace, mask),
        value=value,
        limit=limits.LEFTOVER_SHARE,
        message=f"At {share(value)} of the sampled steps the backward pass began with gradients of earlier steps still there.",
        why="Each step then follows the sum of all gradients so far, which grows and points to where the network was long ago.",
        remedy="Call optimizer.zero_grad() once after each optimizer.step() (or before each backward pass of a new step).",
        reference="torch.optim: Optimizer.zero_grad",
    )
