"""What a training step does to its gradients between the backward pass and the optimiser's step.

A loss that was scaled by hand has gradients that are too large until they are divided. What is clipped before that is clipped at
a limit that is too low by the factor of the scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Final

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from lettrine.health.findings import Finding
from lettrine.health.limits import CHECKUP_RESCALED
from lettrine.torch.checkup.experiment import finding
from lettrine.torch.checkup.unused import dense
from lettrine.torch.private import version

ALIKE: Final = 1e-3  # relative difference: a norm that was not clipped is never so constant
CLIPPED: Final = 0.1  # of the values that are not 0: with fewer at the largest one, values were not clipped
LEAST: Final = 20  # values to tell that
TRUE: Final = 2.0  # the scale may differ by as much from that of the loss function given: the step may add terms to it


@dataclass(frozen=True)
class Sizes:
    """Sizes of all gradients together. squares: sum of their squares. largest: largest absolute value. at: how many values have
    it; values: how many are not 0.
    """

    squares: float = 0.0
    largest: float = 0.0
    at: int = 0
    values: int = 0

    @property
    def norm(self) -> float:
        """Their norm."""
        return sqrt(self.squares)

    @property
    def cut(self) -> float:
        """The value at which each value was clipped; 0 if few have the largest one."""
        return self.largest if self.values >= LEAST and self.at > CLIPPED * self.values else 0.0

    @staticmethod
    def of(gradient: Tensor | None) -> Sizes:
        """Those of one gradient."""
        values = dense(gradient).double().abs() if gradient is not None else torch.zeros(0)
        if not values.numel():
            return Sizes()
        largest = float(values.max())
        at = int((values > (1 - ALIKE) * largest).sum())
        return Sizes(float(values.square().sum()), largest, at, int((values > 0).sum()))

    def __add__(self, other: Sizes) -> Sizes:
        largest = max(self.largest, other.largest)
        at = sum(each.at for each in (self, other) if each.largest > (1 - ALIKE) * largest)
        return Sizes(self.squares + other.squares, largest, at, self.values + other.values)


@dataclass(frozen=True)
class EarlyClip:
    """Gradients were clipped at `limit` while they were still `factor` times too large. each: each value was, not their norm."""

    limit: float
    factor: float
    each: bool

    def finding(self, given: float, true: float) -> Finding | None:
        """The finding, if the loss was scaled. given, true: norm that the backward pass gave, and that of the loss itself."""
        if not self.factor * true / TRUE < given < TRUE * self.factor * true:
            return None
        which = "Each value of the gradients is" if self.each else "The gradients are"
        return finding(
            "clip-before-unscale",
            "warning",
            (),
            f"{which} clipped at {self.limit:.3g} while they are still {self.factor:.5g} times too large: the step divides them "
            f"by {self.factor:.5g} after that.",
            "Clipping then acts at every step and makes all gradients too small by the factor of the scale.",
            f"Divide the gradients by {self.factor:.5g} before you clip {'each value ' if self.each else ''}at {self.limit:.3g}.",
            value=self.limit / self.factor,
            limit=self.limit,
            source="torch.amp: working with unscaled gradients",
        )


class Between(TorchFunctionMode):
    """Follows the gradients of some parameters while it is entered. steps: for each step of the optimiser, the sizes of the
    gradients as the backward pass left them and after each change; empty if not all were changed alike.
    """

    def __init__(self, held: Sequence[Tensor]) -> None:
        super().__init__()
        self.steps: list[list[Sizes]] = []
        self._held = held
        self._marks: dict[int, tuple[int, int]] = {}
        self._sizes: dict[int, list[Sizes]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self._look()
        return result

    def given(self, parameter: Tensor) -> None:
        """A backward pass has given this parameter a gradient."""
        self._marks[id(parameter)] = _mark(parameter)
        self._sizes[id(parameter)] = [Sizes.of(parameter.grad)]

    def stepping(self) -> None:
        """The optimiser is about to step."""
        self._look()
        changes = list(self._sizes.values())
        alike = len({len(each) for each in changes}) == 1
        self.steps.append([sum(each, Sizes()) for each in zip(*changes, strict=True)] if alike else [])
        self._marks.clear()
        self._sizes.clear()

    def early_clip(self) -> EarlyClip | None:
        """A clipping that came before a division by one number, as seen in several steps; None if there was none."""
        count = len(self.steps[0]) if len(self.steps) > 1 else 0
        if count < 3 or any(len(each) != count for each in self.steps):
            return None
        for cut in range(1, count - 1):
            for each in (True, False):
                after, before = ([_size(step[place], each=each) for step in self.steps] for place in (cut, cut - 1))
                limit = _one_number(after)
                if not limit or (not each and any(a < (1 + ALIKE) * b for a, b in zip(before, after, strict=True))):
                    continue
                if each and any(step[cut - 1].largest < (1 + ALIKE) * limit for step in self.steps):
                    continue
                for place in range(cut, count - 1):
                    factor = _one_number([step[place].norm / (step[place + 1].norm or torch.inf) for step in self.steps])
                    if factor > CHECKUP_RESCALED:
                        return EarlyClip(limit, factor, each)
        return None

    def _look(self) -> None:
        for each in self._held if self._marks else ():
            if id(each) in self._marks and each.grad is not None and (mark := _mark(each)) != self._marks[id(each)]:
                self._marks[id(each)] = mark
                self._sizes[id(each)].append(Sizes.of(each.grad))


def _size(sizes: Sizes, *, each: bool) -> float:
    return sizes.cut if each else sizes.norm


def _one_number(values: Sequence[float]) -> float:
    """The first of some values if they are all alike; else 0."""
    return values[0] if max(values) - min(values) <= ALIKE * max(values) < torch.inf else 0.0


def _mark(parameter: Tensor) -> tuple[int, int]:
    """The same for a gradient that was neither replaced nor changed."""
    return (id(parameter.grad), version(parameter.grad)) if parameter.grad is not None else (0, 0)
