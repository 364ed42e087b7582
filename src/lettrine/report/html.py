"""One HTML page: verdict, findings, pictures, tables. It loads nothing, and can be read without scripts.

vl-convert draws the charts once. They stand in the page as SVG whose colours are CSS variables, so light and dark follow the
reader's system, and the page opens at once on a phone. The page's own policy allows its scripts alone, and nothing from
outside.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from lettrine import __version__
from lettrine.health.findings import Report
from lettrine.report.columns import card_height, half_empty, in_two_columns
from lettrine.report.experiments import HEADER, cells, experiment_rows
from lettrine.report.figure import Figure, frames_of, need, specification, to_themed_svg, write_bytes
from lettrine.report.pictures import figures
from lettrine.report.summary import folds, verdict, watched
from lettrine.report.theme import DARK, DEPTHS_DARK, DEPTHS_LIGHT, FONT, LIGHT, SERIF, variables
from lettrine.report.words import brief, clean, number, percent, steps_text

CONTENTS_FROM: Final = 6  # with so many sections of the caller's, a list of them stands at the top
FIGURE: Final = r"[+\-\u2212\u2013]?\s?\d|[\-\u2013\u221e]$"  # a number, its sign before it, or a dash for none
SURPRISING: Final = (0.03, 0.01, 0.003)  # below each of these probabilities a character has a stronger colour
SCRIPTS: Final = ("hover.js", "spelled.js", "replay.js", "modules.js", "frame.js")
TOOLS_FROM: Final = 24  # with so many rows the table of layers can be searched and sorted
SMALL: Final = 0.05  # below this probability "1 in n" reads better than per cent
UNTOLD: Final = ("experiments", "momentum")  # notes that are not for readers
MOST_NAMES: Final = 8  # of the layers of one finding; the rest is folded away


@dataclass(frozen=True)
class Spelled:
    """Words that were drawn in one way, such as at one temperature. A word is a list of characters with their probabilities."""

    name: str
    words: Sequence[Sequence[tuple[str, float]]]


@dataclass(frozen=True)
class Section:
    """Something the caller adds to the page, such as the samples of a language model.

    facts: a short table of keys and values. words: generated words. spelled: the same, with the probability of each character
    under the pointer; if there are several ways of drawing, a slider chooses one and begins at `shown`. header, rows: a table;
    told: whether its cells are sentences, which are broken into lines. figures: pictures by name. images: pictures that others
    drew, by name, as data: URIs. Empty parts are left out.
    place: "first" (above the verdict), "middle" (above the pictures) or "last" (below them).
    """

    title: str
    text: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    words: Sequence[str] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    figures: Mapping[str, Figure] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    place: str = "middle"
    spelled: Sequence[Spelled] = ()
    shown: str = ""
    told: bool = False


def render(report: Report, *, title: str = "", sections: Sequence[Section] = (), facts: Mapping[str, str] | None = None) -> str:
    """The page of one report as text.

    sections: what the caller adds; each says its place. facts: what the caller knows, such as versions and seeds.
    Raises `MissingExtraError` without the extra `report`.
    """
    trace = report.trace
    timed = len(trace.steps) > 0
    tried = {each.id for each in experiment_rows(report)}  # these have a section of their own
    return page(
        title=title or report.title,
        verdict=verdict(report),
        findings=report.findings,
        errors=trace.facts.errors,
        sections=[*experiments(report), *sections],
        pictures=figures(trace, report.findings),
        modules=folds(trace),
        watched=watched(trace) if timed or not tried else "",
        outcomes=[each for each in report.outcomes if each.check not in tried],
        timed=timed,
        facts=known(report) | dict(facts or {}),
    )


def render_sections(title: str, sections: Sequence[Section], *, facts: Mapping[str, str] | None = None) -> str:
    """A page of sections alone, without a report: galleries, comparisons."""
    return page(
        title=title,
        verdict=None,
        findings=[],
        errors=(),
        sections=sections,
        pictures={},
        modules=[],
        watched="",
        outcomes=[],
        timed=False,
        facts=dict(facts or {}),
    )


def experiments(report: Report) -> list[Section]:
    """The section of a check-up's experiments, if there were any."""
    rows = experiment_rows(report)
    return [Section("Experiments", header=HEADER, rows=cells(rows), told=True)] if rows else []


def write(
    path: str | Path,
    report: Report,
    *,
    title: str = "Health report",
    sections: Sequence[Section] = (),
    facts: Mapping[str, str] | None = None,
) -> Path:
    """`render` into a file, whole or not at all. Raises `StorageError` where the disk refuses."""
    path = Path(path)
    write_bytes(path, render(report, title=title, sections=sections, facts=facts).encode())
    return path


def frame(text: str) -> str:
    """A page in a frame, for `_repr_html_`: its styles and those of the notebook stay apart.

    `frame.js` makes the frame as high as the page. Where no script may run, it has the height given here.
    """
    return f'<iframe srcdoc="{escape(text)}" width="100%" height="800" style="border:0"></iframe>'


