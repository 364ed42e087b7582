"""Pages of the tools: a learning-rate range test, the gains."""

from __future__ import annotations

from pathlib import Path

from lettrine.health.range_test import RangeTest
from lettrine.recipes.pages import checked
from lettrine.report.arrays import learning_rate_range
from lettrine.report.figure import Figure, write_bytes
from lettrine.report.html import Section, render_sections


def range_figure(found: RangeTest) -> Figure:
    """The curve of a range test with its marks."""
    return Figure(
        "Learning-rate range test",
        "Loss while the rate grows with every step. Good rates lie where it falls, well before the edge at which it rises again.",
        learning_rate_range(found.rates, found.losses, smooth=found.smooth, suggestion=found.suggestion, largest=found.largest),
    )


def write_range_page(path: str | Path, found: RangeTest) -> Path:
    """One page with the curve and what it says. Raises ConfigError, StorageError, MissingExtraError."""
    path = checked(path)
    sections = [Section("What the sweep says", text=found.reason, figures={"range": range_figure(found)})]
    write_bytes(path, render_sections("Learning-rate range test", sections).encode())
    return path
