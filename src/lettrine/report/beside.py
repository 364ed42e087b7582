"""What the pictures of a training show beside it: the training before, simple models, and the steps in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from lettrine.health.trace import Trace
from lettrine.report.picking import Floats

HEIGHTS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"  # one letter for each bin of a density
WALKED: Final = 40  # steps of one picture that a page can walk through


@dataclass(frozen=True)
class Beside:
    """before: the trace of the training that this one replaces, drawn dashed. lines: the names of at most two simple models,
    the better one last, with their losses on the held-out data, in nats. walk: whether a chart holds its frames as well;
    `replay.js` draws any recorded step from them.
    """

    before: Trace | None = None
    lines: Mapping[str, float] = field(default_factory=dict)
    walk: bool = False


ALONE: Final = Beside()
REPLAYED: Final = Beside(walk=True)


def walked(steps: Sequence[int]) -> list[int]:
    """Indices of at most WALKED sampled steps: close together at the beginning, where most changes, and always the last."""
    if len(steps) <= WALKED:
        return list(range(len(steps)))
    even = np.linspace(0, len(steps) - 1, WALKED // 2)
    early = np.geomspace(1, len(steps), WALKED // 2) - 1
    return sorted({int(place) for place in np.round(np.concatenate([even, early]))})


def frames(kind: str, steps: Sequence[int], name: str, **values: Any) -> dict[str, Any]:
    """Frames of a chart, as `usermeta` of its specification; none where there is only one step.

    name: how the legend names the last step; "" without a legend.
    """
    if len(steps) < 2:
        return {}
    return {"replay": {"kind": kind, "steps": [int(step) for step in steps], "name": name, **values}}


def places(values: Floats, domain: Sequence[float], *, log: bool = False) -> list[float | None]:
    """Where values lie on an axis, 0 at its beginning and 1 at its end; None for a value that has no place there."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled, ends = (np.log10(each) if log else np.asarray(each, dtype=float) for each in (values, domain))
        where = (scaled - ends[0]) / (ends[1] - ends[0])
    return [round(float(each), 3) if np.isfinite(each) else None for each in where]


def heights(values: Sequence[float]) -> str:
    """Heights from 0 to 1, one letter for each."""
    return "".join(HEIGHTS[round(value * (len(HEIGHTS) - 1))] for value in values)
