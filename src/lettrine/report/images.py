"""The saturation map: units by examples, white where an output is saturated."""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode
from collections.abc import Collection, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lettrine.activations import ACTIVATIONS, Zone
from lettrine.health.trace import ModuleInfo, Trace
from lettrine.report.beside import ALONE, Beside
from lettrine.report.chart import Values, by, channel, plot
from lettrine.report.draw import CAPTION, captions, finish, ink, nothing, row_height, row_titles
from lettrine.report.picking import output_row, pick
from lettrine.report.theme import LIGHT, SATURATED, UNSATURATED
from lettrine.report.words import percent, spread

MAPS: Final = 6
MARKS: Final = 60  # most marks of dead units in one row
EXAMPLES: Final = 32
UNITS: Final = 400  # a chart has no pixels for more columns
SHARP: Final = (256, 1600)  # pixels, down and across: several for each pixel of a screen


def saturation_map(trace: Trace, snapshot: str = "last", focus: Collection[str] = (), beside: Beside = ALONE) -> Any:
    """Units (across) by examples (down) of each activation; white: the output passes hardly any gradient.

    For tanh that is abs(h) > 0.99, for ReLU h = 0; the table of activations says what it is for the others. A column that is
    white from top to bottom is a unit that learned nothing from this batch; a red mark points to it.
    snapshot: the "first" or the "last" sampled step with a map. focus: names that are drawn in any case, in red.
    """
    modules = pick(mapped(trace, snapshot), MAPS, focus)
    flags = {m.name: flat(trace.maps[m.name][snapshot], ACTIVATIONS[m.activation].dead) for m in modules}
    names = list(flags)
    if not names:
        return nothing("No activation that can saturate was recorded.")
    images: Values = []
    marks: Values = []
    remarks = [remark(trace, name, snapshot, float(flags[name].mean())) + before(beside, name, snapshot) for name in names]
    titles = row_titles([(m.name, m.kind, text) for m, text in zip(modules, remarks, strict=True)])
    height = row_height(len(names), 84)  # the axis counts pixels from the bottom
    for i, (name, title) in enumerate(zip(names, titles, strict=True)):
        base = (len(names) - 1 - i) * height
        top = base + height - CAPTION
        row = {"name": title, "remark": remarks[i], "ink": ink(marked=name in focus), "left": 0, "right": 1}
        images.append(row | {"low": base + 8, "top": top, "url": png(columns(flags[name][:EXAMPLES], UNITS))})
        if dead_share(trace, name, snapshot) > 0:
            units = np.flatnonzero(flags[name].all(axis=0)).tolist()
            marks += [{"x": (unit + 0.5) / flags[name].shape[1], "y": base + 4} for unit in spread(units, MARKS)]
    x = channel("left:Q", scale={"domain": [0, 1], "nice": False}, axis=None)
    y = channel("low:Q", scale={"domain": [0, len(names) * height], "nice": False}, axis=None)
    picture = plot(images).mark("image", aspect=False).encode(x=x, y=y, **by(x2="right", y2="top", url="url:N"))
    frame = (
        plot(images).mark("rect", filled=False, stroke=LIGHT["rule"], strokeWidth=1).encode(x=x, y=y, **by(x2="right", y2="top"))
    )
    layers = [picture, frame, *captions(plot(images).encode(**by(y="top:Q")))]
    if marks:
        triangle = {"shape": "triangle-up", "filled": True, "size": 30, "color": LIGHT["critical"], "opacity": 1}
        layers.append(plot(marks).mark("point", **triangle).encode(**by(x="x:Q", y="y:Q")))
    return finish(layers, height * len(names))


def mapped(trace: Trace, snapshot: str) -> list[ModuleInfo]:
    """Activations that have a map, and outputs at which their slope vanishes."""
    kept = [m for m in trace.modules if snapshot in trace.maps.get(m.name, {})]
    return [m for m in kept if m.activation in ACTIVATIONS and ACTIVATIONS[m.activation].dead is not None]


def before(beside: Beside, name: str, snapshot: str) -> str:
    """How much of the map was white in the training before."""
    found = {} if beside.before is None else {module.name: module for module in mapped(beside.before, snapshot)}
    if name not in found or beside.before is None:
        return ""
    values = beside.before.maps[name][snapshot]
    return f" (before: {percent(float(flat(values, ACTIVATIONS[found[name].activation].dead).mean()))})"


def remark(trace: Trace, name: str, snapshot: str, white: float) -> str:
    """Such as: 200 units, 12 % white, 1.5 % dead."""
    units, gone = trace.maps[name][snapshot].shape[1], dead_share(trace, name, snapshot)
    return f"{units:,} units, {percent(white)} white" + (f", {percent(gone)} dead" if gone > 0 else "")


def dead_share(trace: Trace, name: str, snapshot: str) -> float:
    """Share of units that were dead on the whole batch of that step.

    A map shows only some of the examples, so a white column may be a unit that is not dead.
    """
    shares = output_row(trace, name, "dead")
    shares = shares[np.isfinite(shares)]
    return float(shares[0 if snapshot == "first" else -1]) if len(shares) else 0.0


def flat(values: NDArray[Any], zone: Zone | None) -> NDArray[np.bool_]:
    """Which outputs are in the zone, (examples, units)."""
    if zone is None:
        return np.zeros(values.shape, dtype=np.bool_)
    if zone.inside:
        return (values >= zone.low) & (values <= zone.high)
    return (values <= zone.low) | (values >= zone.high)


def columns(flags: NDArray[np.bool_], most: int) -> NDArray[np.bool_]:
    """Every n-th unit, so that at most `most` are drawn."""
    every = -(-flags.shape[1] // most)
    return flags[:, ::every]


def png(flags: NDArray[np.bool_]) -> str:
    """A picture of two colours as a data URL. It takes a few hundred bytes; one rectangle per value would take 1,000 times more.

    It is enlarged here, since browsers blur an image that they enlarge.
    """
    down, across = (max(4, -(-sharp // size)) for sharp, size in zip(SHARP, flags.shape, strict=True))
    big = np.kron(flags, np.ones((down, across), dtype=bool))
    height, width = big.shape
    rows = np.hstack(
        [np.zeros((height, 1), dtype=np.uint8), np.packbits(big, axis=1)]
    )  # (height, 1 + width/8): filter byte, 8 pixels a byte
    palette = bytes.fromhex(UNSATURATED[1:] + SATURATED[1:])
    header = struct.pack(">IIBBBBB", width, height, 1, 3, 0, 0, 0)  # one bit per pixel, with a palette
    return png_url([(b"IHDR", header), (b"PLTE", palette), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b"")])


def png_url(chunks: Sequence[tuple[bytes, bytes]]) -> str:
    """Chunks of a PNG, by their kinds, as a data URL."""
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return "data:image/png;base64," + b64encode(data).decode()
