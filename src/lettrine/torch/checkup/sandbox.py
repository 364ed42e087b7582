"""Restores everything an experiment may change, bit by bit: also after an exception, also after Ctrl-C.

The user's values are never overwritten. On entry every tensor gets a working copy of its values, and the original values are
kept aside. On exit the tensor points to the originals again. The optimiser's state is handled in the same way. Random generators
are the exception: their state is saved and set back.
"""

from __future__ import annotations

import random
import signal
import threading
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lettrine.torch.checkup.reach import Reached, reach
from lettrine.torch.devices import random_states


@contextmanager
def sandbox(*roots: Any) -> Iterator[None]:
    """Let the block change models, optimisers and everything else the roots reach, and restore it on exit.

    Restored bit by bit: values of parameters, buffers and tensor attributes, gradients, requires_grad flags, attributes and
    hooks of modules, train and eval modes, the optimiser's state and settings, and the state of the random generators of torch
    (processor and accelerator), numpy and Python, and of generators the roots hold. Iterators among the roots are used up.
    """
    held = _Held(reach(*roots))
    with random_restored(*held.reached.generators):
        try:
            held.open()
            yield
        finally:
            with uninterrupted():
                held.put_back()


class _Held:
    """The original values."""

    def __init__(self, reached: Reached) -> None:
        self.reached = reached
        self.attributes = [(each, dict(vars(each))) for each in reached.objects]
        self.contents = [(each, _shallow(each)) for each in reached.containers]
        self.cells = [(each, each.cell_contents) for each in reached.cells]
        self.stored = [(names, name, names[name]) for names, name in reached.stored]
        self.optimisers = [(each, dict(vars(each))) for each in reached.optimisers]
        leaves = [each for each in reached.tensors if each.is_leaf and not each.is_inference()]
        self.leaves = [(each, each.data, each.grad, each.requires_grad, each._version) for each in leaves]  # noqa: SLF001
        # A state carried along with its graph, or made in inference mode, cannot be pointed to other values.
        self.others = [(each, each.detach().clone()) for each in reached.tensors if not each.is_leaf or each.is_inference()]

    def open(self) -> None:
        """Give every tensor a working copy."""
        for tensor, data, gradient, _, _ in self.leaves:
            tensor.data = data.clone()
            if gradient is not None:
                tensor.grad = None
        for optimiser, own in self.optimisers:
            optimiser.state = defaultdict(dict, {key: copied(each) for key, each in own["state"].items()})
            optimiser.param_groups = [
                {key: each if key == "params" else copied(each) for key, each in group.items()} for group in own["param_groups"]
            ]
        for module in self.reached.modules:
            if isinstance(module, nn.RNNBase) and any(each.is_cuda for each in module.parameters(recurse=False)):
                module.flatten_parameters()

    def put_back(self) -> None:
        """Point everything to its original values."""
        for each, own in self.attributes:
            if _differs(vars(each), own):
                vars(each).clear()
                vars(each).update(own)
        for cell, value in self.cells:
            cell.cell_contents = value
        for names, name, value in self.stored:
            names[name] = value
        for container, content in self.contents:
            _refill(container, content)
        for optimiser, own in self.optimisers:
            vars(optimiser).clear()
            vars(optimiser).update(own)
        for tensor, data, gradient, wanted, version in self.leaves:
            tensor.grad = None  # a gradient left by an experiment may have another type than the values
            tensor.data = data
            tensor.requires_grad_(wanted)
            tensor.grad = gradient
            _set_version(tensor, version)
        for tensor, value in self.others:
            if not same_bits(tensor.detach(), value):
                with torch.inference_mode(mode=tensor.is_inference()), torch.no_grad():
                    tensor.detach().copy_(value)


@contextmanager
def random_restored(*generators: Any) -> Iterator[None]:
    """On exit, set the global generators and the given ones back to their state on entry."""
    restore, states = random_states(), (random.getstate(), np.random.get_state())  # noqa: NPY002  modules may draw from it
    own = [(each, _state_of(each)) for each in generators]
    try:
        yield
    finally:
        with uninterrupted():
            restore()
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
            for each, state in own:
                _set_state(each, state)


def seeded(seed: int) -> None:
    """Start every global generator from one number; only inside a sandbox, which sets them back."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back until the block is done, then let it through."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[Any] = []
    before = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, lambda *given: came.append(given))
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came and callable(before):
            before(*came[0])


def same_bits(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors hold the same bytes; NaN equals itself."""
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    if not first.dtype.is_floating_point:
        return bool(torch.equal(first, second))
    return bool(((first == second) | (first.isnan() & second.isnan())).all())


def copied(value: Any) -> Any:
    """A copy of anything an optimiser keeps: tensors, numbers, lists and mappings of them."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: copied(each) for key, each in value.items()}
    return [copied(each) for each in value] if isinstance(value, list) else value


def _shallow(container: Any) -> Any:
    return dict(container) if isinstance(container, dict) else list(container)


def _differs(now: dict[Any, Any], then: dict[Any, Any]) -> bool:
    return len(now) != len(then) or any(a is not b or now[a] is not then[b] for a, b in zip(now, then, strict=True))


def _refill(container: Any, content: Any) -> None:
    if isinstance(container, dict):
        if _differs(container, content):
            container.clear()
            container.update(content)
    elif len(container) != len(content) or any(a is not b for a, b in zip(container, content, strict=True)):
        container.clear()
        if isinstance(container, list | deque):
            container.extend(content)
        else:
            container.update(content)


def _state_of(generator: Any) -> Any:
    if isinstance(generator, torch.Generator | np.random.RandomState):
        return generator.get_state()
    return generator.getstate() if isinstance(generator, random.Random) else generator.bit_generator.state


def _set_state(generator: Any, state: Any) -> None:
    if isinstance(generator, torch.Generator | np.random.RandomState):
        generator.set_state(state)
    elif isinstance(generator, random.Random):
        generator.setstate(state)
    else:
        generator.bit_generator.state = state


def _set_version(tensor: Tensor, version: int) -> None:
    """Set a tensor's version: a user's graph that still waits for its backward pass must not detect a write to its tensors."""
    setter = getattr(torch._C._autograd, "_unsafe_set_version_counter", None)  # noqa: SLF001  no public way
    if setter is not None and tensor._version != version:  # noqa: SLF001
        setter((tensor,), (version,))
