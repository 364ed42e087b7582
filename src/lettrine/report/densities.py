"""Rows of densities, one for each layer, on a common axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from lettrine.health.trace import Histogram
from lettrine.report.beside import frames, heights, places
from lettrine.report.chart import Values, by, channel, plot
from lettrine.report.draw import (
    CAPTION,
    TIDY,
    captions,
    dashed,
    finish,
    ink,
    nothing,
    row_height,
    row_titles,
    step_colours,
    step_names,
)
from lettrine.report.theme import LIGHT

ROWS: Final = 12  # most densities in one picture; more are unreadable, so the page says how many it leaves out


@dataclass(frozen=True)
class Density:
    """One row of `density_rows`: its name, remark at the right, histogram, kind of module, and whether a finding names it.

    before: the last record of the training before. remarks: one for each record of the histogram, for the slider.
    """

    name: str
    remark: str
    histogram: Histogram
    kind: str = ""
    marked: bool = False
    before: Histogram | None = None
    remarks: Sequence[str] = ()


def density_rows(
    rows: Sequence[Density], axis: str, *, symmetric: bool = False, dated: bool = True, within: float = math.inf
) -> Any:
    """One row for each layer, on a common axis: the first record as an outline, the last one filled.

    Each density fills the height of its row: compare widths, not heights. dated: whether to tell the steps of the records.
    within: the axis goes no further than this to either side.
    """
    drawn = [row for row in rows if len(row.histogram.steps)]
    if not drawn:
        return nothing("No distribution was recorded.")
    span = (min(int(row.histogram.steps[0]) for row in drawn), max(int(row.histogram.steps[-1]) for row in drawn))
    names = step_names(span)
    former = [row.before for row in drawn if row.before is not None]
    low, high = common_range([*(row.histogram for row in drawn), *former], symmetric=symmetric)
    domain = [max(low, -within), min(high, within)] if low < within and high > -within else [low, high]
    shapes: Values = []
    ghosts: Values = []
    texts: Values = []
    titles = row_titles([(row.name, row.kind, row.remark) for row in drawn])
    height = row_height(len(drawn), 54)  # the axis counts pixels from the bottom
    for i, (row, label) in enumerate(zip(drawn, titles, strict=True)):
        base = (len(drawn) - 1 - i) * height + 4
        top = base + height - CAPTION
        texts.append({"name": label, "remark": row.remark, "y": base, "top": top, "ink": ink(marked=row.marked)})
        place = {"base": base, "row": f"{i}"}
        for k, name in zip((0, -1)[-len(names) :], names, strict=True):
            shapes += [{**point, **place, "when": name} for point in corners(row.histogram, k, domain, base, top)]
        if row.before is not None:
            ghosts += [{**point, **place} for point in corners(row.before, -1, domain, base, top)]
    x_axis = channel(
        "x:Q",
        scale={"domain": domain, "nice": False},
        axis={
            "title": axis,
            "grid": False,
            "ticks": True,
            "tickSize": 4,
            "tickColor": LIGHT["rule"],
            "labelPadding": 3,
            "tickCount": 5,
            "labelExpr": TIDY,
            "labelOverlap": True,
        },
    )
    y_axis = channel("y:Q", scale={"domain": [0, len(drawn) * height], "nice": False}, axis=None)
    shape = plot(shapes).encode(x=x_axis, y=y_axis, **by(detail="row:N"))
    newest = shape.only(when=names[-1])
    fill = newest.mark("area", color=LIGHT["wash"], clip=True).encode(**by(y2="base")).called("now_fill")
    colour = {"value": LIGHT["accent"]} if not dated else step_colours(names, "stroke")
    lines = [newest.mark("line", clip=True, strokeWidth=1.4).encode(color=colour).called("now_line")]
    if len(names) > 1:
        lines.insert(0, shape.only(when=names[0]).mark("line", clip=True, strokeWidth=1.4).encode(color=colour))
    if ghosts:
        lines.append(dashed(plot(ghosts).encode(x=x_axis, y=y_axis, **by(detail="row:N"))))
    rule = plot(texts).mark("rule", color=LIGHT["rule"], strokeWidth=1).encode(y=channel("y:Q"))
    size = height * len(drawn)
    walk = walk_through(drawn, domain, names[-1], height) if all(row.remarks for row in drawn) else None
    return finish([fill, *lines, rule, *captions(plot(texts).encode(**by(y="top:Q")))], size, walk)


def corners(histogram: Histogram, k: int, domain: Sequence[float], base: float, top: float) -> Values:
    """The outline of a record in the row from base to top."""
    return [{"x": a, "y": round(base + (top - base - 3) * h, 1)} for a, h in zip(*outline(histogram, k, domain), strict=True)]


def walk_through(rows: Sequence[Density], domain: Sequence[float], name: str, height: int) -> dict[str, Any]:
    """The frames of rows: for each record where its curve begins and ends, the heights between, and the remark."""
    steps = sorted({int(step) for row in rows for step in row.histogram.steps})
    drawn = []
    for i, row in enumerate(rows):
        records = []
        for k, remark in enumerate(row.remarks):
            x, y = outline(row.histogram, k, domain)
            inner = [1.0] if single_value(row.histogram, k) is not None else y[1:-1]
            records.append([*places(np.array([x[0], x[-1]]), domain), heights(inner), remark])
        at = np.maximum(np.searchsorted(row.histogram.steps, steps, side="right") - 1, 0)
        bottom = height * (i + 1) - 4  # pixels from the top
        drawn.append({"base": bottom, "top": bottom - (height - CAPTION - 3), "records": records, "at": at.tolist()})
    return frames("densities", steps, name, rows=drawn)


def common_range(histograms: Sequence[Histogram], *, symmetric: bool) -> list[float]:
    """The range of what is drawn, without its outermost thousandth."""
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
    """The value of a record whose values are all (nearly) equal; None for other records.

    If all values are equal, the recorded range is half a unit to either side. That says nothing about their spread.
    """
    filled = np.flatnonzero(histogram.counts[k])
    low, high = float(histogram.low[k]), float(histogram.high[k])
    if len(filled) > 1:
        return None
    return (low + high) / 2 if high - low == 1 else low + (high - low) * (float(filled[0]) + 0.5) / len(histogram.counts[k])


def outline(histogram: Histogram, k: int, domain: Sequence[float]) -> tuple[list[float], list[float]]:
    """Density of record k as the corners of a curve, scaled to a height of 1.

    A bin far above all others (the zeros of a ReLU) is cut off at twice the next one, so that the rest can be seen.
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
    """Rounded to a ten-thousandth of the picture's width: nobody sees finer steps."""
    span = domain[1] - domain[0]
    return float(np.round(value / span, 5) * span) if span > 0 else value
