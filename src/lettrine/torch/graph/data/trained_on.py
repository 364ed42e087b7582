"""Evidence "trained on": examples of held-out data that had been trained on before.

An example is all that the model is given, row by row, with its target. Compared are the training batches looked at and the first
evaluations whose loss is the mean of what was computed in them: an evaluation of training data beside it has another mean.

where: (). figures: "same", held-out examples of the last such evaluation that were in a training batch looked at before it;
"rows", all of them; "trained", different examples in those training batches; "by chance", the number of examples that would be
the same if they were drawn as alike as those within one batch and within the held-out data are, at most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.data.telling import flat
from lettrine.torch.graph.losses.comparisons import LOSSES, readable

_ROWS: Final = 512  # of one batch that are compared
_TRAINED: Final = 16_384  # training examples that are remembered
_WIDE: Final = 4  # numbers in an example: points of a plane come again by nature
_MARGIN: Final = 3.0  # pairs that may be equal by chance where none is (Hanley & Lippman-Hand 1983, the rule of three)


def digests(given: Sequence[Any], target: Any) -> list[int]:
    """A number for each example of a batch; none where its inputs cannot be told row by row. given: all that the model got."""
    tensors = [each for each in given if each is not None and not isinstance(each, bool | int | float)]
    if not tensors or not all(isinstance(each, Tensor) and each.ndim and readable(each) for each in (*tensors, target)):
        return []
    rows = len(tensors[0])
    if target.ndim == 1 and len(target) > rows and not len(target) % rows:  # one after another for each place of a sequence
        target = target.reshape(rows, -1)
    if any(len(each) != rows for each in (*tensors, target)) or sum(each[:1].numel() for each in tensors) < _WIDE:
        return []
    inputs = np.concatenate([flat(each, _ROWS) for each in tensors], axis=1)
    asked = flat(target, _ROWS)
    told = np.ptp(inputs, axis=1) > 0  # an empty example is like any other
    if not target.is_floating_point():
        told &= (asked >= 0).all(axis=1)  # no answer is asked for
    return [hash(row.tobytes()) for row in np.concatenate([inputs[told], asked[told]], axis=1)]


@reader
class TrainedOn:
    """Remembers training examples, and looks for them among held-out ones."""

    def __init__(self) -> None:
        self._trained: set[int] = set()
        self._pairs = self._equal = 0.0  # within training batches
        self._step = 0
        self._found: dict[str, float] = {}

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one training batch."""
        targets = [call.given(1, "target") for call in look.outside if call.name in LOSSES]
        if len(look.roots) == 1 and len(targets) == 1 and len(self._trained) < _TRAINED:
            root = look.roots[0]
            batch = digests((*root.args, *root.kwargs.values()), targets[0])
            self._pairs, self._equal = self._pairs + _pairs(len(batch)), self._equal + _equal(batch)
            self._trained.update(batch)
            self._step = look.step
        return ()

    def evaluated(self, rows: Sequence[int]) -> Iterable[Evidence]:
        """Take in the examples of an evaluation."""
        pairs, equal = self._pairs + _pairs(len(rows)), self._equal + _equal(rows)
        if rows and self._trained:
            chance = (equal + _MARGIN) / pairs * len(rows) * len(self._trained) if pairs else float("inf")
            same = sum(each in self._trained for each in rows)
            self._found = {"same": same, "rows": len(rows), "trained": len(self._trained), "by chance": min(chance, len(rows))}
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What the last evaluation showed."""
        if self._found:
            yield Evidence("trained on", (), (0, self._step), {name: float(each) for name, each in self._found.items()})


def _pairs(rows: int) -> float:
    return rows * (rows - 1) / 2


def _equal(rows: Sequence[int]) -> float:
    """Pairs of equal examples."""
    return sum(_pairs(count) for count in Counter(rows).values())
