"""Makes one trace from the traces of several processes that trained one model."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from math import nan
from typing import Final

import numpy as np

from lettrine.health.evidence import Evidence
from lettrine.health.recorder import Recorder
from lettrine.health.trace import PARAMETER_STATS, Floats, ParameterInfo, Trace

RANKS: Final = "ranks"
"""Kind of the evidence about the number of ranks: figures count, and "rank R" for each without a trace, 1 if it was watched."""
SHARD: Final = "shard"
"""Kind of the evidence about the part of a parameter that a rank holds, one for each: figures values (how many), part (which)."""

_DRIFT: Final = 0.1  # precision to which the std of an update must be known
_COLUMN: Final = {name: place for place, name in enumerate(PARAMETER_STATS)}


def united(traces: Sequence[Trace | None], lost: Collection[int] = ()) -> Trace:
    """The trace of rank 0, which comes first, with the traces of all ranks in `ranks`; None for a rank without a trace.

    lost: the ranks among those that were watched.
    If each rank held a part of a parameter, all traces get the figures of the whole parameter.
    """
    nothing = Recorder().trace()
    known = [nothing if each is None else each for each in traces]
    whole = _whole([each for each in known if len(each.steps)])
    infos = {info.name: info for each in known for info in each.parameters}
    known = [_with(each, whole, infos) for each in known]
    first = known[0]
    figures = {"count": float(len(known))} | {
        f"rank {rank}": float(rank in lost) for rank, each in enumerate(known) if not len(each.steps)
    }
    steps = (int(first.steps[0]), int(first.steps[-1])) if len(first.steps) else (0, 0)
    return replace(first, evidence=(*first.evidence, Evidence(RANKS, (), steps, figures)), ranks=tuple(known))


def _with(trace: Trace, whole: Mapping[str, Mapping[int, Floats]], known: Mapping[str, ParameterInfo]) -> Trace:
    """A trace in which the figures of whole parameters, by name and step, replace those of its parts. known: facts about
    parameters of which it has no part.
    """
    if not whole or not len(trace.steps):
        return trace
    own = {info.name for info in trace.parameters}
    infos = (*trace.parameters, *(info for name, info in known.items() if name in whole and name not in own))
    tables = dict(trace.parameter_stats)
    empty = np.full(len(PARAMETER_STATS), nan)
    for name, rows in whole.items():
        tables[name] = np.array([rows.get(step, empty) for step in trace.steps.tolist()])
    lengths = np.array([table[:, _COLUMN["gradient_norm"]] for table in tables.values()]).reshape(len(tables), -1)
    norm = np.sqrt(np.nansum(lengths**2, axis=0))
    norm[~np.isfinite(lengths).any(axis=0)] = nan
    return replace(trace, parameters=infos, parameter_stats=tables, step_stats={**trace.step_stats, "gradient_norm": norm})


def _whole(traces: Sequence[Trace]) -> dict[str, dict[int, Floats]]:
    """Figures of each parameter that was held in parts, by name and step, at the steps that all ranks sampled."""
    parts: dict[str, dict[int, tuple[float, Trace]]] = {}
    for trace in traces:
        for each in trace.seen(SHARD):
            parts.setdefault(each.where[0], {}).setdefault(int(each.figure("part")), (each.figure("values"), trace))
    found: dict[str, dict[int, Floats]] = {}
    for name, held in parts.items():
        sizes = np.array([size for size, _ in held.values()])
        rows = [dict(zip(trace.steps.tolist(), trace.parameter_stats.get(name, ()), strict=False)) for _, trace in held.values()]
        common = set.intersection(*(set(each) for each in rows))
        found[name] = {step: _pooled(np.array([each[step] for each in rows]), sizes) for step in common}
    return found


def _pooled(rows: Floats, sizes: Floats) -> Floats:
    """Figures of the whole, from those of its parts, (parts, len(PARAMETER_STATS)). sizes (parts,): the number of values of each.

    They are exact, except for the spread of the update: the mean of a part's update is not among the figures. In matrices that
    mean is nearly 0. Where it matters, as in short biases, update_data is NaN.
    """
    column = {name: rows[:, place] for name, place in _COLUMN.items()}
    count = sizes.sum()

    def mean(values: Floats) -> float:
        return float(np.sum(sizes * values) / count)

    def std(means: Floats, stds: Floats) -> float:
        inside = np.where(sizes > 1, (sizes - 1) * stds**2, 0.0)
        return float(np.sqrt(np.sum(inside + sizes * (means - mean(means)) ** 2) / max(count - 1, 1)))

    spread = std(column["mean"], column["std"])
    unit = spread or nan  # a spread of 0 gives no ratio
    steep = std(column["gradient_mean"], column["gradient_std"])
    moved = np.where(sizes > 1, column["update_data"] * column["std"], 0.0)
    drift = np.sqrt(np.maximum(column["update_rms"] ** 2 - moved**2 * (sizes - 1) / sizes, 0.0))
    least = std(drift, moved)  # where all parts go one way; where some go against others it is
    most = float(np.sqrt(np.sum(sizes * column["update_rms"] ** 2) / max(count - 1, 1)))
    with np.errstate(all="ignore"):
        values = {
            "mean": mean(column["mean"]),
            "std": spread,
            "rms": np.sqrt(mean(column["rms"] ** 2)),
            "gradient_mean": mean(column["gradient_mean"]),
            "gradient_std": steep,
            "gradient_norm": np.sqrt(np.sum(column["gradient_norm"] ** 2)),
            "gradient_data": steep / unit,
            "update_data": least / unit if least > (1 - _DRIFT) * most else nan,
            "update_rms": np.sqrt(mean(column["update_rms"] ** 2)),
            "duplicate": np.min(column["duplicate"]),
            "nonfinite": mean(column["nonfinite"]),
            "gradient_nonfinite": mean(column["gradient_nonfinite"]),
            "learning_rate": column["learning_rate"][0],
        }
    return np.array([values[name] for name in PARAMETER_STATS], dtype=np.float64)
