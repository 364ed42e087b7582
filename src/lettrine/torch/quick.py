"""The hook of a module whose output need not be copied at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lettrine.torch.taps import Call, Listener, Tap

_graph_task = torch._C._current_graph_task_id  # noqa: SLF001  see `recomputing`
_level = torch._C._functorch.maybe_current_level  # noqa: SLF001  inside a function transform; no public way to ask
_grad_enabled = torch.is_grad_enabled


class QuickListener(Listener):
    """The forward hook of a module whose output can be held: the common case in as few operations as can be."""

    __slots__ = ("_append", "_call", "_shape", "_tap")

    def __init__(self, tap: Tap, held: list[Call], otherwise: Callable[..., None]) -> None:
        super().__init__(otherwise)
        self._tap, self._call, self._shape, self._append = tap, tap.calls[0], tap.steady, held.append

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """A module has been called."""
        tap = self._tap
        if (
            type(output) is not Tensor
            or tap.used
            or output.shape != self._shape
            or tap.steady is not self._shape  # this hook is out of date
            or output.is_leaf
            or output.retains_grad  # the user wants it: not ours to clear
            or _graph_task() != -1
            or _level() is not None
            or not _grad_enabled()
        ):
            self._function(module, args, output)
            return
        output.retain_grad()
        call = self._call
        call.arrived, call.quick, call.tensor, call.version = False, True, output, output._version  # noqa: SLF001  changes in place
        tap.used = 1
        self._append(call)
