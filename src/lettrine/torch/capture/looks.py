"""Looking at a step whole: what the model was given, what it returned, which functions were called, and the loss with its graph,
just before the backward pass takes it apart.

Readers make evidence of a look. A reader is a class, made anew for each watch, so that it can compare one look with the next:

    @reader
    class Broadcast:
        def look(self, look: Look) -> Iterable[Evidence]: ...   # once a look
        def finish(self) -> Iterable[Evidence]: ...             # whenever a trace is made, and all that it must have

The first looks of a watch are whole. Later ones are of the outside alone, which costs a fifth: the model's calls, what was called
between them and the backward pass, and the loss; until something is not as it was. A network that calls functions whose values
are followed, such as a logarithm or a softmax, is always looked at whole. A reader with `whole = True` is asked at those only.

What it may have besides: `stepping(stepping)`, just before an optimiser steps in a step that is looked at; `held_out(look)`,
after the model was called in eval mode without gradients; `handed(step, loss)`, when the user hands over the loss of such a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from math import nan
from typing import Any, Final, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lettrine.health.evidence import Evidence
from lettrine.health.recorder import Recorder
from lettrine.torch.capture.catalogue import named_modules
from lettrine.torch.capture.functions import FunctionCall, FunctionNotes, ModuleCall, followed
from lettrine.torch.capture.guard import Guard
from lettrine.torch.capture.held_out import HeldOut, delicate, differs
from lettrine.torch.capture.outputs import Listener, tensors_in
from lettrine.torch.capture.sharding import gathers
from lettrine.torch.graph.terms import Term, terms_of
from lettrine.torch.private import compiles, recomputing, transformed, without_modes

FIRST: Final = 4  # sampled steps of a run that are all looked at; later ones where histograms are taken too
PASSES: Final = 4  # backward passes of one step that are looked at: with gradient accumulation they are alike
ROOTS: Final = 16  # calls of the model before a backward pass that are kept, the last ones; 1 in eval mode, where none may follow
SEARCHED: Final = 10_000  # nodes of the loss's graph searched for a parameter of the model
WHOLE: Final = 3  # looks that are whole, at first and whenever something is not as it was, and
AGAIN: Final = 8  # one whenever a run is so many times as long as at the last of them
FOLLOWED: Final = (nn.RNNBase,)  # modules that are followed from look to look


T = TypeVar("T")


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
    whole: whether functions and modules inside the model's calls were noted, too.
    """

    step: int
    model: nn.Module
    optimisers: Sequence[Optimizer]
    roots: tuple[RootCall, ...]
    calls: tuple[FunctionCall, ...]
    loss: Tensor | None
    place: int = 0
    modules: tuple[ModuleCall, ...] = ()
    whole: bool = True
    _made: dict[Callable[[Look], Any], Any] = field(default_factory=dict, compare=False, repr=False)

    def once(self, make: Callable[[Look], T]) -> T:
        """What this function makes of the look, made once for all readers."""
        if make not in self._made:
            self._made[make] = make(self)
        return self._made[make]  # type: ignore[no-any-return]

    @cached_property
    def parameters(self) -> dict[int, str]:
        """Names of the model's parameters, by identity."""
        return {id(parameter): name for name, parameter in self.model.named_parameters()}

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

    roots: the modules the user calls. names: of all modules. met: is called with each loss that is looked at.
    """

    def __init__(
        self,
        model: nn.Module,
        optimisers: Sequence[Optimizer],
        recorder: Recorder,
        guard: Guard,
        met: Callable[[Tensor], None] = lambda _: None,
    ) -> None:
        self._met = met
        self._model, self._optimisers = model, optimisers
        self._recorder, self._guard = recorder, guard
        self.roots = list(model.children()) if type(model).forward is nn.Module.forward else [model]
        self.names = {module: name for name, module in named_modules(model)}
        self._notes = FunctionNotes(self.names, partial(guard, self._backward))
        readers = [each() for each in READERS]
        self._asked = {
            method: [getattr(each, method) for each in readers if hasattr(each, method)]
            for method in ("look", "stepping", "held_out", "handed", "finish")
        }
        self._asked_outside = [each.look for each in readers if hasattr(each, "look") and not getattr(each, "whole", False)]
        self._handles: list[Any] = []
        self._called: list[RootCall] = []
        self._depth = 0  # of the model's calls that go on
        self._waiting = False  # called, and no backward pass has begun
        self._training = True  # the mode of the model's last call
        self._noting = True  # functions, too
        self.blind = False  # functions were not noted at a look, since torch.compile is used in this process
        self._step = self._before = -1
        self._own: set[int] = set()  # the model's parameters, by identity
        self._looked = self._passes = self._since = 0
        self._modules = list(model.modules())
        self._always = any(isinstance(module, FOLLOWED) for module in self._modules)
        self._owed, self._last_whole = WHOLE, 0  # looks that are to be whole; the step of the last
        self._known: set[Any] = (
            set()
        )  # in which modes, and with what, the model was called in whole looks; what was called outside
        self._whole = True
        self._held_out = HeldOut(self.roots, self.names, self.held_out, self._trained_through)

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
        self._noting = not delicate(self._model)
        self.blind = self.blind or (not self._noting and compiles())
        for root in self.roots:
            self._handles.append(root.register_forward_pre_hook(Listener(self._begin)))
            self._handles.append(root.register_forward_hook(Listener(self._end_call), with_kwargs=True, always_call=True))

    def enter(self, roots: list[nn.Module]) -> None:
        """These are the modules the user calls, between two steps."""
        self.close()
        self.roots = roots
        self._held_out = HeldOut(roots, self.names, self.held_out, self._trained_through)

    def again(self) -> None:
        """Look at the next sampled steps whatever the schedule says: something has happened."""
        self._looked, self._owed = 0, WHOLE

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

    def _begin(self, module: nn.Module, *args: Any) -> None:
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
                self._whole = self._wants_all(module, args)
                if self._whole:
                    self._notes.begin(module)
                else:
                    self._notes.paused = True
                self._notes.root = len(self._called)
        self._depth += 1

    def _wants_all(self, module: nn.Module, args: tuple[Any, ...]) -> bool:
        """Whether this look is whole."""
        state = self._state(module, args)
        new = state not in self._known
        self._known.add(state)
        if new:
            self._owed = max(self._owed, WHOLE if self._looked else self._owed)
        if self._notes.open:
            return self._whole  # as the other calls of this step
        return self._always or self._owed > 0 or self._step >= AGAIN * max(self._last_whole, 1)

    def _state(self, module: nn.Module, args: tuple[Any, ...]) -> int:
        """Number of the kinds of what a root is called with, and of the modes of all modules."""
        given = args[0] if args else ()
        kinds = tuple((each.dtype, each.ndim) if isinstance(each, Tensor) else type(each) for each in given)
        return hash((module, kinds, tuple([each.training for each in self._modules])))

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
            if self._noting and not self._whole:
                self._notes.begin()
            if output is not None:
                self._called.append(RootCall(self.names.get(module, ""), module, args, kwargs, output))

    def _backward(self, loss: Tensor | None) -> None:
        if not self._called or not self._waiting or self._passes >= PASSES or not self.concerns(loss):
            return
        place, self._waiting, self._notes.paused = self._since, False, True
        self._passes, self._since = self._passes + 1, self._since + (loss is not None)
        self._looked += self._passes == 1
        calls, modules = tuple(self._notes.calls), tuple(self._notes.modules)
        look = Look(self._step, self._model, self._optimisers, tuple(self._called), calls, loss, place, modules, self._whole)
        self._note_known(look)
        if loss is not None:
            self._met(loss)
        self._called.clear()
        self._notes.forget()
        self._ask("look", look)

    def _note_known(self, look: Look) -> None:
        """See whether the next looks must be whole."""
        outside = tuple(call.name for call in look.outside)
        if look.whole:
            self._owed, self._last_whole = self._owed - (self._passes == 1), look.step
            self._always |= any(followed(call) for call in look.calls if call.where)
        elif outside not in self._known:
            self._owed = WHOLE
        self._known.add(outside)

    def concerns(self, loss: Tensor | None) -> bool:
        """Whether a loss is made of the watched model's parameters, and not of another model's that trains in the same loop."""
        if loss is None or gathers(self._model):
            return True
        return self._below(loss) or (self._own != (own := set(map(id, self._model.parameters()))) and self._below(loss, own))

    def _below(self, loss: Tensor, own: set[int] | None = None) -> bool:
        """Whether a parameter of the model, as it is known or as it is now, is in the graph of a loss."""
        self._own = own = self._own if own is None else own
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

    def held_out(
        self,
        module: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        output: Any,
        calls: tuple[FunctionCall, ...],
        modules: tuple[ModuleCall, ...],
    ) -> None:
        """A pass in eval mode has been made."""
        root = RootCall(self.names.get(module, ""), module, args, kwargs, output)
        self._ask("held_out", Look(self._step, self._model, self._optimisers, (root,), calls, None, modules=modules))

    def _trained_through(self, trained: int, evaluations: int) -> None:
        """So many of the evaluations that were heard were made in training mode."""
        figures = {
            "trained": float(trained),
            "evaluations": float(evaluations),
            "differs": float(any(map(differs, self._modules))),
        }
        self._recorder.note_evidence(Evidence("evaluation", (), (self._step, self._step), figures))

    def _ask(self, method: str, *args: Any) -> None:
        asked = self._asked_outside if method == "look" and not args[0].whole else self._asked[method]
        with torch.no_grad(), without_modes():
            for function in asked:
                self._guard.within(self._read, function, *args)

    def _read(self, read: Callable[..., Iterable[Evidence]], *args: Any) -> None:
        for evidence in read(*args):
            self._recorder.note_evidence(evidence)
