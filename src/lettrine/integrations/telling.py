"""What all trackers get at the end: the page, the findings as a table, and histograms."""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Final

import numpy as np

from lettrine.errors import MissingExtraError
from lettrine.health.findings import Report
from lettrine.health.scalars import ROOT
from lettrine.health.trace import Floats
from lettrine.health.tracking import MOST

PAGE: Final = "health.html"
VERDICT: Final = f"{ROOT}/verdict"
FINDINGS: Final = f"{ROOT}/findings"
COLUMNS: Final = ("severity", "check", "where", "message", "why", "remedy")


def save_page(report: Report, folder: Path) -> Path:
    """Write the report as health.html, or as health.txt without the extra `report`. Returns the path."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return report.save(folder / PAGE)
    except MissingExtraError:
        return report.save((folder / PAGE).with_suffix(".txt"))


def table(report: Report) -> list[list[str]]:
    """The findings, the likeliest cause first, in COLUMNS."""
    return [[each.severity, each.id, ", ".join(each.where), each.message, each.why, each.remedy] for each in report.findings]


def last_step(report: Report) -> int:
    """The last sampled step."""
    return int(report.trace.steps[-1]) if len(report.trace.steps) else 0


def histograms(report: Report) -> Iterator[tuple[str, int, Floats, Floats]]:
    """Key, step, counts (G,) and edges (G + 1,) of the outputs of modules, in the order of the steps. In a large network only
    some modules, evenly spaced from input to output.
    """
    kept = [(name, each) for name, each in report.trace.output_histograms.items() if len(each.steps)]
    if len(kept) > MOST:
        kept = [kept[place * len(kept) // MOST] for place in range(MOST)]
    points = [
        (int(step), name, each.counts[row], np.linspace(each.low[row], each.high[row], each.counts.shape[1] + 1))
        for name, each in kept
        for row, step in enumerate(each.steps)
        if each.high[row] > each.low[row]
    ]
    for step, name, counts, at in sorted(points, key=itemgetter(0)):
        yield f"{ROOT}/{name}/outputs", step, counts, at
