"""The picture of an experiment: what it measured on either side, on one logarithmic axis."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

from scripts.site.programs import light

ROW: Final = 30  # height of one figure
LEAST: Final = 1e-17  # where 0 is drawn


def beside(sick: Mapping[str, float], healthy: Mapping[str, float], prefix: str) -> str:
    """As SVG; empty where nothing of both sides can be compared."""
    from lettrine.report.chart import channel, plot  # noqa: PLC0415
    from lettrine.report.draw import finish  # noqa: PLC0415
    from lettrine.report.figure import to_themed_svg  # noqa: PLC0415
    from lettrine.report.theme import LIGHT  # noqa: PLC0415

    names = [
        name
        for name in sick
        if name in healthy
        and sick[name] != healthy[name]
        and all(isfinite(side[name]) and side[name] >= 0 for side in (sick, healthy))
    ]
    rows: list[dict[str, Any]] = [
        {"figure": name.replace("_", " "), "side": side, "value": max(float(told[name]), LEAST)}
        for side, told in (("healthy", healthy), ("sick", sick))
        for name in names
    ]
    if not rows:
        return ""
    colours = {"domain": ["sick", "healthy"], "range": [LIGHT["critical"], LIGHT["good"]]}
    base = plot(rows).encode(y=channel("figure:N", title=None, sort=None))
    line = base.mark("line", color=LIGHT["rule"]).encode(x=channel("value:Q", scale={"type": "log"}), detail=channel("figure:N"))
    dots = base.mark("point", filled=True, size=90, opacity=1).encode(
        x=channel("value:Q", scale={"type": "log"}, title=None, axis={"format": "~g", "tickCount": 4}),
        color=channel("side:N", scale=colours, legend={"orient": "top", "title": None}),
    )
    return light(to_themed_svg(finish([line, dots], ROW * len(names)), prefix))
