"""Trackio: `health.watch(model, optimizer, log_to=Trackio())` after `trackio.init`.

At the end come histograms, the findings as a table, the page, and the verdict as a text.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import trackio

from lettrine.health.findings import Report
from lettrine.health.scalars import ROOT
from lettrine.integrations.telling import COLUMNS, FINDINGS, VERDICT, histograms, last_step, save_page, table


class Trackio:
    """Logs the figures of a watch. run: the result of `trackio.init`; without one, the current run."""

    def __init__(self, run: Any = None) -> None:
        self._to: Any = trackio if run is None else run

    def __call__(self, values: dict[str, float], step: int) -> None:
        """Log the figures of one step."""
        self._to.log(dict(values), step=step)

    def finish(self, report: Report) -> None:
        """The training is over: log the report."""
        for key, at, counts, edges in histograms(report):
            self._to.log({key: trackio.Histogram(np_histogram=(counts.tolist(), edges.tolist()))}, step=at)
        step = last_step(report)
        found = trackio.Table(columns=list(COLUMNS), data=table(report))
        self._to.log({FINDINGS: len(report.findings), f"{FINDINGS}/table": found, VERDICT: report.verdict}, step=step)
        with tempfile.TemporaryDirectory() as folder:
            self._to.log_artifact(str(save_page(report, Path(folder))), name=ROOT, type="report")
