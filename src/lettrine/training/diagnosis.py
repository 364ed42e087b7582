"""The health of a saved run. It is separate from `folder`, because opening a run to draw words from it needs no checks."""

from __future__ import annotations

from pathlib import Path

from lettrine.arguments import checked
from lettrine.errors import HealthError
from lettrine.health.checks import examine
from lettrine.health.findings import Report
from lettrine.training.folder import HISTORY, read_description
from lettrine.training.storage import read_arrays
from lettrine.training.watch import TITLE, trace_from_archive


@checked
def load_health(path: str | Path) -> Report:
    """The health report of a run, computed anew from the trace in its folder.

    Raises RunDamagedError if the trace cannot be read, HealthError if the run was not watched.
    """
    folder, *_ = read_description(path)
    arrays, about = read_arrays(folder / HISTORY)
    prefix = "health/"
    stored = {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
    trace = trace_from_archive((stored, about.get("health", "")))
    if trace is None:
        raise HealthError(f"{folder} was trained with --no-health, so nothing is known of its health; train again without it")
    return examine(trace, title=TITLE)
