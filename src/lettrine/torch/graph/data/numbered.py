"""Whole numbers as targets of a squared error: whether they are amounts, or only names of classes.

Inputs that are alike have like amounts: the nearest neighbour with another number has a number that is near. Numbers that name
classes have no order: that of a neighbour of another class may be any.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lettrine.torch.graph.data.telling import distances_of, standard

_FEWEST, _MOST = 3, 100  # different numbers
_FILLED: Final = 0.9  # share of the numbers from the first to the last that occur
_NAMINGS: Final = 200
_ROWS: Final = 512  # compared with each other

Array = NDArray[Any]


def numbered(inputs: Sequence[Array], targets: Sequence[Array]) -> dict[str, float]:
    """Figures of whole numbers; empty unless they are few, begin at 0 or 1 and leave hardly any out.

    "numbers": how many different ones there are. "kept": share of the examples whose nearest neighbour has the same number, less
    that of chance, of what is left above chance. "nearer": share of other namings, in which the same classes have their numbers
    drawn at random, that bring the numbers of neighbours of two classes nearer to each other than they are; of amounts none does.
    """
    if not inputs or len({(a.shape[1], b.shape[1]) for a, b in zip(inputs, targets, strict=True)}) > 1:
        return {}
    given, places = np.unique(np.concatenate(inputs)[:_ROWS], axis=0, return_index=True)
    asked = np.concatenate(targets)[places]
    if asked.shape[1] > 1 or not np.isfinite(given).all() or (asked != np.rint(asked)).any():
        return {}
    values, classes, counts = np.unique(asked[:, 0], return_inverse=True, return_counts=True)
    if not _FEWEST <= len(values) <= _MOST or values[0] not in (0, 1) or len(values) < _FILLED * (np.ptp(values) + 1):
        return {}
    chance = float(((counts / counts.sum()) ** 2).sum())
    distances = distances_of(standard(given))
    kept = float((classes == classes[distances.argmin(axis=1)]).mean())
    distances[classes[:, None] == classes] = np.inf
    other = classes[distances.argmin(axis=1)]
    generator = np.random.default_rng(0)
    drawn = [generator.permutation(values) for _ in range(_NAMINGS)]
    apart = [float(np.abs(names[classes] - names[other]).mean()) for names in (values, *drawn)]
    nearer = float(np.mean(np.array(apart[1:]) < apart[0] * (1 - 1e-9)))
    return {"numbers": float(len(values)), "kept": (kept - chance) / (1 - chance), "nearer": nearer}
