"""Evidence "shared rows": one table for several columns of numbers, with a row for each value of each, asked by the bare values.

Its rows are as many as the values of all columns together, so each column was to have rows of its own; but all begin at 0, and
share the first rows.

where: the embedding. figures: "looks"; "columns"; "rows" of the table; "highest": the highest row that was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar, Final

import torch
from torch import Tensor, nn

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.comparisons import readable

_COLUMNS: Final = (2, 64)  # least and most


@reader
class SharedRows:
    """Notes how far each column reaches."""

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._reach: dict[str, tuple[Tensor, int, int]] = {}  # highest value of each column, looks, rows of the table
        self._last = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        self._last = look.step
        for call in look.modules:
            given = next(iter(call.args), None)
            if not isinstance(call.module, nn.Embedding) or not isinstance(given, Tensor) or given.is_floating_point():
                continue
            if given.ndim != 2 or not _COLUMNS[0] <= given.shape[1] <= _COLUMNS[1] or not readable(given):
                continue
            reach, (before, looks, _) = given.amax(0), self._reach.get(call.name, (given.amax(0), 0, 0))
            if len(before) == len(reach):
                self._reach[call.name] = torch.maximum(before, reach), looks + 1, call.module.num_embeddings
        return ()

    def finish(self) -> Iterator[Evidence]:
        """Tables whose rows are as many as the values of all columns together, while no column has rows of its own."""
        for name, (reach, looks, rows) in self._reach.items():
            if int((reach + 1).sum()) == rows:
                figures = {
                    "looks": float(looks),
                    "columns": float(len(reach)),
                    "rows": float(rows),
                    "highest": float(reach.max()),
                }
                yield Evidence("shared rows", (name,), (0, self._last), figures)
