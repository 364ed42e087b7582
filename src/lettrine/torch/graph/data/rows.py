"""Evidence "alike rows": the same random numbers were laid over the different examples of neighbouring batches.

Augmentation adds noise, or moves and cuts pictures at random. Where several loader workers start from the same seed, each draws
the same numbers: row 5 of one batch then resembles row 5 of the next one, and no other row.

where: the root. figures: "pairs" (of batches at two steps in a row), "alike" (those whose rows resemble each other place by
place), "far" (those whose rows do not), "near" (mean correlation of such rows in the alike pairs).

Not reported: rows with the same values, which are one batch again; targets that agree place by place too, as where each place
belongs to one subject or one stream of time; batches that resemble each other at all steps; targets that are not classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.data.telling import flat
from lettrine.torch.graph.losses.comparisons import comparisons, readable

_LEAST: Final = 16  # rows of a batch
_WIDE: Final = 16  # numbers in a row
_ALIKE: Final = 20.0  # standard deviations of the correlations of rows at different places, for the mean of those at the same one
_CHANCE: Final = 4.0  # the same, below which nothing ties the rows of two batches together
_AGREE: Final = 3.0  # the same for the share of targets that agree place by place

Array = NDArray[Any]


@reader
class AlikeRows:
    """Compares each batch with the one a step before."""

    def __init__(self) -> None:
        self._name = ""
        self._last: tuple[int, Array, Array] = (-2, np.zeros((0, 0)), np.zeros(0))
        self._alike = self._far = self._pairs = 0
        self._near: list[float] = []

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        if len(look.roots) != 1 or look.step == self._last[0]:
            return ()
        root = look.roots[0]
        given = next((each for each in root.inputs if each.is_floating_point() and each.ndim > 1 and readable(each)), None)
        labels = None if given is None else _labels(look, len(given))
        if given is None or labels is None or len(given) < _LEAST or given[:1].numel() < _WIDE or given.requires_grad:
            return ()
        rows = flat(given)
        classes = labels.detach().cpu().numpy()[: len(rows)]
        step, before, asked = self._last
        if look.step == step + 1 and before.shape == rows.shape:
            self._compare(before, rows, asked, classes)
        self._name, self._last = root.name, (look.step, rows, classes)
        return ()

    def _compare(self, before: Array, rows: Array, asked: Array, classes: Array) -> None:
        if (before == rows).all(axis=1).any():
            return
        table = _unit(before) @ _unit(rows).T  # (R, R) correlations
        apart = table[~np.eye(len(table), dtype=bool)]
        told = (np.diag(table).mean() - apart.mean()) / (apart.std() / len(table) ** 0.5)
        same = asked[:, None] == classes
        chance = float(same.mean())
        noise = (chance * (1 - chance) / len(classes)) ** 0.5
        if not np.isfinite(told) or not noise > 0:
            return
        self._pairs += 1
        if told >= _ALIKE and float(np.diag(same).mean()) <= chance + _AGREE * noise:
            self._alike += 1
            self._near.append(float(np.diag(table).mean()))
        self._far += told < _CHANCE

    def finish(self) -> Iterable[Evidence]:
        """What all pairs showed."""
        if self._alike and self._far:
            figures = {"pairs": self._pairs, "alike": self._alike, "far": self._far, "near": float(np.mean(self._near))}
            told = {name: float(value) for name, value in figures.items()}
            yield Evidence("alike rows", (self._name,), (0, self._last[0]), told)


def _labels(look: Look, rows: int) -> Tensor | None:
    """The class of each example, (R,)."""
    for each in look.once(comparisons):
        target = each.target
        if each.given and not target.is_floating_point() and target.numel() == rows == len(target):
            return target.reshape(-1)
    return None


def _unit(rows: Array) -> Array:
    """Rows of mean 0 and length 1, after the mean row is taken away: what all examples have in common says nothing."""
    left = rows - rows.mean(axis=0)
    left = left - left.mean(axis=1, keepdims=True)
    return np.asarray(left / np.maximum(np.linalg.norm(left, axis=1, keepdims=True), 1e-12))
