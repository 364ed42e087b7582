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
    from lettrine.report.draw import altair, finish, plot  # noqa: PLC0415
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
    alt = altair()
    colours = alt.Scale(domain=["sick", "healthy"], range=[LIGHT["critical"], LIGHT["good"]])
    base = plot(rows).encode(y=alt.Y("figure:N", title=None, sort=None))
    line = base.mark_line(color=LIGHT["rule"]).encode(x=alt.X("value:Q", scale=alt.Scale(type="log")), detail="figure:N")
    dots = base.mark_point(filled=True, size=90, opacity=1).encode(
        x=alt.X("value:Q", scale=alt.Scale(type="log"), title=None, axis=alt.Axis(format="~g", tickCount=4)),
        color=alt.Color("side:N", scale=colours, legend=alt.Legend(orient="top", title=None)),
    )
    return light(to_themed_svg(finish([line, dots], ROW * len(names)), prefix))
