"""Weights & Biases: `health.watch(model, optimizer, log_to=WeightsAndBiases(run))`, with what `wandb.init` returned; offline too.

A run counts what is logged, but the figures of a step may come some steps later. So they are shown over "health/step", the step
of the training. At the end come histograms, the findings as a table, the page as an artefact, and the verdict as a tag.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import wandb

from lettrine.health.findings import Report
from lettrine.health.scalars import ROOT
from lettrine.integrations.telling import COLUMNS, FINDINGS, VERDICT, histograms, last_step, save_page, table

STEP = f"{ROOT}/step"


class WeightsAndBiases:
    """Logs the figures of a watch. run: the caller began it, and finishes it."""

    def __init__(self, run: Any) -> None:
        self._run = run
        run.define_metric(STEP)
        run.define_metric(f"{ROOT}/*", step_metric=STEP)

    def __call__(self, values: dict[str, float], step: int) -> None:
        """Log the figures of one step."""
        self._run.log({**values, STEP: step})

    def finish(self, report: Report) -> None:
        """The training is over: log the report."""
        run = self._run
        for key, at, counts, edges in histograms(report):
            run.log({key: wandb.Histogram(np_histogram=(counts.tolist(), edges.tolist())), STEP: at})
        found = wandb.Table(columns=list(COLUMNS), data=table(report))
        run.log({FINDINGS: len(report.findings), f"{FINDINGS}/table": found, STEP: last_step(report)})
        run.summary[VERDICT] = report.verdict
        run.tags = (*(run.tags or ()), report.verdict)
        with tempfile.TemporaryDirectory() as folder:
            run.log_artifact(str(save_page(report, Path(folder))), name=ROOT, type="report")
