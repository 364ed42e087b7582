"""The details that a recorder keeps of a module, beside its rows of figures: histograms, flags of units, and maps of outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lettrine.health.gathering import Thinned, UnitSums, units_of
from lettrine.health.live import Frame
from lettrine.health.measure import GradientMeasure, OutputMeasure
from lettrine.health.moments import Bins
from lettrine.health.rows import LEAST
from lettrine.health.trace import BINS, Histogram, Units

DETAILS: Final = 96  # histograms kept of each module, and
HISTOGRAMS: Final = 8_192  # of all


class Details:
    """Histograms by "output" or "gradient" and module; units and maps by module. The first and the last map are kept."""

    def __init__(self) -> None:
        self._histograms: dict[tuple[str, str], Thinned[tuple[int, Bins]]] = {}
        self._units: dict[str, UnitSums] = {}
        self._maps: dict[str, dict[str, NDArray[np.float16]]] = {}

    def add(
        self, step: int, outputs: Mapping[str, OutputMeasure], gradients: Mapping[str, GradientMeasure], modules: int
    ) -> None:
        """Those of one step. modules: how many are watched."""
        for kind, measures in (("output", outputs), ("gradient", gradients)):
            for name, measure in measures.items():
                if measure.histogram is not None:
                    self._keep_histogram(kind, name, step, measure.histogram, modules)
        for name, output in outputs.items():
            if output.dead is not None or output.saturated is not None:
                self._sums(name, units_of(output)).add(output)
            if output.snapshot is not None:
                self._keep_map(name, output.snapshot)

    def add_frame(self, frame: Frame, modules: int) -> None:
        """Those of several steps."""
        for name, totals in frame.units.items():
            self._sums(name, totals.units).add_steps(totals)
        for kind, name, step, bins in frame.histograms:
            self._keep_histogram(kind, name, step, bins, modules)
        for name, snapshot in frame.maps:
            self._keep_map(name, snapshot)

    def histograms(self, kind: str) -> dict[str, Histogram]:
        """Those of each module."""
        made = {}
        for (of, name), kept in self._histograms.items():
            if of == kind:
                steps, bins = zip(*kept, strict=True)
                made[name] = Histogram(
                    np.array(steps, dtype=np.int64),
                    np.array([each.counts for each in bins], dtype=np.float64).reshape(len(bins), BINS),
                    np.array([each.low for each in bins], dtype=np.float64),
                    np.array([each.high for each in bins], dtype=np.float64),
                )
        return made

    def units(self) -> dict[str, Units]:
        """The sums of the flags of each module."""
        return {name: sums.units() for name, sums in self._units.items()}

    def maps(self) -> dict[str, dict[str, NDArray[np.float16]]]:
        """The "first" and the "last" of each module."""
        return {name: dict(pair) for name, pair in self._maps.items()}

    def _keep_histogram(self, kind: str, name: str, step: int, bins: Bins, modules: int) -> None:
        limit = max(LEAST, min(DETAILS, HISTOGRAMS // max(2 * modules, 1)))
        self._histograms.setdefault((kind, name), Thinned()).append((step, bins), limit=limit)

    def _keep_map(self, name: str, snapshot: NDArray[np.float16]) -> None:
        self._maps.setdefault(name, {"first": snapshot})["last"] = snapshot

    def _sums(self, name: str, units: int) -> UnitSums:
        if name not in self._units:
            self._units[name] = UnitSums(units)
        return self._units[name]
