"""The losses on the held-out words during a training, and the best weights by them."""

from __future__ import annotations

import math
from typing import Final

from lettrine.model.parameters import Parameters, copy_parameters

RISEN: Final = 0.02  # rise above the best loss: less may be noise, and the end of the schedule lowers it again


class DevLosses:
    """Collects the held-out losses.

    best, best_step, best_loss: a copy of the weights with the lowest loss so far; their step; their loss, infinite at first.
    losses: (step, loss) of each evaluation.
    """

    def __init__(self, best: Parameters, best_step: int = 0, best_loss: float = math.inf) -> None:
        self.best, self.best_step, self.best_loss = best, best_step, best_loss
        self.losses: list[tuple[int, float]] = []

    @property
    def last(self) -> float:
        """The loss of the last evaluation; NaN before the first."""
        return self.losses[-1][1] if self.losses else math.nan

    @property
    def last_step(self) -> int:
        """The step of the last evaluation; -1 before the first."""
        return self.losses[-1][0] if self.losses else -1

    def add(self, step: int, loss: float, parameters: Parameters) -> None:
        """The loss of these weights was measured."""
        self.losses.append((step, loss))
        if loss < self.best_loss:
            self.best, self.best_step, self.best_loss = copy_parameters(parameters), step, loss

    def has_risen(self, patience: int) -> bool:
        """Whether `patience` evaluations came after the best one, and the last is clearly above it; False for a patience of 0."""
        place = min(range(len(self.losses)), key=lambda i: self.losses[i][1], default=-1)
        return 0 < patience <= len(self.losses) - 1 - place and self.last > self.best_loss * (1.0 + RISEN)
