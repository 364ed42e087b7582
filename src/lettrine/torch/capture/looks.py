"""A look at a whole step: the inputs of the model, its outputs, the functions called, and the loss with its graph, just before
the backward pass frees the graph.

Readers turn looks into evidence. A reader is a class. Each watch has its own instance, which can compare one look with the next:

    @reader
    class Broadcast:
        def look(self, look: Look) -> Iterable[Evidence]: ...   # at each look
        def finish(self) -> Iterable[Evidence]: ...             # whenever a trace is made: all evidence of the looks so far

Some looks are whole; others show only the outside of the model (`capture.wholeness`). A reader with `whole = True` gets only the
whole ones.

A reader may have more methods: `stepping(stepping)` is called just before an optimiser steps, in a step that is looked at;
`held_out(look)` after the model was called in eval mode without gradients; `handed(step, loss)` when the user hands over the loss
of a step that is looked at; `evaluated(rows)`, with digests of the examples, when the user hands over a held-out loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import nan
from typing import Any, Final, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lettrine.health.evidence import Evidence
from lettrine.health.recorder import Recorder
from lettrine.torch.capture.functions import FunctionCall, ModuleCall
from lettrine.torch.capture.guard import Guard
from lettrine.torch.capture.outputs import tensors_in
from lettrine.torch.capture.thrown_away import ThrownAway
from lettrine.torch.graph.losses.means import weight_of
from lettrine.torch.graph.losses.scales import last_factors
from lettrine.torch.graph.losses.terms import Term, terms_of
from lettrine.torch.graph.reading import Node
from lettrine.torch.graph.walks import walk
from lettrine.torch.private import without_modes

T = TypeVar("T")


@dataclass(frozen=True)
class RootCall:
    """One call of the watched model, or of its parts if the model is only their container. name: as in reports."""

    name: str
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The tensors among its arguments."""
        return tuple(each for each in (*self.args, *self.kwargs.values()) if isinstance(each, Tensor))

    @property
    def outputs(self) -> list[Tensor]:
        """The tensors among its results."""
        return tensors_in(self.output)


class OfModel:
    """What is looked up once for all readers."""

    model: nn.Module
    optimisers: Sequence[Optimizer]

    @cached_property
    def named(self) -> dict[str, nn.Parameter]:
        """The model's parameters by name."""
        return dict(self.model.named_parameters())

    @cached_property
    def held(self) -> frozenset[int]:
        """The parameters that optimisers hold, by identity."""
        groups = [group for optimiser in self.optimisers for group in optimiser.param_groups]
        return frozenset(id(parameter) for group in groups for parameter in group["params"])


