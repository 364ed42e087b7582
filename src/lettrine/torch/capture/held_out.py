"""Looking at passes on held-out data: the model in eval mode, without gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import nn

from lettrine.torch.capture.functions import FunctionNotes
from lettrine.torch.capture.outputs import Listener
from lettrine.torch.private import compiles, transformed

HELD_OUT: Final = 2  # passes in eval mode that are looked at


class HeldOut:
    """Looks at the first passes of the model in eval mode without gradients: those between two sampled steps and, once the user
    has handed over a held-out loss, the next that come.

    roots: the modules the user calls. names: of all modules. met: is called with what a root was called with, what it returned,
    and the functions and modules that were called in it. wanted: such a loss was handed over.
    """

    def __init__(self, roots: Sequence[nn.Module], names: Mapping[nn.Module, str], met: Callable[..., None]) -> None:
        self._roots, self._met = roots, met
        self._notes = FunctionNotes(names, lambda _: None)
        self._handles: list[Any] = []
        self._looked = 0
        self.wanted = False

    def wait(self, *, go_on: bool) -> None:
        """Begin to wait, or stop."""
        if not go_on:
            self._notes.end()
            self._notes.forget()
            for handle in self._handles:
                handle.remove()
            self._handles.clear()
        elif not self._handles and self._looked < HELD_OUT:
            for root in self._roots:
                self._handles.append(root.register_forward_pre_hook(Listener(self._begin)))
                self._handles.append(root.register_forward_hook(Listener(self._end), with_kwargs=True, always_call=True))

    def _begin(self, module: nn.Module, *_: Any) -> None:
        if torch.is_grad_enabled() or module.training or self._notes.open or transformed() or delicate(module):
            return
        self._notes.begin(module)
        self._notes.root = 0

    def _end(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if not self._notes.open:
            return
        self._notes.end()
        noted = tuple(self._notes.calls), tuple(self._notes.modules)
        self._notes.forget()
        if output is not None:
            self._looked += 1
            self._met(module, args, kwargs, output, *noted)
        if self._looked >= HELD_OUT:
            self.wait(go_on=False)


def delicate(model: nn.Module) -> bool:
    """Whether functions must not be noted: where something is compiled, Dynamo would compile it anew for our mode; attention in
    eval mode takes another path with other rounding while any mode stands.
    """
    return compiles() or any(
        getattr(module, "_compiled_call_impl", None) is not None
        or type(module).__name__ == "OptimizedModule"
        or (isinstance(module, nn.MultiheadAttention | nn.TransformerEncoderLayer) and not module.training)
        for module in model.modules()
    )
