"""Looks at passes on held-out data: the model in eval mode, without gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import nn

from lettrine.torch.capture.functions import INSIDE, STATISTICS, FunctionNotes
from lettrine.torch.capture.outputs import Hook
from lettrine.torch.private import BATCH_NORM, DROPOUT, compiles, transformed

HELD_OUT: Final = 2  # passes in eval mode that are looked at
EVALUATIONS: Final = 3  # before so many held-out losses the mode of the passes is noted


class HeldOut:
    """Looks at the first HELD_OUT passes of the model in eval mode without gradients: those between two sampled steps and, after
    the user has handed over a held-out loss, the next ones. At the first EVALUATIONS held-out losses it also notes whether the
    model was in training mode in the passes before.

    roots: the modules that the user calls. names: of all modules. met: called with the arguments and the output of a root, and
    the functions and modules called in it. judged: called with the number of evaluations in training mode, and with the number
    of all evaluations. wanted: whether a held-out loss was handed over.
    """

    def __init__(
        self,
        roots: Sequence[nn.Module],
        names: Mapping[nn.Module, str],
        met: Callable[..., None],
        judged: Callable[[int, int], None],
    ) -> None:
        self._roots, self._met, self._judged = roots, met, judged
        self._notes = FunctionNotes(names, lambda *_: None, INSIDE | STATISTICS)
        self._handles: list[Any] = []
        self._looked = 0
        self._modes: set[bool] = set()  # of the model, in passes without gradients since the last evaluation
        self._trained = self._evaluations = 0
        self.wanted = False

    def evaluated(self) -> None:
        """A loss on held-out data is handed over."""
        if self.wanted and self._modes and self._evaluations < EVALUATIONS:
            self._evaluations += 1
            self._trained += self._modes == {True}
            self._judged(self._trained, self._evaluations)
        self.wanted = True
        self._modes.clear()
        self.wait(go_on=True)

    def wait(self, *, go_on: bool) -> None:
        """Begin to wait, or stop."""
        if not go_on:
            self._notes.end()
            self._notes.forget()
            for handle in self._handles:
                handle.remove()
            self._handles.clear()
        elif not self._handles and self._looked < HELD_OUT and self._evaluations < EVALUATIONS:
            for root in self._roots:
                self._handles.append(root.register_forward_pre_hook(Hook(self._begin)))
                self._handles.append(root.register_forward_hook(Hook(self._end), with_kwargs=True, always_call=True))

    def _begin(self, module: nn.Module, *_: Any) -> None:
        if torch.is_grad_enabled() or transformed():
            return
        self._modes.add(module.training)
        if module.training or self._notes.open or delicate(module):
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


def differs(module: nn.Module) -> bool:
    """Whether a module computes something else in training mode than in eval mode."""
    if isinstance(module, BATCH_NORM):
        return bool(module.track_running_stats)
    rate = getattr(module, "p", 0.0) if isinstance(module, DROPOUT) else getattr(module, "dropout", 0.0)
    return isinstance(module, DROPOUT | nn.RNNBase | nn.MultiheadAttention) and float(rate) > 0


def delicate(model: nn.Module) -> bool:
    """Whether functions must not be noted. If something is compiled, Dynamo would compile it again because of our mode. Attention
    in eval mode uses another kernel, with other rounding, while any mode is on the stack.
    """
    return compiles() or any(
        getattr(module, "_compiled_call_impl", None) is not None
        or type(module).__name__ == "OptimizedModule"
        or (isinstance(module, nn.MultiheadAttention | nn.TransformerEncoderLayer) and not module.training)
        for module in model.modules()
    )
