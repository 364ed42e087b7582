"""What a watch does at each step: when hooks stand, in which order things are measured, and when a step is over."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from math import nan
from typing import Any, TypeAlias

from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from lettrine.health.evidence import Evidence
from lettrine.health.findings import Report
from lettrine.health.recorder import Recorder
from lettrine.health.schedule import Schedule
from lettrine.health.trace import Facts
from lettrine.torch.capture.catalogue import WRAPPERS, unwrapped
from lettrine.torch.capture.compiled import times_traced, untraced
from lettrine.torch.capture.figures import Figures, fmax
from lettrine.torch.capture.guard import Guard
from lettrine.torch.capture.looks import Looker
from lettrine.torch.capture.losses import FULL, LossProbe
from lettrine.torch.capture.modules import ModuleProbe
from lettrine.torch.capture.parameters import ParameterProbe, Turns, Wrapped, optimisers_of, run_facts
from lettrine.torch.capture.scaling import loss_scale, scaler_calling, step_skipped
from lettrine.torch.fast.counting import step_counter
from lettrine.torch.fast.in_place import StepsInPlace
from lettrine.torch.fast.switch import tensors
from lettrine.torch.graph import readers as _readers  # noqa: F401  the readers of looks make themselves known

Task: TypeAlias = tuple[Any, Callable[..., Any]] | str | None
"""What a watch may be given to try: batches and a loss function, or the name of a function that makes a task."""


class Listening:
    """The part of a watch that goes on inside the training loop; `lettrine.torch.watch.Watch` is what the user holds."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | Wrapped | Iterable[Optimizer | Wrapped] | None = None,
        every: int | None = None,
        classes: int = 0,
        scaler: GradScaler | None = None,
        task: Task = None,
        fast: bool | None = None,
    ) -> None:
        self._task = task
        self._tried_once: Report | None = None
        self._optimisers = optimisers_of(optimizer)
        inner = unwrapped(model)
        self._alone = inner is model or not isinstance(model, WRAPPERS)
        self._schedule = Schedule(every or 0)
        self._recorder = Recorder(self._schedule)
        self._model = inner
        self._classes = classes
        self._scaler = scaler
        self._guard = Guard(self._recorder, self.close)
        self._modules = ModuleProbe(inner, self._guard)
        self._parameters = ParameterProbe(inner, self._optimisers)
        self._losses = LossProbe(self._recorder, self._modules)
        self._looker = Looker(inner, self._optimisers, self._recorder, self._guard, self._losses.look)
        self._handles: list[Any] = []
        self._before_handles: list[Any] = []
        reader = tensors(fast)
        self._counter = step_counter(reader, partial(self._stepped, 0), partial(self._guard, self._loss), FULL)
        before, paused = partial(self._guard, self._before, 0), partial(self._guard, self._paused)
        self._in_place = StepsInPlace(reader, self._counter, self._guard, before, paused)
        self._sampling = False
        self._pending: tuple[int, dict[str, Any], bool] | None = (
            None  # the last sampled step, its figures, whether it was measured in place
        )
        self._turns = Turns(len(self._optimisers))
        self._measured = Figures()
        self._detail = True  # whether the step being sampled gets histograms too
        self._sampled = -1
        self._awaiting = False  # the loss of the last sampled step may still come
        self._calls_at_start = 0
        self._calls_before = 0
        self._scales = (1.0, 1.0)
        self._stats: dict[str, float] = {}
        self._judged: tuple[int, Report] | None = None
        self._alarmed = False  # a loss that was not finite has been met
        self._eager = False  # a step has been seen; until then it may be one that Dynamo compiles
        self._compiled = False  # it does: modules and steps cannot be heard
        self._traced = times_traced()

    def _note_trained(self) -> None:
        """Say so if an optimiser has stepped before: what it holds was trained already."""
        if any(state for optimiser in self._optimisers for state in optimiser.state.values()):
            self._recorder.note_evidence(Evidence("resumed"))

    def _stepped(self, place: int, optimiser: Optimizer, *_: Any) -> None:
        """An optimiser has stepped, and that is not all there is to do."""
        if self._sampling or len(self._optimisers) > 1 or hasattr(optimiser, "found_inf"):
            self._guard(self._after, place, optimiser)
        else:
            self._counter.step += 1
            if self._counter.step >= self._counter.next:
                self._guard(self._arm)

    def _arm(self) -> None:
        """Listen to the step that begins now."""
        if not self._sampling and not self._compiled:
            for place, optimiser in enumerate(self._optimisers):
                hook = self._in_place.hooks[0] if len(self._optimisers) == 1 else partial(self._guard, self._before, place)
                self._before_handles.append(optimiser.register_step_pre_hook(hook if self._eager else untraced(hook)))
        self._sampling = True
        self._counter.counting = self._counter.noting = False
        self._stats = {}
        self._scales = (1.0, 1.0)
        if not self._optimisers or not self._parameters.captures:
            self._parameters.refresh()
        if not self._optimisers or self._compiled:
            self._parameters.all.take_before()
        if self._compiled:
            return
        self._detail = self._recorder.detailed(self._counter.step)
        if self._detail:
            self._parameters.follow()
        self._looker.arm(self._counter.step, detail=self._detail)
        counted = self._modules.logits if self._losses.countable else ""
        self._modules.install(self._in_place.listen(copied=self._losses.looking(), detail=self._detail, counted=counted))
        self._calls_at_start = self._modules.calls
        quiet_until = self._recorder.quiet_until
        if self._schedule.every == 1 and not counted and self._counter.step < quiet_until and not self._looker.looking:
            self._counter.noting = self._in_place.go_on(self._model.modules(), quiet_until, {"training": self._modules.training})

    def _disarm(self) -> None:
        self._sampling = False
        self._looker.disarm()
        # A fused optimiser leaves its step out where a GradScaler says so.
        self._counter.counting = not any(getattr(each, "_step_supports_amp_scaling", False) for each in self._optimisers)
        self._counter.noting = not self._awaiting
        for handle in self._before_handles:
            handle.remove()
        self._before_handles.clear()
        self._modules.remove()
        self._modules.forget()
        self._parameters.forget()
        self._in_place.drop()

    def _before(self, place: int, optimiser: Optimizer, *_: Any) -> None:
        """An optimiser is about to step."""
        self._heard_eagerly()
        self._looker.pause()
        self._gather()
        self._calls_before = self._modules.calls
        self._scaler = self._scaler or scaler_calling()
        if step_skipped(optimiser):
            return
        self._scales = loss_scale(optimiser, self._scaler)
        leftover = self._parameters.leftover(place) if self._detail else nan
        self._looker.stepping(optimiser, self._scales, leftover)
        if self._in_place.full:
            self._flush()
            self._in_place.hand_over(self._recorder)
        if not (self._may_be_in_place() and self._in_place.before()):
            self._in_place.miss()
            self._parameters.refresh()
            self._parameters.of(place, first=self._turns.fresh).take_before_and_gradients()
        if not self._detail:
            return
        gradient_scale, output_scale = self._scales
        clipped = self._parameters.clipped(place, output_scale / gradient_scale) if self._alone else nan
        for name, value in (("leftover_gradient", leftover), ("clipped", clipped)):
            self._stats[name] = fmax(self._stats.get(name, nan), value)

    def _after(self, place: int, optimiser: Optimizer) -> None:
        """An optimiser has stepped."""
        if step_skipped(optimiser):
            if self._sampling:
                self._modules.forget()
            return
        if self._in_place.opened:
            self._in_place.after()
        elif self._sampling:
            if self._modules.calls != self._calls_before:  # it called the model itself, by a closure
                self._parameters.of(place).take_gradients()
            self._parameters.of(place).take_after()
        if self._turns.complete(place):
            self._end()

    def _heard_eagerly(self) -> None:
        """A step is made outside of compiled code: from now on the optimiser's own hooks need no detour."""
        if self._eager:
            return
        self._eager, self._compiled = True, False
        if len(self._optimisers) == 1 and self._handles:
            self._handles.pop().remove()
            self._handles.append(self._optimisers[0].register_step_post_hook(self._in_place.hooks[1]))

    def _count_by_losses(self, loss: Any) -> None:
        """The step is compiled as a whole, so that nothing but its loss tells of it: each loss is one step."""
        self._losses.add(self._counter.step, loss)
        self._own_step()

    def examined(self) -> None:
        """Take one forward and backward pass, without a step, for all there is to see."""
        self._parameters.all.take_gradients()
        self._end()

    def _own_step(self) -> None:
        if self._sampling:
            self._parameters.all.take_after()
            self.examined()
        else:
            self._end()

    def _end(self) -> None:
        """A step is over."""
        if self._sampling:
            self._flush()
            in_place = self._in_place.opened
            self._pending, self._awaiting = (
                (self._counter.step, self._figures_in_place() if in_place else self._figures(), in_place),
                True,
            )
            self._recorder.noted(self._counter.step)
            self._counter.next = self._schedule.after(self._counter.step)
        self._counter.step += 1
        if self._counter.step < self._counter.next:
            if self._sampling:
                self._disarm()
            return
        if self._sampling:
            self._modules.forget()
            self._parameters.forget()
        self._arm()

    def _gather(self) -> None:
        """Take in the steps that were made without Python since this was last asked; the loss of the last one may still come."""
        made = self._in_place.ran(self._counter.step)
        if not made:
            return
        self._flush()
        self._losses.note(self._counter.losses())
        losses = self._losses.means(made[0][0], made[-1][0])
        for step, stats in made:
            if step in losses:
                stats["loss"] = losses[step]
        self._pending, self._awaiting = (*made[-1], True), True

    def _paused(self) -> None:
        """The steps that could be made without Python are over."""
        self._gather()
        self._modules.forget()
        self._arm()

    def _figures(self) -> dict[str, Any]:
        """The figures of the step that is over, as `Recorder.record` wants them."""
        found = self._measured.of(
            self._modules.heard(),
            [capture for capture in self._parameters.captures if capture.has_before],
            scales=self._scales,
            detail=self._detail,
            search=self._recorder.searched(self._counter.step),
            remote=self._modules.remote or self._parameters.remote,
        )
        self._recorder.add(*self._modules.new_infos(), *self._parameters.new_infos())
        self._in_place.hand_over(self._recorder)
        if self._may_be_in_place():
            self._in_place.learn(self._modules.alike(), self._parameters.captures, self._optimisers[0].param_groups)
        self._count_targets()
        self._note_input(next(iter(found["outputs"]), ""))
        return {**found, **self._stats_of_step()}

    def _stats_of_step(self) -> dict[str, Any]:
        """The figures of the step that is over which are not those of modules and parameters."""
        rate = float(self._optimisers[0].param_groups[0].get("lr", nan)) if self._optimisers else nan
        return {"learning_rate": rate, "training": self._modules.training, **self._stats}

    def _figures_in_place(self) -> dict[str, Any]:
        """The same of a step measured in place, whose other figures follow together with those of others."""
        self._count_targets()
        self._note_input(next(iter(self._modules.captures), ""))
        self._in_place.drop()
        stats = self._stats_of_step()
        self._in_place.keep(self._counter.step, stats, search=self._recorder.searched(self._counter.step))
        return stats

    def _count_targets(self) -> None:
        if self._losses.countable and (capture := self._modules.captures.get(self._modules.logits)) is not None:
            self._losses.count(capture)

    def _note_input(self, first: str) -> None:
        """Say so if what the model was given is not finite. first: name of the module that met it."""
        if self._modules.input_heard and not self._modules.input_finite():
            self._recorder.note_nonfinite(self._counter.step, first, "data", exact=self._counter.step <= self._sampled + 1)

    def _may_be_in_place(self) -> bool:
        """Whether nothing about this step needs copies."""
        return len(self._optimisers) == 1 and self._scales == (1.0, 1.0) and self._parameters.grouped()

    def _flush(self) -> None:
        """Record the last sampled step."""
        if self._pending is not None:
            if self._awaiting:
                self._take_loss()
            (step, found, in_place), self._pending = self._pending, None
            self._sampled = step
            if not in_place:
                self._recorder.take(step, **found)

    def _take_loss(self) -> None:
        """The losses of the last sampled step have all come."""
        self._awaiting = False
        self._counter.noting = not self._sampling or self._in_place.running
        self._losses.note(self._counter.losses())
        if self._pending is not None and (loss := self._losses.at(self._pending[0])) is not None:
            self._pending[1]["loss"] = loss

    def _loss(self, loss: Any) -> None:
        if isinstance(loss, Tensor) and loss.is_meta:
            return  # it has no value: Keras hands such over while it builds its graph
        if self._compiled:
            self._count_by_losses(loss)
            return
        if not self._eager and times_traced() > self._traced and self._optimisers:
            self._compiled = True
            self._disarm()
            self._losses.add(0, loss)
            self._counter.step = 1
            self._arm()
            return
        self._in_place.stop()
        self._gather()
        self._losses.note(self._counter.losses())
        if self._sampling and self._modules.calls != self._calls_at_start:
            self._counter.late = 0  # the model has been called since the last step: this is the loss of the step to come
        elif self._sampling:
            self._counter.late = 1
        step = max(0, self._counter.step - self._counter.late)
        if self._awaiting and self._pending is not None and step > self._pending[0]:
            self._take_loss()
        if (self._sampling and not self._counter.late) or self._awaiting:
            self._losses.look(loss)
        self._looker.handed(step, loss)
        if not self._losses.add(step, loss) and not self._sampling:
            self._look_at_once()

    def _look_at_once(self) -> None:
        """A loss was not finite: sample the step where the counter stands, the first time that happens."""
        if not self._alarmed:
            self._alarmed = True
            self._looker.again()
            self._counter.next = self._counter.step
            self._arm()

    def _facts(self) -> Facts:
        known = replace(self._recorder.facts, source="torch", batch_size=self._modules.batch_size)
        facts = run_facts(self._losses.facts(known, self._classes), self._model, self._optimisers)
        notes = {"compiled": "step"} if self._compiled else {}
        notes |= {"functions": "not noted"} if self._looker.blind else {}
        return replace(facts, notes={**facts.notes, **notes})

    def close(self) -> None:
        """Take everything away; what was recorded stays."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._guard(self._gather)
        self._disarm()
        self._looker.close()
