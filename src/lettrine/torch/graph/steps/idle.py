"""Optimisers that never step, and steps that get lost when they are rounded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.copies import first_values, local
from lettrine.torch.capture.looks import Stepping, reader
from lettrine.torch.devices import double
from lettrine.torch.graph.steps.stepping import nothing
from lettrine.torch.private import version

_LOW: Final = (torch.bfloat16, torch.float16)
_WITNESSES: Final = 4  # matrices that are compared from step to step
_VALUES: Final = 1 << 14  # of each


@dataclass
class _Waiting:
    """An optimiser that has not stepped yet. first: of its parameters, the versions and the sum of one."""

    first: tuple[list[int], float]
    start: int
    names: tuple[str, ...]
    last: int = 0
    gradients: int = 0
    moved: bool = False


@reader
class Idle:
    """Evidence "idle": an optimiser that never steps, while another one does.

    where: the names of its watched parameters. figures: steps (of another optimiser, at which its parameters had a gradient).

    Not reported: parameters that change in another way.
    """

    def __init__(self) -> None:
        self._stepped: set[int] = set()
        self._waiting: dict[int, _Waiting] = {}

    def stepping(self, stepping: Stepping) -> Iterable[Evidence]:
        """One of them steps."""
        self._stepped.add(id(stepping.optimiser))
        self._waiting.pop(id(stepping.optimiser), None)
        for optimiser in stepping.optimisers:
            if id(optimiser) in self._stepped:
                continue
            held = [each for group in optimiser.param_groups for each in group["params"] if each.requires_grad]
            state = list(map(version, held)), float(double(local(held[0]).detach()).sum()) if held else 0.0
            if (waiting := self._waiting.get(id(optimiser))) is None:
                known = set(map(id, held))
                names = tuple(name for name, each in stepping.named.items() if id(each) in known)
                waiting = self._waiting[id(optimiser)] = _Waiting(state, stepping.step, names)
            waiting.last, waiting.moved = stepping.step, waiting.moved or state != waiting.first
            waiting.gradients += not nothing(held)
        return ()

    def finish(self) -> Iterable[Evidence]:
        """Those that still wait."""
        for each in self._waiting.values():
            if each.names and not each.moved:
                yield Evidence("idle", each.names, (each.start, each.last), {"steps": float(each.gradients)})


@dataclass
class _Lost:
    """Shares of the values with a gradient that a step left as they were."""

    dtype: str
    shares: list[float] = field(default_factory=list)


@reader
class Rounded:
    """Evidence "rounded": of a matrix in a type of low precision, how much of it a step leaves as it is.

    where: its name. figures: share (of the values that have a gradient, median over the steps), steps (compared). words: dtype.

    Compared are steps that follow one another and are both looked at: the first few.
    """

    def __init__(self) -> None:
        self._found: dict[str, _Lost] = {}
        self._before: dict[str, tuple[Tensor, Tensor]] = {}  # by name: the values, and where there is a gradient
        self._step = -1

    def stepping(self, stepping: Stepping) -> Iterable[Evidence]:
        """Compare with the step before, and keep what is needed at the next one."""
        held = {id(each) for group in stepping.optimiser.param_groups for each in group["params"]}
        low = [
            (name, each)
            for name, each in stepping.named.items()
            if each.dtype in _LOW and each.ndim > 1 and each.grad is not None and id(each) in held and not each.grad.is_sparse
        ]
        if not low:
            return ()
        for name, parameter in low[:_WITNESSES] if stepping.step == self._step + 1 else ():
            if name in self._before:
                values, asked = self._before[name]
                if bool(asked.any()):
                    stayed = (first_values(parameter, _VALUES) == values) & asked
                    lost = self._found.setdefault(name, _Lost(str(parameter.dtype).removeprefix("torch.")))
                    lost.shares.append(float(stayed.sum() / asked.sum()))
        self._step = stepping.step
        self._before = {
            name: (first_values(each, _VALUES).clone(), first_values(each.grad, _VALUES) != 0)
            for name, each in low[:_WITNESSES]
            if each.grad is not None
        }
        return ()

    def finish(self) -> Iterable[Evidence]:
        """The median share of each matrix."""
        for name, lost in self._found.items():
            figures = {"share": sorted(lost.shares)[len(lost.shares) // 2], "steps": float(len(lost.shares))}
            yield Evidence("rounded", (name,), (0, self._step), figures, {"dtype": lost.dtype})
