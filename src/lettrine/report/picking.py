"""Which modules and weights of a trace are drawn, and which of their figures."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from lettrine.health.trace import ModuleInfo, ParameterInfo, Trace
from lettrine.report.kinds import Kind
from lettrine.report.words import spread

Floats = NDArray[np.float64]
Named = TypeVar("Named", ModuleInfo, ParameterInfo)
LEAST: Final = 2  # least rows of one kind: one alone has nothing to be compared with
OUTSIDE: Final = 3  # most rows of layers outside the blocks, beside those of kinds


def output_row(trace: Trace, name: str, stat: str) -> Floats:
    """One figure of a module's output over the sampled steps; empty if no kept step has it."""
    return trace.output(name, stat) if name in trace.outputs else np.zeros(0)


def gradient_row(trace: Trace, name: str, stat: str) -> Floats:
    """The same of the gradient of its output."""
    return trace.gradient(name, stat) if name in trace.gradients else np.zeros(0)


def parameter_row(trace: Trace, name: str, stat: str) -> Floats:
    """The same of a parameter."""
    return trace.parameter(name, stat) if name in trace.parameter_stats else np.zeros(0)


def norm_row(trace: Trace, name: str, stat: str) -> Floats:
    """The same of a batch norm."""
    return trace.norm(name, stat) if name in trace.norms else np.zeros(0)


def named(items: Sequence[Named]) -> list[str]:
    """Their names."""
    return [item.name for item in items]


def ends(row: Floats) -> tuple[int, int] | None:
    """The indices of the first and the last finite value; None if there is none."""
    good = np.flatnonzero(np.isfinite(row))
    return (int(good[0]), int(good[-1])) if good.size else None


def middle(table: Floats) -> Floats:
    """The median of the finite values of each column; NaN where there is none."""
    good = np.isfinite(table)
    return np.array([np.median(column[kept]) if kept.any() else np.nan for column, kept in zip(table.T, good.T, strict=True)])


def pick(items: Sequence[Named], most: int, focus: Collection[str]) -> list[Named]:
    """At most `most` of the names, evenly spaced, and all those in `focus`."""
    return spread(items, most, [i for i, item in enumerate(items) if item.name in focus])


def pick_by_kind(items: Sequence[Named], most: int, focus: Collection[str], kinds: Sequence[Kind]) -> list[Named]:
    """At most `most` of the names, those of one kind one below the other, so that neighbours can be compared.

    Of each kind as many, evenly spaced from input to output, after the layers outside the blocks that come before the first kind.
    If there are too many kinds, those with names in `focus`, and others evenly spaced.
    """
    place = {item.name: i for i, item in enumerate(items)}
    members = [found for kind in kinds if (found := [items[place[name]] for name in kind.members if name in place])]
    if not members:
        return pick(items, most, focus)
    inside = {item.name for each in members for item in each}
    outside: list[Named] = pick([item for item in items if item.name not in inside], OUTSIDE, focus)
    room = most - len(outside)
    shown = spread(members, room // LEAST, [i for i, each in enumerate(members) if any(item.name in focus for item in each)])
    first = min(place[each[0].name] for each in members)
    before = sum(place[item.name] < first for item in outside)
    chosen: list[Named] = []
    for each in shown:
        chosen += pick(each, room // len(shown), focus)
    return outside[:before] + chosen + outside[before:]


def weights(trace: Trace) -> list[ParameterInfo]:
    """Measured parameters of two axes or more, called weights here."""
    return [p for p in trace.parameters if len(p.shape) > 1 and p.name in trace.parameter_stats]


def weight_name(info: ParameterInfo) -> str:
    """The name without the ending that nearly all weights have."""
    return info.name.removesuffix(".weight")
