"""Which parts of a model the user calls, if the model is not called as a whole.

The training step of a Lightning module calls `self.net(x)`; a loop may call `model.encode` and `model.decode`. Then the modules
that are called from outside stand for the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from lettrine.torch.capture.outputs import Hook
from lettrine.torch.private import recomputing, transformed


class Entrances:
    """Notes, during the first step, which modules are called from outside. roots: the modules that stand for the model until
    then.
    """

    def __init__(self, model: nn.Module, roots: Sequence[nn.Module]) -> None:
        self._model, self._roots = model, roots
        self._handles: list[Any] = []
        self._inside: list[nn.Module] = []  # running calls, the outermost first
        self._called: dict[nn.Module, None] = {}

    def listen(self) -> None:
        """Begin."""
        for module in self._model.modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue  # takes no hooks
            self._handles.append(module.register_forward_pre_hook(Hook(self._enter)))
            self._handles.append(module.register_forward_hook(Hook(self._leave), always_call=True))

    def close(self) -> None:
        """End."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def found(self) -> list[nn.Module]:
        """The modules that were called from outside, in order; none if a root was called. Later calls of this return none."""
        called = [] if any(root in self._called for root in self._roots) else list(self._called)
        self.close()
        self._called.clear()
        return called

    def _enter(self, module: nn.Module, *_: Any) -> None:
        if not self._inside and torch.is_grad_enabled() and not recomputing() and not transformed():
            self._called[module] = None
        self._inside.append(module)

    def _leave(self, module: nn.Module, *_: Any) -> None:
        while self._inside and self._inside.pop() is not module:
            pass  # calls that ended with an exception
