"""Where a network puts its characters, frame after frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lettrine.inference.embeddings import kinds, project, turned
from lettrine.model.parameters import Array
from lettrine.report.characters import characters_figure
from lettrine.report.figure import Figure
from lettrine.text.vocabulary import Vocabulary


class Drift:
    """The plane of the embeddings, which keeps its axes from one frame to the next, so that points drift and do not jump."""

    def __init__(self) -> None:
        self._points: NDArray[np.float64] | None = None
        self._before: NDArray[np.float64] | None = None

    def leave_behind(self) -> None:
        """Another training begins: what there is now is where the points were before."""
        self._before = self._points

    def figure(self, vocabulary: Vocabulary, table: Array) -> Figure:
        """The picture of an embedding table (V, E)."""
        plane = project(table)
        points = plane.points
        drawn_as_it_is = np.isnan(plane.shares[0])
        if self._points is not None and self._points.shape == points.shape and not drawn_as_it_is:
            points = turned(points, self._points)
        self._points = points
        before = self._before if self._before is not None and self._before.shape == points.shape else None
        names = [vocabulary.show(index) for index in range(vocabulary.size)]
        return characters_figure(names, kinds(names, vocabulary.end_sign), points, plane.shares, table.shape[1], before)
