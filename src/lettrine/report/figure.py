"""A chart with its title and a sentence on how to read it; and charts as files.

vl-convert belongs to the extra `report` and is imported only here.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from lettrine.errors import ConfigError, HealthError, MissingExtraError, StorageError
from lettrine.report.theme import DEPTHS_LIGHT, LIGHT, variables
from lettrine.report.words import clean

FORMATS: Final = (".png", ".svg", ".json")
SCALE: Final = 2.5  # pixels of a PNG per unit of the chart


@dataclass(frozen=True)
class Figure:
    """One picture: `chart` is a Vega-Lite specification, `reading` one sentence that says what a healthy one looks like.

    A chart of Altair is taken as well.
    """

    title: str
    reading: str
    chart: Any

    def save(self, path: str | Path) -> Path:
        """Write it as PNG, SVG or JSON (Vega-Lite), by the suffix of `path`."""
        return save_chart(self.chart, path)

    def to_dict(self) -> dict[str, Any]:
        """The Vega-Lite specification."""
        return specification(self.chart)

    def svg(self) -> str:
        """The drawing as SVG text, in the light palette."""
        return to_svg(self.chart)

    def _repr_html_(self) -> str:
        """What notebooks show: a static drawing, which needs no network and is still there in a saved notebook."""
        return (
            f'<figure style="max-width:560px;margin:1em 0;padding:12px;background:{LIGHT["card"]};color:{LIGHT["ink"]}">'
            f"<strong>{escape(self.title)}</strong>{to_svg(self.chart)}"
            f'<figcaption style="color:{LIGHT["muted"]}">{escape(self.reading)}</figcaption></figure>'
        )


def page_path(path: str | Path) -> Path:
    """The path of a page. Raises ConfigError unless it ends in .html."""
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"page got the name {path.name!r}; expected one that ends in .html")
    return path


def need(module: str, what: str, extra: str = "report") -> ModuleType:
    """Import an optional module, or say which extra brings it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtraError(what, extra) from None


def specification(chart: Any) -> dict[str, Any]:
    """The Vega-Lite specification of a chart, in plain values."""
    spec: dict[str, Any] = chart if isinstance(chart, dict) else chart.to_dict()
    return spec


def frames_of(chart: Any) -> dict[str, Any]:
    """The frames of a chart, from which a page draws other recorded steps; see `lettrine.report.beside`. May be empty."""
    found: dict[str, Any] = specification(chart).get("usermeta", {}).get("replay", {})
    return found


def to_svg(chart: Any) -> str:
    """A chart as SVG text. The renderer escapes the words in it, and it loads nothing."""
    vl_convert = need("vl_convert", "drawing a chart")
    svg: str = vl_convert.vegalite_to_svg(drawable(specification(chart)), allowed_base_urls=[])
    return svg


def drawable(value: Any) -> Any:
    """The same specification without characters that XML forbids: the renderer ends the process if it meets one."""
    if isinstance(value, str):
        return value if value.isprintable() else clean(value)
    if isinstance(value, dict):
        return {drawable(key): drawable(each) for key, each in value.items()}
    return [drawable(each) for each in value] if isinstance(value, list | tuple) else value


def to_themed_svg(chart: Any, prefix: str) -> str:
    """SVG for a page: colours are CSS variables, the page sets the width, `prefix` makes ids unique, hints are in `data-tip`."""
    svg = to_svg(chart)
    for name, colour in variables(dict(LIGHT), DEPTHS_LIGHT).items():
        svg = svg.replace(f'"{colour}"', f'"var(--{name})"')
    svg = re.sub(r'(\bid="|url\(#)', rf"\g<1>{prefix}-", svg)
    svg = re.sub(r'<svg ([^>]*?) width="[\d.]+" height="[\d.]+"', r"<svg \1", svg, count=1)
    # The renderer writes three attributes for each point with a hint. They would be half of the page.
    svg = re.sub(r' role="graphics-symbol" aria-roledescription="[^"]*"', "", svg)
    svg = re.sub(
        r'<path aria-label="([^"]*)"( transform="[^"]*") d="[^"]*"[^>]* opacity="0"/>', r'<circle data-tip="\1"\2 r="3"/>', svg
    )
    return svg.replace(' pointer-events="none"', "").replace(
        ' role="graphics-object" aria-roledescription="group mark container"', ""
    )


def save_chart(chart: Any, path: str | Path) -> Path:
    """Write a chart as PNG, SVG or JSON (its Vega-Lite specification), by the suffix of `path`.

    Raises `HealthError` for another suffix, `StorageError` where the disk refuses.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in FORMATS:
        raise HealthError(f"cannot save a chart as {path.name!r}; give a name that ends in {', '.join(FORMATS)}")
    if kind == ".json":
        data = json.dumps(specification(chart), indent=1, allow_nan=False).encode()
    elif kind == ".svg":
        data = to_svg(chart).encode()
    else:
        spec = drawable(specification(chart)) | {"background": LIGHT["card"]}
        data = need("vl_convert", "drawing a chart").vegalite_to_png(spec, scale=SCALE, allowed_base_urls=[])
    write_bytes(path, data)
    return path


def save_charts(figures: Mapping[str, Figure], folder: str | Path, suffix: str = ".png") -> list[Path]:
    """Write every figure into `folder` under its key."""
    return [figure.save(Path(folder) / f"{key}{suffix}") for key, figure in figures.items()]


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: it is written under another name first, then renamed."""
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        with partial.open("xb") as file:  # it must be a new file: a link of that name is not followed
            file.write(data)
        partial.replace(path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}; choose another place or free some space") from error
