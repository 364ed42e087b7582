"""Pictures over time: loss, size of the updates."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import ceil, floor, isfinite, log
from typing import Any, Final

import numpy as np

from lettrine.health.limits import UPDATE_AIM, UPDATE_LARGE
from lettrine.health.trace import Curve, Trace
from lettrine.report.beside import ALONE, Beside, frames, places, walked
from lettrine.report.chart import Plot, Values, by, channel, plot
from lettrine.report.draw import dashed, finish, hint, nothing
from lettrine.report.kinds import kinds
from lettrine.report.lines import LINES, POINTS, Line, depth_lines, free_place, reference_line, resampled, step_axis, thin
from lettrine.report.picking import Floats, ends, middle, parameter_row, weight_name, weights
from lettrine.report.theme import LIGHT
from lettrine.report.words import number, spread

BUCKET: Final = 1000  # steps averaged in the loss curve of makemore
DECADES: Final = 3  # a logarithmic axis of more decades has labels at the powers of ten alone
WIDE: Final = 4.0  # highest over median loss; from here on the curve shows log10


def loss_curve(trace: Trace, *, bucket: int | None = None, log10: bool = False, beside: Beside = ALONE) -> Any:
    """Loss against step: single batches in grey, means in blue, held-out data in gold. A line marks a uniform guess.

    bucket: steps averaged into one point; by default 1,000, or fewer where that would leave less than 20 points.
    log10: draw log10 of the loss, as makemore does; the labels of the axis are nats all the same.
    """
    if not len(trace.loss.step) and not len(trace.dev.step):
        return nothing("No loss was recorded: hand it over with watch.loss(loss).")
    scale = np.log10 if log10 else np.asarray
    layers: list[Any] = []
    names, colours = [], []
    before = beside.before
    last = max(last_step(each) for each in (trace, before) if each is not None)
    if len(trace.loss.step):
        length = steps_covered(trace.loss)
        size = bucket or min(BUCKET, round_down(length / 20))
        step, mean = averaged(trace.loss, size, POINTS)
        size = max(size, int(step[1] - step[0]) if len(step) > 1 else size)
        names, colours = [f"mean of {size:,} steps" if size > 1 else "batch"], [LIGHT["accent"]]
        if size > 1:
            names.insert(0, "batch")
            colours.insert(0, LIGHT["start"])
            layers.append(line(scale, trace.loss.step, trace.loss.mean, "batch", width=0.7, opacity=0.55))
        layers.append(line(scale, step, mean, names[-1], width=2.25))
        layers += hints(scale, step, mean, names[-1])
    if len(trace.dev.step):
        names.append("held out")
        colours.append("#c8932a")
        layers.append(line(scale, trace.dev.step, trace.dev.mean, "held out", width=1.75))
        layers += hints(scale, trace.dev.step, trace.dev.mean, "held out", visible=True)
    ghost: Values = []
    if before is not None and len(before.loss.step):
        step, mean = averaged(before.loss, min(BUCKET, round_down(steps_covered(before.loss) / 20)), POINTS)
        ghost = [{"step": x, "y": round(y, 4)} for x, y in points(scale, step, mean)]
        layers.append(dashed(plot(ghost).encode(**by(x="step:Q", y="y:Q"))))
    if trace.facts.classes > 1:
        curves = [(curve.step, scale(np.where(curve.mean > 0, curve.mean, np.nan))) for curve in (trace.loss, trace.dev)]
        seen = [point for x, y in curves for point in resampled(x, y)] + [(each["step"], each["y"]) for each in ghost]
        chance = log(trace.facts.classes)
        seen += taken(trace, float(scale(chance)), seen)
        named = {f"a uniform guess: ln {trace.facts.classes}": chance, **beside.lines}
        levels = {text: float(scale(level)) for text, level in named.items()}
        for above, (text, level) in enumerate(named.items()):
            others = [(x, each) for each in levels.values() if each != levels[text] for x in (0.0, last)]
            said = f"{text}{': ' if above else ' = '}{level:.2f}"
            layers += reference_line(levels[text], said, seen + others, above)
    if trace.first_nonfinite is not None:
        layers += broken_at(trace.first_nonfinite.step, last_finite_step(trace.loss))
    colour = channel(
        "what:N", scale={"domain": names, "range": colours}, legend={"symbolType": "stroke", "symbolOpacity": 1, "columns": 3}
    )
    y = channel("y:Q", scale={"zero": False}, axis=nats_axis(trace) if log10 else {"title": "loss, nats"})
    walk = curve_frames(trace, last) if beside.walk else None
    return finish(
        [layer.encode(x=step_axis(last), y=y, color=colour) if i == 0 else layer for i, layer in enumerate(layers)], 240, walk
    )


def last_step(trace: Trace) -> float:
    """The last step of the curve."""
    return float(max((each.step[-1] for each in (trace.loss, trace.dev) if len(each.step)), default=0.0))


def curve_frames(trace: Trace, last: float) -> dict[str, Any]:
    """A line that moves over the curve from one sampled step to the next. last: where the axis ends."""
    steps = [int(trace.steps[place]) for place in walked(trace.steps.tolist())]
    return frames("curve", steps, "", x=places(np.array(steps), (0.0, last)))


def nats_axis(trace: Trace) -> Any:
    """An axis for log10 of the loss. Its labels are nats, at 1, 2 and 5 of each power of ten."""
    seen = np.concatenate([trace.loss.mean, trace.dev.mean])
    seen = seen[np.isfinite(seen) & (seen > 0)]
    low, high = floor(np.log10(seen.min())), ceil(np.log10(seen.max()))
    steps = (1, 2, 5) if high - low <= DECADES else (1,)
    ticks = [power + float(np.log10(step)) for power in range(low, high + 1) for step in steps]
    return {"title": "loss, nats", "values": ticks, "labelExpr": "format(pow(10, datum.value), '~g')"}


def broken_at(step: int, last: float) -> list[Any]:
    """A red line at the first step where something was not finite."""
    place = {"align": "right", "dx": -5} if step > last / 2 else {"align": "left", "dx": 5}
    mark = plot([{"step": step, "text": f"not finite at step {step:,}"}]).encode(**by(x="step:Q"))
    words = mark.mark("text", color=LIGHT["critical"], baseline="top", **place).encode(y={"value": 0}, **by(text="text:N"))
    return [mark.mark("rule", color=LIGHT["critical"], strokeDash=[4, 3]), words]


def taken(trace: Trace, level: float, seen: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points that stand for the words of `broken_at`: the words on a line at `level` keep away from them."""
    if (
        trace.first_nonfinite is None
        or not seen
        or level < max(y for _, y in seen) - 0.2 * np.ptp([level, *(y for _, y in seen)])
    ):
        return []
    step, last = trace.first_nonfinite.step, last_finite_step(trace.loss)
    at = step - 0.2 * last if step > last / 2 else step + 0.2 * last  # the middle of the words
    return [(at, float(np.nextafter(level, side))) for side in (-np.inf, np.inf) for _ in range(len(seen))]