@dataclass(frozen=True)
class Look(OfModel):
    """One backward pass of a step, with all calls before it; or one pass in eval mode.

    loss: the tensor that `backward` was called on, perhaps scaled or divided; None if it was not seen. Its graph still holds its
    tensors. roots: the calls of the model since the last backward pass. calls, modules: the functions and the watched modules
    called since then, in order; none if something is compiled. place: the number of the backward pass since an optimiser last
    stepped, from 0. whole: whether functions and modules inside the model's calls were noted, too. earlier: the last functions
    called outside of the model since an optimiser stepped and before the first of `roots`; only before the first pass of a step.
    turned: -1 if `backward` was handed a negative gradient, so that the loss is made larger; 0 if one of both signs. untaken:
    functions whose results were given to no other, as far as was seen.
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
    earlier: tuple[FunctionCall, ...] = ()
    turned: float = 1.0
    untaken: tuple[ThrownAway, ...] = ()
    _made: dict[Callable[[Look], Any], Any] = field(default_factory=dict, compare=False, repr=False)

    def once(self, make: Callable[[Look], T]) -> T:
        """The result of a function of the look, computed once for all readers."""
        if make not in self._made:
            self._made[make] = make(self)
        return self._made[make]  # type: ignore[no-any-return]

    @cached_property
    def parameters(self) -> dict[int, str]:
        """Names of the model's parameters, by identity."""
        return {id(parameter): name for name, parameter in self.named.items()}

    @cached_property
    def nodes(self) -> list[Node]:
        """The graph of the loss, nearest nodes first; empty if the loss was not seen."""
        return walk([self.loss.grad_fn]) if self.loss is not None else []

    @cached_property
    def outside(self) -> tuple[FunctionCall, ...]:
        """The functions called outside of all watched modules: those that computed the loss from the model's outputs."""
        return tuple(call for call in self.calls if not call.where)

    @cached_property
    def terms(self) -> list[Term]:
        """How the loss was computed; empty if it was not seen."""
        if self.loss is None or self.loss.grad_fn is None or not self.loss.is_floating_point():
            return []
        return terms_of(self.loss, self.calls, [each for root in self.roots for each in root.outputs])

    @property
    def value(self) -> float:
        """The loss, the sum of it if it is no single number; NaN if it was not seen."""
        if self.loss is None:
            return nan
        loss = self.loss.detach()
        return float(loss if loss.numel() == 1 else loss.double().sum())

    @cached_property
    def scale(self) -> tuple[tuple[float, ...], float]:
        """The numbers by which the loss was multiplied last, and the loss divided by the mean of its only term."""
        return last_factors(self.loss.grad_fn if self.loss is not None else None), weight_of(self.terms, self.value)


@dataclass(frozen=True)
class Stepping(OfModel):
    """An optimiser that is about to step. passes: backward passes since an optimiser last stepped, of those that are looked at;
    parts: all of them, judged by the calls of the model. gradient_scale, output_scale:
    the factors by which a GradScaler made the gradients of parameters and of outputs larger, see `capture.scaling`. leftover: 1
    if its backward passes found gradients of an earlier step in place, 0 if not, NaN if unknown.
    """

    step: int
    model: nn.Module
    optimisers: Sequence[Optimizer]
    optimiser: Optimizer
    passes: int
    parts: float = 1.0
    gradient_scale: float = 1.0
    output_scale: float = 1.0
    leftover: float = nan


class Reader(Protocol):
    """Turns looks into evidence."""

    def finish(self) -> Iterable[Evidence]:
        """The evidence of all looks so far."""
        ...


READERS: Final[list[type[Reader]]] = []
R = TypeVar("R", bound=type[Reader])


def reader(cls: R) -> R:
    """Register a reader; use it as a decorator. `lettrine.torch.graph` has to import its module."""
    READERS.append(cls)
    return cls


class Readers:
    """The readers of one watch. Their evidence is noted for the report."""

    def __init__(self, recorder: Recorder, guard: Guard) -> None:
        self._recorder, self._guard = recorder, guard
        made: list[Any] = [each() for each in READERS]
        self._asked = {
            method: [getattr(each, method) for each in made if hasattr(each, method)]
            for method in ("look", "stepping", "held_out", "handed", "evaluated", "finish")
        }
        self._asked_outside = [each.look for each in made if hasattr(each, "look") and not getattr(each, "whole", False)]

    def show(self, look: Look) -> None:
        """A look was taken: call the readers for looks of its kind."""
        self._ask(self._asked["look"] if look.whole else self._asked_outside, look)

    def ask(self, method: str, *args: Any) -> None:
        """Call this method of all readers that have it."""
        self._ask(self._asked[method], *args)

    def note(self, evidence: Evidence) -> None:
        """Something was seen."""
        self._recorder.note_evidence(evidence)

    def _ask(self, asked: Sequence[Callable[..., Iterable[Evidence]]], *args: Any) -> None:
        with torch.no_grad(), without_modes():
            for function in asked:
                self._guard.within(self._read, function, *args)

    def _read(self, read: Callable[..., Iterable[Evidence]], *args: Any) -> None:
        for evidence in read(*args):
            self.note(evidence)
