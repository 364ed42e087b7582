"""One figure for each layer, down the depth of the network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Final

import numpy as np

from lettrine.report.beside import frames, places
from lettrine.report.chart import Values, by, channel, plot
from lettrine.report.draw import LETTERS, TIDY, dashed, finish, hint, ink, nothing, step_colours
from lettrine.report.picking import Floats
from lettrine.report.theme import LIGHT
from lettrine.report.words import clean, labels, number

PROFILE_ROWS: Final = 40
BESIDE: Final = 24  # letters of the longest name that stands beside its row
ABOVE: Final = 38  # height of a row with its name above it


@dataclass(frozen=True)
class Row:
    """One row of `profile`: its name, and two figures, such as those of the first and the last sampled step.

    before: the figure of the training before. walk: the figures at the steps of the slider. marked: a finding names it.
    kind: a number that rows of one kind share; the lines join these.
    """

    name: str
    first: float
    last: float
    before: float = math.nan
    walk: Floats = field(default_factory=lambda: np.zeros(0))
    marked: bool = False
    kind: int = 0


def profile(
    rows: Sequence[Row],
    names: Sequence[str],
    axis: str,
    *,
    log: bool,
    reference: float | None = None,
    form: str = "",
    steps: Sequence[int] = (),
) -> Any:
    """A figure of each layer, first (grey) and last (blue). Lines join layers of one kind down the depth of the network.

    names: of the first and the last, or of the last alone. Names are at the left, or above the rows if one is too long for that.
    reference: the value at which a line is drawn. steps: of `Row.walk`.
    """
    above = max(len(clean(row.name)) for row in rows) > BESIDE
    order = labels([row.name for row in rows], LETTERS if above else BESIDE)
    marks = Marks(log=log, form=form)
    values: Values = []
    for row, label in zip(rows, order, strict=True):
        for when, value in zip(names, (row.first, row.last)[-len(names) :], strict=True):
            said = f"{clean(row.name)}, {when}: {marks.said(value)}"
            values += marks.of(label, value, when=when, kind=row.kind, hint=said)
    ghosts = [mark for row, label in zip(rows, order, strict=True) for mark in marks.of(label, row.before, kind=row.kind)]
    if not values:
        return nothing("None of these figures was recorded.")
    seen = [v["value"] for v in (*values, *ghosts)] + ([] if reference is None else [reference])
    x = log_axis("value:Q", seen, axis) if log else linear_axis("value:Q", seen, axis, form)
    words = {"labels": False, "ticks": False} if above else {"labelColor": LIGHT["ink"], "labelLimit": 280}
    y = channel("layer:N", scale={"domain": order}, axis={"title": None, **words})
    layers = []
    if reference is not None:
        layers.append(plot([{"value": reference}]).mark("rule", color=LIGHT["rule"], strokeDash=[3, 3]).encode(**by(x="value:Q")))
    if ghosts:
        layers.append(joined(dashed(plot(ghosts).encode(x=x, y=y))))
    for name in names:
        base = plot([value for value in values if value["when"] == name]).encode(x=x, y=y)
        coloured = {"color": step_colours(names)}
        drawn = [joined(base.mark("line", strokeWidth=1.25, opacity=0.55)), base.mark("circle", opacity=1, size=46)]
        drawn = [*(each.encode(**coloured) for each in drawn), hint(base)]
        layers += drawn if name != names[-1] else [each.called(f"now_{i}") for i, each in enumerate(drawn)]
    if above:
        layers += names_above(rows, order, y)
    walk = walk_down(rows, x["scale"]["domain"], marks)
    return finish(layers, max(60, (ABOVE if above else 24) * len(order)), frames("profile", steps, names[-1], rows=walk))


def names_above(rows: Sequence[Row], order: Sequence[str], y: Any) -> list[Any]:
    """The names of rows, each above its own. Lines and grid stop short of them."""
    words: Values = [{"layer": label, "ink": ink(marked=row.marked)} for row, label in zip(rows, order, strict=True)]
    base = plot(words).encode(y=y, x={"value": 0}, text=channel("layer:N"))
    style = {"align": "left", "baseline": "bottom", "dy": -6}
    coloured = base.mark("text", **style).encode(color=channel("ink:N", scale=None))
    return [base.mark("text", **style, stroke=LIGHT["card"], strokeWidth=4), coloured]


@dataclass(frozen=True)
class Marks:
    """How figures are shown: whether the axis is logarithmic, and how the figure is written."""

    log: bool
    form: str

    def said(self, value: float) -> str:
        """A figure as text."""
        return format(value, self.form) if self.form else number(value)

    def of(self, label: str, value: float, **more: str | int) -> Values:
        """The value that is drawn; None where the figure has no place on the axis."""
        shown = isfinite(value) and (value > 0 or not self.log)
        return [{"layer": label, "value": float(f"{value:.4g}"), **more}] if shown else []


def joined(line: Any) -> Any:
    """A line through the points of each kind in the order of the rows."""
    return line.encode(order=channel("row:Q"), detail=channel("kind:N")).numbered("row")


def walk_down(rows: Sequence[Row], ends: Sequence[float], marks: Marks) -> list[dict[str, Any]]:
    """The frames of rows: the place of each, its figures on the axis and as text. What is beyond the axis stands at its end."""
    return [
        {
            "y": round((i + 0.5) / len(rows), 4),
            "label": clean(row.name),
            "kind": row.kind,
            "x": places(np.minimum(np.maximum(row.walk, ends[0]), ends[1]), ends, log=marks.log),
            "said": [marks.said(float(value)) for value in row.walk],
        }
        for i, row in enumerate(rows)
    ]


def log_axis(field: str, seen: Sequence[float], title: str) -> Any:
    """A logarithmic x axis with round ticks."""
    low, high = log_ends(seen)
    ticks = log_ticks(low, high, 6)
    return channel(
        field,
        scale={"type": "log", "domain": [low, high], "nice": False},
        axis={"title": title, "values": ticks, "labelExpr": TIDY},
    )


def log_ends(seen: Sequence[float]) -> tuple[float, float]:
    """The ends of a logarithmic axis, at least a factor of four apart: on a shorter one every network looks wild."""
    low, high = min(seen), max(seen)
    room = max(1.15, (4 / (high / low)) ** 0.5)
    low = max(low / room, 1e-300)
    return low, max(min(high * room, 1e300), 4 * low)


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Round ticks of a logarithmic axis, about `most` of them; none if no round number is between the ends."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for mantissas in ((1, 2, 5), (1, 3), (1,)):
        ticks = [v for d in decades for m in mantissas if low <= (v := float(f"{m}e{d}")) <= high]
        if len(ticks) <= most:
            break
    return ticks[:: -(-len(ticks) // (most + 2)) or 1]


def linear_axis(field: str, seen: Sequence[float], title: str, form: str) -> Any:
    """A linear x axis from 0. One of shares reaches at least 10 %, or one unit in a thousand would fill the picture."""
    high = max(*seen, 0.1) if "%" in form else max(seen)
    scale = {"domain": [-0.02 * high, high * 1.02 or 1.0], "nice": False}
    return channel(field, scale=scale, axis={"title": title, "format": form} if form else {"title": title})
