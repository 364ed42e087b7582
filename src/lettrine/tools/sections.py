"""Sections of a page about a language model: its embeddings, its curve as the courses draw it, its words."""

from __future__ import annotations

from math import isfinite

from lettrine.inference.embeddings import kinds, nearest, project
from lettrine.inference.language_model import LanguageModel
from lettrine.report.arrays import embedding_scatter
from lettrine.report.figure import Figure
from lettrine.report.html import Section
from lettrine.text.labels import sign_of

NEIGHBOURS = 3
LISTED = 60  # characters in the table of neighbours; a script of thousands of signs is drawn, not listed
COLUMNS = 3


def embedding_section(model: LanguageModel, key: str = "embedding") -> Section:
    """A labelled scatter of a model's embeddings, and each character's nearest ones. Raises MissingExtraError when drawn."""
    vocabulary, table = model.vocabulary, model.parameters["embedding.weight"]
    signs = {sign_of(label, model.labels): label for label in model.labels}
    names = [signs.get(sign := vocabulary.show(index), sign) for index in range(vocabulary.size)]
    plane = project(table)
    width = table.shape[1]
    held = "The table as it is: 2-D."
    if all(map(isfinite, plane.shares)):
        across, up = (100 * share for share in plane.shares)
        held = f"The plane holds {across + up:.0f} % of what {width} dimensions hold: {across:.0f} % across, {up:.0f} % up."
    drawn = Figure(
        "Embeddings",
        f"One point a character; those that the network treats alike lie close together. {held}",
        embedding_scatter(plane.points, names, groups=kinds(names, vocabulary.end_sign)),
    )
    close = nearest(table, NEIGHBOURS)[:LISTED]
    cells = [[names[index], "  ".join(names[other] for other in others)] for index, others in enumerate(close.tolist())]
    height = -(-len(cells) // COLUMNS)  # down the first pair of columns, then down the next
    padded = cells + [["", ""]] * (height * COLUMNS - len(cells))
    rows = [[text for column in range(COLUMNS) for text in padded[column * height + row]] for row in range(height)]
    return Section(
        "Characters",
        text="What the network takes for alike, by the angle between their vectors.",
        header=["character", "nearest"] * COLUMNS,
        rows=rows,
        figures={key: drawn},
    )
