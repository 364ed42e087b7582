"""What is shown beside a training in its own pictures: the one before it, simple models, and how it came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from lettrine.health.trace import Trace
from lettrine.report.picking import Floats

HEIGHTS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"  # one letter a bin of a density
WALKED: Final = 40  # steps of one picture that a page can walk through


@dataclass(frozen=True)
class Beside:
    """before: the trace of a training that gave way to this one, drawn dashed. lines: names of simple models, and their losses on
    the held-out data, in nats. walk: whether a chart brings its frames along, from which `replay.js` draws any recorded step.
    """

    before: Trace | None = None
    lines: Mapping[str, float] = field(default_factory=dict)
    walk: bool = False


ALONE: Final = Beside()
REPLAYED: Final = Beside(walk=True)


def walked(steps: Sequence[int]) -> list[int]:
    """Places of at most WALKED of the sampled steps: the first ones, which change most, then ever fewer, and the last."""
    if len(steps) <= WALKED:
        return list(range(len(steps)))
    even = np.linspace(0, len(steps) - 1, WALKED // 2)
    early = np.geomspace(1, len(steps), WALKED // 2) - 1
    return sorted({int(place) for place in np.round(np.concatenate([even, early]))})


def frames(kind: str, steps: Sequence[int], name: str, **values: Any) -> dict[str, Any]:
    """Frames of a chart, as `usermeta` of its specification; none where there is but one step. name: of the last one, in the
    legend; "" without.
    """
    if len(steps) < 2:
        return {}
    return {"replay": {"kind": kind, "steps": [int(step) for step in steps], "name": name, **values}}


def places(values: Floats, domain: Sequence[float], *, log: bool = False) -> list[float | None]:
    """Where values lie on an axis, 0 at its beginning and 1 at its end; None for what has no place there."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled, ends = (np.log10(each) if log else np.asarray(each, dtype=float) for each in (values, domain))
        where = (scaled - ends[0]) / (ends[1] - ends[0])
    return [round(float(each), 3) if np.isfinite(each) else None for each in where]


def heights(values: Sequence[float]) -> str:
    """Heights from 0 to 1, a letter each."""
    return "".join(HEIGHTS[round(value * (len(HEIGHTS) - 1))] for value in values)
