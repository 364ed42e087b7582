"""Compiled training steps: our hooks stay out of what Dynamo traces, and the watch learns that it cannot hear what is compiled.

When a compiled function is first called, Dynamo traces each module together with its hooks. A hook of ours that is traced does
nothing but count: it calls `note_traced`, which Dynamo runs while it traces. So all watches learn that something was compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import nn

from lettrine.torch.capture.catalogue import is_compiled

_TRACED: Final = [0]  # how often a hook of ours has been traced in this process


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]  # torch does not type it
def note_traced() -> int:
    """Dynamo is tracing a hook of ours."""
    _TRACED[0] += 1
    return 0


def times_traced() -> int:
    """How often a hook of ours has been traced in this process. If the number grows, something that is watched was compiled."""
    return _TRACED[0]


def untraced(hook: Callable[..., Any]) -> Callable[..., Any]:
    """A hook that does nothing where Dynamo traces it."""

    def called(*args: Any) -> Any:
        if torch.compiler.is_compiling():
            note_traced()
            return None
        return hook(*args)

    return called


class Hearing:
    """What can be heard of a training in which something is compiled.

    step_heard: an optimiser's step was heard outside of compiled code. Until then it may be one that Dynamo compiles.
    step_compiled: the step is compiled as a whole: neither modules nor steps are heard, and each loss handed over is one step.
    model_compiled: the model is compiled and the step is not. Its modules get no hooks: Dynamo would only compile them again.
    """

    def __init__(self, model: nn.Module) -> None:
        self.step_heard = self.step_compiled = False
        self.model_compiled = is_compiled(model)
        self._traced = times_traced()
        self._unheard = 0  # losses handed over since something was traced, and before a step was heard

    @property
    def compiled(self) -> str:
        """What is compiled, so that it is not heard: "step", "model", or "" for nothing."""
        return "step" if self.step_compiled else "model" if self.model_compiled else ""

    def hear_step(self) -> bool:
        """A step is made outside of compiled code. Returns whether it is the first."""
        first = not self.step_heard
        if first:
            self.step_heard, self.step_compiled = True, False
        return first

    def hear_loss(self) -> bool:
        """A loss was handed over. Returns whether it is the second since something was traced, and no step could be heard: then
        the step is compiled.
        """
        if self.step_heard or times_traced() <= self._traced:
            return False
        self._unheard += 1
        self.step_compiled = self._unheard == 2
        return self.step_compiled

    def end_step(self, *, called: bool) -> None:
        """A sampled step is over. called: whether the model was heard in it."""
        if self.step_heard and times_traced() > self._traced:
            self.model_compiled = self.model_compiled or not called
            self._traced = times_traced()
