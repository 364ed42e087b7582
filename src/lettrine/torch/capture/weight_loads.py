"""Evidence "loaded weights": weights that were loaded into the model while it trained (`load_state_dict`).

where: (). Counted are loads that changed something, after at least one step since the one before. figures: "loads"; "same": those
after which the weights were those of the start, or of the first load; "last": the step of the last one; "steps": how many steps
lay between two, as a median; "fresh": loads of weights that had not been loaded before; "size": how many times as large the
weights were after these, as a median over them and over parameters, NaN where more than a quarter of them differ from it by more
than a tenth.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite, nan
from statistics import median
from typing import Any, Final

import torch
from torch import Tensor, nn

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.copies import local, measurable
from lettrine.torch.capture.guard import Guard
from lettrine.torch.capture.outputs import Hook
from lettrine.torch.devices import double

_PARAMETERS: Final = 8  # that are read
_VALUES: Final = 4_096  # of each of them
_MOST: Final = 4_096  # loads that are remembered
_ALIKE: Final = 0.1  # of the median size,
_MOSTLY: Final = 0.75  # of the loads


class WeightLoads:
    """Looks at the weights before and after each load. step: the number of steps made so far."""

    def __init__(self, model: nn.Module, guard: Guard, step: Callable[[], int]) -> None:
        self._model, self._step = model, step
        self._before, self._after = Hook(lambda *_: guard(self._see)), Hook(lambda *_: guard(self._loaded))
        self._handles: list[Any] = []
        self._start: tuple[float, ...] = ()
        self._first: tuple[float, ...] = ()  # of the first load
        self._known: set[tuple[float, ...]] = set()  # loaded before
        self._seen: tuple[Tensor, ...] = ()  # just before a load
        self._since = 0
        self._steps: list[int] = []
        self._same = 0
        self._sizes: list[float] = []

    def listen(self) -> None:
        """Begin to look."""
        self._start, self._since = _sums(self._values()), self._step()
        before: Callable[[Hook], Any] = self._model.register_load_state_dict_pre_hook
        after: Callable[[Hook], Any] = self._model.register_load_state_dict_post_hook
        self._handles = [before(self._before), after(self._after)]

    def close(self) -> None:
        """Look no more."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def evidence(self) -> Evidence | None:
        """What was seen so far."""
        if not self._steps:
            return None
        sizes = list(filter(isfinite, self._sizes))
        size = median(sizes) if sizes else nan
        alike = sum(abs(each - size) <= _ALIKE * size for each in sizes) >= _MOSTLY * len(self._sizes)
        gaps = [one - other for one, other in zip(self._steps[1:], self._steps, strict=False)]
        figures = {
            "loads": float(len(self._steps)),
            "same": float(self._same),
            "last": float(self._steps[-1]),
            "steps": float(median(gaps)) if gaps else nan,
            "fresh": float(len(self._sizes)),
            "size": size if alike else nan,
        }
        return Evidence("loaded weights", (), (self._steps[0], self._steps[-1]), figures)

    def _see(self) -> None:
        self._seen = tuple(each.clone() for each in self._values())

    def _loaded(self) -> None:
        seen, now, step = self._seen, self._values(), self._step()
        self._seen = ()
        sums = _sums(now)
        changed = bool(seen) and sums != _sums(seen)
        if changed and step > self._since and len(self._steps) < _MOST:
            self._steps.append(step)
            self._first = self._first or sums
            self._same += sums in (self._start, self._first)
            if sums not in self._known | {self._start}:
                self._sizes.append(median(_ratios(seen, now)))
        self._known.add(sums)
        self._since = step

    def _values(self) -> tuple[Tensor, ...]:
        """The first values of some parameters; none if they cannot be read."""
        own = [local(each).detach() for each in self._model.parameters() if each.requires_grad][:_PARAMETERS]
        return tuple(each.reshape(-1)[:_VALUES] for each in own) if all(map(measurable, own)) else ()


def _sums(values: tuple[Tensor, ...]) -> tuple[float, ...]:
    """Loaded weights are equal bit for bit, and so are these."""
    with torch.no_grad():
        return tuple(torch.stack([double(each).sum() for each in values]).tolist()) if values else ()


def _ratios(before: tuple[Tensor, ...], after: tuple[Tensor, ...]) -> list[float]:
    """How many times as large each one became."""
    with torch.no_grad():
        sizes = [(float(double(one).norm()), float(double(two).norm())) for one, two in zip(before, after, strict=True)]
    return [two / one for one, two in sizes if one > 0] or [nan]
