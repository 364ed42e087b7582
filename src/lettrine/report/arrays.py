"""Pictures of plain arrays: embeddings, a learning-rate range test, the spread of a product, before and after, run beside run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, log10
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lettrine.errors import HealthError
from lettrine.health.trace import BINS, Histogram
from lettrine.report.chart import Values, by, channel, plot
from lettrine.report.densities import Density, density_rows
from lettrine.report.draw import dashed, finish, hint, nothing
from lettrine.report.lines import POINTS, Line, depth_lines, reference_line, thin
from lettrine.report.profiles import log_axis
from lettrine.report.theme import LIGHT
from lettrine.report.words import brief, clean, number


def embedding_scatter(
    points: ArrayLike,
    names: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    axes: tuple[str, str] = ("", ""),
    before: ArrayLike | None = None,
) -> Any:
    """Scatter of labelled points (V, 2). Points that the network treats alike lie close together.

    groups: a word for each point, such as "vowel"; it gives the point its colour. axes: names of the axes, such as shares of
    variance. before: the points of the training before; dashes join them to the new ones.
    Raises `HealthError` where points and names do not fit together.
    """
    xy = np.asarray(points, dtype=float)
    if xy.ndim != 2 or xy.shape[1] != 2 or len(xy) != len(names) or (groups is not None and len(groups) != len(names)):
        raise HealthError(
            f"an embedding scatter got points {xy.shape} and "
            f"{len(names)} names; expected points (V, 2) and V names: reduce wider embeddings by PCA first"
        )
    kinds = [clean(g) for g in groups] if groups is not None else [""] * len(names)
    values: Values = [
        {"x": float(x), "y": float(y), "name": clean(name), "group": kind, "hint": f"{clean(name)} ({x:.2f}, {y:.2f})"}
        for (x, y), name, kind in zip(xy, names, kinds, strict=True)
        if isfinite(x) and isfinite(y)
    ]
    if not values:
        return nothing("There are no finite points to draw.")
    different = list(dict.fromkeys(kinds))
    colours = [LIGHT["accent"], "#c8932a", LIGHT["good"], LIGHT["critical"], LIGHT["muted"]]
    colour: Any = {"value": LIGHT["accent"]}
    if len(different) > 1:
        scale = {"domain": different, "range": [colours[i % len(colours)] for i in range(len(different))]}
        colour = channel("group:N", scale=scale, legend={"symbolType": "circle", "symbolSize": 60, "symbolOpacity": 1})
    ends = {"zero": False, "nice": True, "padding": 14}
    base = plot(values).encode(
        x=channel("x:Q", scale=ends, axis={"title": axes[0] or None}),
        y=channel("y:Q", scale=ends, axis={"title": axes[1] or None}),
    )
    disc = base.mark("circle", size=300, opacity=0.13).encode(color=colour)
    text = base.mark("text", fontSize=13, fontWeight="bold", baseline="middle").encode(color=colour, **by(text="name:N"))
    drawn = [disc, text, hint(base)]
    if before is not None:
        ends_of = zip(np.asarray(before, dtype=float).tolist(), xy.tolist(), strict=True)
        moved: Values = [{"x": x, "y": y, "i": f"{i}"} for i, pair in enumerate(ends_of) for x, y in pair]
        drawn.insert(0, dashed(plot(moved).encode(**by(x="x:Q", y="y:Q", detail="i:N"))))
    return finish(drawn, 340)


def learning_rate_range(
    rates: ArrayLike,
    losses: ArrayLike,
    *,
    smooth: ArrayLike | None = None,
    suggestion: float | None = None,
    largest: float | None = None,
) -> Any:
    """Loss against learning rate (log axis) of a range test. The suggested rate and the largest stable one are marked.

    rates, losses, smooth: (S,). Where the losses end far above the first ones, the picture is cut off at the top: a
    divergence would flatten the rest.
    """
    rate = np.asarray(rates, dtype=float)
    series = [("batch", np.asarray(losses, dtype=float), LIGHT["start"], 0.8)]
    if smooth is not None:
        series.append(("smoothed", np.asarray(smooth, dtype=float), LIGHT["accent"], 2.25))
    if any(y.shape != rate.shape for _, y, _, _ in series):
        raise HealthError(
            f"a learning-rate range curve got rates {rate.shape} and "
            f"losses {[y.shape for _, y, _, _ in series]}; expected one length"
        )
    main = series[-1][1]
    finite = main[np.isfinite(main)]
    if not finite.size:
        return nothing("No finite loss was recorded.")
    start = float(np.median(finite[: max(1, len(finite) // 10)]))
    low = float(finite.min())
    top = start + max(start - low, 0.1 * abs(start))
    y = channel(
        "y:Q", scale={"zero": False, "domainMax": top, "domainMin": low - 0.08 * (top - low)}, axis={"title": "loss, nats"}
    )
    x = log_axis("rate:Q", rate[rate > 0].tolist(), "learning rate")
    colours = {"domain": [name for name, *_ in series], "range": [colour for *_, colour, _ in series]}
    layers = []
    for name, loss, _, width in series:
        pairs = thin([(float(r), float(v)) for r, v in zip(rate, loss, strict=True) if isfinite(v) and r > 0], POINTS)
        values: Values = [
            {"rate": r, "y": round(v, 4), "what": name, "hint": f"learning rate {brief(r)}: loss {number(v)}"} for r, v in pairs
        ]
        base = plot(values).encode(x=x, y=y)
        layers.append(
            base.mark("line", clip=True, strokeWidth=width).encode(
                color=channel("what:N", scale=colours, legend={"symbolType": "stroke"})
            )
        )
        if loss is main:
            layers.append(hint(base))
    for value, text, colour in ((suggestion, "suggested", LIGHT["accent"]), (largest, "largest stable", LIGHT["critical"])):
        if value is not None and isfinite(value) and value > 0:
            left = log10(value) > (log10(rate.min()) + log10(rate.max())) / 2
            mark = plot([{"rate": value, "text": f"{text} {brief(value)}"}]).encode(**by(x="rate:Q"))
            layers.append(mark.mark("rule", color=colour, strokeDash=[4, 3], strokeWidth=1.5))
            place = {"align": "right", "dx": -5} if left else {"align": "left", "dx": 5}
            offset = 4 if text == "suggested" else 18
            for halo in ({"stroke": LIGHT["card"], "strokeWidth": 4}, {}):  # the line of the other mark may cross the text
                label = mark.mark("text", color=colour, baseline="top", **place, **halo)
                layers.append(label.encode(y={"value": offset}, **by(text="text:N")))
    return finish(layers, 260)


def product_spread(spreads: Mapping[str, ArrayLike], *, axis: str = "x @ w") -> Any:
    """Density of x @ w for several ways to scale w, by their names. The remark of each is its standard deviation.

    Only w / sqrt(fan_in) keeps the spread of x (makemore part 3).
    """
    rows = []
    for name, values in spreads.items():
        found = histogram_of({0: values})
        if found is not None:
            rows.append(Density(name, f"std {number(float(np.nanstd(np.asarray(values, dtype=float))))}", found))
    return density_rows(rows, axis, symmetric=True, dated=False)


def weight_gradients(gradients: Mapping[str, Mapping[int, ArrayLike]], remarks: Mapping[str, str]) -> Any:
    """Density of the gradient of each weight, by its name, at one step or more, {step: values}. Remarks stand at the right.

    Where the widths differ, the steps of the weights differ by the same factor (makemore part 3).
    """
    found = {name: histogram_of(values) for name, values in gradients.items()}
    rows = [Density(name, remarks.get(name, ""), each) for name, each in found.items() if each is not None]
    return density_rows(rows, "gradient of the weight", symmetric=True)


def histogram_of(values: Mapping[int, ArrayLike]) -> Histogram | None:
    """The histogram of an array at each step, {step: values}, of its finite values; None if there are none."""
    made = []
    for step, each in values.items():
        flat = np.asarray(each, dtype=float).ravel()
        flat = flat[np.isfinite(flat)]
        if flat.size:
            made.append((step, *np.histogram(flat, BINS)))
    if not made:
        return None
    steps, counts, edges = zip(*made, strict=True)
    low, high = (np.array([each[end] for each in edges]) for end in (0, -1))
    return Histogram(np.array(steps, dtype=np.int64), np.array(counts, dtype=float), low, high)


def overlay(
    lines: Mapping[str, tuple[ArrayLike, ArrayLike]], *, axis: str, reference: float | None = None, text: str = ""
) -> Any:
    """Curves of several runs, by their names: (steps, values) of each, such as losses or log10 of update:data."""
    drawn = [Line(name, np.asarray(x, dtype=float), np.asarray(y, dtype=float)) for name, (x, y) in lines.items()]
    if not drawn:
        return nothing("There is nothing to compare.")
    layers = depth_lines(drawn, axis)
    return finish(layers if reference is None else [*layers, *reference_line(reference, text)], 260)
