"""Captures: the places of a network where values are copied, and the copies of one sampled step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Final

import numpy as np
from torch import Tensor, nn
from torch.compiler import is_compiling

from lettrine.health.measure import OutputArrays, norm
from lettrine.health.parts import Values
from lettrine.health.trace import Floats, ModuleInfo
from lettrine.torch.capture.catalogue import CHANNELS_FIRST, UNITS_LAST
from lettrine.torch.capture.compiled import note_traced
from lettrine.torch.capture.copies import Copy, measurable
from lettrine.torch.capture.told import Running, told_of
from lettrine.torch.private import BATCH_NORM, exporting, version

CALLS: Final = 4  # calls of one module copied in a step; after these only the 5th, 9th, 17th …, which bounds the cost
BatchNorm: Final = BATCH_NORM


class Hook:
    """A hook. A copy or a pickle of the model has a function that does nothing in its place."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> None:
        """Call the function with the arguments of torch."""
        if not is_compiling():
            self._function(*args)
        elif not exporting():
            note_traced()

    def __reduce__(self) -> tuple[Any, ...]:
        # A method of the standard library that takes anything and returns None. So the pickle loads without lettrine.
        return getattr, (nullcontext(), "__exit__")


class OutputCall:
    """One call of a module: its output and, once it came, the gradient of that output.

    place: the number of the tensor among its node's outputs. whole: whether the output was held until its gradient came, and was
    not overwritten in place.
    """

    __slots__ = ("_tensor", "_version", "arrived", "capture", "gradient", "output", "place", "whole")

    def __init__(self, capture: OutputCapture) -> None:
        self.capture = capture
        self.output = Copy(rows=True)
        self.gradient = Copy(rows=True)  # whole rows: they show the targets, and are contiguous in memory
        self.place = 0
        self.arrived = False
        self.whole = False
        self._tensor: Tensor | None = None
        self._version = 0

    def hold(self, tensor: Tensor) -> None:
        """Keep a copied output alive until `release`."""
        self._tensor, self._version = tensor, version(tensor)

    def release(self) -> None:
        """Free the output, and note whether it was overwritten."""
        self.whole = self._tensor is not None and version(self._tensor) == self._version
        self._tensor = None


class Root:
    """A module that the user calls: the model, or each of its children if it has no forward of its own."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.waiting = False  # called, and no gradient has come yet
        self.complete = False  # the call has returned
        self.output = ""  # the name of the module whose output it returns


class OutputCapture:
    """The output of a module, or of an activation that is called as a function and feeds a module (module None).

    axis: of the units. silent: it is not measured (a container whose output is that of its last child), and gets no more hooks.
    feed: the activation called as a function that feeds this module, and the path to it in the graph.
    lost: its output was overwritten after it was measured in place; from now on it is copied.
    logits: it makes the logits, whose gradients show the targets.
    """

    def __init__(self, name: str, module: nn.Module | None, root: Root) -> None:
        self.name = name
        self.module = module
        self.root = root
        self.info: ModuleInfo | None = None
        self.axis = -1
        self.silent = False
        self.feed: tuple[tuple[int, ...], OutputCapture] | None = None
        running = running_of(module)
        self.norm = NormCapture(module, running) if module is not None and running is not None else None
        self.calls: list[OutputCall] = []
        self.used = 0
        self.logits = False
        self.lost = False

    @property
    def activation(self) -> str:
        """The name in the table of `lettrine.activations`; "" for none."""
        return self.info.activation if self.info else ""

    @property
    def plain(self) -> bool:
        """Whether only the output of the module is measured, and its hook was never lost."""
        return not self.lost and self.feed is None and self.norm is None and self.module not in (None, self.root.module)

    @property
    def gradient_axis(self) -> int:
        """The axis along which gradients are copied as rows: that of the units if units matter, else the last one, whose values
        are contiguous in memory.
        """
        return self.axis if self.logits else -1

    def next_call(self) -> OutputCall | None:
        """Where one more call of this step is copied to; None if it is not copied."""
        number = self.used
        self.used += 1
        if number >= CALLS:
            if number & (number - 1):
                return None
            number = number.bit_length() + 1
        if number == len(self.calls):
            self.calls.append(OutputCall(self))
        call = self.calls[number]
        call.arrived = call.whole = False
        return call

    @property
    def made(self) -> list[OutputCall]:
        """The calls of this step that were copied."""
        return self.calls[: self.used if self.used <= CALLS else (self.used - 1).bit_length() + 2]

    def told(self) -> ModuleInfo | None:
        """The facts about it; if the units of its calls in this step differ, those of all calls together."""
        widths = [call.output.array.shape[1] for call in self.made]
        return replace(self.info, units=sum(widths)) if self.info and len(set(widths)) > 1 else self.info

    def outputs(self) -> OutputArrays:
        """The outputs of this step, all calls together."""
        tables = [call.output.array for call in self.made]
        if len(tables) == 1:
            return OutputArrays(tables[0], -1, self.activation)
        if len({table.shape[1] for table in tables}) > 1:  # the calls have different units: they are placed side by side
            most = max(len(table) for table in tables)  # a call of fewer examples is repeated, which does not change its units
            return OutputArrays(np.hstack([np.resize(table, (most, table.shape[1])) for table in tables]), -1, self.activation)
        return OutputArrays(np.concatenate(tables), -1, self.activation)

    def gradients(self, scale: float) -> Values | None:
        """The gradients of this step's outputs, all calls together, divided by the loss scale; None if none came."""
        arrays = [call.gradient.array for call in self.made if call.arrived]
        if not arrays:
            return None
        joined = arrays[0] if len(arrays) == 1 else np.concatenate([array.ravel() for array in arrays])
        return joined if scale == 1.0 else joined / joined.dtype.type(scale)

    def copies(self) -> list[Copy]:
        """All that may have to be fetched."""
        taken = [call.output for call in self.made] + [call.gradient for call in self.made if call.arrived]
        return taken + (self.norm.copies() if self.norm is not None else [])

    def forget(self) -> None:
        """Begin a new step."""
        for call in self.calls[: self.used]:
            call.release()
        self.used = 0
        if self.norm is not None:
            self.norm.called = False


