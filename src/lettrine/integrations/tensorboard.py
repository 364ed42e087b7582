"""TensorBoard: `health.watch(model, optimizer, log_to=TensorBoard(writer))`, with torch's `SummaryWriter` or tensorboardX's.

Figures are scalars. Histograms of outputs are written at the end, with their own steps. Verdict and findings are texts. The page
is written beside the event files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lettrine.health.findings import Report
from lettrine.integrations.telling import COLUMNS, FINDINGS, VERDICT, histograms, last_step, save_page, table


class TensorBoard:
    """Logs the figures of a watch. writer: the caller made it, and closes it."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def __call__(self, values: dict[str, float], step: int) -> None:
        """Log the figures of one step."""
        for key, value in values.items():
            self._writer.add_scalar(key, value, step)

    def finish(self, report: Report) -> None:
        """The training is over: log the report."""
        writer, step = self._writer, last_step(report)
        for key, at, counts, edges in histograms(report):
            middles = (edges[1:] + edges[:-1]) / 2
            writer.add_histogram_raw(
                key,
                min=float(edges[0]),
                max=float(edges[-1]),
                num=float(counts.sum()),
                sum=float(counts @ middles),
                sum_squares=float(counts @ np.square(middles)),
                bucket_limits=edges[1:].tolist(),
                bucket_counts=counts.tolist(),
                global_step=at,
            )
        writer.add_scalar(FINDINGS, len(report.findings), step)
        writer.add_text(VERDICT, report.verdict, step)
        writer.add_text(f"{FINDINGS}/table", _markdown(report), step)
        save_page(report, Path(writer.log_dir))
        writer.flush()


def _markdown(report: Report) -> str:
    rows = [COLUMNS, ["---"] * len(COLUMNS), *table(report)]
    return "\n".join("| " + " | ".join(each.replace("|", "\\|") for each in row) + " |" for row in rows)
