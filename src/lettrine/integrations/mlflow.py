"""MLflow: `health.watch(model, optimizer, log_to=MLflow())` logs to the run that is active when the first figures come.

At the end come the findings as a table, the page as an artefact, and the verdict as a tag. MLflow has no histograms.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import mlflow

from lettrine.health.findings import Report
from lettrine.health.scalars import ROOT
from lettrine.integrations.telling import COLUMNS, FINDINGS, VERDICT, last_step, save_page, table


class MLflow:
    """Logs the figures of a watch. run_id: the run to log to; without one, the active run. MLflow begins one if there is none."""

    def __init__(self, run_id: str | None = None) -> None:
        self._run = run_id

    def __call__(self, values: dict[str, float], step: int) -> None:
        """Log the figures of one step."""
        mlflow.log_metrics(values, step=step, run_id=self._id())

    def finish(self, report: Report) -> None:
        """The training is over: log the report."""
        run, client = self._id(), mlflow.MlflowClient()
        mlflow.log_metrics({FINDINGS: float(len(report.findings))}, step=last_step(report), run_id=run)
        client.set_tag(run, VERDICT, report.verdict)
        client.log_dict(run, {"columns": list(COLUMNS), "data": table(report)}, f"{FINDINGS}.json")
        with tempfile.TemporaryDirectory() as folder:
            client.log_artifact(run, str(save_page(report, Path(folder))), ROOT)

    def _id(self) -> str:
        if self._run is None:
            self._run = (mlflow.active_run() or mlflow.start_run()).info.run_id
        return self._run
