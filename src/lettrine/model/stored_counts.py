"""Counts as plain arrays for a file, and back with checks, because a file may come from a stranger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lettrine.errors import EngineError
from lettrine.model.counts import ORDERS, Counts
from lettrine.model.discounts import CEILING

FIELDS: Final = {
    "levels": np.int64,
    "children": np.int64,
    "begin": np.int64,
    "followers": np.int32,
    "counts": np.int32,
    "discounts": np.float64,
}


def counts_to_arrays(counts: Counts) -> dict[str, NDArray[Any]]:
    """Plain arrays to be kept in a file."""
    return {"vocabulary_size": np.array([counts.vocabulary_size]), **{name: getattr(counts, name) for name in FIELDS}}


def counts_from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Counts:
    """The inverse of `counts_to_arrays`. Raises EngineError unless they are as `count` makes them."""
    for name, dtype in {"vocabulary_size": np.int64, **FIELDS}.items():
        found = arrays.get(name)
        axes = 2 if name == "discounts" else 1
        if found is None or found.dtype != dtype or found.ndim != axes or not (found.size or name == "children"):
            what = "missing" if found is None else f"{found.dtype} of shape {found.shape}"
            raise EngineError(f"{name} of the counts is {what}; expected {np.dtype(dtype)} with {axes} axes")
    made = Counts(
        vocabulary_size=int(arrays["vocabulary_size"][0]),
        levels=np.array(arrays["levels"]),
        children=np.array(arrays["children"]),
        begin=np.array(arrays["begin"]),
        followers=np.array(arrays["followers"]),
        counts=np.array(arrays["counts"]),
        discounts=np.array(arrays["discounts"]),
    )
    for check in (_shapes, _numbers, _order):
        if problem := check(made):
            raise EngineError(f"the counts {problem}; the run is damaged, train again")
    return made


def _shapes(counts: Counts) -> str:
    nodes, steps = len(counts.begin) - 1, np.diff(counts.levels)
    ordered = counts.levels[0] == 0 and counts.levels[-1] == nodes and steps.size and steps[0] == 1 and (steps >= 0).all()
    if not (1 <= counts.order <= ORDERS[1] and ordered):
        return f"have levels {counts.levels.tolist()} for {nodes} histories; expected one, then more of each length"
    if len(counts.counts) != len(counts.followers) or len(counts.children) != nodes - 1:
        return (
            f"have {len(counts.counts)} counts of {len(counts.followers)} characters, {len(counts.children) + 1} of {nodes} nodes"
        )
    if counts.discounts.shape != (counts.order, len(CEILING)):
        return f"have discounts of shape {counts.discounts.shape}; expected ({counts.order}, {len(CEILING)})"
    return ""


def _numbers(counts: Counts) -> str:
    if not 2 <= counts.vocabulary_size < 2**31:
        return f"are of {counts.vocabulary_size} characters; expected 2 or more"
    if counts.followers.min() < 0 or counts.followers.max() >= counts.vocabulary_size or counts.counts.min() < 1:
        return f"hold characters outside 0 to {counts.vocabulary_size - 1}, or counts below 1"
    if not ((counts.discounts >= 0) & (counts.discounts <= CEILING)).all():
        return "take off more than there is, or what is no number"
    if counts.begin[0] != 0 or counts.begin[-1] != len(counts.followers) or (np.diff(counts.begin) < 1).any():
        return "have a history that nothing followed"
    return ""


def _order(counts: Counts) -> str:
    parents = counts.children // counts.vocabulary_size
    outside = parents.size and (parents.min() < 0 or parents.max() >= len(counts.begin) - 1)
    if outside or (counts.depths[parents] + 1 != counts.depths[1:]).any():
        return "have a history whose shorter one is missing"
    if (np.diff(counts.children) <= 0).any() or (np.diff(counts.pairs) <= 0).any():
        return "are out of order"
    return ""
