"""Building blocks of the charts: captions, hints, the colours of first and last.

Layers always go from top (input) to bottom (output); grey is the first sampled step, blue the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from lettrine.report.chart import Channel, Plot, by, channel, layered, plot
from lettrine.report.theme import LIGHT, WIDTH, config
from lettrine.report.words import clean, labels

CAPTION: Final = 20  # height of the words above a row
GHOST: Final = [3, 3]
LETTERS: Final = 60  # letters that fit on a line of a chart
BESIDE_AXIS: Final = 52  # the same, where the chart has an axis at its left
TIDY: Final = (
    "datum.value != 0 && (abs(datum.value) < 0.001 || abs(datum.value) >= 100000) "
    "? format(datum.value, '.0e') : format(datum.value, ',~r')"
)
"""Axis labels: powers of ten as 1e-5, everything else in full."""


def finish(layers: Sequence[Plot], height: int, frames: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Layers as one chart, `WIDTH` wide together with its axes, in the house's type and colours. frames: see `beside`."""
    size = {"width": WIDTH, "height": height, "autosize": {"type": "fit-x", "contains": "padding"}}
    return layered(layers, **size, config=config(), **({"usermeta": dict(frames)} if frames else {}))


def nothing(message: str) -> dict[str, Any]:
    """A chart that says why there is no picture."""
    return finish([plot([{"text": message}]).mark("text", fontStyle="italic", fontSize=12).encode(**by(text="text:N"))], 60)


def dashed(base: Plot) -> Plot:
    """A dashed line, for the training before."""
    return base.mark("line", strokeDash=GHOST, strokeWidth=1.3, color=LIGHT["start"], clip=True)


def hint(base: Plot) -> Plot:
    """Invisible points with the text of the field `hint`, which notebooks and pages show as a tooltip."""
    told = {"tooltip": channel("hint:N", title=""), "description": channel("hint:N")}
    return base.mark("point", clip=True, aria=True, opacity=0, size=40).encode(**told)


def step_names(steps: Sequence[int]) -> list[str]:
    """Legend of the first and the last step; one entry where they are the same."""
    first, last = steps
    return [f"step {last:,}"] if first == last else [f"step {first:,}", f"step {last:,}"]


def step_colours(names: Sequence[str], symbol: str = "circle") -> Channel:
    """Grey for the first sampled step, blue for the last."""
    colours = [LIGHT["start"], LIGHT["accent"]][-len(names) :]
    legend = {"orient": "top", "symbolType": symbol, "symbolSize": 60, "symbolOpacity": 1, "offset": 4}
    return channel("when:N", scale={"domain": list(names), "range": colours}, legend=legend)


def row_height(count: int, least: int) -> int:
    """The height of a row, by how many there are. A few rows fill the picture."""
    return max(least, min(130, 220 // count))


def ink(*, marked: bool) -> str:
    """The colour of a name: red if a finding names it."""
    return LIGHT["critical" if marked else "ink"]


def captions(base: Plot) -> list[Plot]:
    """The words above a row: its name at the left, its remark at the right. Fields: name, ink and remark."""
    left = base.mark("text", align="left", baseline="bottom", dy=-3).encode(
        x={"value": 0}, color=channel("ink:N", scale=None), text=channel("name:N")
    )
    right = base.mark("text", align="right", baseline="bottom", dy=-3).encode(x={"value": "width"}, text=channel("remark:N"))
    return [left, right.called("remarks")]


def row_titles(rows: Sequence[tuple[str, str, str]], letters: int = LETTERS) -> list[str]:
    """Names for rows of (name, kind, remark): short enough for the remark on the same line, with the kind where it fits.

    letters: that fit on a line.
    """
    room = letters - max((len(remark) for _, _, remark in rows), default=0)
    names = labels([name for name, _, _ in rows], max(room, 12))
    kinds = [clean(kind) for _, kind, _ in rows]
    return [f"{name} {kind}" if kind and len(name) + len(kind) < room else name for name, kind in zip(names, kinds, strict=True)]
