"""Looking at a step whole: what the model was given, what it returned, which functions were called, and the loss with its graph,
just before the backward pass takes it apart.

Readers make evidence of a look. A reader is a class, made anew for each watch, so that it can compare one look with the next:

    @reader
    class Broadcast:
        def look(self, look: Look) -> Iterable[Evidence]: ...   # once a look
        def finish(self) -> Iterable[Evidence]: ...             # whenever a trace is made

What it may have besides: `stepping(stepping)`, just before an optimiser steps in a step that is looked at; `held_out(look)`,
after the model was called in eval mode without gradients; `handed(step, loss)`, when the user hands over the loss of such a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from math import nan
from typing import Any, Final, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lettrine.health.evidence import Evidence
from lettrine.health.recorder import Recorder
from lettrine.torch.capture.catalogue import named_modules
from lettrine.torch.capture.functions import FunctionCall, FunctionNotes, ModuleCall
from lettrine.torch.capture.guard import Guard
from lettrine.torch.capture.taps import Listener, tensors_in
from lettrine.torch.graph.terms import Term, terms_of
from lettrine.torch.private import BATCH_NORM, DROPOUT, compiles, recomputing, transformed

FIRST: Final = 4  # sampled steps of a run that are all looked at; later ones where histograms are taken too
PASSES: Final = 4  # backward passes of one step that are looked at: with gradient accumulation they are alike
ROOTS: Final = 16  # calls of the model before a backward pass that are kept, the last ones; 1 in eval mode, where none may follow
SEARCHED: Final = 10_000  # nodes of the loss's graph searched for a parameter of the model
HELD_OUT: Final = 2  # passes in eval mode that are looked at
EVALUATIONS: Final = 3  # losses on held-out data of whose passes the mode is heard


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

    @property
    def outputs(self) -> list[Tensor]:
        """The tensors among what it returned."""
        return tensors_in(self.output)


@dataclass(frozen=True)
class Look:
    """One backward pass of a step, and what led to it; or one pass in eval mode.

    loss: what `backward` was called on, perhaps scaled or divided; None where it was not seen. Its graph still holds its tensors.
    roots: the calls of the model since the last backward pass. calls, modules: the functions and the watched modules called since
    then, in order; none where something is compiled. place: which backward pass it is since an optimiser last stepped, from 0.
    """

    step: int
    model: nn.Module
    optimisers: Sequence[Optimizer]
    roots: tuple[RootCall, ...]
    calls: tuple[FunctionCall, ...]
    loss: Tensor | None
    place: int = 0
    modules: tuple[ModuleCall, ...] = ()

    @property
    def outside(self) -> tuple[FunctionCall, ...]:
        """The functions called outside of all watched modules: what made the loss of the model's outputs."""
        return tuple(call for call in self.calls if not call.where)

    @cached_property
    def terms(self) -> list[Term]:
        """What the loss is made of; empty where it was not seen."""
        if self.loss is None or self.loss.grad_fn is None or not self.loss.is_floating_point():
            return []
        return terms_of(self.loss, self.calls, [each for root in self.roots for each in root.outputs])


