"""Colours and type of everything that is drawn.

Charts are drawn in the light palette. A page replaces each colour by a CSS variable, so that one drawing serves light and
dark. So no two entries of `LIGHT` may be equal.
"""

from __future__ import annotations

from typing import Any, Final

FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
CHART_FONT: Final = "Helvetica Neue, Helvetica, Arial, Liberation Sans, sans-serif"
SERIF: Final = "'Iowan Old Style', 'Palatino Linotype', 'URW Palladio L', P052, Palatino, 'Book Antiqua', Georgia, serif"

LIGHT: Final = {
    "paper": "#faf8f3",
    "card": "#fffefb",
    "ink": "#1f1d1a",
    "muted": "#69645b",
    "line": "#e6e1d6",
    "rule": "#b8b0a1",
    "accent": "#2846b5",
    "wash": "#d3dbf4",
    "start": "#9a9284",
    "critical": "#b3261c",
    "warning": "#955b05",
    "info": "#4b5f78",
    "good": "#2c7548",
}
DARK: Final = {
    "paper": "#131416",
    "card": "#1a1c1f",
    "ink": "#ece8df",
    "muted": "#a59f93",
    "line": "#2d2f34",
    "rule": "#5d5f66",
    "accent": "#9bb0ff",
    "wash": "#2c3760",
    "start": "#8c877c",
    "critical": "#ff8f80",
    "warning": "#eeb55c",
    "info": "#a9bcd4",
    "good": "#7fcb9c",
}
"""paper, card: backgrounds. ink, muted: text. line, rule: grid and reference lines. start: first sampled step;
accent: last one, wash its fill. The rest: severities, and "good"."""

DEPTHS_LIGHT: Final = (
    "#c8932a",
    "#c87a3c",
    "#c3614f",
    "#b54f69",
    "#a04583",
    "#864599",
    "#6a47a9",
    "#4b47b1",
    "#2b45b4",
    "#18388f",
    "#122b6c",
    "#0c1e49",
)
DEPTHS_DARK: Final = (
    "#f2c772",
    "#f0b27a",
    "#ee9c86",
    "#e98a9b",
    "#dd80b4",
    "#cc7ecb",
    "#b982de",
    "#a78aec",
    "#9895f6",
    "#93a7ff",
    "#a5c0ff",
    "#c3d9ff",
)
"""Colours of layers that share one picture, from the input (gold) to the output (blue)."""

UNSATURATED: Final = "#171b2e"
SATURATED: Final = "#ffffff"

WIDTH: Final = 370  # of one chart; a page puts two side by side, a phone one below the other


def variables(palette: dict[str, str], depths: tuple[str, ...]) -> dict[str, str]:
    """The CSS variables of one palette: name (without the dashes) and colour."""
    return palette | {f"depth-{i}": colour for i, colour in enumerate(depths)}


def depth_colours(count: int) -> list[str]:
    """`count` colours from the input on, spread over the ramp; at most `len(DEPTHS_LIGHT)` differ."""
    last = len(DEPTHS_LIGHT) - 1
    return [DEPTHS_LIGHT[round(i * last / max(count - 1, 1))] for i in range(count)]


def config() -> dict[str, Any]:
    """Vega-Lite configuration of every chart."""
    label = {"labelFont": CHART_FONT, "labelFontSize": 11, "labelColor": LIGHT["muted"]}
    title = {"titleFont": CHART_FONT, "titleFontSize": 11, "titleFontWeight": "normal", "titleColor": LIGHT["muted"]}
    return {
        "aria": False,
        "background": "transparent",
        "font": CHART_FONT,
        "padding": 4,
        "view": {"stroke": None},
        "axis": {
            **label,
            **title,
            "domain": False,
            "ticks": False,
            "gridColor": LIGHT["line"],
            "labelPadding": 6,
            "titlePadding": 8,
        },
        "axisX": {"tickCount": 6, "labelFlush": False},
        "axisY": {"titleAngle": 0, "titleAlign": "left", "titleX": 0, "titleY": -9, "titleBaseline": "bottom", "tickCount": 5},
        "legend": {
            **label,
            **title,
            "title": None,
            "orient": "bottom",
            "symbolStrokeWidth": 2.5,
            "symbolSize": 90,
            "columnPadding": 18,
        },
        "text": {"font": CHART_FONT, "fontSize": 11, "color": LIGHT["muted"]},
        "line": {"strokeWidth": 1.75, "strokeCap": "round", "strokeJoin": "round"},
    }
