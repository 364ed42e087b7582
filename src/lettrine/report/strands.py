"""One figure down a network of repeated blocks: each kind of layer has a curve over the number of the block."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, log10
from typing import Any, Final

import numpy as np

from lettrine.report.beside import frames, heights, places
from lettrine.report.chart import Values, by, channel, plot
from lettrine.report.draw import BESIDE_AXIS, CAPTION, TIDY, captions, finish, hint, ink, nothing, row_titles, step_colours
from lettrine.report.kinds import Kind
from lettrine.report.profiles import Marks, Row, log_ends, log_ticks
from lettrine.report.summary import midmost
from lettrine.report.theme import LIGHT
from lettrine.report.words import spread

PANEL: Final = 74  # height of one curve with the words above it
PANELS: Final = 12
SINGLES: Final = 8  # most layers outside the blocks; each has a line of words
POINTS: Final = 48  # most points of a curve that show their figure under the pointer
TICKS: Final = 2


@dataclass(frozen=True)
class SharedAxis:
    """The axis that all curves share. low, high: its ends, in pixels from 4 to the height of a curve."""

    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool

    def has(self, value: float) -> bool:
        """Whether a figure has a place on the axis."""
        return isfinite(value) and (value > 0 or not self.log)

    def place(self, value: float) -> float:
        """How many pixels above the foot of its panel a figure stands."""
        low, high, value = (log10(each) for each in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        return round(4 + (PANEL - CAPTION - 8) * (value - low) / (high - low), 1)


@dataclass
class Drawing:
    """The parts of the panels, in pixels from the bottom: points of the curves, words, and ticks of the axis."""

    points: Values = field(default_factory=list)
    texts: Values = field(default_factory=list)
    ticks: dict[float, float] = field(default_factory=dict)

    def panel(self, kind: Kind, rows: Sequence[Row], foot: int, scale: SharedAxis, names: Sequence[str], marks: Marks) -> None:
        """Draw one kind, above `foot`."""
        self.ticks |= {foot + scale.place(value): value for value in scale.ticks}
        pair = [midmost([getattr(row, each) for row in rows]) for each in ("first", "last")]
        self.words(kind.name, kind.cls, changed(pair, names, marks), foot + PANEL - CAPTION, any(row.marked for row in rows))
        told = {row.name for row in spread(rows, POINTS, [k for k, row in enumerate(rows) if row.marked])}
        for block, row in zip(kind.blocks, rows, strict=True):
            for when, value in zip(names, (row.first, row.last)[-len(names) :], strict=True):
                if not marks.of("", value):
                    continue
                point = {"x": block, "y": foot + scale.place(value), "row": foot, "when": when}
                if row.name in told and when == names[-1]:
                    point |= {"hint": f"{row.name}, {when}: {marks.said(value)}", "marked": row.marked}
                self.points.append(point)

    def words(self, name: str, cls: str, remark: str, y: int, marked: bool) -> None:
        """Write words at the left and at the right end of a line."""
        self.texts.append({"name": name, "cls": cls, "remark": remark, "y": y, "ink": ink(marked=marked)})


def strands(
    kinds: Sequence[Kind],
    rows: Mapping[str, Row],
    names: Sequence[str],
    axis: str,
    *,
    log: bool,
    reference: float | None = None,
    form: str = "",
    steps: Sequence[int] = (),
) -> Any:
    """A panel for each kind, all on one scale, first (grey) and last (blue). Layers of no kind stand above, as words.

    rows: figures by name. names: of the first and the last, or of the last alone. reference: the value at which a line is
    drawn. steps: of `Row.walk`.
    """
    marks = Marks(log=log, form=form)
    inside = {name for kind in kinds for name in kind.members}
    single = [row for name, row in rows.items() if name not in inside]
    single = spread(single, SINGLES, [i for i, row in enumerate(single) if row.marked])
    marked = [i for i, kind in enumerate(kinds) if any(rows[name].marked for name in kind.members)]
    shown = [(kind, [rows[name] for name in kind.members]) for kind in spread(kinds, PANELS, marked)]
    seen = [value for _, members in shown for row in members for value in (row.first, row.last) if marks.of("", value)]
    if not seen:
        return nothing("None of these figures was recorded.")
    scale = common_scale(seen if reference is None else [*seen, reference], log=log, form=form)
    drawing, feet = Drawing(), [PANEL * i for i in reversed(range(len(shown)))]
    for (kind, members), foot in zip(shown, feet, strict=True):
        drawing.panel(kind, members, foot, scale, names, marks)
    top = len(shown) * PANEL
    for i, row in enumerate(reversed(single)):
        drawing.words(row.name, "", changed((row.first, row.last), names, marks), top + i * CAPTION, row.marked)
    titles = row_titles([(text["name"], text["cls"], text["remark"]) for text in drawing.texts], BESIDE_AXIS)
    texts = [text | {"name": title} for text, title in zip(drawing.texts, titles, strict=True)]
    lines = [rules(feet[:-1], 0, "line")] if len(feet) > 1 else []
    lines += [] if reference is None else [rules(feet, scale.place(reference), "rule", strokeDash=[3, 3])]
    curves = curve_layers(drawing, names, axis, top + len(single) * CAPTION, form)
    height = top + len(single) * CAPTION
    ends = block_ends(drawing)
    walk = [walk_along(*each, ends, foot, scale, height) for each, foot in zip(shown, feet, strict=True)] if len(steps) else []
    told = frames("strands", steps, names[-1], rows=walk)
    return finish([*lines, *curves, *captions(plot(texts).encode(**by(y="y:Q")))], height, told)


def curve_layers(drawing: Drawing, names: Sequence[str], axis: str, height: int, form: str) -> list[Any]:
    """The curves with their axes, red dots where a finding names a layer, and hints."""
    places = sorted(drawing.ticks)
    value = f"{json.dumps([drawing.ticks[place] for place in places])}[indexof({json.dumps(places)}, datum.value)]"
    label = f"format({value}, '{form}')" if form else TIDY.replace("datum.value", value)
    blocks = {"title": [axis, "over the number of the block"], "grid": False, "tickMinStep": 1}
    ticks = {"title": None, "values": places, "tickCount": len(places), "labelExpr": label, "labelOverlap": False}
    x = channel("x:Q", scale={"domain": block_ends(drawing), "nice": False}, axis=blocks)
    y = channel("y:Q", scale={"domain": [0, height], "nice": False}, axis=ticks)
    colour = step_colours(names, "stroke")
    lines = [
        plot([point for point in drawing.points if point["when"] == name])
        .encode(x=x, y=y, color=colour, **by(detail="row:N"))
        .mark("line", strokeWidth=1.5)
        for name in names
    ]
    red, told = (
        plot([point for point in drawing.points if point.get(key)]).encode(**by(x="x:Q", y="y:Q")) for key in ("marked", "hint")
    )
    now = [lines.pop(), red.mark("circle", size=34, opacity=1, color=LIGHT["critical"]), hint(told)]
    return [*lines, *(each.called(f"now_{i}") for i, each in enumerate(now))]


def block_ends(drawing: Drawing) -> list[float]:
    """The ends of the axis of the blocks."""
    last = max(point["x"] for point in drawing.points)
    return [-0.02 * last, 1.02 * last or 1]


def walk_along(
    kind: Kind, rows: Sequence[Row], ends: Sequence[float], foot: int, scale: SharedAxis, height: int
) -> dict[str, Any]:
    """The frames of one panel: its curve at each step, one letter for each block, a blank where there is no figure."""
    room = PANEL - CAPTION
    table = np.stack([row.walk for row in rows], axis=1)
    shapes = []
    for figures in table.tolist():
        over = [min(max(scale.place(each) / room, 0.0), 1.0) if scale.has(each) else None for each in figures]
        shapes.append("".join(" " if each is None else heights([each]) for each in over))
    return {
        "x": places(np.array(kind.blocks), ends),
        "base": round(1 - foot / height, 4),
        "high": round(room / height, 4),
        "shapes": shapes,
    }


def rules(feet: Sequence[int], above: float, colour: str, **style: Any) -> Any:
    """A line through each panel, at the same height above its foot."""
    return plot([{"y": foot + above} for foot in feet]).mark("rule", color=LIGHT[colour], **style).encode(**by(y="y:Q"))


def common_scale(seen: Sequence[float], *, log: bool, form: str) -> SharedAxis:
    """A scale for all the figures. A linear one begins at 0 and ends at a round number."""
    if log:
        low, high = log_ends(seen)
        return SharedAxis(low, high, tuple(log_ticks(low, high, TICKS)), log=True)
    high = max(*seen, 0.1) if "%" in form else max(*seen, 1e-300)
    power = 10.0 ** (len(f"{int(high)}") - 1) if high >= 1 else 10.0 ** -(-int(log10(high)) + 1)
    top = next(m * power for m in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if m * power >= high)
    return SharedAxis(0.0, top, (0.0, top), log=False)


def changed(pair: Sequence[float], names: Sequence[str], marks: Marks) -> str:
    """The first and the last figure as text; the last alone if there is only one step."""
    return " → ".join(marks.said(value) for value in pair[-len(names) :])
