"""The loss at each target of a cross-entropy, and what guessing gives."""

from __future__ import annotations

import torch
from torch import Tensor

from lettrine.torch.devices import double


def losses_of(scores: Tensor, axis: int, labels: Tensor) -> Tensor:
    """The loss (N,) of each of the labels (N,), in nats. axis: that of the classes. A label that names no class is taken for one:
    leave it out afterwards.
    """
    classes = scores.shape[axis]
    rows = scores.detach().movedim(axis, -1).reshape(-1, classes).float().log_softmax(1)
    return -rows.gather(1, labels.clamp(0, classes - 1)[:, None])[:, 0]


class Guess:
    """What the best single answer to all labels seen so far gives: their entropy."""

    def __init__(self) -> None:
        self._counts: Tensor | None = None

    def add(self, labels: Tensor, classes: int) -> float:
        """More labels (N,), below `classes`. Returns the entropy, in nats."""
        counts = double(torch.bincount(labels, minlength=classes))
        self._counts = counts if self._counts is None or len(self._counts) != classes else self._counts + counts
        shares = self._counts / self._counts.sum()
        return float(-(shares * shares.clamp_min(1e-12).log()).sum())
