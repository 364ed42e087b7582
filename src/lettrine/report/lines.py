"""Lines over steps, and reference lines with words on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

import numpy as np

from lettrine.report.chart import Values, by, channel, plot
from lettrine.report.draw import dashed, hint
from lettrine.report.picking import Floats
from lettrine.report.theme import LIGHT, WIDTH, depth_colours
from lettrine.report.words import clean, labels

LINES: Final = 12
LONGEST: Final = 50  # letters of a name that fit beside its symbol; of a longer one the legend has the last parts
POINTS: Final = 300  # most points of one line; a chart has no pixels for more


@dataclass(frozen=True)
class Line:
    """One line over steps."""

    name: str
    x: Floats
    y: Floats


def depth_lines(
    lines: Sequence[Line], axis: str, *, include: Sequence[float] = (), before: Sequence[Line] = (), last: float = 0.0
) -> list[Any]:
    """Lines over steps, coloured from input (gold) to output (blue), with hints. include: values that the axis must reach.

    before: lines of the training before, dashed. last: the step at which the axis ends; 0: it fits the data.
    """
    names = labels([line.name for line in lines], LONGEST)
    values: Values = []
    for line, name in zip(lines, names, strict=True):
        points = [(float(x), float(y)) for x, y in zip(line.x, line.y, strict=True) if isfinite(y)]
        values += [
            {"step": x, "y": round(y, 4), "layer": name, "hint": f"{clean(line.name)}, step {x:,.0f}: {y:.2f}"}
            for x, y in thin(points, POINTS // 2)
        ]
    colours = {"domain": names, "range": depth_colours(len(names))}
    former: Values = [
        {"step": x, "y": round(y, 4), "layer": line.name}
        for line in before
        for x, y in thin([(float(x), float(y)) for x, y in zip(line.x, line.y, strict=True) if isfinite(y)], POINTS // 2)
    ]
    seen = [row["y"] for row in (*values, *former)] + list(include)
    room = 0.08 * (max(seen) - min(seen)) if seen else 0.0
    scale = {"domain": [min(seen) - room, max(seen) + room], "nice": False} if room > 0 else {"zero": False}
    legend = {
        "columns": 3 - sum(max(map(len, names), default=0) > most for most in (14, 22)),
        "labelLimit": WIDTH,
        "symbolType": "stroke",
        "symbolOpacity": 1,
    }
    base = plot(values).encode(
        x=step_axis(last),
        y=channel("y:Q", scale=scale, axis={"title": axis}),
    )
    drawn = base.mark("line", strokeWidth=1.5).encode(color=channel("layer:N", scale=colours, legend=legend))
    ghost = [dashed(plot(former).encode(**by(x="step:Q", y="y:Q", detail="layer:N")))] if former else []
    return [drawn, *ghost, hint(base)]


def step_axis(last: float = 0.0) -> Any:
    """Axis of optimiser steps, from 0 to the last one; without it, as far as the data go."""
    axis = {"title": "step", "grid": False, "tickMinStep": 1}
    return channel("step:Q", axis=axis, scale={"domain": [0, last], "nice": False}) if last > 0 else channel("step:Q", axis=axis)


def thin(points: Sequence[Any], most: int) -> list[Any]:
    """At most `most` points: every n-th, and always the last."""
    every = -(-len(points) // most) if points else 1
    kept = list(points[::every])
    return kept if not points or kept[-1] is points[-1] else [*kept, points[-1]]


def reference_line(value: float, text: str, points: Sequence[tuple[float, float]] = (), above: int = 0) -> list[Any]:
    """A horizontal line with its meaning in words, where no points are: beside the line, or else above the picture.

    above: how many lines of words stand above the picture already.
    """
    place = free_place(value, points)
    base = plot([{"y": value, "text": text}])
    rule = base.mark("rule", color=LIGHT["rule"], strokeWidth=1.25, strokeDash=[4, 3]).encode(**by(y="y:Q"))
    if place is None:
        words = base.mark("text", align="right", baseline="bottom").encode(x={"value": "width"}, y={"value": -9 - 14 * above})
        return [rule, words.encode(**by(text="text:N"))]
    align, below = place
    words = base.mark("text", align=align, baseline="top" if below else "bottom", dy=3 if below else -3)
    return [rule, words.encode(x={"value": 0 if align == "left" else "width"}, **by(y="y:Q", text="text:N"))]


def resampled(x: Floats, y: Floats) -> list[tuple[float, float]]:
    """Points along a line at equal distances. Sampled steps are dense at its start."""
    good = np.isfinite(y)
    if not good.any():
        return []
    grid = np.linspace(x[good][0], x[good][-1], 100)
    return list(zip(grid.tolist(), np.interp(grid, x[good], y[good]).tolist(), strict=True))


def free_place(value: float, points: Sequence[tuple[float, float]]) -> tuple[str, bool] | None:
    """Where words on a horizontal line at `value` hide nothing: at its left or right end, above or below. None: nowhere."""
    if not points:
        return "right", False
    xs, ys = np.array(points, dtype=float).T
    height = 0.09 * max(ys.max() - ys.min(), abs(ys - value).max())  # height of the words, in units of the axis
    middle = (xs.min() + xs.max()) / 2
    places = [("right", False), ("right", True), ("left", False), ("left", True)]
    near = {False: (ys > value) & (ys < value + height), True: (ys < value) & (ys > value - height)}
    side = {"right": xs >= middle, "left": xs < middle}
    free = (place for place in places if not np.any(near[place[1]] & side[place[0]]))
    return next(free, None)