def page(**values: Any) -> str:
    """The template, filled in. All is escaped, except what this module drew or wrote itself."""
    jinja2 = need("jinja2", "an HTML report")
    markup = need("markupsafe", "an HTML report").Markup
    folder = files("lettrine.report")
    style = palette_css() + (folder / "style.css").read_text(encoding="utf-8")
    script = "".join((folder / name).read_text(encoding="utf-8") for name in SCRIPTS)
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    drawn: dict[int, tuple[dict[str, Any], str]] = {}  # specification and drawing of each figure

    def draw(figure: Figure) -> Any:
        if id(figure) not in drawn:
            spec = specification(figure.chart)
            svg = to_themed_svg({key: value for key, value in spec.items() if key != "usermeta"}, f"c{len(drawn) + 1}")
            drawn[id(figure)] = spec, svg.replace("<svg ", f'<svg role="img" aria-label="{escape(clean(figure.title))}" ', 1)
        return markup(drawn[id(figure)][1])

    def walk(figure: Figure) -> Any:
        found = frames_of(drawn[id(figure)][0])
        return found and markup(json.dumps(found, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))

    pictures = list(values["pictures"].items())
    heights = [card_height(draw(each), each.reading) for _, each in pictures]
    many = len(values["modules"]) >= TOOLS_FROM or any(fold.members for fold in values["modules"])
    flowing = many or half_empty(heights)
    if flowing:
        values["pictures"] = dict(pictures[place] for place in in_two_columns(heights))

    environment.filters |= {
        "walk": walk,
        "numeric": numeric_columns,
        "clean": clean,
        "number": number,
        "brief": brief,
        "percent": percent,
        "draw": draw,
        "letters": letters,
    }
    environment.globals |= {
        "steps_text": steps_text,
        "most_names": MOST_NAMES,
        "contents_from": CONTENTS_FROM,
        "tools_from": TOOLS_FROM,
    }
    template = environment.from_string((folder / "template.html.j2").read_text(encoding="utf-8"))
    text: str = template.render(
        version=__version__,
        style=markup(style),
        script=markup(script),
        policy=policy(style, script),
        icon=icon(),
        flowing=flowing,
        **values,
    )
    return text


def numeric_columns(rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> list[bool]:
    """Which columns of a table hold numbers and are aligned to the right: those in which most cells begin like a number."""
    width = max(map(len, [header, *rows]), default=0)
    figures = [[len(row) > i and re.match(FIGURE, row[i]) is not None for row in rows] for i in range(width)]
    return [2 * sum(column) > len(column) for column in figures]


def letters(word: Sequence[tuple[str, float]]) -> list[tuple[str, int, str]]:
    """Characters as the page shows them: the text, how surprising it is (0 to 3), and the words under the pointer.

    A combining mark is shown with the character before it, and so is what a joiner joins.
    """
    groups: list[tuple[str, float]] = []
    for character, chance in word:
        joined = groups and (unicodedata.category(character)[0] == "M" or "\u200d" in (character, groups[-1][0][-1]))
        if joined:
            groups[-1] = (groups[-1][0] + character, groups[-1][1] * chance)
        else:
            groups.append((character, chance))
    return [(shown, sum(chance < limit for limit in SURPRISING), f"{shown}: {share(chance)}") for shown, chance in groups]


def share(chance: float) -> str:
    """A probability that can be read even if it is small, such as 23 % or 1 in 800."""
    return percent(chance) if chance >= SMALL else f"1 in {1 / chance:,.0f}" if chance > 0 else "never"


def known(report: Report) -> dict[str, str]:
    """What the trace knows about the run."""
    facts = report.trace.facts
    size = sum(int(_product(p.shape)) for p in report.trace.parameters)
    pairs = {
        "parameters": f"{size:,}" if size else "",
        "recorded by": facts.source,
        "optimiser": facts.optimiser,
        "batch size": f"{facts.batch_size:,}" if facts.batch_size else "",
        "classes": f"{facts.classes:,}" if facts.classes else "",
        "lettrine": __version__,
        **{key: value for key, value in facts.notes.items() if key not in UNTOLD},
    }
    return {key: value for key, value in pairs.items() if value}


def _product(shape: Sequence[int]) -> int:
    total = 1
    for length in shape:
        total *= length
    return total


def palette_css() -> str:
    """Both palettes as CSS variables; the dark one where the reader's system is dark."""
    light = ";".join(f"--{name}:{colour}" for name, colour in variables(dict(LIGHT), DEPTHS_LIGHT).items())
    dark = ";".join(f"--{name}:{colour}" for name, colour in variables(dict(DARK), DEPTHS_DARK).items())
    return (
        f":root{{color-scheme:light dark;--font:{FONT};--serif:{SERIF};{light}}}\n"
        f"@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
        f"@media print{{:root{{color-scheme:light;{light}}}}}\n"
    )


def policy(style: str, script: str) -> str:
    """Content-Security-Policy: this style, this script, pictures inside the page, and nothing else."""
    allowed = f"style-src '{digest(style)}'; script-src '{digest(script)}'; img-src data:"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def digest(text: str) -> str:
    """The source expression that allows exactly this text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def icon() -> str:
    """The icon of the page: the first letter of the name."""
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 40"><rect width="40" height="40" rx="3" fill="#2846b5"/>'
        '<path d="M10 8h13v3h-3.4v18H27l2.2-6.2H32L31 32H10v-3h3.6V11H10z" fill="#fff"/></svg>'
    )
    return "data:image/svg+xml," + quote(svg)
