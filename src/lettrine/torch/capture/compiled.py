"""Compiled training steps: Dynamo does not trace what our hooks do, and the watch learns that compiled parts cannot be seen.

At the first call of a compiled function, Dynamo traces each module together with its hooks. A traced hook of ours only counts: it
calls `note_traced`, which Dynamo runs during tracing. So all watches learn that something was compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar

import torch
from torch import nn

from lettrine.torch.capture.catalogue import is_compiled
from lettrine.torch.capture.graphs import times_captured
from lettrine.torch.private import apart, forced_eager

T = TypeVar("T")

_TRACED: Final = [0]  # how many times hooks of ours were traced in this process


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]  # torch does not type it
def note_traced() -> int:
    """Dynamo is tracing a hook of ours."""
    _TRACED[0] += 1
    return 0


def times_traced() -> int:
    """How many times hooks of ours were traced in this process. If it grows, something that is watched was compiled."""
    return _TRACED[0]


def outside(function: Callable[..., T]) -> Callable[..., T]:
    """A function of ours that the user may call in what is compiled: Dynamo then ends its graph there and calls it as it is."""
    as_it_is = apart(function)

    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> T:
        return as_it_is(*args, **kwargs) if torch.compiler.is_compiling() else function(*args, **kwargs)

    return called


def untraced(hook: Callable[..., Any]) -> Callable[..., Any]:
    """A hook that does nothing while Dynamo traces it."""

    def called(*args: Any) -> Any:
        if torch.compiler.is_compiling():
            note_traced()
            return None
        return hook(*args)

    return called


class Visible:
    """What can be seen of a training in which something is compiled.

    step_seen: a step of an optimiser was seen outside of compiled code. Before that, Dynamo may be compiling the step.
    step_compiled: the whole step is compiled. Neither modules nor steps are seen, and each loss handed over counts as a step.
    model_compiled: the model is compiled and the step is not. Its modules get no hooks, or Dynamo would compile them again.
    """

    def __init__(self, model: nn.Module) -> None:
        self.step_seen = self.step_compiled = False
        self.model_compiled = is_compiled(model) and not forced_eager()
        self._traced = times_traced()
        self._captured = times_captured()
        self._unseen = 0  # losses handed over after something was traced and before a step was seen

    @property
    def compiled(self) -> str:
        """What is compiled and so cannot be seen: "step", "model", or "" for nothing."""
        return "step" if self.step_compiled else "model" if self.model_compiled else ""

    @property
    def captured(self) -> bool:
        """Whether a CUDA graph was captured."""
        return times_captured() > self._captured

    @property
    def blind(self) -> bool:
        """Whether something that is watched was compiled, and no step was seen."""
        return not self.step_seen and (self.model_compiled or times_traced() > self._traced)

    def give_up(self) -> None:
        """The watch is over, or asked for its report, and there was neither a step nor two losses."""
        self.step_compiled = True

    def see_step(self) -> bool:
        """A step was made outside of compiled code. Returns whether it is the first."""
        first = not self.step_seen
        if first:
            self.step_seen, self.step_compiled = True, False
        return first

    def see_loss(self) -> bool:
        """A loss was handed over. Returns whether the step is compiled: two losses came after something was traced, and no step
        was seen.
        """
        if self.step_seen or times_traced() <= self._traced:
            return False
        self._unseen += 1
        self.step_compiled = self._unseen == 2
        return self.step_compiled

    def end_step(self, *, called: bool) -> None:
        """A sampled step is over. called: whether a call of the model was seen in it."""
        if self.step_seen and times_traced() > self._traced:
            self.model_compiled = self.model_compiled or not called
            self._traced = times_traced()
