"""One figure a layer, down the depth of the network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from lettrine.report.draw import TIDY, Values, altair, finish, hint, nothing, plot, step_colours
from lettrine.report.theme import LIGHT
from lettrine.report.words import labels, number

PROFILE_ROWS: Final = 40


@dataclass(frozen=True)
class Row:
    """One row of `profile`: its name, the first figure and the last, such as those of the first and last sampled step."""

    name: str
    first: float
    last: float


def profile(
    rows: Sequence[Row], names: Sequence[str], axis: str, *, log: bool, reference: float | None = None, form: str = ""
) -> Any:
    """A figure of each layer, first (grey) and last (blue), joined down the depth of the network.

    names: of first and last, or of the last alone. reference: where a line is drawn.
    """
    alt = altair()
    values: Values = []
    order = labels([row.name for row in rows], 22)
    for row, label in zip(rows, order, strict=True):
        for when, value in zip(names, (row.first, row.last)[-len(names) :], strict=True):
            if isfinite(value) and (value > 0 or not log):
                shown = format(value, form) if form else number(value)
                values.append({"layer": label, "value": float(f"{value:.4g}"), "when": when, "hint": f"{label}, {when}: {shown}"})
    if not values:
        return nothing("None of these figures was recorded.")
    seen = [v["value"] for v in values] + ([] if reference is None else [reference])
    x = log_axis("value:Q", seen, axis) if log else linear_axis("value:Q", seen, axis, form)
    base = plot(values).encode(
        x=x,
        y=alt.Y("layer:N", scale=alt.Scale(domain=order), axis=alt.Axis(title=None, labelColor=LIGHT["ink"], labelLimit=170)),
    )
    colour = step_colours(names)
    line = (
        base.mark_line(strokeWidth=1.25, opacity=0.55)
        .encode(color=colour, order=alt.Order("row:Q"))
        .transform_window(row="row_number()")
    )
    dots = base.mark_circle(opacity=1, size=46).encode(color=colour)
    layers = [line, dots, hint(base)]
    if reference is not None:
        layers.insert(0, plot([{"value": reference}]).mark_rule(color=LIGHT["rule"], strokeDash=[3, 3]).encode(x="value:Q"))
    return finish(layers, max(60, 24 * len(order)))


def log_axis(field: str, seen: Sequence[float], title: str) -> Any:
    """Logarithmic x axis with round ticks, never narrower than a factor of four: on a tighter one every network looks wild."""
    alt = altair()
    low, high = min(seen), max(seen)
    room = max(1.15, (4 / (high / low)) ** 0.5)
    low = max(low / room, 1e-300)
    high = max(min(high * room, 1e300), 4 * low)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for mantissas in ((1, 2, 5), (1, 3), (1,)):
        ticks = [v for d in decades for m in mantissas if low <= (v := float(f"{m}e{d}")) <= high]
        if len(ticks) <= 6:
            break
    ticks = ticks[:: -(-len(ticks) // 8)]
    return alt.X(
        field,
        scale=alt.Scale(type="log", domain=[low, high], nice=False),
        axis=alt.Axis(title=title, values=ticks, labelExpr=TIDY),
    )


def linear_axis(field: str, seen: Sequence[float], title: str, form: str) -> Any:
    """Linear x axis from 0; shares reach to 10 % at least, so that one unit in a thousand does not fill the picture."""
    alt = altair()
    high = max(*seen, 0.1) if "%" in form else max(seen)
    scale = alt.Scale(domain=[-0.02 * high, high * 1.02 or 1.0], nice=False)
    return alt.X(field, scale=scale, axis=alt.Axis(title=title, format=form) if form else alt.Axis(title=title))