class NormCapture:
    """The input of a batch norm: its statistics are compared with the running ones."""

    def __init__(self, module: nn.Module, running: Running) -> None:
        self._module, self._running = module, running
        self._own = Copy(rows=True)
        self._input = self._own
        self._mean, self._var = Copy(), Copy()
        self.called = False

    def take(self, args: tuple[Any, ...], copied: Copy | None) -> None:
        """Copy the input of a call in training mode, unless it was copied as another module's output, and the new running
        statistics.
        """
        if not self._module.training or not args or not isinstance(args[0], Tensor) or not measurable(args[0]):
            return
        mean, var = self._running.mean(), self._running.var()
        if not isinstance(mean, Tensor) or not isinstance(var, Tensor):
            return
        self._input = copied or self._own
        if copied is None:
            self._own.take(args[0], self._running.axis)
        self._mean.take(mean)
        self._var.take(var)
        self.called = True

    def copies(self) -> list[Copy]:
        """All that may have to be fetched."""
        return [self._input, self._mean, self._var] if self.called else []

    def stats(self) -> Floats | None:
        """A row of NORM_STATS."""
        if not self.called:
            return None
        table = self._input.array.astype(np.float64)
        if table.shape[0] < 2 or table.shape[1] != self._mean.array.size:
            return None
        return norm(self._mean.array, self._var.array, table.mean(axis=0), table.var(axis=0, ddof=1), self._running.eps)


def running_of(module: Any) -> Running | None:
    """The running statistics of a batch norm; None for another module."""
    if isinstance(module, BatchNorm):
        return Running(lambda: module.running_mean, lambda: module.running_var, float(module.eps), 1, module.momentum)
    return told_of(module).running


def main_tensor(output: Any) -> Tensor | None:
    """The tensor of a module's output that is measured: the logits of a mapping, else the first with axes, else the first
    scalar.
    """
    if isinstance(output, Tensor):
        return output if measurable(output) else None
    if isinstance(output, Mapping) and isinstance(logits := output.get("logits"), Tensor) and measurable(logits):
        return logits
    found: Tensor | None = None
    for tensor in tensors_in(output):
        if measurable(tensor):
            if tensor.ndim:
                return tensor
            found = tensor if found is None else found
    return found


def tensors_in(value: Any, depth: int = 0) -> list[Tensor]:
    """The tensors in the result of a module, which may be a tuple, a mapping or a dataclass of them."""
    if isinstance(value, Tensor):
        return [value]
    if depth > 4:
        return []
    if isinstance(value, Mapping):
        value = list(value.values())
    elif hasattr(value, "__dataclass_fields__"):
        value = list(vars(value).values())
    if isinstance(value, (list, tuple)):
        return [tensor for entry in value[:16] for tensor in tensors_in(entry, depth + 1)]
    return []


def unit_axis(module: nn.Module | None, tensor: Tensor, feeder: OutputCapture | None) -> int:
    """The axis of an output's units: that of the module, else of the module before it, else axis 1 of images, else the last."""
    if (told := told_of(module).axis) is not None:
        return told
    if isinstance(module, CHANNELS_FIRST) and tensor.ndim > 2:
        return 1
    if isinstance(module, UNITS_LAST) or tensor.ndim < 3:
        return -1
    if feeder is not None:
        return feeder.axis
    return 1 if tensor.ndim > 3 else -1


def grad_node(tensor: Tensor) -> Any:
    """The autograd node that made a tensor; None for data and parameters."""
    return tensor.grad_fn if tensor.requires_grad else None
