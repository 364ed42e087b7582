"""The page of the recipes: each published experiment, its published figures, and the pictures of its first thousand steps."""

from __future__ import annotations

import hashlib
import json
from html import escape
from pathlib import Path
from typing import Any, Final

from scripts.site.programs import ROOT, light

STEPS: Final = 1_000
TOLD: Final = (
    "Published experiments as data. `lettrine recipe run NAME names.txt` repeats one with the very random numbers of its source "
    "and sets our figures beside the published ones; `lettrine recipe list` names them all. The pictures show up to "
    f"{STEPS:,} steps on the word list that comes with lettrine."
)
CACHE: Final = ROOT / "build" / "site-kept"
PICTURES: Final = ("loss", "activations", "saturation-first", "update-data")


def recipes_page() -> str:
    """All recipes of the catalogue."""
    from lettrine.recipes.catalogue import RECIPES  # noqa: PLC0415  numpy and more

    lines = [f"# Recipes\n\n{TOLD}\n"]
    for recipe in RECIPES:
        lines += _section(recipe, _drawn(recipe))
    return "\n".join(lines)


def _section(recipe: Any, drawn: dict[str, Any]) -> list[str]:
    from lettrine.recipes.describe import describe, published_rows  # noqa: PLC0415

    told = [f"| {key} | {escape(value, quote=False).replace('|', chr(92) + '|')} |" for key, value in describe(recipe).items()]
    rows = ["| " + " | ".join(cell.replace("|", r"\|") or " " for cell in row) + " |" for row in published_rows(recipe)]
    figures = "".join(
        f"<figure>{svg}<figcaption>{escape(title)}</figcaption></figure>" for title, svg in drawn["pictures"].values()
    )
    return [
        f"## {recipe.name}\n",
        f"{recipe.lesson}\n",
        *(["| | |", "|---|---|", *told, ""]),
        *(["| published | value | source | |", "|---|---|---|---|", *rows, ""] if rows else []),
        f"{drawn['health']}\n",
        f'<div class="pair">{figures}</div>\n',
    ]


def _drawn(recipe: Any) -> dict[str, Any]:
    """What its first steps look like; kept until the code changes."""
    key = hashlib.sha256(b"".join(path.read_bytes() for path in sorted((ROOT / "src").rglob("*.py")))).hexdigest()[:16]
    path: Path = CACHE / f"recipes-{key}" / f"{recipe.name.replace('/', '_')}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_run(recipe)), encoding="utf-8")
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return kept


def _run(recipe: Any) -> dict[str, Any]:
    from lettrine.recipes.runner import run_recipe  # noqa: PLC0415
    from lettrine.report.figure import to_themed_svg  # noqa: PLC0415
    from lettrine.text.corpora import FIRST_NAMES, load_corpus  # noqa: PLC0415

    done = run_recipe(recipe, load_corpus(FIRST_NAMES), steps=min(recipe.steps, STEPS))
    drawn = done.health.charts()
    prefix = recipe.name.replace("/", "-")
    pictures = {
        name: (drawn[name].title, light(to_themed_svg(drawn[name].chart, f"{prefix}-{name}")))
        for name in PICTURES
        if name in drawn
    }
    return {
        "pictures": pictures,
        "health": "Findings: " + "; ".join(f"`{each.id}`" for each in done.health.findings) + "."
        if done.health.findings
        else "No findings.",
    }
