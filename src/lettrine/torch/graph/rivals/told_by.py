"""Evidence "fixed target": values of next states that a network outside of the model tells, which stays as it was drawn.

where: the network that learns from them. figures: "steps" between the first and the last of the looks, "looks".

The first layer of that network is compared. Only one that was fresh from its random draw counts: a trained one may be meant to
stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.copies import first_values, local
from lettrine.torch.graph.walks import fresh_random
from lettrine.torch.private import version

_VALUES: Final = 4_096  # compared


class ToldBy:
    """Follows the weight that told the values of next states, look by look."""

    def __init__(self, step: int, weight: Tensor) -> None:
        self._first = self._last = step
        self._start, self._version = first_values(weight, _VALUES).clone(), version(weight)
        self._looks = 1
        self._still = bool(fresh_random(local(weight)))

    def see(self, step: int, weight: Tensor) -> None:
        """At another look."""
        now = first_values(weight, _VALUES)
        same = now.shape == self._start.shape and torch.equal(now, self._start) and version(weight) == self._version
        self._still, self._last, self._looks = self._still and same, step, self._looks + 1

    def evidence(self, name: str) -> Iterator[Evidence]:
        """If it is the same still."""
        if self._still:
            figures = {"steps": float(self._last - self._first), "looks": float(self._looks)}
            yield Evidence("fixed target", (name,), (self._first, self._last), figures)
