"""Building blocks of the charts: rows of densities, profiles by layer, lines over time.

Layers always go from top (input) to bottom (output); grey is the first sampled step, blue the last.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from lettrine.health.trace import Histogram, ModuleInfo, ParameterInfo, Trace
from lettrine.report.figure import need
from lettrine.report.theme import LIGHT, WIDTH, config, depth_colours
from lettrine.report.words import clean, labels, number, spread

Floats = NDArray[np.float64]
Values = list[dict[str, Any]]
Named = TypeVar("Named", ModuleInfo, ParameterInfo)

ROWS: Final = 12  # of densities in one picture; more are unreadable, so the page says how many were left out
PROFILE_ROWS: Final = 40
LINES: Final = 12
CAPTION: Final = 20  # height of the words above a row
LETTERS: Final = 60  # that fit on a line of a chart
POINTS: Final = 300  # of one line: more than a chart has pixels for


def altair() -> Any:
    """The drawing library, or an error that says how to get it."""
    return need("altair", "drawing a chart")


def plot(values: Values) -> Any:
    """An empty chart over rows of plain values.

    As a tuple, since altair copies a list, row by row, each time a chart is refined.
    """
    alt = altair()
    return alt.Chart({"values": tuple(values)})


def finish(layers: Sequence[Any], height: int) -> Any:
    """Layers as one chart, `WIDTH` wide with everything around it, in the house's type and colours."""
    alt = altair()
    chart = alt.layer(*layers).properties(
        width=WIDTH, height=height, autosize=alt.AutoSizeParams(type="fit-x", contains="padding")
    )
    return chart.configure(**config())


def nothing(message: str) -> Any:
    """A chart that says why there is no picture."""
    return finish([plot([{"text": message}]).mark_text(fontStyle="italic", fontSize=12).encode(text="text:N")], 60)


def hint(chart: Any) -> Any:
    """Invisible points that carry the text of the field `hint`: a tooltip in notebooks and pages."""
    alt = altair()
    return chart.mark_point(clip=True, aria=True, opacity=0, size=40).encode(
        description="hint:N", tooltip=alt.Tooltip("hint:N", title="")
    )


def step_names(steps: Sequence[int]) -> list[str]:
    """Legend of first and last; one entry where they are the same."""
    first, last = steps
    return [f"step {last:,}"] if first == last else [f"step {first:,}", f"step {last:,}"]


def step_colours(names: Sequence[str], symbol: str = "circle") -> Any:
    """Grey for the first sampled step, blue for the last."""
    alt = altair()
    colours = [LIGHT["start"], LIGHT["accent"]][-len(names) :]
    legend = alt.Legend(orient="top", symbolType=symbol, symbolSize=60, symbolOpacity=1, offset=4)
    return alt.Color("when:N", scale=alt.Scale(domain=list(names), range=colours), legend=legend)


def output_row(trace: Trace, name: str, stat: str) -> Floats:
    """One figure of a module's output over the sampled steps; empty where it was never measured at one that was kept."""
    return trace.output(name, stat) if name in trace.outputs else np.zeros(0)


def gradient_row(trace: Trace, name: str, stat: str) -> Floats:
    """The same of the gradient of its output."""
    return trace.gradient(name, stat) if name in trace.gradients else np.zeros(0)


def ends(row: Floats) -> tuple[int, int] | None:
    """Indices of the first and last finite value, None if there is none."""
    good = np.flatnonzero(np.isfinite(row))
    return (int(good[0]), int(good[-1])) if good.size else None


@dataclass(frozen=True)
class Density:
    """One row of `density_rows`: its name, remark at the right, histogram, kind of module, and whether a finding names it."""

    name: str
    remark: str
    histogram: Histogram
    kind: str = ""
    marked: bool = False


def density_rows(rows: Sequence[Density], axis: str, *, symmetric: bool = False, dated: bool = True) -> Any:
    """One row a layer on a common axis: outline at the first record, filled at the last.

    Each density is drawn to the height of its row, so widths are to be compared, not heights. dated: whether
    to say at which steps they were taken.
    """
    alt = altair()
    drawn = [row for row in rows if len(row.histogram.steps)]
    if not drawn:
        return nothing("No distribution was recorded.")
    span = (min(int(row.histogram.steps[0]) for row in drawn), max(int(row.histogram.steps[-1]) for row in drawn))
    names = step_names(span)
    domain = common_range([row.histogram for row in drawn], symmetric=symmetric)
    shapes: Values = []
    texts: Values = []
    titles = row_titles([(row.name, row.kind, row.remark) for row in drawn])
    height = row_height(len(drawn), 54)  # the axis counts in pixels from the bottom
    for i, (row, label) in enumerate(zip(drawn, titles, strict=True)):
        base = (len(drawn) - 1 - i) * height + 4
        top = base + height - CAPTION
        texts.append({"name": label, "remark": row.remark, "y": base, "top": top, "ink": ink(marked=row.marked)})
        for k, name in zip((0, -1)[-len(names) :], names, strict=True):
            x, heights = outline(row.histogram, k, domain)
            shapes += [
                {"x": a, "y": round(base + (top - base - 3) * h, 1), "base": base, "row": f"{i}", "when": name}
                for a, h in zip(x, heights, strict=True)
            ]
    x_axis = alt.X(
        "x:Q",
        scale=alt.Scale(domain=domain, nice=False),
        axis=alt.Axis(
            title=axis,
            grid=False,
            ticks=True,
            tickSize=4,
            tickColor=LIGHT["rule"],
            labelPadding=3,
            tickCount=5,
            labelExpr=TIDY,
            labelOverlap=True,
        ),
    )
    y_axis = alt.Y("y:Q", scale=alt.Scale(domain=[0, len(drawn) * height], nice=False), axis=None)
    shape = plot(shapes).encode(x=x_axis, y=y_axis, detail="row:N")
    fill = shape.transform_filter(alt.datum.when == names[-1]).mark_area(color=LIGHT["wash"], clip=True).encode(y2="base:Q")
    line = shape.mark_line(clip=True, strokeWidth=1.4).encode(
        color=alt.value(LIGHT["accent"]) if not dated else step_colours(names, "stroke")
    )
    rule = plot(texts).mark_rule(color=LIGHT["rule"], strokeWidth=1).encode(y=alt.Y("y:Q"))
    return finish([fill, line, rule, *captions(plot(texts).encode(y="top:Q"))], height * len(drawn))


