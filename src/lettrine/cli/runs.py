"""Run folders on the command line: the argument that names one, and the list of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RUNS = Path("runs")  # trainings without --out go here


def found_runs() -> list[Path]:
    """The run folders in `runs` and in the current folder, the latest first."""
    folders = [entry.parent for parent in (RUNS, Path()) if parent.is_dir() for entry in parent.glob("*/run.json")]
    return sorted(folders, key=lambda folder: -(folder / "run.json").stat().st_mtime)


def complete_run(incomplete: str) -> list[str]:
    """For shells: the runs whose path begins with these letters."""
    return [name for name in map(str, found_runs()) if name.startswith(incomplete)]


RunFolder = Annotated[
    str, typer.Argument(metavar="RUN", help="A run folder, as lettrine train wrote it.", autocompletion=complete_run)
]
