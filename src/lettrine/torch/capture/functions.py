"""Which functions of torch were called between the model's call and the backward pass, with what, and inside which module.

Modules and the graph alone do not tell it: a loss that broadcasts, a softmax over the batch, a mask, targets. On the few steps
that are looked at, a `TorchFunctionMode` notes calls as they pass; it changes none and computes nothing of its own.

The mode stands from the first call of the model in such a step until the loss's `backward` is called or the optimiser steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

INSIDE: Final = frozenset(
    """softmax log_softmax softmin gumbel_softmax scaled_dot_product_attention multi_head_attention_forward masked_fill
    masked_fill_ dropout dropout_ dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout bernoulli bernoulli_ embedding
    embedding_bag batch_norm instance_norm sqrt log log2 log10 log1p pow div true_divide reciprocal rsqrt exp norm relu sigmoid
    tanh mse_loss l1_loss smooth_l1_loss huber_loss cross_entropy nll_loss binary_cross_entropy binary_cross_entropy_with_logits
    kl_div""".split()  # noqa: SIM905  a list of words is read more easily
)
"""Names of functions noted inside the watched modules. Outside of them, where the loss is made, all are."""
OURS: Final = frozenset(
    """__get__ __set__ is_floating_point numel dim size item tolist numpy cpu detach empty copy_ retain_grad
    register_hook""".split()  # noqa: SIM905
)
"""What says nothing of a loss, or what the capture itself calls while it copies outputs."""
MOST: Final = 4_000  # calls noted in one step: a loop written out in Python makes no end of them


@dataclass(frozen=True)
class FunctionCall:
    """One call. name: of the function, such as "softmax". where: qualified name of the innermost watched module in which it was
    called; "" outside of them. args, kwargs, result: the very objects, so to be let go when the step has been looked at.
    """

    name: str
    where: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    result: Any

    def given(self, place: int, name: str, default: Any = None) -> Any:
        """An argument by its place or its name."""
        return self.args[place] if place < len(self.args) else self.kwargs.get(name, default)


class FunctionNotes:
    """Calls of one step and of one watch. before_backward: called with the loss, just before its backward pass begins."""

    def __init__(self, names: Mapping[nn.Module, str], before_backward: Callable[[Tensor], None]) -> None:
        self._names = names
        self._before_backward = before_backward
        self._inside: list[str] = []
        self._handles: list[Any] = []
        self.calls: list[FunctionCall] = []
        self.open = False

    def begin(self) -> None:
        """Note from now on."""
        if self.open:
            return
        self.open = True
        enter, leave = nn.modules.module.register_module_forward_pre_hook, nn.modules.module.register_module_forward_hook
        self._handles = [enter(self._enter), leave(self._leave, always_call=True)]
        _MODE.add(self)

    def end(self) -> None:
        """Note nothing more."""
        if not self.open:
            return
        self.open = False
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._inside.clear()
        _MODE.remove(self)

    def forget(self) -> None:
        """Let go of everything that was noted."""
        self.calls.clear()

    def note(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        """One call has been made."""
        where = self._inside[-1] if self._inside else ""
        if (not where or name in INSIDE) and len(self.calls) < MOST:
            self.calls.append(FunctionCall(name, where, args, kwargs, result))

    def backward(self, loss: Tensor) -> None:
        """A backward pass is about to begin."""
        self._before_backward(loss)

    def _enter(self, module: nn.Module, _: Any) -> None:
        name = self._names.get(module)
        if name is not None:
            self._inside.append(name or "model")

    def _leave(self, module: nn.Module, *_: Any) -> None:
        if self._inside and module in self._names:
            self._inside.pop()


class _Mode(TorchFunctionMode):
    """One for all watches of the process; it stands on torch's stack of modes while any of them notes."""

    def __init__(self) -> None:
        super().__init__()
        self.listeners: list[FunctionNotes] = []

    def add(self, notes: FunctionNotes) -> None:
        self.listeners.append(notes)
        if len(self.listeners) == 1:
            torch._C._push_on_torch_function_stack(self)  # noqa: SLF001

    def remove(self, notes: FunctionNotes) -> None:
        if notes in self.listeners:
            self.listeners.remove(notes)
            if not self.listeners:
                _take_off(self)

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is _BACKWARD:
            for notes in tuple(self.listeners):
                with suppress(Exception):  # the callback is guarded; nothing may reach the user's training
                    notes.backward(args[0])
            return func(*args, **kwargs)
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name not in OURS:
            for notes in self.listeners:
                notes.note(name, tuple(args), kwargs, result)
        return result


_BACKWARD: Final[Any] = Tensor.backward
_MODE: Final = _Mode()


def _take_off(mode: TorchFunctionMode) -> None:
    """Take a mode off torch's stack, wherever in it the user's own modes have left it."""
    above: list[Any] = []
    while torch._C._len_torch_function_stack() > 0:  # noqa: SLF001  only the topmost can be taken off by public names
        top = torch._C._pop_torch_function_stack()  # noqa: SLF001
        if top is mode:
            break
        above.append(top)
    for each in reversed(above):
        torch._C._push_on_torch_function_stack(each)  # noqa: SLF001
