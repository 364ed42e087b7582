"""The section on characters, of a language model's page: where the network puts each, and which ones it treats alike."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from lettrine.report.arrays import embedding_scatter
from lettrine.report.figure import Figure
from lettrine.report.html import Section

LISTED = 60  # most characters in the table of neighbours; a script of thousands of signs is drawn, not listed
COLUMNS = 3


def characters_section(
    names: Sequence[str],
    groups: Sequence[str],
    points: NDArray[np.float64],
    shares: tuple[float, float],
    width: int,
    neighbours: NDArray[np.int64],
    *,
    key: str = "embedding",
) -> Section:
    """A labelled scatter of the embeddings, and each character's nearest ones.

    names, groups: of the V characters. points (V, 2): their places on a plane. shares: how much of the variance of `width`
    dimensions its two axes hold, NaN where the table itself has two. neighbours (V, N): the nearest of each.
    Drawing raises MissingExtraError without the extra.
    """
    drawn = characters_figure(names, groups, points, shares, width)
    close = neighbours[:LISTED]
    cells = [[names[index], "  ".join(names[other] for other in others)] for index, others in enumerate(close.tolist())]
    height = -(-len(cells) // COLUMNS)  # cells fill the first pair of columns from top to bottom, then the next
    padded = cells + [["", ""]] * (height * COLUMNS - len(cells))
    rows = [[text for column in range(COLUMNS) for text in padded[column * height + row]] for row in range(height)]
    return Section(
        "Characters",
        text="What the network takes for alike, by the angle between their vectors.",
        header=["character", "nearest"] * COLUMNS,
        rows=rows,
        figures={key: drawn},
    )


def characters_figure(
    names: Sequence[str],
    groups: Sequence[str],
    points: NDArray[np.float64],
    shares: tuple[float, float],
    width: int,
    before: NDArray[np.float64] | None = None,
) -> Figure:
    """The scatter alone; see `characters_section`. before: the points of the training before."""
    held = "The table as it is: 2-D."
    if all(map(isfinite, shares)):
        across, up = (100 * share for share in shares)
        held = f"The plane holds {across + up:.0f} % of what {width} dimensions hold: {across:.0f} % across, {up:.0f} % up."
    return Figure(
        "Embeddings",
        f"One point a character; those that the network treats alike lie close together. {held}",
        embedding_scatter(points, list(names), groups=list(groups), before=before),
    )
