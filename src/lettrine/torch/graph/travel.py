"""Evidence "travel": how far the matrices of an optimiser have come that began as they were drawn at random.

where: their names; tables of which a step moves few rows are left out. figures: "steps" between the first look and the last;
"travel": rms(now - then) / rms(then), of the one that came farthest; "rate": the learning rate at the last look.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from math import nan
from typing import Final

from torch import Tensor, nn

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.copies import local
from lettrine.torch.capture.looks import Stepping, reader
from lettrine.torch.graph.walks import fresh_random

_MATRICES: Final = 4  # followed of each optimiser
_VALUES: Final = 4_096  # of each


@dataclass
class _Journey:
    first: int
    last: int
    rate: float
    starts: dict[str, tuple[weakref.ref[nn.Parameter], Tensor]]


@reader
class Travel:
    """Keeps a few values of fresh matrices, and compares them with what has become of them."""

    def __init__(self) -> None:
        self._journeys: dict[int, _Journey] = {}

    def stepping(self, stepping: Stepping) -> Iterable[Evidence]:
        """An optimiser is about to step."""
        place = next((place for place, each in enumerate(stepping.optimisers) if each is stepping.optimiser), -1)
        rate = stepping.optimiser.param_groups[0].get("lr", nan)
        rate = float(rate) if isinstance(rate, int | float) or (isinstance(rate, Tensor) and rate.numel() == 1) else nan
        if place in self._journeys:
            self._journeys[place].last, self._journeys[place].rate = stepping.step, rate
            return ()
        held = {id(each) for group in stepping.optimiser.param_groups for each in group["params"]}
        own = [(name, each) for name, each in stepping.model.named_parameters() if id(each) in held and each.requires_grad]
        fresh = [(name, each) for name, each in own if each.ndim > 1 and _asked(each) and fresh_random(local(each))][:_MATRICES]
        starts = {name: (weakref.ref(each), _some(each).clone()) for name, each in fresh}
        self._journeys[place] = _Journey(stepping.step, stepping.step, rate, starts)
        return ()

    def finish(self) -> Iterable[Evidence]:
        """How far they are."""
        for journey in self._journeys.values():
            ways = []
            for reference, start in journey.starts.values():
                now = reference()
                if now is not None and len(values := _some(now)) == len(start):
                    ways.append(float((values - start).norm() / start.norm()))
            if ways:
                figures = {"steps": float(journey.last - journey.first), "travel": max(ways), "rate": journey.rate}
                yield Evidence("travel", tuple(journey.starts), (journey.first, journey.last), figures)


def _asked(parameter: Tensor) -> bool:
    """Whether most values have a gradient: of a table, a step moves few rows."""
    gradient = parameter.grad
    if gradient is None or gradient.is_sparse:
        return False
    return int(local(gradient).count_nonzero()) > 0.5 * local(gradient).numel()


def _some(parameter: Tensor) -> Tensor:
    return local(parameter).detach().reshape(-1)[:_VALUES].float()