def row_height(count: int, least: int) -> int:
    """Height of one of so many rows: few ones fill the picture."""
    return max(least, min(130, 220 // count))


def ink(*, marked: bool) -> str:
    """Colour of a name: the red of a finding where one names it."""
    return LIGHT["critical" if marked else "ink"]


def captions(base: Any) -> list[Any]:
    """Name at the left and remark at the right, above a row; from the fields name, ink and remark."""
    alt = altair()
    left = base.mark_text(align="left", baseline="bottom", dy=-3).encode(
        x=alt.value(0), text="name:N", color=alt.Color("ink:N", scale=None)
    )
    return [left, base.mark_text(align="right", baseline="bottom", dy=-3).encode(x=alt.value("width"), text="remark:N")]


def row_titles(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    """Of (name, kind, remark): names that leave room for the remark on the same line, with the kind of module where it fits."""
    room = LETTERS - max((len(remark) for _, _, remark in rows), default=0)
    names = labels([name for name, _, _ in rows], max(room, 12))
    kinds = [clean(kind) for _, kind, _ in rows]
    return [f"{name} {kind}" if kind and len(name) + len(kind) < room else name for name, kind in zip(names, kinds, strict=True)]


def pick(items: Sequence[Named], most: int, focus: Collection[str]) -> list[Named]:
    """At most `most` of what has a name, evenly spaced, but all that `focus` names."""
    return spread(items, most, [i for i, item in enumerate(items) if item.name in focus])


def common_range(histograms: Sequence[Histogram], *, symmetric: bool) -> list[float]:
    """Range that holds all but the outermost thousandth of what is drawn."""
    seen = []
    for histogram in histograms:
        for k in (0, -1):
            counts = histogram.counts[k]
            only = single_value(histogram, k)
            edges = np.linspace(histogram.low[k], histogram.high[k], len(counts) + 1)
            share = np.concatenate([[0], np.cumsum(counts) / counts.sum()])
            seen += [only] if only is not None else np.interp([0.0005, 0.9995], share, edges).tolist()
    low, high = min(seen), max(seen)
    if symmetric:
        low, high = min(low, -high), max(high, -low)
    if not high > low:
        low, high = low - 0.5, low + 0.5
    return [low, high]


def single_value(histogram: Histogram, k: int) -> float | None:
    """The value of a record all of whose values are (nearly) one, None for others.

    Where all are equal the recorded range is half a unit to either side, which says nothing of their spread.
    """
    filled = np.flatnonzero(histogram.counts[k])
    low, high = float(histogram.low[k]), float(histogram.high[k])
    if len(filled) > 1:
        return None
    return (low + high) / 2 if high - low == 1 else low + (high - low) * (float(filled[0]) + 0.5) / len(histogram.counts[k])


def outline(histogram: Histogram, k: int, domain: Sequence[float]) -> tuple[list[float], list[float]]:
    """Density of record k as the corners of a curve, scaled to a height of 1.

    A bin that towers over all others (the zeros of a ReLU) is cut off at twice the next, so that the rest can be seen.
    """
    counts = np.asarray(histogram.counts[k], dtype=float)
    low, high = float(histogram.low[k]), float(histogram.high[k])
    only = single_value(histogram, k)
    if only is not None:
        narrow = (domain[1] - domain[0]) / 400
        return [only - narrow, only - narrow, only + narrow, only + narrow], [0.0, 1.0, 1.0, 0.0]
    edges = np.linspace(low, high, len(counts) + 1)
    middle = (edges[:-1] + edges[1:]) / 2
    second = np.sort(counts)[-2] if len(counts) > 1 else 0.0
    top = min(counts.max(), 2 * second) if second > 0 else counts.max()
    height = np.minimum(counts / max(top, 1e-300), 1.0)
    x = [low, *middle.tolist(), high]
    return [round_to(v, domain) for v in x], [0.0, *np.round(height, 4).tolist(), 0.0]


def round_to(value: float, domain: Sequence[float]) -> float:
    """Rounded to a ten-thousandth of the picture's width: what is finer cannot be seen."""
    span = domain[1] - domain[0]
    return float(np.round(value / span, 5) * span) if span > 0 else value


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


TIDY: Final = (
    "datum.value != 0 && (abs(datum.value) < 0.001 || abs(datum.value) >= 100000) "
    "? format(datum.value, '.0e') : format(datum.value, ',~r')"
)
"""Axis labels: powers of ten as 1e-5, everything else in full."""


@dataclass(frozen=True)
class Line:
    """One line over steps."""

    name: str
    x: Floats
    y: Floats


def depth_lines(lines: Sequence[Line], axis: str, *, include: Sequence[float] = ()) -> list[Any]:
    """Lines over steps coloured from input (gold) to output (blue), with hints. include: values the axis must reach."""
    alt = altair()
    names = labels([line.name for line in lines], 24)
    values: Values = []
    for line, name in zip(lines, names, strict=True):
        points = [(float(x), float(y)) for x, y in zip(line.x, line.y, strict=True) if isfinite(y)]
        values += [
            {"step": x, "y": round(y, 4), "layer": name, "hint": f"{name}, step {x:,.0f}: {y:.2f}"}
            for x, y in thin(points, POINTS // 2)
        ]
    colours = alt.Scale(domain=names, range=depth_colours(len(names)))
    seen = [row["y"] for row in values] + list(include)
    room = 0.08 * (max(seen) - min(seen)) if seen else 0.0
    scale = alt.Scale(domain=[min(seen) - room, max(seen) + room], nice=False) if room > 0 else alt.Scale(zero=False)
    legend = alt.Legend(
        columns=2 if max(map(len, names), default=0) > 14 else 3, labelLimit=180, symbolType="stroke", symbolOpacity=1
    )
    base = plot(values).encode(
        x=alt.X("step:Q", axis=step_axis()),
        y=alt.Y("y:Q", scale=scale, axis=alt.Axis(title=axis)),
    )
    drawn = base.mark_line(strokeWidth=1.5).encode(color=alt.Color("layer:N", scale=colours, legend=legend))
    return [drawn, hint(base)]


def step_axis() -> Any:
    """Axis of optimiser steps."""
    return altair().Axis(title="step", grid=False, tickMinStep=1)


def thin(points: Sequence[Any], most: int) -> list[Any]:
    """At most `most` of the points: every n-th, and always the last."""
    every = -(-len(points) // most) if points else 1
    kept = list(points[::every])
    return kept if not points or kept[-1] is points[-1] else [*kept, points[-1]]


def reference_line(value: float, text: str, points: Sequence[tuple[float, float]] = ()) -> list[Any]:
    """A horizontal line with its meaning written where the fewest of the points are."""
    alt = altair()
    align, below = free_place(value, points)
    base = plot([{"y": value, "text": text}]).encode(y=alt.Y("y:Q"))
    rule = base.mark_rule(color=LIGHT["rule"], strokeWidth=1.25, strokeDash=[4, 3])
    place = {"align": align, "baseline": "top" if below else "bottom", "dy": 3 if below else -3}
    words = base.encode(x=alt.value(0 if align == "left" else "width"), text="text:N")
    halo = words.mark_text(**place, stroke=LIGHT["card"], strokeWidth=3, opacity=0.7)  # for where no place is free
    return [rule, halo, words.mark_text(**place)]


def resampled(x: Floats, y: Floats) -> list[tuple[float, float]]:
    """Points along a line at equal distances, since sampled steps crowd at its start."""
    good = np.isfinite(y)
    if not good.any():
        return []
    grid = np.linspace(x[good][0], x[good][-1], 100)
    return list(zip(grid.tolist(), np.interp(grid, x[good], y[good]).tolist(), strict=True))


def free_place(value: float, points: Sequence[tuple[float, float]]) -> tuple[str, bool]:
    """Where words on a horizontal line at `value` hide least: at its left or right end, above or below it."""
    if not points:
        return "right", False
    xs, ys = np.array(points, dtype=float).T
    height = 0.09 * max(ys.max() - ys.min(), abs(ys - value).max())  # of the words, in units of the axis
    middle = (xs.min() + xs.max()) / 2
    places = [("right", False), ("right", True), ("left", False), ("left", True)]
    near = {False: (ys > value) & (ys < value + height), True: (ys < value) & (ys > value - height)}
    side = {"right": xs >= middle, "left": xs < middle}
    return min(places, key=lambda place: np.count_nonzero(near[place[1]] & side[place[0]]))


def weights(trace: Trace) -> list[ParameterInfo]:
    """Measured parameters of two axes or more: what is called a weight here."""
    return [p for p in trace.parameters if len(p.shape) > 1 and p.name in trace.parameter_stats]


def weight_name(info: ParameterInfo) -> str:
    """Its name without the ending that nearly all of them have."""
    return info.name.removesuffix(".weight")
