"""Runs side by side: their different settings, results, curves and findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from lettrine.arguments import checked
from lettrine.errors import ConfigError, HealthError
from lettrine.health.findings import Report
from lettrine.health.trace import Floats
from lettrine.training.diagnosis import load_health
from lettrine.training.folder import HISTORY, read_description
from lettrine.training.storage import read_arrays

MOST: Final = 12  # runs: more lines in one picture cannot be told apart
MEAN_OF: Final = 200  # points of a drawn curve
LOSSES: Final = {
    "expected_initial": "loss of a uniform guess",
    "initial": "loss before training",
    "train": "loss on train",
    "dev": "loss on dev",
    "test": "loss on test",
}

Points = tuple[Floats, Floats]


@dataclass(frozen=True)
class ComparedRun:
    """The data of one run in a comparison.

    told: every setting by its name; results: None for a run that never ended; health: None for one that was not watched.
    loss, dev: steps and losses; updates: steps and log10 of the median update:data ratio of its matrices.
    """

    name: str
    status: str
    parameters: int
    told: Mapping[str, str] = field(repr=False)
    results: Mapping[str, Any] | None = field(repr=False)
    health: Report | None = field(repr=False)
    loss: Points = field(repr=False)
    dev: Points = field(repr=False)
    updates: Points = field(repr=False)

    @property
    def findings(self) -> list[str]:
        """Ids of the findings."""
        return [] if self.health is None else [finding.id for finding in self.health.findings]


@checked
def compare_runs(paths: Sequence[str | Path]) -> list[ComparedRun]:
    """Read runs to be compared. Raises ConfigError for fewer than two or more than MOST, RunDamagedError."""
    if not 2 <= len(paths) <= MOST:
        raise ConfigError(f"compare got {len(paths)} run{'s' if len(paths) != 1 else ''}; expected 2 to {MOST} run folders")
    names = [Path(path).name for path in paths]
    shown = names if len(set(names)) == len(names) else [str(path) for path in paths]
    return [_read(path, name) for path, name in zip(paths, shown, strict=True)]


def differences(runs: Sequence[ComparedRun]) -> list[tuple[str, list[str]]]:
    """Settings that differ between the runs: name, and the value of each run."""
    keys = list(dict.fromkeys(key for run in runs for key in run.told))
    rows = [(key, [run.told.get(key, "-") for run in runs]) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1]


def result_rows(runs: Sequence[ComparedRun]) -> list[tuple[str, list[float]]]:
    """Losses, steps and speed of every run; NaN if there is none."""
    nan = float("nan")

    def of(run: ComparedRun, *path: str) -> float:
        value: Any = run.results
        for key in path:
            value = None if value is None else value.get(key)
        return nan if value is None else float(value)

    rows = [(text, [of(run, "loss", name) for run in runs]) for name, text in LOSSES.items()]
    rows += [(name.replace("_", " "), [of(run, name) for run in runs]) for name in ("steps", "seconds", "steps_per_second")]
    return [("parameters", [float(run.parameters) for run in runs]), *rows]


def to_dict(runs: Sequence[ComparedRun]) -> dict[str, Any]:
    """Plain values for JSON."""
    return {
        "runs": [run.name for run in runs],
        "status": [run.status for run in runs],
        "differences": dict(differences(runs)),
        "results": dict(result_rows(runs)),
        "findings": [run.findings for run in runs],
    }


def _read(path: str | Path, name: str) -> ComparedRun:
    folder, description, config, _, settings, data = read_description(path)
    told = _flat(config.to_dict()) | _flat(settings.to_dict())
    told |= {"words": data.source, "words digest": data.digest[:12], "engine used": str(description["engine"]["name"])}
    empty = np.empty(0), np.empty(0)
    loss, dev, updates, health = empty, empty, empty, None
    if (folder / HISTORY).exists():
        arrays, _ = read_arrays(folder / HISTORY)
        losses = np.asarray(arrays["loss"], np.float64)
        loss = _averaged(np.arange(len(losses), dtype=np.float64), losses)
        dev = np.asarray(arrays["dev_steps"], np.float64), np.asarray(arrays["dev_loss"], np.float64)
        try:
            health = load_health(path)
            updates = _updates(health)
        except HealthError:  # trained with --no-health
            pass
    return ComparedRun(
        name,
        str(description.get("status", "")),
        config.parameter_count(),
        told,
        description.get("results"),
        health,
        loss,
        dev,
        updates,
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings under dotted names, as text."""
    made: dict[str, str] = {}
    for key, value in values.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            made |= _flat(value, f"{name}.")
        else:
            made[name] = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return made


def _averaged(steps: Floats, values: Floats) -> Points:
    """Means over consecutive steps, at most MEAN_OF of them, each at the middle of its steps."""
    size = max(1, -(-len(values) // MEAN_OF))
    whole = len(values) // size * size
    if not whole:
        return steps, values
    return steps[:whole].reshape(-1, size).mean(axis=1), values[:whole].reshape(-1, size).mean(axis=1)


def _updates(health: Report) -> Points:
    trace = health.trace
    tables = {info.name for info in trace.modules if info.role == "embedding"}
    names = [p.name for p in trace.parameters if len(p.shape) > 1 and p.module not in tables and p.name in trace.parameter_stats]
    if not names:
        return np.empty(0), np.empty(0)
    ratios = np.array([trace.parameter(name, "update_data") for name in names])  # (P, K)
    seen = np.isfinite(ratios).any(axis=0)
    with np.errstate(divide="ignore"):
        return trace.steps[seen].astype(np.float64), np.log10(np.nanmedian(ratios[:, seen], axis=0))
