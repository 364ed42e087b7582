"""Pages of the tools: a learning-rate range test, the gains, runs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan, log10
from pathlib import Path
from typing import Any

import numpy as np

from lettrine.health.limits import UPDATE_AIM
from lettrine.health.range_test import RangeTest
from lettrine.report.arrays import learning_rate_range, overlay, product_spread
from lettrine.report.curves import WIDE
from lettrine.report.figure import Figure, page_path, write_bytes
from lettrine.report.html import Section, render_sections
from lettrine.tools.comparison import ComparedRun, Points, differences, result_rows
from lettrine.tools.gains import GainRow, SpreadRow


def range_figure(found: RangeTest) -> Figure:
    """The curve of a range test with the suggested rates marked."""
    return Figure(
        "Learning-rate range test",
        "Loss while the rate grows with every step. Good rates lie where it falls, well before the edge at which it rises again.",
        learning_rate_range(found.rates, found.losses, smooth=found.smooth, suggestion=found.suggestion, largest=found.largest),
    )


def write_range_page(path: str | Path, found: RangeTest) -> Path:
    """One page with the curve and its result. Raises ConfigError, StorageError, MissingExtraError."""
    path = page_path(path)
    sections = [Section("What the sweep says", text=found.reason, figures={"range": range_figure(found)})]
    write_bytes(path, render_sections("Learning-rate range test", sections).encode())
    return path


def gain_cells(row: GainRow) -> tuple[str, ...]:
    """One row of the table of gains as text."""
    figures = (row.gain, row.exact, row.settled, row.sampled, row.backward)
    return (row.activation, *(f"{value:.3f}" for value in figures))


GAIN_HEADER = ("activation", "gain", "exact", "std, 50 layers", "10 drawn", "gradient")


def write_gains_page(path: str | Path, gains: Sequence[GainRow], spreads: Sequence[SpreadRow], fan_in: int) -> Path:
    """The table of gains and the picture of x @ w on one page. Raises ConfigError, StorageError, MissingExtraError."""
    path = page_path(path)
    drawn = Figure(
        "Spread of x @ w",
        f"x is N(0, 1) with a fan-in of {fan_in}. Only w / sqrt(fan-in) keeps the spread of its input.",
        product_spread({row.name: row.values for row in spreads}),
    )
    text = (
        "exact: 1 / sqrt(E[f(z)^2]). Then the std of the pre-activations with this gain, by theory after 50 layers and "
        "of a random net after 10, and the gradient's factor with each layer back."
    )
    reasons = {row.activation: row.derivation for row in gains}
    cells = [(row.name, f"{row.measured:.3f}", f"{row.expected:.3f}") for row in spreads]
    sections = [
        Section(
            "Spread of a product",
            header=("weights", "std measured", "scale x sqrt(fan-in)"),
            rows=cells,
            figures={"spread": drawn},
        ),
        Section("Gains", text=text, header=GAIN_HEADER, rows=[gain_cells(row) for row in gains], facts=reasons),
    ]
    write_bytes(path, render_sections("Gains", sections).encode())
    return path


def write_comparison_page(path: str | Path, runs: Sequence[ComparedRun]) -> Path:
    """Runs on one page: differences, losses, curves, findings. Raises ConfigError, StorageError, MissingExtraError."""
    path = page_path(path)
    names = [run.name for run in runs]
    curves = {
        "dev": Figure(
            "Loss on held-out words",
            "The best run has the lowest loss at the end, and reaches it early.",
            _losses({run.name: run.dev for run in runs}),
        ),
        "train": Figure(
            "Loss on the training batches",
            "Means over several steps. A gap to the held-out loss shows memorising.",
            _losses({run.name: run.loss for run in runs}),
        ),
        "updates": Figure(
            "Size of the updates",
            "Median over the matrices of log10 of update:data. Far above the line the learning rate is high, far below it low.",
            overlay(
                {run.name: run.updates for run in runs if len(run.updates[0])},
                axis="log10 of update:data",
                reference=log10(UPDATE_AIM),
                text="usual",
            ),
        ),
    }
    watched = [run for run in runs if run.health is not None]
    findings = {f"{run.name}: {each.id}": each.message for run in watched for each in (run.health.findings if run.health else ())}
    told = [(name, *values) for name, values in differences(runs)]
    sections = [
        Section("What came out", header=("", *names), rows=result_cells(runs), figures=curves),
        Section("Different settings", text="" if told else "Nothing.", header=("", *names), rows=told),
        Section("Findings", text="" if findings else "None.", facts=findings),
    ]
    write_bytes(path, render_sections("Runs compared", sections).encode())
    return path


def result_cells(runs: Sequence[ComparedRun]) -> list[tuple[str, ...]]:
    """Losses with four digits, counts in full."""
    cells = []
    for name, values in result_rows(runs):
        digits = 4 if name.startswith("loss") else 1 if name == "seconds" else 0
        cells.append((name, *("-" if isnan(value) else f"{value:,.{digits}f}" for value in values)))
    return cells


def _losses(lines: Mapping[str, Points]) -> Any:
    """Curves of losses; as logarithms if one run begins so high that the others would lie on the axis."""
    drawn = {name: line for name, line in lines.items() if len(line[0])}
    seen = np.concatenate([line[1] for line in drawn.values()]) if drawn else np.empty(0)
    if len(seen) and np.nanmax(seen) > WIDE * np.nanmedian(seen) and np.nanmin(seen) > 0:
        return overlay({name: (x, np.log10(y)) for name, (x, y) in drawn.items()}, axis="log10 of the loss")
    return overlay(drawn, axis="loss, nats")
