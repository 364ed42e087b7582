"""What a page shows of our own network besides its trace: new words, and the plane of its characters."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lettrine.errors import LettrineError
from lettrine.inference.embeddings import kinds, project, turned
from lettrine.inference.language_model import LanguageModel
from lettrine.model.parameters import Array
from lettrine.report.characters import characters_figure
from lettrine.report.figure import Figure
from lettrine.text.vocabulary import Vocabulary

SHOWN_WORDS: Final = 24


class Drift:
    """The plane of the embeddings. It keeps its axes from one frame to the next, so that points move smoothly."""

    def __init__(self) -> None:
        self._points: NDArray[np.float64] | None = None
        self._before: NDArray[np.float64] | None = None

    def leave_behind(self) -> None:
        """Another training begins: the present points become the earlier ones."""
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


def shown(model: LanguageModel, drift: Drift, *, temperature: float = 1.0, seed: int = 0) -> dict[str, Any]:
    """`words` and `more` of a `Moment`; both are worked out when the page is drawn. model: nobody else trains it any more."""

    def words() -> list[str]:
        try:
            return model.sample(SHOWN_WORDS, temperature=temperature, seed=seed, max_length=24)
        except LettrineError:
            return []

    def embedding() -> Figure:
        return drift.figure(model.vocabulary, model.parameters["embedding.weight"])

    return {"words": words, "more": {"embedding": embedding}}
