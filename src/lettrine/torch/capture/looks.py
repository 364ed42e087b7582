"""Looking at a step whole: what the model was given, what it returned, which functions were called, and the loss with its graph,
just before the backward pass takes it apart.

Readers make evidence of a look. A reader is a class, made anew for each watch, so that it can compare one look with the next:

    @reader
    class Broadcast:
        def look(self, look: Look) -> Iterable[Evidence]: ...   # once a look
        def finish(self) -> Iterable[Evidence]: ...             # whenever a trace is made
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lettrine.health.evidence import Evidence
from lettrine.health.recorder import Recorder
from lettrine.torch.capture.catalogue import named_modules
from lettrine.torch.capture.functions import FunctionCall, FunctionNotes
from lettrine.torch.capture.guard import Guard
from lettrine.torch.capture.taps import Listener, recomputing, transformed

FIRST: Final = 4  # sampled steps of a run that are all looked at; later ones where histograms are taken too
PASSES: Final = 4  # backward passes of one step that are looked at: with gradient accumulation they are alike


@dataclass(frozen=True)
class RootCall:
    """One call of the watched model, or of its parts where the model itself is only their container. name: as reports give it."""

    name: str
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The tensors among what it was given."""
        return tuple(each for each in (*self.args, *self.kwargs.values()) if isinstance(each, Tensor))


@dataclass(frozen=True)
class Look:
    """One backward pass of a step, and what led to it.

    loss: what `backward` was called on, perhaps scaled or divided; None where it was not seen. Its graph still holds its tensors.
    roots: the calls of the model since the last backward pass. calls: the functions called since then, in order.
    """

    step: int
    model: nn.Module
    optimisers: Sequence[Optimizer]
    roots: tuple[RootCall, ...]
    calls: tuple[FunctionCall, ...]
    loss: Tensor | None

    @property
    def outside(self) -> tuple[FunctionCall, ...]:
        """The functions called outside of all watched modules: what made the loss of the model's outputs."""
        return tuple(call for call in self.calls if not call.where)


class Reader(Protocol):
    """Makes evidence of looks."""

    def look(self, look: Look) -> Iterable[Evidence]:
        """What this look shows."""
        ...

    def finish(self) -> Iterable[Evidence]:
        """What all looks so far show together."""
        ...


READERS: Final[list[type[Reader]]] = []
R = TypeVar("R", bound=type[Reader])


def reader(cls: R) -> R:
    """Make a reader known; use it as a decorator. Its module has to be imported in `lettrine.torch.graph`."""
    READERS.append(cls)
    return cls


class Looker:
    """Looks at some of the sampled steps of one watch."""

    def __init__(self, model: nn.Module, optimisers: Sequence[Optimizer], recorder: Recorder, guard: Guard) -> None:
        self._model, self._optimisers = model, optimisers
        self._recorder, self._guard = recorder, guard
        self._roots = list(model.children()) if type(model).forward is nn.Module.forward else [model]
        names = {module: name for name, module in named_modules(model)}
        self._notes = FunctionNotes(names, partial(guard, self._backward))
        self._names = names
        self._readers = [each() for each in READERS]
        self._handles: list[Any] = []
        self._called: list[RootCall] = []
        self._step = -1
        self._looked = self._passes = 0

    @property
    def looking(self) -> bool:
        """Whether the step that is being sampled is looked at."""
        return bool(self._handles)

    def arm(self, step: int, *, detail: bool) -> None:
        """A sampled step begins."""
        self.disarm()
        if not (self._looked < FIRST or detail) or _delicate(self._model):
            return
        self._step, self._passes = step, 0
        for root in self._roots:
            self._handles.append(root.register_forward_pre_hook(Listener(self._begin)))
            self._handles.append(root.register_forward_hook(Listener(self._end_call), with_kwargs=True))

    def again(self) -> None:
        """Look at the next sampled steps whatever the schedule says: something has happened."""
        self._looked = 0

    def pause(self) -> None:
        """An optimiser is about to step: what it calls is not ours."""
        if self._notes.open and self._called:
            self._guard(self._backward, None)  # torch.autograd.backward, or a loss that another tool took over
        self._notes.end()
        self._notes.forget()
        self._called.clear()

    def disarm(self) -> None:
        """The step is over."""
        self.pause()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def finish(self) -> None:
        """Note what all looks so far show together."""
        for each in self._readers:
            for evidence in each.finish():
                self._recorder.note_evidence(evidence)

    def _begin(self, *_: Any) -> None:
        if torch.is_grad_enabled() and not recomputing() and not transformed() and self._passes < PASSES:
            self._notes.begin()

    def _end_call(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if self._notes.open:
            self._called.append(RootCall(self._names.get(module, ""), module, args, kwargs, output))

    def _backward(self, loss: Tensor | None) -> None:
        if not self._called or self._passes >= PASSES:
            return
        self._passes += 1
        self._looked += self._passes == 1
        look = Look(self._step, self._model, self._optimisers, tuple(self._called), tuple(self._notes.calls), loss)
        self._called.clear()
        self._notes.forget()
        with torch.no_grad():
            for each in self._readers:
                self._guard(self._read, each.look, look)

    def _read(self, read: Callable[[Look], Iterable[Evidence]], look: Look) -> None:
        for evidence in read(look):
            self._recorder.note_evidence(evidence)


def _delicate(model: nn.Module) -> bool:
    """Whether functions must not be noted: where something is compiled, Dynamo would compile it anew for our mode; attention in
    eval mode takes another path with other rounding while any mode stands.
    """
    return any(
        getattr(module, "_compiled_call_impl", None) is not None
        or type(module).__name__ == "OptimizedModule"
        or (isinstance(module, nn.MultiheadAttention | nn.TransformerEncoderLayer) and not module.training)
        for module in model.modules()
    )
