"""Layers by time: a band for each kind of layer, a row a layer, a column a measured step; red is large, blue small."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lettrine.health.trace import Trace
from lettrine.report.beside import ALONE, Beside, frames, walked
from lettrine.report.chart import Values, by, channel, plot
from lettrine.report.draw import CAPTION, LETTERS, captions, finish, hint, ink, nothing, row_titles
from lettrine.report.images import png_url
from lettrine.report.kinds import module_kinds
from lettrine.report.picking import Floats, ends, gradient_row, middle, output_row
from lettrine.report.theme import LIGHT
from lettrine.report.words import number, spread

DECADES: Final = 2.0  # decades to either side at which a colour is at its strongest
LEVELS: Final = 32  # levels of a colour
LARGE: Final = (200, 62, 42)
SMALL: Final = (52, 96, 214)
MISSING: Final = (140, 135, 124, 70)  # red, green, blue, alpha of a figure that was not measured
BAND: Final = (26, 110)  # least and greatest height of a band
ROW: Final = 3  # height of a layer in a band, if there is room
BANDS: Final = 14
OUTSIDE: Final = "outside the blocks"
ROOM: Final = 12  # letters at the end of a band's line
HINTS: Final = 600  # most rows of one picture that show their figures under the pointer


@dataclass(frozen=True)
class Band:
    """One kind of layer. names: of its rows, from the input on. table: (rows, K) figures over the sampled steps."""

    name: str
    cls: str
    names: tuple[str, ...]
    table: Floats
    marked: bool


def output_heat(trace: Trace, focus: AbstractSet[str] = frozenset(), beside: Beside = ALONE) -> Any:
    """log10 of the std of each module's output, over the median of its kind at the first step.

    What is healthy is a matter of the kind: the last layer of a residual branch of GPT-2 begins at 0.001, its block at 1.
    """
    bands = bands_of(trace, lambda name: output_row(trace, name, "std"), focus)
    axis = "std of the output, over that of its kind at the start"
    return heat_map(bands, trace.steps, axis, ("a hundredth", "as at the start", "100 times"), over_start, walk=beside.walk)


def gradient_heat(trace: Trace, focus: AbstractSet[str] = frozenset(), beside: Beside = ALONE) -> Any:
    """log10 of the std of the gradient of each module's output, over the median of its kind at the same step."""
    bands = bands_of(trace, lambda name: gradient_row(trace, name, "std"), focus)
    said = ("a hundredth", "the median", "100 times")
    axis = "std of the gradient, over the median of the band"
    return heat_map(bands, trace.steps, axis, said, lambda band: over_median(band.table), walk=beside.walk)


def bands_of(trace: Trace, figure: Callable[[str], Floats], focus: AbstractSet[str]) -> list[Band]:
    """A band for each kind that was measured, and one for the layers outside the blocks.

    Norms have none: they set their own scale. Dropout has none: it keeps the scale of the layer before it.
    """
    roles = {module.name: module.role for module in trace.modules}
    kinds = module_kinds(trace)
    inside = {name for kind in kinds for name in kind.members}
    outside = [name for name in roles if name not in inside]
    bands = []
    for title, cls, members in [(kind.name, kind.cls, kind.members) for kind in kinds] + [("", "", tuple(outside))]:
        rows = {name: figure(name) for name in members if roles[name] not in {"norm", "dropout"}}
        rows = {name: row for name, row in rows.items() if ends(row) is not None}
        if rows:
            bands.append(Band(title or _listed(rows), cls, tuple(rows), np.stack(list(rows.values())), bool(focus & rows.keys())))
    return spread(bands, BANDS, [i for i, band in enumerate(bands) if band.marked])


def _listed(names: Iterable[str]) -> str:
    """The names of the layers outside the blocks, if they fit on a line."""
    joined = ", ".join(names)
    return joined if len(joined) <= LETTERS - ROOM else OUTSIDE


def over_median(table: Floats) -> Floats:
    """Each figure over the median of its column; the median is of the figures above 0."""
    with np.errstate(invalid="ignore"):
        return table / middle(np.where(table > 0, table, np.nan))


def over_start(band: Band) -> Floats:
    """Each figure over the median of its kind at the first step; of layers outside the blocks each is a kind by itself.

    Where all are 0 at first, as after an initialisation with zeros, the median is of all steps.
    """
    table = np.where(band.table > 0, band.table, np.nan)
    first = np.array([[row[at[0]] if (at := ends(row)) is not None else np.nan] for row in band.table])
    if band.cls:
        first = middle(first)
    first = np.where(first > 0, first, np.nan)
    start = np.where(np.isfinite(first), first, middle(table.reshape(-1, 1)))
    return band.table / start


