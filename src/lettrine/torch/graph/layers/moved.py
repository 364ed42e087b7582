"""Evidence "moved statistics": batch norms whose running statistics go on changing although nothing before them is trained.

where: the batch norms. figures, of the one whose statistics moved farthest: "moved" (distance of the running mean now and at the
first look, rms over channels, in standard deviations), "then", "now" (distance of the mean of held-out inputs from the running
mean of the first look, and from that of now), "passes" on held-out data.

Left out: norms that are trained, or come after anything that is; running statistics that hold nothing but the first batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import nan
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import ModuleCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.capture.outputs import BatchNorm

_EPS: Final = 1e-12
_Statistics = tuple[Tensor, Tensor]  # mean and variance, (C,) each


@reader
class MovedStatistics:
    """Compares running statistics with those of the first look."""

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._first: dict[str, _Statistics] = {}
        self._moved: dict[str, float] = {}
        self._gaps: dict[str, list[tuple[float, float]]] = {}
        self._looks: list[int] = []

    def look(self, look: Look) -> Iterable[Evidence]:
        """A pass in training."""
        if look.place or not look.roots:
            return ()
        self._looks.append(look.step)
        for call in _untrained(look.modules):
            statistics = _running(call.module)
            if statistics is None or not call.module.training:
                self._moved.pop(call.name, None)
            elif call.name in self._first:
                self._moved[call.name] = _gap(statistics[0], self._first[call.name])
            elif len(self._looks) == 1 and not _of_one_batch(call):
                self._first[call.name] = statistics
        return ()

    def held_out(self, look: Look) -> Iterable[Evidence]:
        """A pass in eval mode."""
        for call in look.modules:
            inputs = _means(call)
            if inputs is not None and call.name in self._first and (now := _running(call.module)) is not None:
                self._gaps.setdefault(call.name, []).append((_gap(inputs, self._first[call.name]), _gap(inputs, now)))
        return ()

    def finish(self) -> Iterator[Evidence]:
        """The norms whose statistics moved."""
        if self._moved:
            farthest = max(self._moved, key=lambda name: self._moved[name])
            gaps = self._gaps.get(farthest, [])
            then, now = gaps[-1] if gaps else (nan, nan)
            figures = {"moved": self._moved[farthest], "then": then, "now": now, "passes": float(len(gaps))}
            names = (farthest, *(name for name in self._moved if name != farthest))
            yield Evidence("moved statistics", names, (self._looks[0], self._looks[-1]), figures)


def _untrained(modules: Iterable[ModuleCall]) -> Iterator[ModuleCall]:
    """The batch norms called before anything that is trained."""
    for call in modules:
        own = list(call.module.parameters(recurse=False))
        if any(parameter.requires_grad for parameter in own):
            return
        if isinstance(call.module, BatchNorm):
            yield call


def _running(module: Any) -> _Statistics | None:
    mean, var = getattr(module, "running_mean", None), getattr(module, "running_var", None)
    if not isinstance(mean, Tensor) or not isinstance(var, Tensor):
        return None
    return mean.detach().clone(), var.detach().clone()


def _means(call: ModuleCall) -> Tensor | None:
    """The mean of a norm's inputs, (C,)."""
    inputs = call.args[0] if call.args and isinstance(call.module, BatchNorm) else None
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point() or inputs.ndim < 2:
        return None
    return inputs.detach().transpose(0, 1).flatten(1).mean(1)


def _gap(mean: Tensor, statistics: _Statistics) -> float:
    """Distance of a mean from a running one, rms over channels, in standard deviations."""
    return float(((mean - statistics[0]).square() / (statistics[1] + _EPS)).mean().sqrt())


def _of_one_batch(call: ModuleCall) -> bool:
    """Whether running statistics that began at 0 and 1 hold nothing but this batch."""
    module: Any = call.module
    mean, momentum = _means(call), module.momentum if module.momentum is not None else 1.0
    return mean is None or bool(torch.allclose(module.running_mean, momentum * mean, rtol=1e-2, atol=1e-5))
