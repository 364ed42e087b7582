"""Evidence "evaluated weights": which evaluations the user kept the weights of.

A copy is a call of `state_dict`, a deep copy, or a pickle of the model or of a module that the user calls.

where: (). figures: "at STEP", for each evaluation with copies: how many were made at this step; "loaded": the step of an
evaluation whose weights the model has again at the end, not reported for those of the last one; "different": how many different
weights were evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import nn

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.copies import local, measurable
from lettrine.torch.capture.guard import Guard
from lettrine.torch.capture.outputs import Hook
from lettrine.torch.devices import double

_EVALUATIONS: Final = 4_096  # that are remembered
_PARAMETERS: Final = 8  # whose values tell the weights of one evaluation from those of another
_VALUES: Final = 64  # of each of them


class WeightCopies:
    """Counts copies of the weights at the steps of evaluations. modules: the model, and those of its modules that the user calls.
    step: the number of steps made so far.
    """

    def __init__(self, modules: Sequence[nn.Module], guard: Guard, step: Callable[[], int]) -> None:
        self._modules, self._step = list(dict.fromkeys(modules)), step
        self._copied = Hook(lambda *_: guard(self._count)), _Copied(lambda: guard(self._count))
        self._handles: list[Any] = []
        self._last = -1  # the step of the last copies
        self._counts: dict[int, int] = {}
        self._weights: dict[int, tuple[float, ...]] = {}  # some values at each evaluation

    def listen(self) -> None:
        """Begin to count."""
        for module in self._modules:
            hooked: Callable[[Hook], Any] = module.register_state_dict_pre_hook
            self._handles += map(hooked, self._copied)

    def close(self) -> None:
        """Count no more."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def evaluated(self) -> None:
        """A loss on held-out data is handed over."""
        if len(self._weights) < _EVALUATIONS:
            self._weights[self._step()] = self._values()

    def evidence(self) -> Evidence | None:
        """What was seen so far."""
        figures = {f"at {step}": float(self._counts[step]) for step in self._weights if step in self._counts}
        now = self._values()
        alike = [step for step, values in self._weights.items() if values == now]
        if alike and alike[-1] != next(reversed(self._weights)):
            figures["loaded"] = float(alike[-1])
        figures["different"] = float(len(set(self._weights.values())))
        return Evidence("evaluated weights", (), (0, self._step()), figures) if self._weights else None

    def _count(self) -> None:
        step = self._step()
        if self._last not in self._weights and self._last != step:
            self._counts.pop(self._last, None)
        self._last = step
        self._counts[step] = self._counts.get(step, 0) + 1

    def _values(self) -> tuple[float, ...]:
        """Sums of a few values: loaded weights are equal bit for bit, and so are these. Empty if they cannot be read."""
        own = [local(each).detach() for each in self._modules[0].parameters() if each.requires_grad][:_PARAMETERS]
        if not own or not all(map(measurable, own)):
            return ()
        with torch.no_grad():
            return tuple(torch.stack([double(each.reshape(-1)[:_VALUES]).sum() for each in own]).tolist())


class _Copied(Hook):
    """A hook that is there to be copied: it is, whenever the model is."""

    __slots__ = ("_told",)

    def __init__(self, told: Callable[[], None]) -> None:
        super().__init__(lambda *_: None)
        self._told = told

    def __reduce__(self) -> tuple[Any, ...]:
        self._told()
        return super().__reduce__()