@dataclass(frozen=True)
class Stepping:
    """An optimiser that is about to step. passes: backward passes since one last stepped. gradient_scale, output_scale: by what
    the gradients of parameters and of outputs are too large for a GradScaler, see `capture.scaling`. leftover: 1 where its
    backward passes began with gradients of an earlier step in place, 0 where not, NaN if unknown.
    """

    step: int
    model: nn.Module
    optimisers: Sequence[Optimizer]
    optimiser: Optimizer
    passes: int
    gradient_scale: float = 1.0
    output_scale: float = 1.0
    leftover: float = nan


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
    """Looks at some of the sampled steps of one watch.

    roots: the modules the user calls. names: of all modules.
    """

    def __init__(self, model: nn.Module, optimisers: Sequence[Optimizer], recorder: Recorder, guard: Guard) -> None:
        self._model, self._optimisers = model, optimisers
        self._recorder, self._guard = recorder, guard
        self.roots = list(model.children()) if type(model).forward is nn.Module.forward else [model]
        self.names = {module: name for name, module in named_modules(model)}
        self._notes = FunctionNotes(self.names, partial(guard, self._backward))
        self._readers = [each() for each in READERS]
        self._handles: list[Any] = []
        self._called: list[RootCall] = []
        self._depth = 0  # of the model's calls that go on
        self._waiting = False  # called, and no backward pass has begun
        self._training = True  # the mode of the model's last call
        self._noting = True  # functions, too
        self._step = self._before = -1
        self._looked = self._passes = self._since = 0
        self._held_out = HeldOut(self)

    @property
    def looking(self) -> bool:
        """Whether the step that is being sampled is looked at."""
        return bool(self._handles)

    def arm(self, step: int, *, detail: bool) -> None:
        """A sampled step begins."""
        self.disarm()
        self._held_out.wait(go_on=True)
        if not (self._looked < FIRST or detail):
            return
        self._before, self._step, self._passes, self._since = self._step, step, 0, 0
        self._noting = not _delicate(self._model)
        for root in self.roots:
            self._handles.append(root.register_forward_pre_hook(Listener(self._begin)))
            self._handles.append(root.register_forward_hook(Listener(self._end_call), with_kwargs=True, always_call=True))

    def again(self) -> None:
        """Look at the next sampled steps whatever the schedule says: something has happened."""
        self._looked = 0

    def pause(self) -> None:
        """An optimiser is about to step: what it calls is not ours."""
        if self._called and self._waiting:
            self._guard(self._backward, None)  # torch.autograd.backward, or a loss that another tool took over
        self._notes.end()
        self._notes.forget()
        self._called.clear()
        self._depth, self._waiting = 0, False

    def stepping(self, optimiser: Optimizer, scales: tuple[float, float], leftover: float) -> None:
        """It steps now. scales, leftover: as in `Stepping`."""
        if self.looking:
            self._ask("stepping", Stepping(self._step, self._model, self._optimisers, optimiser, self._since, *scales, leftover))
        self._since = 0

    def disarm(self) -> None:
        """The step is over."""
        self.pause()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._held_out.wait(go_on=self._held_out.wanted)

    def close(self) -> None:
        """Look no more."""
        self.disarm()
        self._held_out.wait(go_on=False)

    def handed(self, step: int, loss: Any) -> None:
        """The user hands over the loss of a step that was looked at."""
        if step in (self._step, self._before):  # before the optimiser's step, or after it
            self._ask("handed", step, loss)

    def evaluated(self) -> None:
        """The user hands over a loss on held-out data: the next such pass will be looked at."""
        self._held_out.evaluated()

    def finish(self) -> None:
        """Note what all looks so far show together."""
        self._ask("finish")

    def _begin(self, module: nn.Module, *_: Any) -> None:
        if not torch.is_grad_enabled() or recomputing() or transformed() or self._passes >= PASSES:
            return
        if not self._depth:
            if not self._waiting:
                self._called.clear()
                self._notes.forget()
            self._waiting = True
            self._drop(ROOTS - 1 if module.training and self._training else 0)
            self._training = module.training
            if self._noting:
                self._notes.begin(module)
                self._notes.root = len(self._called)
        self._depth += 1

    def _drop(self, most: int) -> None:
        """Keep so many calls of the model: those before were of no backward pass, or of one that has seen enough."""
        gone = len(self._called) - most
        if gone > 0:
            del self._called[:gone]
            self._notes.drop(gone)

    def _end_call(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if not self._depth:
            return
        self._depth -= 1
        if not self._depth:
            self._notes.root = -1
            if output is not None:
                self._called.append(RootCall(self.names.get(module, ""), module, args, kwargs, output))

    def _backward(self, loss: Tensor | None) -> None:
        if not self._called or not self._waiting or self._passes >= PASSES or not self._concerns(loss):
            return
        place, self._waiting, self._notes.paused = self._since, False, True
        self._passes, self._since = self._passes + 1, self._since + (loss is not None)
        self._looked += self._passes == 1
        noted = tuple(self._notes.calls), loss, place, tuple(self._notes.modules)
        look = Look(self._step, self._model, self._optimisers, tuple(self._called), *noted)
        self._called.clear()
        self._notes.forget()
        self._ask("look", look)

    def _concerns(self, loss: Tensor | None) -> bool:
        """Whether a loss is made of the watched model's parameters, and not of another model's that trains in the same loop."""
        if loss is None:
            return True
        own = {id(parameter) for parameter in self._model.parameters()}
        waiting, seen = [loss.grad_fn], set[Any]()
        while waiting and len(seen) < SEARCHED:  # deep first: the first path down ends at a parameter
            node = waiting.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            if id(getattr(node, "variable", None)) in own:
                return True
            waiting += [following for following, _ in node.next_functions]
        return len(seen) >= SEARCHED

    def trained_through(self, trained: int, evaluations: int) -> None:
        """So many of the evaluations that were heard were made in training mode."""
        differs = float(any(map(_differs, self._model.modules())))
        figures = {"trained": float(trained), "evaluations": float(evaluations), "differs": differs}
        self._recorder.note_evidence(Evidence("evaluation", (), (self._step, self._step), figures))

    def held_out(self, root: RootCall, calls: tuple[FunctionCall, ...], modules: tuple[ModuleCall, ...]) -> None:
        """A pass in eval mode has been made."""
        self._ask("held_out", Look(self._step, self._model, self._optimisers, (root,), calls, None, modules=modules))

    def _ask(self, method: str, *args: Any) -> None:
        with torch.no_grad():
            for each in self._readers:
                function = getattr(each, method, None)
                if function is not None:
                    self._guard(self._read, function, *args)

    def _read(self, read: Callable[..., Iterable[Evidence]], *args: Any) -> None:
        for evidence in read(*args):
            self._recorder.note_evidence(evidence)


class HeldOut:
    """Looks at the first passes of the model in eval mode without gradients: those between two sampled steps and, once the user
    has handed over a held-out loss, the next that come. Of those of the first evaluations it also hears in which mode they are.

    wanted: such a loss was handed over.
    """

    def __init__(self, looker: Looker) -> None:
        self._looker = looker
        self._notes = FunctionNotes(looker.names, lambda _: None)
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
            self._looker.trained_through(self._trained, self._evaluations)
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
            for root in self._looker.roots:
                self._handles.append(root.register_forward_pre_hook(Listener(self._begin)))
                self._handles.append(root.register_forward_hook(Listener(self._end), with_kwargs=True, always_call=True))

    def _begin(self, module: nn.Module, *_: Any) -> None:
        if torch.is_grad_enabled() or transformed():
            return
        self._modes.add(module.training)
        if module.training or self._notes.open or _delicate(module):
            return
        self._notes.begin(module)
        self._notes.root = 0

    def _end(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if not self._notes.open:
            return
        self._notes.end()
        root = RootCall(self._looker.names.get(module, ""), module, args, kwargs, output)
        noted = tuple(self._notes.calls), tuple(self._notes.modules)
        self._notes.forget()
        if output is not None:
            self._looked += 1
            self._looker.held_out(root, *noted)
        if self._looked >= HELD_OUT:
            self.wait(go_on=False)


def _differs(module: nn.Module) -> bool:
    """Whether a module does something else in eval mode than in training mode."""
    if isinstance(module, BATCH_NORM):
        return bool(module.track_running_stats)
    rate = getattr(module, "p", 0.0) if isinstance(module, DROPOUT) else getattr(module, "dropout", 0.0)
    return isinstance(module, DROPOUT | nn.RNNBase | nn.MultiheadAttention) and float(rate) > 0


def _delicate(model: nn.Module) -> bool:
    """Whether functions must not be noted: where something is compiled, Dynamo would compile it anew for our mode; attention in
    eval mode takes another path with other rounding while any mode stands.
    """
    return compiles() or any(
        getattr(module, "_compiled_call_impl", None) is not None
        or type(module).__name__ == "OptimizedModule"
        or (isinstance(module, nn.MultiheadAttention | nn.TransformerEncoderLayer) and not module.training)
        for module in model.modules()
    )