def last_finite_step(curve: Curve) -> float:
    """The step of the last finite loss; 0 where there is none."""
    return float(curve.step[np.isfinite(curve.mean)].max(initial=0.0))


def wide(trace: Trace, before: Trace | None = None) -> bool:
    """Whether the loss spans so much that only its logarithm shows the end of the curve. before: see `Beside`."""
    # A point that averages many steps hides the first loss. The held-out loss before training still shows it.
    seen = np.concatenate([each.mean for of in (trace, before) if of is not None for each in (of.loss, of.dev)])
    seen = seen[np.isfinite(seen) & (seen != 0)]
    return bool(len(seen)) and float(seen.min()) > 0 and float(seen.max()) > WIDE * float(np.median(seen))


def line(scale: Any, step: Floats, value: Floats, name: str, *, width: float, opacity: float = 1.0) -> Any:
    """One line of the loss curve."""
    shown = points(scale, step, value)
    values: Values = [{"step": x, "y": round(y, 4), "what": name} for x, y in thin(shown, POINTS)]
    base = plot(values).mark("line", strokeWidth=width, opacity=opacity)
    return base.encode(y=channel("y:Q"), color=channel("what:N"), **by(x="step:Q"))


def hints(scale: Any, step: Floats, value: Floats, name: str, *, visible: bool = False) -> list[Plot]:
    """Points of the loss curve; the hint of each tells its loss."""
    drawn = value[np.isfinite(value) & ((value > 0) | (scale is not np.log10))].tolist()
    shown = [(x, y, raw) for (x, y), raw in zip(points(scale, step, value), drawn, strict=True)]
    values: Values = [
        {"step": x, "y": round(y, 4), "what": name, "hint": f"{name}, step {x:,.0f}: {number(raw)}"}
        for x, y, raw in thin(shown, POINTS // 2)
    ]
    base = plot(values).encode(**by(x="step:Q", y="y:Q"))
    dots = base.mark("circle", size=22, opacity=1).encode(**by(color="what:N"))
    return [dots, hint(base)] if visible else [hint(base)]


def points(scale: Any, step: Floats, value: Floats) -> list[tuple[float, float]]:
    """The finite points of a line. A loss of 0 or below has no logarithm and is left out of a logarithmic axis."""
    scaled = scale(np.where(value > 0, value, np.nan) if scale is np.log10 else value)
    return [(float(x), float(y)) for x, y in zip(step, scaled, strict=True) if isfinite(y)]


def steps_covered(curve: Curve) -> float:
    """How many steps a curve spans."""
    return float(curve.step[-1] - curve.step[0]) if len(curve.step) else 0.0


def round_down(value: float) -> int:
    """The largest of 1, 2, 5, 10, 20, 50 … that is not above the value; at least 1."""
    power = 10 ** max(0, floor(log(max(value, 1)) / log(10) + 1e-9))
    return int(max(1, *(m * power for m in (1, 2, 5) if m * power <= value), 1))


def averaged(curve: Curve, size: int, most: int) -> tuple[Floats, Floats]:
    """Means over `size` steps each, or over more steps if that gives more than `most` points. Each stands at the middle."""
    step, value = curve.step, curve.mean
    if len(step) < 2:
        return step, value
    weight = np.append(np.diff(step), np.diff(step)[-1])
    size = max(size, int(np.ceil((steps_covered(curve) + 1) / most)))
    bucket = ((step - step[0]) // size).astype(np.int64)
    total = np.bincount(bucket, weights=weight * value)
    share = np.bincount(bucket, weights=weight)
    middle = np.bincount(bucket, weights=weight * (step + (weight - 1) / 2))
    full = share > 0
    return middle[full] / share[full], total[full] / share[full]


def update_data(trace: Trace, focus: Collection[str] = (), beside: Beside = ALONE) -> Any:
    """log10 of the update:data ratio of each weight with two axes or more, over the sampled steps.

    Where blocks repeat, the median of each kind. About -3 is healthy (makemore part 3). The second line is the limit of the
    check, left out where it was `crossed`. focus: names that are drawn even where there are too many.
    """
    lines = ratios(trace, focus)
    former = [] if beside.before is None else ratios(beside.before, focus)
    if not lines:
        moved = any(np.isfinite(trace.parameter(info.name, "update_data")).any() for info in weights(trace))
        return nothing("No weight moved at any measured step." if moved else "No step of the optimiser was recorded.")
    seen = [point for line in lines for point in resampled(line.x, line.y)]
    aim, high = float(np.log10(UPDATE_AIM)), float(np.log10(UPDATE_LARGE))
    guide = reference_line(aim, f"the aim: {UPDATE_AIM:g}", seen)
    limited = not crossed(trace, focus)
    if limited:
        guide += reference_line(high, f"too large: above {UPDATE_LARGE:g}", seen, above=int(free_place(aim, seen) is None))
    last = max(float(line.x[-1]) for line in (*lines, *former))
    include = (aim, high) if limited else (aim,)
    drawn = depth_lines(lines, "log10 of update:data", include=include, before=former, last=last)
    return finish([*drawn, *guide], 240, curve_frames(trace, last) if beside.walk else None)


def crossed(trace: Trace, focus: Collection[str]) -> bool:
    """Whether the limit says nothing here: one weight ends above it, or half of them did once, and no finding says so."""
    rows = {info.name: parameter_row(trace, info.name, "update_data") for info in weights(trace)}
    rows = {name: row[np.isfinite(row)] for name, row in rows.items() if ends(row) is not None}
    last = {name for name, row in rows.items() if row[-1] > UPDATE_LARGE}
    ever = {name for name, row in rows.items() if row.max() > UPDATE_LARGE}
    return (bool(last) or 2 * len(ever) > len(rows)) and not ever & set(focus)


def ratios(trace: Trace, focus: Collection[str]) -> list[Line]:
    """log10 of update:data of at most LINES weights that have moved, or kinds of them."""
    found = {weight_name(info): parameter_row(trace, info.name, "update_data") for info in weights(trace)}
    marked = {weight_name(info) for info in weights(trace) if info.name in focus}
    for kind in kinds(dict.fromkeys(found, "")):
        members = {name: found.pop(name) for name in kind.members}
        found[kind.name] = middle(np.stack(list(members.values())))
        marked |= {kind.name} if marked & members.keys() else set()
    lines = []
    for name, ratio in found.items():
        with np.errstate(divide="ignore", invalid="ignore"):
            log = np.log10(np.where(ratio > 0, ratio, np.nan))
        if np.isfinite(log).any():
            lines.append(Line(name, trace.steps.astype(float), log))
    return spread(lines, LINES, [i for i, line in enumerate(lines) if line.name in marked])
