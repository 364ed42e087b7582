"""When looks are taken: at some of the sampled steps, just before the backward pass frees the loss's graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from math import nan
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lettrine.health.evidence import Evidence
from lettrine.health.recorder import Recorder
from lettrine.torch.capture.answers import Answers
from lettrine.torch.capture.belonging import Belonging
from lettrine.torch.capture.catalogue import called_first, named_modules
from lettrine.torch.capture.evaluations import Evaluations
from lettrine.torch.capture.functions import FunctionCall, FunctionNotes, ModuleCall
from lettrine.torch.capture.guard import Guard
from lettrine.torch.capture.held_out import HeldOut, delicate, differs
from lettrine.torch.capture.looks import Look, Readers, RootCall, Stepping
from lettrine.torch.capture.outputs import Hook
from lettrine.torch.capture.wholeness import Wholeness
from lettrine.torch.graph.losses.terms import ERRORS
from lettrine.torch.private import compiles, recomputing, transformed

FIRST: Final = 4  # the first sampled steps are all looked at, later ones if they also get histograms
PASSES: Final = 4  # most backward passes before an optimiser's step that are looked at: with gradient accumulation they are alike
MOST_PASSES: Final = 8  # of several optimisers: five steps of a critic and one of its generator (Arjovsky et al. 2017) are six
# last calls of the model that are kept until the backward pass; 1 in eval mode, since there may be no backward pass
ROOTS: Final = 16


class Looker:
    """Looks at some of the sampled steps of one watch.

    met: called with each loss that is looked at. roots: the modules that the user calls. belonging: whether a loss is the
    model's. blind: whether a look did not note functions, since torch.compile is used in this process. calls: of the
    model, with gradients, in all steps that were looked at.
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
        self._guard = guard
        self.roots = called_first(model)
        self.belonging, self._wholeness = Belonging(model), Wholeness(model)
        self._names = {module: name for name, module in named_modules(model)}
        self._notes = FunctionNotes(self._names, partial(guard, self._backward))
        self._readers = Readers(recorder, guard)
        self._handles: list[Any] = []
        self._called: list[RootCall] = []
        self._depth = 0  # of the running calls of the model
        self._aside = False  # what is called now is not looked at
        self._waiting = False  # called, and no backward pass has begun
        self._training = True  # the mode of the model's last call
        self._noting = True  # functions, too
        self._whole = True  # modules inside the model, too
        self._begun = False  # the model was called in the step that is looked at, and functions are noted
        self._earlier: tuple[FunctionCall, ...] = ()
        self._numeric = False  # a loss had numbers as targets, which may be computed before the model is called
        self.blind = False
        self.calls = 0
        self._step = self._before = -1  # the step that is looked at, and the one looked at before
        self._looked = 0  # steps looked at
        self._passes = self._since = 0  # backward passes looked at in this step; those since an optimiser stepped
        self._counted = self._looked_at = 0  # calls of the model since an optimiser stepped; those up to the last look
        self.scale: tuple[tuple[float, ...], float] | None = None  # of the last loss looked at, as in `Look`
        self._held_out = self._wait_for_held_out()
        self._evaluations = self._listen_to_evaluations()
        self._made: list[
            tuple[float, float]
        ] = []  # of each evaluation: the loss handed over divided by the mean of those computed, and that mean

    def _wait_for_held_out(self) -> HeldOut:
        return HeldOut(self.roots, self._names, self._look_at_held_out, self._trained_through)

    def _listen_to_evaluations(self) -> Evaluations:
        shown = partial(self._readers.ask, "evaluated")
        return Evaluations(self.roots, self._guard, self._made_of, Answers(self._readers.note), shown)

    @property
    def looking(self) -> bool:
        """Whether the step that is being sampled is looked at."""
        return bool(self._handles)

    @property
    def passes(self) -> int:
        """Backward passes seen since an optimiser stepped, up to PASSES."""
        return self._since

    @property
    def _room(self) -> bool:
        """Whether another backward pass of this step is looked at."""
        return self._since < PASSES and self._passes < MOST_PASSES

    def arm(self, step: int, *, detail: bool) -> None:
        """A sampled step begins."""
        self.disarm()
        self._held_out.wait(go_on=True)
        if not (self._looked < FIRST or detail):
            return
        self._before, self._step, self._passes, self._since = self._step, step, 0, 0
        self._counted = self._looked_at = 0
        self._noting = not delicate(self._model)
        self.blind = self.blind or (not self._noting and compiles())
        for root in self.roots:
            self._handles.append(root.register_forward_pre_hook(Hook(self._begin)))
            self._handles.append(root.register_forward_hook(Hook(self._end_call), with_kwargs=True, always_call=True))
        if self._noting and self._numeric:
            self._notes.wait()

    def enter(self, roots: list[nn.Module]) -> None:
        """The user calls these modules. Call it between two steps."""
        self.close()
        self.roots = roots
        self._held_out = self._wait_for_held_out()
        self._evaluations = self._listen_to_evaluations()

    def again(self) -> None:
        """Look at the next sampled steps, whatever the schedule says: something has happened."""
        self._looked = 0
        self._wholeness.restart()

    def pause(self) -> None:
        """An optimiser is about to step: its own calls do not belong to the model's pass."""
        if self._called and self._waiting:
            self._guard(self._backward, None)  # torch.autograd.backward was called, or another tool calls `backward`
        self._notes.end()
        self._notes.forget()
        self._called.clear()
        self._depth, self._waiting, self._begun, self._earlier = 0, False, False, ()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Look at no pass that begins in this block: its loss is not that of the step."""
        self._aside = True
        try:
            yield
        finally:
            self._aside = False

    def stepping(self, optimiser: Optimizer, scales: tuple[float, float], leftover: float) -> None:
        """The optimiser steps now. scales, leftover: as in `Stepping`."""
        if self.looking:
            counts = self._since, self._parts()
            self._readers.ask(
                "stepping", Stepping(self._step, self._model, self._optimisers, optimiser, *counts, *scales, leftover)
            )
        self._since = self._counted = self._looked_at = 0

    def _parts(self) -> float:
        """Backward passes since an optimiser stepped. Before each, the model is called as often as before the others."""
        return self._since * self._counted / self._looked_at if self._looked_at else float(self._since)

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
        self._evaluations.close()

    def handed(self, step: int, loss: Any) -> None:
        """The user hands over the loss of a step that was looked at."""
        if step in (self._step, self._before):  # before the optimiser's step, or after it
            self._readers.ask("handed", step, loss)

    def evaluated(self, loss: float) -> None:
        """The user hands over a loss on held-out data: the next such pass will be looked at."""
        self._held_out.evaluated()
        self._evaluations.evaluated(loss)

    def finish(self) -> None:
        """Add the evidence of all looks so far."""
        self._readers.ask("finish")

    def _begin(self, module: nn.Module, *args: Any) -> None:
        if self._aside or not torch.is_grad_enabled() or recomputing() or transformed():
            return
        self.calls += not self._depth
        self._counted += not self._depth
        if not self._depth and self._room:
            if not self._waiting:
                self._called.clear()
                self._earlier = self._notes.earlier()
                self._notes.forget()
            self._waiting = True
            self._drop(ROOTS - 1 if module.training and self._training else 0)
            self._training = module.training
            if self._noting:
                wanted = self._wholeness.wanted(self._step, module, args, first=not self._looked)
                self._whole = self._whole if self._begun else wanted  # as the other calls of this step
                self._begun = True
                if self._whole:
                    self._notes.begin(module)
                else:
                    self._notes.paused = True
                self._notes.root = len(self._called)
        self._depth += 1

    def _drop(self, most: int) -> None:
        """Keep the last `most` calls of the model, and forget those before."""
        gone = len(self._called) - most
        if gone > 0:
            del self._called[:gone]
            self._notes.drop(gone)

    def _end_call(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if not self._depth:
            return
        self._depth -= 1
        if not self._depth and self._room:
            self._notes.root = -1
            if self._noting and not self._whole:
                self._notes.begin()
            if output is not None:
                self._called.append(RootCall(self._names.get(module, ""), module, args, kwargs, output))

    def _backward(self, loss: Tensor | None, gradient: Any = None) -> None:
        if not self._called or not self._waiting or not self._room or not self.belonging.of(loss):
            return
        place, self._waiting, self._notes.paused = self._since, False, True
        self._passes, self._since = self._passes + 1, self._since + (loss is not None)
        self._looked_at = self._counted
        self._looked += self._passes == 1
        calls, modules = tuple(self._notes.calls), tuple(self._notes.modules)
        earlier, self._earlier = self._earlier, ()
        seen = tuple(self._called), calls, loss, place, modules, self._whole, earlier
        untaken = self._notes.untaken.left()
        look = Look(self._step, self._model, self._optimisers, *seen, turned=_turned(gradient), untaken=untaken)
        self._wholeness.note(look, first=self._passes == 1)
        if loss is not None:
            self._met(loss)
        self._called.clear()
        self._notes.forget()
        self._readers.show(look)
        self.scale = look.scale if look.terms else None
        targets = [term.target for term in look.terms if term.kind in ERRORS]
        self._numeric = self._numeric or any(each is not None and each.is_floating_point() for each in targets)

    def _look_at_held_out(
        self,
        module: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        output: Any,
        calls: tuple[FunctionCall, ...],
        modules: tuple[ModuleCall, ...],
    ) -> None:
        """A pass in eval mode has been made."""
        root = RootCall(self._names.get(module, ""), module, args, kwargs, output)
        self._readers.ask("held_out", Look(self._step, self._model, self._optimisers, (root,), calls, None, modules=modules))

    def _made_of(self, handed: float, mean: float, passes: int, rows: float) -> None:
        """Add how the losses of the observed evaluations were joined, as evidence."""
        self._made.append((handed / mean, mean))
        factors, means = sorted(each for each, _ in self._made), [each for _, each in self._made]
        figures = {
            "looks": len(factors),
            "factor": factors[len(factors) // 2],
            "apart": factors[-1] / factors[0] - 1 if factors[0] > 0 else nan,
            "moved": max(means) / min(means) - 1,
            "passes": passes,
            "rows": rows,
        }
        figures = {name: float(value) for name, value in figures.items()}
        self._readers.note(Evidence("evaluated", (), (self._step, self._step), figures))

    def _trained_through(self, trained: int, evaluations: int) -> None:
        """Add how many evaluations were made in training mode, as evidence."""
        modes_differ = float(any(map(differs, self._model.modules())))
        figures = {"trained": float(trained), "evaluations": float(evaluations), "differs": modes_differ}
        self._readers.note(Evidence("evaluation", (), (self._step, self._step), figures))


def _turned(gradient: Any) -> float:
    """The sign of what `backward` was handed beside the loss; 0 where it has none."""
    if not isinstance(gradient, Tensor):
        return 1.0
    return 1.0 if bool((gradient > 0).all()) else -1.0 if bool((gradient < 0).all()) else 0.0
