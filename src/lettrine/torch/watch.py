"""`health.watch`: see how any module trains, from inside its own training loop, and change nothing.

    with health.watch(model, optimizer) as watch:
        for x, y in loader:
            loss = criterion(model(x), y)
            loss.backward(); optimizer.step(); optimizer.zero_grad()
            watch.loss(loss)
    print(watch.report())

Steps are found by the optimiser's own hooks. On a sampled step the modules get hooks, and everything is measured around the
optimiser's step; between sampled steps a few calls remain that do next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from math import nan
from types import TracebackType
from typing import Any, Final, Self, TypeAlias
from weakref import WeakSet

from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from lettrine.arguments import checked
from lettrine.errors import HealthError
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Report
from lettrine.health.recorder import Recorder, Schedule
from lettrine.health.trace import Facts, Trace
from lettrine.torch.capture.catalogue import WRAPPERS, unwrapped
from lettrine.torch.capture.compiled import times_traced, untraced
from lettrine.torch.capture.figures import Figures, fmax
from lettrine.torch.capture.guard import Guard
from lettrine.torch.capture.looks import Looker
from lettrine.torch.capture.losses import FULL, LossProbe
from lettrine.torch.capture.modules import ModuleProbe
from lettrine.torch.capture.parameters import ParameterProbe, Turns, Wrapped, optimisers_of, run_facts
from lettrine.torch.capture.scaling import loss_scale, scaler_calling, step_skipped
from lettrine.torch.fast.idle import idle
from lettrine.torch.fast.quick import QuickSteps
from lettrine.torch.graph import readers as _readers  # noqa: F401  the readers of looks make themselves known

Task: TypeAlias = tuple[Any, Callable[..., Any]] | str | None
"""What a watch may be given to try: batches and a loss function, or the name of a function that makes a task."""


LISTENING: Final[WeakSet[Watch]] = WeakSet()
"""Watches that have begun and are not closed: what trains a model for another purpose must not be recorded by them."""


def being_watched(model: nn.Module) -> bool:
    """Whether a watch listens to this model now."""
    return any(watch.watches(model) for watch in LISTENING)


class Watch:
    """What `watch` returns: use it with `with`, or call `start` and `close`.

    Several optimisers (alternating networks, one for embeddings and one for the rest) make one step together: it is over when
    each has stepped; one that has not stepped for 16 steps of another is not waited for.
    With gradient accumulation the outputs and their gradients are those of the micro-batches together.
    A step that a GradScaler skips is not counted.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | Wrapped | Iterable[Optimizer | Wrapped] | None = None,
        every: int | None = None,
        classes: int = 0,
        scaler: GradScaler | None = None,
        task: Task = None,
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
        self._looker = Looker(inner, self._optimisers, self._recorder, self._guard)
        self._handles: list[Any] = []
        self._before_handles: list[Any] = []
        self._idle = idle(partial(self._stepped, 0), self.loss, FULL)
        vars(self)["loss"] = self._idle.loss  # nine hundred and ninety-nine losses of a thousand are only noted
        before, paused = partial(self._guard, self._before, 0), partial(self._guard, self._paused)
        self._quick = QuickSteps(self._idle, self._guard, before, paused)
        self._sampling = False
        self._pending: tuple[int, dict[str, Any], bool] | None = None  # the last sampled step, its figures, whether it was quick
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

    def start(self) -> Self:
        """Begin to listen."""
        LISTENING.add(self)
        if not self._handles:
            for place, optimiser in enumerate(self._optimisers):
                hook = self._quick.hooks[1] if len(self._optimisers) == 1 else partial(self._stepped, place)
                self._handles.append(optimiser.register_step_post_hook(untraced(hook)))
            self._guard(self._note_trained)
            self._guard(self._arm)
        return self

    def close(self) -> None:
        """Take everything away; what was recorded stays."""
        LISTENING.discard(self)
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._guard(self._gather)
        self._disarm()
        self._looker.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def loss(self, loss: Any) -> None:
        """Hand over the loss of a step, before or after the optimiser has made it: a number or a tensor.

        Cheap enough for every step. A loss with its graph also tells what it is made of and which classes the targets have.
        """
        self._guard(self._loss, loss)

    def dev_loss(self, loss: Any) -> None:
        """Hand over the loss on held-out data, whenever it is known."""
        self._guard(lambda: self._recorder.record_dev(self._idle.step, loss.item() if isinstance(loss, Tensor) else loss))
        self._guard(self._looker.evaluated)

    def step(self) -> None:
        """Say that a step has been made, where no torch optimiser makes it; call it before the gradients are cleared."""
        if self._optimisers:
            raise HealthError("step() was called on a watch that finds the steps by its optimizer; leave the call out")
        self._guard(self._own_step)

    def watches(self, model: nn.Module) -> bool:
        """Whether this is the model that is watched."""
        return self._model is unwrapped(model)

    @property
    def steps(self) -> int:
        """Optimiser steps seen so far."""
        return self._idle.step

    def trace(self) -> Trace:
        """Everything recorded so far.

        Raises HealthError if no step was sampled.
        """
        self._guard(self._gather)
        self._flush()
        self._quick.hand_over(self._recorder)
        self._losses.note(self._idle.losses())
        self._losses.drain()
        self._looker.finish()
        self._recorder.facts = self._facts()
        trace = self._recorder.trace()
        if not len(trace.steps):
            reason = f"; the first error was: {trace.facts.errors[0]}" if trace.facts.errors else ""
            raise HealthError(
                "nothing was recorded: no optimiser step was seen between start and close. Give watch the optimizer that "
                f"steps, and the model that is called, not one compiled from it{reason}"
            )
        return trace

    def report(self) -> Report:
        """Judge what was recorded so far; training may go on. Judged anew only if something new was recorded.

        Where a task was given and the watch is closed, `health.checkup` tries it now, which takes its time, and the report is of
        both. Raises HealthError if no step was sampled.
        """
        from lettrine.health.checks import examine  # noqa: PLC0415  reading a trace needs all checks, watching needs none

        trace = self.trace()
        if self._judged is None or self._judged[0] != self._recorder.version:
            self._judged = (self._recorder.version, self._tried(examine(trace)))
        return self._judged[1]

    def _tried(self, watched: Report) -> Report:
        """The report of watching and experiments together, where there is a task and nothing listens any more."""
        if self._task is None or self._handles:
            return watched
        from lettrine.health.combining import combine  # noqa: PLC0415  only who asks for experiments pays for them
        from lettrine.torch.checkup import checkup  # noqa: PLC0415

        if self._tried_once is None:
            if isinstance(self._task, str):
                self._tried_once = checkup(task=self._task)
            else:
                optimiser = self._optimisers[0] if self._optimisers else None
                self._tried_once = checkup(self._model, *self._task, optimiser)
        return combine(watched, self._tried_once)

    def _note_trained(self) -> None:
        """Say so if an optimiser has stepped before: what it holds was trained already."""
        if any(state for optimiser in self._optimisers for state in optimiser.state.values()):
            self._recorder.note_evidence(Evidence("resumed"))

    def _stepped(self, place: int, optimiser: Optimizer, *_: Any) -> None:
        """An optimiser has stepped, and that is not all there is to do."""
        if self._sampling or len(self._optimisers) > 1 or hasattr(optimiser, "found_inf"):
            self._guard(self._after, place, optimiser)
        else:
            self._idle.step += 1
            if self._idle.step >= self._idle.next:
                self._guard(self._arm)

    def _arm(self) -> None:
        """Listen to the step that begins now."""
        if not self._sampling and not self._compiled:
            for place, optimiser in enumerate(self._optimisers):
                hook = self._quick.hooks[0] if len(self._optimisers) == 1 else partial(self._guard, self._before, place)
                self._before_handles.append(optimiser.register_step_pre_hook(hook if self._eager else untraced(hook)))
        self._sampling = True
        self._idle.counting = self._idle.noting = False
        self._stats = {}
        self._scales = (1.0, 1.0)
        if not self._optimisers or not self._parameters.taps:
            self._parameters.refresh()
        if not self._optimisers or self._compiled:
            self._parameters.all.take_before()
        if self._compiled:
            return
        self._detail = self._recorder.detailed(self._idle.step)
        if self._detail:
            self._parameters.follow()
        self._looker.arm(self._idle.step, detail=self._detail)
        counted = self._modules.logits if self._losses.countable else ""
        self._modules.install(self._quick.listen(copied=self._losses.looking(), detail=self._detail, counted=counted))
        self._calls_at_start = self._modules.calls
        quiet_until = self._recorder.quiet_until
        if self._schedule.every == 1 and not counted and self._idle.step < quiet_until and not self._looker.looking:
            self._idle.noting = self._quick.go_on(self._model.modules(), quiet_until, {"training": self._modules.training})

    def _disarm(self) -> None:
        self._sampling = False
        self._looker.disarm()
        # A fused optimiser leaves its step out where a GradScaler says so.
        self._idle.counting = not any(getattr(each, "_step_supports_amp_scaling", False) for each in self._optimisers)
        self._idle.noting = not self._awaiting
        for handle in self._before_handles:
            handle.remove()
        self._before_handles.clear()
        self._modules.remove()
        self._modules.forget()
        self._parameters.forget()
        self._quick.drop()

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
        if self._quick.full:
            self._flush()
            self._quick.hand_over(self._recorder)
        if not (self._may_be_quick() and self._quick.before()):
            self._quick.miss()
            self._parameters.refresh()
            self._modules.settle()
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
        if self._quick.opened:
            self._quick.after()
        elif self._sampling:
            if self._modules.calls != self._calls_before:  # it called the model itself, by a closure
                self._modules.settle()
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
            self._handles.append(self._optimisers[0].register_step_post_hook(self._quick.hooks[1]))

    def _count_by_losses(self, loss: Any) -> None:
        """The step is compiled as a whole, so that nothing but its loss tells of it: each loss is one step."""
        self._losses.add(self._idle.step, loss)
        self._own_step()

    def examined(self) -> None:
        """Take one forward and backward pass, without a step, for all there is to see."""
        self._modules.settle()
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
            quick = self._quick.opened
            self._pending, self._awaiting = (self._idle.step, self._quick_figures() if quick else self._figures(), quick), True
            self._recorder.noted(self._idle.step)
            self._idle.next = self._schedule.after(self._idle.step)
        self._idle.step += 1
        if self._idle.step < self._idle.next:
            if self._sampling:
                self._disarm()
            return
        if self._sampling:
            self._modules.forget()
            self._parameters.forget()
        self._arm()

    def _gather(self) -> None:
        """Take in the steps that were made without Python since this was last asked; the loss of the last one may still come."""
        made = self._quick.ran(self._idle.step)
        if not made:
            return
        self._flush()
        self._losses.note(self._idle.losses())
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
            [tap for tap in self._parameters.taps if tap.has_before],
            scales=self._scales,
            detail=self._detail,
            search=self._recorder.searched(self._idle.step),
            remote=self._modules.remote or self._parameters.remote,
        )
        self._count_targets()
        self._recorder.add(*self._modules.new_infos(), *self._parameters.new_infos())
        self._quick.hand_over(self._recorder)
        if self._may_be_quick():
            self._quick.learn(self._modules.alike(), self._parameters.taps, self._optimisers[0].param_groups)
        self._note_input(next(iter(found["outputs"]), ""))
        return {**found, **self._stats_of_step()}

    def _stats_of_step(self) -> dict[str, Any]:
        """The figures of the step that is over which are not those of modules and parameters."""
        rate = float(self._optimisers[0].param_groups[0].get("lr", nan)) if self._optimisers else nan
        return {"learning_rate": rate, "training": self._modules.training, **self._stats}

    def _quick_figures(self) -> dict[str, Any]:
        """The same of a quick step, whose other figures follow together with those of others."""
        self._count_targets()
        self._note_input(next(iter(self._modules.taps), ""))
        self._quick.drop()
        stats = self._stats_of_step()
        self._quick.keep(self._idle.step, stats, search=self._recorder.searched(self._idle.step))
        return stats

    def _count_targets(self) -> None:
        if self._losses.countable and (tap := self._modules.taps.get(self._modules.logits)) is not None:
            self._losses.count(tap)

    def _note_input(self, first: str) -> None:
        """Say so if what the model was given is not finite. first: name of the module that met it."""
        if self._modules.input_heard and not self._modules.input_finite():
            self._recorder.note_nonfinite(self._idle.step, first, "data", exact=self._idle.step <= self._sampled + 1)

    def _may_be_quick(self) -> bool:
        """Whether nothing about this step needs copies."""
        return len(self._optimisers) == 1 and self._scales == (1.0, 1.0) and self._parameters.grouped()

    def _flush(self) -> None:
        """Record the last sampled step."""
        if self._pending is not None:
            if self._awaiting:
                self._take_loss()
            (step, found, quick), self._pending = self._pending, None
            self._sampled = step
            if not quick:
                self._recorder.take(step, **found)

    def _take_loss(self) -> None:
        """The losses of the last sampled step have all come."""
        self._awaiting = False
        self._idle.noting = not self._sampling or self._quick.running
        self._losses.note(self._idle.losses())
        if self._pending is not None and (loss := self._losses.at(self._pending[0])) is not None:
            self._pending[1]["loss"] = loss

    def _loss(self, loss: Any) -> None:
        if isinstance(loss, Tensor) and loss.is_meta:
            return  # it has no value: Keras hands such over while it builds its graph
        if not self._eager and times_traced() > self._traced and self._optimisers:
            self._compiled = True
            self._disarm()
            vars(self)["loss"] = partial(self._guard, self._count_by_losses)
            self._losses.add(0, loss)
            self._idle.step = 1
            self._arm()
            return
        self._quick.stop()
        self._gather()
        self._losses.note(self._idle.losses())
        if self._sampling and self._modules.calls != self._calls_at_start:
            self._idle.late = 0  # the model has been called since the last step: this is the loss of the step to come
        elif self._sampling:
            self._idle.late = 1
        step = max(0, self._idle.step - self._idle.late)
        if self._awaiting and self._pending is not None and step > self._pending[0]:
            self._take_loss()
        if (self._sampling and not self._idle.late) or self._awaiting:
            self._losses.look(loss)
        self._looker.handed(step, loss)
        if not self._losses.add(step, loss) and not self._sampling:
            self._look_at_once()

    def _look_at_once(self) -> None:
        """A loss was not finite: sample the step where the counter stands, the first time that happens."""
        if not self._alarmed:
            self._alarmed = True
            self._looker.again()
            self._idle.next = self._idle.step
            self._arm()

    def _facts(self) -> Facts:
        known = replace(self._recorder.facts, source="torch", batch_size=self._modules.batch_size)
        facts = run_facts(self._losses.facts(known, self._classes), self._model, self._optimisers)
        return replace(facts, notes={**facts.notes, "compiled": "step"}) if self._compiled else facts


@checked
def watch(
    model: nn.Module,
    optimizer: Optimizer | Wrapped | Iterable[Optimizer | Wrapped] | None = None,
    *,
    every: int | None = None,
    classes: int = 0,
    scaler: GradScaler | None = None,
    task: Task = None,
) -> Watch:
    """Watch a model train.

    model: any module, the one that is called in training (or what DataParallel or DistributedDataParallel wraps).
    optimizer: the optimiser, or all of them; None if no torch optimiser makes the steps: then call `Watch.step`.
    every: 1 samples every step, n every n-th; None the default schedule, every step at first and then ever fewer.
    classes: how many the loss chooses between, where it cannot be seen from the loss itself.
    scaler: the GradScaler, if it is not the one that calls `optimizer.step`.
    task: (batches, loss_fn), or "train.py:make", as `health.checkup` takes them: after the watch has closed, `report` tries the
    task by experiment, confirms or withdraws what was suspected, and adds what it finds.

    Observing changes nothing: weights with and without are bit-equal. An error inside the health code is kept for the
    report and never stops training.

    Raises HealthError for what cannot be watched, such as a compiled model.
    """
    return Watch(model, optimizer, every, classes, scaler, task)
