"""Evidence "blank rows": different examples of which a layer is given nothing but 0, so that all get the same answer.

Such as nodes of a graph without neighbours whose own features are not passed on, or rows that a mask sets to 0. Not counted: rows
that an activation set to 0, where it is flat, or dropout.

where: that layer. figures: "looks", "all" looks; "share" of the examples and "rows" at the last look. words: "after", the last
layer that told them apart, "" for none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, RootCall, reader
from lettrine.torch.graph.losses.comparisons import readable

_LEAST: Final = 32  # examples
_FEW: Final = 8  # of them alike
_SHARE: Final = 0.05  # of them alike
_MOST: Final = 2_048  # examples compared
_DISTINCT: Final = 0.9  # of the rows that are alike were different inputs
_FLAT: Final = ("relu", "relu_", "sigmoid", "tanh", "hardtanh", "clamp", "clamp_min", "dropout", "dropout1d", "dropout2d")


@reader
class BlankRows:
    """Compares the rows of each look."""

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._looks = 0
        self._found: dict[str, tuple[int, str, dict[str, float]]] = {}
        self._last = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look of one call."""
        if look.place or len(look.roots) != 1:
            return ()
        self._looks, self._last = self._looks + 1, look.step
        rows = _alike(look.roots[0])
        if rows is not None and (found := _first(look, rows, len(look.roots[0].outputs[0]))) is not None:
            name, after = found
            figures = {"share": len(rows) / min(len(look.roots[0].outputs[0]), _MOST), "rows": float(len(rows))}
            self._found[name] = self._found.get(name, (0,))[0] + 1, after, figures
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What was seen."""
        for name, (looks, after, figures) in self._found.items():
            told = figures | {"looks": float(looks), "all": float(self._looks)}
            yield Evidence("blank rows", (name,), (0, self._last), told, {"after": after})


def _alike(root: RootCall) -> Tensor | None:
    """The numbers of the rows with the most frequent answer, if there are enough and they were different inputs."""
    given, answers = next(iter(root.inputs), None), next(iter(root.outputs), None)
    if given is None or answers is None or not (readable(given) and readable(answers) and answers.requires_grad):
        return None
    if answers.ndim != 2 or given.ndim < 2 or len(given) != len(answers) or len(answers) < _LEAST:
        return None
    least = max(_FEW, _SHARE * min(len(answers), _MOST))
    if max(Counter(answers.detach()[:_MOST, 0].tolist()).values()) < least:  # rows that are alike begin alike; this is faster
        return None
    _, which, counts = torch.unique(answers.detach()[:_MOST], dim=0, return_inverse=True, return_counts=True)
    most = int(counts.argmax())
    rows = torch.nonzero(which == most)[:, 0]
    if len(rows) < least or len(rows) == len(which):
        return None
    inputs = given.detach()[rows].flatten(1)
    return rows if len(torch.unique(inputs, dim=0)) >= _DISTINCT * len(rows) else None


def _first(look: Look, rows: Tensor, count: int) -> tuple[str, str] | None:
    """The first layer with weights that is given 0 in these rows, and the last one that told them apart."""
    for call in look.calls:
        if call.name in _FLAT and _one(call.result, rows, count) and not _one(call.given(0, "input"), rows, count):
            return None
    after = ""
    for each in look.modules:
        if not any(True for _ in each.module.parameters(recurse=False)):
            continue
        given: Any = (each.args or (None,))[0]
        if _one(given, rows, count):
            return None if bool(given.detach()[rows].any()) else (each.name, after)
        after = each.name if isinstance(given, Tensor) else after
    return None


def _one(value: Any, rows: Tensor, count: int) -> bool:
    """Whether a table holds the same in all of these rows."""
    if not isinstance(value, Tensor) or not readable(value) or value.ndim < 2 or len(value) != count:
        return False
    picked = value.detach()[rows]
    return bool((picked == picked[:1]).all())
