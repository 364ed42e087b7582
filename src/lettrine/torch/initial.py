"""`health.check_initial`: is a network ready to be trained? One forward and one backward pass, and nothing left behind."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lettrine.arguments import checked
from lettrine.errors import HealthError
from lettrine.health.findings import Report
from lettrine.torch.capture.catalogue import unwrapped
from lettrine.torch.devices import random_states
from lettrine.torch.watching.watch import Watch


@checked
def check_initial(model: nn.Module, batch: tuple[Any, Any], loss_fn: Callable[[Any, Any], Tensor], *, classes: int = 0) -> Report:
    """Examine an untrained model on one batch.

    batch: inputs and targets. The inputs are a tensor, a tuple of positional or a mapping of named arguments.
    loss_fn: called as loss_fn(model(inputs), targets); it returns one number. classes: the number of classes, if the loss itself
    does not show it.

    The model is examined in training mode. Afterwards weights, buffers, gradients, modes and random generators are as before,
    bit by bit, also after an exception.

    Raises HealthError for a compiled model, a lazy module that was never called, or a loss of several values.
    """
    unwrapped(model)  # raises for a model without parts that can be seen
    watch = Watch(model, None, every=1, classes=classes)
    for name, parameter in model.named_parameters():
        if isinstance(parameter, nn.UninitializedParameter):
            raise HealthError(f"check_initial got {name}, which has no shape yet; call the model once, then check it")
    inputs, targets = batch
    with restored(model, loss_fn, inputs), torch.enable_grad():
        model.train()
        with watch:
            if isinstance(inputs, Mapping):
                output = model(**inputs)
            else:
                output = model(*inputs) if isinstance(inputs, tuple) else model(inputs)
            loss = loss_fn(output, targets)
            if not isinstance(loss, Tensor) or loss.numel() != 1:
                found = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"type {type(loss).__name__}"
                raise HealthError(f"check_initial got a loss of {found}; expected one number, such as the mean over the batch")
            watch.loss(loss)
            if loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
            watch.examined()
    return replace(watch.report(), unjudged=())  # only the beginning was asked for


@contextmanager
def restored(*things: Any) -> Iterator[None]:
    """On leaving, restore all that a forward and a backward pass may change: modules, tensors and random generators."""
    modules = [module for thing in things if isinstance(thing, nn.Module) for module in thing.modules()]
    tensors: list[Tensor] = [parameter for module in modules for parameter in module.parameters(recurse=False)]
    tensors += [tensor for thing in things for tensor in _leaves(thing)]
    buffers = [(module, dict(module._buffers)) for module in modules]  # noqa: SLF001  a module may put new tensors in their place
    held = [*tensors, *(buffer for _, own in buffers for buffer in own.values() if buffer is not None)]
    values = [(tensor, tensor.detach().clone()) for tensor in held]
    gradients = [(tensor, tensor.grad) for tensor in tensors]
    modes = [(module, module.training) for module in modules]
    restore = random_states()
    others = random.getstate(), np.random.get_state()  # noqa: NPY002  the global generator a module may draw from
    for tensor in tensors:
        tensor.grad = None
    try:
        yield
    finally:
        for module, own in buffers:
            module._buffers.clear()  # noqa: SLF001
            module._buffers.update(own)  # noqa: SLF001
        with torch.no_grad():
            for tensor, value in values:
                tensor.copy_(value)
        for tensor, gradient in gradients:
            tensor.grad = gradient
        for module, mode in modes:
            module.training = mode
        restore()
        random.setstate(others[0])
        np.random.set_state(others[1])  # noqa: NPY002


def _leaves(value: Any) -> list[Tensor]:
    """Tensors in the inputs that would get a gradient."""
    if isinstance(value, Tensor):
        return [value] if value.requires_grad and value.is_leaf else []
    entries = list(value.values()) if isinstance(value, Mapping) else value if isinstance(value, tuple | list) else []
    return [tensor for entry in entries for tensor in _leaves(entry)]
