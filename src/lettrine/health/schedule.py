"""Which steps to sample: fewer and fewer as the run goes on."""

from __future__ import annotations

from dataclasses import dataclass

from lettrine.arguments import checked
from lettrine.errors import HealthError


@checked
@dataclass(frozen=True)
class Schedule:
    """Which optimiser steps are sampled, counted from 0.

    every: 0 for the default, which samples the first FIRST steps, then waits half of the steps already taken, but at most
    LONGEST: 20 samples in 2,000 steps, and one in a thousand from step 2,000 on. 1 samples all, n every n-th from 0 on.
    spread: by default it also waits this share of the steps already taken, for trainings whose steps are shorter than a look.

    Raises HealthError for a negative number.
    """

    every: int = 0
    spread: float = 0.0

    FIRST = 4
    LONGEST = 1_000

    def __post_init__(self) -> None:
        if self.every < 0:
            raise HealthError(f"every got {self.every!r}; expected a whole number: 0 for the default schedule, 1 for every step")

    def after(self, step: int) -> int:
        """The first step to sample after `step` was sampled."""
        if self.every:
            return (step // self.every + 1) * self.every
        if step + 1 < self.FIRST:
            return step + 1
        return step + max(1, min(self.LONGEST, step // 2), int(self.spread * step))
