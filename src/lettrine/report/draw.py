"""Building blocks of the charts: rows of values, captions, the colours of first and last.

Layers always go from top (input) to bottom (output); grey is the first sampled step, blue the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from lettrine.report.figure import need
from lettrine.report.theme import LIGHT, WIDTH, config
from lettrine.report.words import clean, labels

Values = list[dict[str, Any]]
CAPTION: Final = 20  # height of the words above a row
GHOST: Final = [3, 3]
LETTERS: Final = 60  # that fit on a line of a chart
TIDY: Final = (
    "datum.value != 0 && (abs(datum.value) < 0.001 || abs(datum.value) >= 100000) "
    "? format(datum.value, '.0e') : format(datum.value, ',~r')"
)
"""Axis labels: powers of ten as 1e-5, everything else in full."""


def altair() -> Any:
    """The drawing library, or an error that says how to get it."""
    return need("altair", "drawing a chart")


def plot(values: Values) -> Any:
    """An empty chart over rows of plain values.

    As a tuple, since altair copies a list, row by row, each time a chart is refined.
    """
    alt = altair()
    return alt.Chart({"values": tuple(values)})


def by(**fields: str) -> dict[str, Any]:
    """Channels by their fields, such as x="step:Q", to encode a chart by: altair needs ten milliseconds for each bare string."""
    alt = altair()
    return {channel: getattr(alt, channel.capitalize())(field) for channel, field in fields.items()}


def finish(layers: Sequence[Any], height: int, frames: Mapping[str, Any] | None = None) -> Any:
    """Layers as one chart, `WIDTH` wide with everything around it, in the house's type and colours. frames: see `beside`."""
    alt = altair()
    size = {"width": WIDTH, "height": height, "autosize": alt.AutoSizeParams(type="fit-x", contains="padding")}
    return alt.layer(*layers, **size, config=alt.Config(**config()), **({"usermeta": dict(frames)} if frames else {}))


def called(chart: Any, name: str) -> Any:
    """The chart with a name, by which a script finds what it draws."""
    chart.name = name
    return chart


def nothing(message: str) -> Any:
    """A chart that says why there is no picture."""
    return finish([plot([{"text": message}]).mark_text(fontStyle="italic", fontSize=12).encode(**by(text="text:N"))], 60)


def dashed(chart: Any) -> Any:
    """A line of the training before."""
    return chart.mark_line(strokeDash=GHOST, strokeWidth=1.3, color=LIGHT["start"], clip=True)


def hint(chart: Any) -> Any:
    """Invisible points that carry the text of the field `hint`: a tooltip in notebooks and pages."""
    alt = altair()
    return chart.mark_point(clip=True, aria=True, opacity=0, size=40).encode(
        tooltip=alt.Tooltip("hint:N", title=""), **by(description="hint:N")
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
        x=alt.value(0), color=alt.Color("ink:N", scale=None), **by(text="name:N")
    )
    right = base.mark_text(align="right", baseline="bottom", dy=-3).encode(x=alt.value("width"), **by(text="remark:N"))
    return [left, called(right, "remarks")]


def row_titles(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    """Of (name, kind, remark): names that leave room for the remark on the same line, with the kind of module where it fits."""
    room = LETTERS - max((len(remark) for _, _, remark in rows), default=0)
    names = labels([name for name, _, _ in rows], max(room, 12))
    kinds = [clean(kind) for _, kind, _ in rows]
    return [f"{name} {kind}" if kind and len(name) + len(kind) < room else name for name, kind in zip(names, kinds, strict=True)]
