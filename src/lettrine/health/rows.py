"""The figures of sampled steps, one row for each module or parameter, until they become the tables of a trace."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import nan
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lettrine.health.gathering import Thinned
from lettrine.health.live import Frame
from lettrine.health.trace import GRADIENT_STATS, NORM_STATS, OUTPUT_STATS, PARAMETER_STATS, STEP_STATS, Floats

RECORDS: Final = 1_024  # sampled steps kept, and
ROWS: Final = 131_072  # rows of figures in all of them: a network of a thousand modules keeps fewer steps
LEAST: Final = 32  # kept in any case
WIDTHS: Final[Mapping[str, int]] = {
    "outputs": len(OUTPUT_STATS),
    "gradients": len(GRADIENT_STATS),
    "parameters": len(PARAMETER_STATS),
    "norms": len(NORM_STATS),
}
"""Figures of each row, by kind."""

Named: TypeAlias = tuple[tuple[str, ...], Sequence[Floats]]
"""Names of modules or parameters, and a row of figures of each."""


class SampledRows:
    """Keeps the rows of a bounded number of sampled steps."""

    def __init__(self) -> None:
        self._steps = Thinned[dict[str, Any]]()

    def add(self, step: int, stats: Mapping[str, float], rows: Mapping[str, Named]) -> None:
        """Those of one step. rows: by kind, as in WIDTHS."""
        limit = _limit(sum(len(names) for names, _ in rows.values()))
        self._steps.append({"step": step, "stats": stats, **rows}, limit=limit)

    def add_frame(self, frame: Frame) -> None:
        """Those of several steps of the same modules and parameters."""
        limit = _limit(2 * len(frame.modules) + len(frame.parameters))
        flat = [table.reshape(len(frame.steps), -1) for table in frame.tables.values()]
        ends = np.cumsum([0, *(table.shape[1] for table in flat)]).tolist()
        layout = {
            kind: (frame.names(kind), slice(*pair)) for kind, pair in zip(frame.tables, itertools.pairwise(ends), strict=True)
        }
        # Copies: a view would keep the whole frame alive, even if few of its steps are kept.
        for step, stats, row in zip(frame.steps, frame.stats, np.concatenate(flat, axis=1), strict=True):
            self._steps.append({"step": step, "stats": stats, "layout": layout, "row": row.copy()}, limit=limit)

    def steps(self) -> NDArray[np.int64]:
        """The K steps that are kept, (K,)."""
        return np.array([record["step"] for record in self._steps], dtype=np.int64)

    def stats(self) -> dict[str, Floats]:
        """STEP_STATS of these steps, each (K,), NaN where unknown."""
        return {
            name: np.array([record["stats"].get(name, nan) for record in self._steps], dtype=np.float64) for name in STEP_STATS
        }

    def tables(self, kind: str, known: Iterable[str]) -> dict[str, Floats]:
        """A table (K, figures) of each name that has rows of this kind, in the order of `known`; NaN where a step has none."""
        found: dict[str, Floats] = {}
        places: dict[tuple[str, ...], list[Floats]] = {}
        records = list(self._steps)
        for number, (names, rows) in enumerate(_rows(records, kind)):
            if names not in places:
                for name in names:
                    found.setdefault(name, np.full((len(records), WIDTHS[kind]), nan))
                places[names] = [found[name] for name in names]
            for table, row in zip(places[names], rows, strict=True):
                table[number] = row
        return {name: found[name] for name in known if name in found}


def _rows(records: Iterable[dict[str, Any]], kind: str) -> Iterator[tuple[tuple[str, ...], Sequence[Floats] | Floats]]:
    """Names and rows of one kind, of steps that were recorded alone or in a frame."""
    for record in records:
        if "layout" in record:
            names, place = record["layout"].get(kind, ((), slice(0)))
            yield names, record["row"][place].reshape(len(names), -1) if names else ()
        else:
            yield record[kind]


def _limit(rows: int) -> int:
    """How many steps of so many rows are kept."""
    return max(LEAST, min(RECORDS, ROWS // max(rows, 1)))