def heat_map(
    bands: Sequence[Band],
    steps: NDArray[np.int64],
    axis: str,
    told: Sequence[str],
    scaled: Callable[[Band], Floats],
    *,
    walk: bool = False,
) -> Any:
    """Bands below one another, over the sampled steps. told: what the two ends and the middle of the colours mean.

    scaled: the figures of a band as its colours show them. walk: whether the chart holds its frames.
    """
    if not bands:
        return nothing("None of these figures was recorded.")
    heights = [int(np.clip(ROW * len(band.names), *BAND)) for band in bands]
    images: Values = []
    points: Values = []
    height = sum(heights) + len(bands) * CAPTION
    top = float(height)
    titles = row_titles([(band.name, band.cls, rows_text(band)) for band in bands])
    every = -(-sum(len(band.names) for band in bands) // HINTS)
    for band, title, deep in zip(bands, titles, heights, strict=True):
        top -= CAPTION
        row = {"name": title, "remark": rows_text(band), "ink": ink(marked=band.marked), "left": 0, "right": len(steps)}
        images.append(row | {"low": top - deep, "top": top, "url": coloured(scaled(band))})
        for i, name in list(enumerate(band.names))[::every]:
            found = ends(band.table[i])
            if found is not None:
                first, last = (f"{number(float(band.table[i][k]))} at step {steps[k]:,}" for k in found)
                points.append(
                    {"x": len(steps) / 2, "y": top - deep * (i + 0.5) / len(band.names), "hint": f"{name}: {first}, {last}"}
                )
        top -= deep
    x = channel(
        "left:Q",
        scale={"domain": [0, len(steps)], "nice": False},
        axis={
            "title": [f"step; {axis}", f"blue: {told[0]} · no colour: {told[1]} · red: {told[2]}"],
            "grid": False,
            "values": [k + 0.5 for k in range(len(steps))],
            "labelExpr": f"format({[int(step) for step in steps]}[floor(datum.value)], ',')",
            "labelOverlap": True,
        },
    )
    y = channel("low:Q", scale={"domain": [0, height], "nice": False}, axis=None)
    base = plot(images)
    picture = base.mark("image", aspect=False).encode(x=x, y=y, **by(x2="right", y2="top", url="url:N"))
    frame = base.mark("rect", filled=False, stroke=LIGHT["rule"], strokeWidth=1).encode(x=x, y=y, **by(x2="right", y2="top"))
    told_rows = hint(plot(points).encode(**by(x="x:Q", y="y:Q")))
    kept = walked(steps.tolist()) if walk else []
    line = frames("curve", [int(steps[k]) for k in kept], "", x=[round((k + 0.5) / len(steps), 4) for k in kept])
    return finish([picture, frame, told_rows, *captions(base.encode(**by(y="top:Q")))], height, line)


def rows_text(band: Band) -> str:
    """Such as: 24 layers."""
    return f"{len(band.names):,} layers" if len(band.names) > 1 else "one layer"


def coloured(table: Floats) -> str:
    """Figures (rows, K) as a PNG in a data URL: no colour at 1, redder above, bluer below, grey where nothing was measured.

    Colours are more or less transparent, so that one picture serves a light page and a dark one.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        tens = np.log10(np.where(table >= 0, table, np.nan))  # a spread of 0 gives -inf: the smallest
    level = np.clip(np.nan_to_num(tens, nan=0.0, posinf=DECADES, neginf=-DECADES) / DECADES, -1, 1)
    index = np.where(np.isnan(tens), 2 * LEVELS + 1, np.round(level * LEVELS) + LEVELS).astype(np.uint8)
    strengths = np.abs(np.arange(-LEVELS, LEVELS + 1)) / LEVELS
    palette = [SMALL if i < LEVELS else LARGE for i in range(2 * LEVELS + 1)] + [MISSING[:3]]
    alpha = [*np.round(235 * strengths).astype(int).tolist(), MISSING[3]]
    return png(np.kron(index, np.ones((4, 16), dtype=np.uint8)), palette, alpha)


def png(index: NDArray[np.uint8], palette: Sequence[Sequence[int]], alpha: Sequence[int]) -> str:
    """A picture of up to 256 colours, (height, width) places in the palette, as a data URL."""
    height, width = index.shape
    rows = np.hstack([np.zeros((height, 1), dtype=np.uint8), index])  # each row begins with the number of its filter; 0 is none
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"PLTE", bytes(c for colour in palette for c in colour)), (b"tRNS", bytes(alpha))]
    chunks += [(b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b"")]
    return png_url(chunks)
