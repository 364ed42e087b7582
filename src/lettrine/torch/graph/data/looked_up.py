"""Columns of a table that are no quantities: numbers of rows of an embedding, kept in one table with real numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import torch
from torch import Tensor, nn

_MOST: Final = 64  # columns of one embedding's input


def looked_up(table: Tensor, calls: Iterable[tuple[nn.Module, tuple[Any, ...]]]) -> list[int]:
    """The columns of a table (N, F) that embeddings were asked for. calls: modules with what each was given."""
    if table.ndim != 2:
        return []
    asked = [given[0] for module, given in calls if isinstance(module, nn.Embedding | nn.EmbeddingBag) and given]
    ids = [
        each.reshape(len(table), -1) for each in asked if isinstance(each, Tensor) and each.numel() and len(each) == len(table)
    ]
    sought = [column for each in ids for column in each.T[:_MOST]]
    if not sought:
        return []
    return [place for place, column in enumerate(table.T) if any(torch.equal(column, each.to(column)) for each in sought)]
