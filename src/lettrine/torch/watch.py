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

import atexit
import importlib
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
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
from lettrine.health.findings import Finding, Report
from lettrine.health.joining import joined
from lettrine.health.observers import OnFinding
from lettrine.health.recorder import Recorder
from lettrine.health.schedule import Schedule
from lettrine.health.trace import Facts, Trace
from lettrine.health.tracking import LogTo, Tracking
from lettrine.torch.capture.catalogue import WRAPPERS, is_compiled, unwrapped
from lettrine.torch.capture.closures import after_closure
from lettrine.torch.capture.compiled import times_traced, untraced
from lettrine.torch.capture.entrances import Entrances
from lettrine.torch.capture.figures import Figures, fmax
from lettrine.torch.capture.guard import Guard
from lettrine.torch.capture.looks import Looker
from lettrine.torch.capture.losses import FULL, LossProbe
from lettrine.torch.capture.modules import ModuleProbe
from lettrine.torch.capture.parameters import ParameterProbe, Turns, Wrapped, optimisers_of, run_facts
from lettrine.torch.capture.scaling import loss_scale, scaler_calling, step_skipped
from lettrine.torch.capture.sharding import shards
from lettrine.torch.distributed import Ranks
from lettrine.torch.fast.counting import step_counter
from lettrine.torch.fast.in_place import StepsInPlace
from lettrine.torch.fast.switch import tensors
from lettrine.torch.graph import readers as _readers  # noqa: F401  the readers of looks make themselves known
from lettrine.torch.kept import packed, unpacked

Task: TypeAlias = tuple[Any, Callable[..., Any]] | str | None
"""What a watch may be given to try: batches and a loss function, or the name of a function that makes a task."""


MOST_STEPS: Final = 2**53  # beyond, a step's number is no longer exact in the curves
_LIVE: Final = "lettrine.live.showing"
"""Where live pages come from, bound by name when one is asked for: watching itself draws nothing."""
STEPLESS: Final = 100  # losses without a step, after which the user is told that none is seen

LISTENING: Final[WeakSet[Watch]] = WeakSet()
"""Watches that have begun and are not closed: what trains a model for another purpose must not be recorded by them."""


@atexit.register
def close_all() -> None:
    """Close what was started and never closed."""
    for each in list(LISTENING):
        each.close()


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
        on_finding: OnFinding | None = None,
        stop_on: str | None = None,
        first_step: int = 0,
        log_to: LogTo | None = None,
        fast: bool | None = None,
        live: bool = False,
    ) -> None:
        self._task = task
        self.free = False  # started without `with`
        self._tried_once: Report | None = None
        self._optimisers = optimisers_of(optimizer)
        inner = unwrapped(model, compiled=True)
        self._alone = inner is model or not isinstance(model, WRAPPERS)
        self._schedule = Schedule(every or 0)
        self._recorder = Recorder(self._schedule)
        self._recorder.observers.tell(on_finding, stop_on)
        self._tracking = None if log_to is None else Tracking(log_to)
        if self._tracking is not None:
            self._recorder.observers.on_sample.append(self._tracking)
        self._model = inner
        self._classes = classes
        self._scaler = scaler
        self._guard = Guard(self._recorder, self.close)
        self._modules = ModuleProbe(inner, self._guard)
        self._parameters = ParameterProbe(inner, self._optimisers)
        self._losses = LossProbe(self._recorder, self._modules)
        self._looker = Looker(inner, self._optimisers, self._recorder, self._guard, self._met)
        self._entrances = Entrances(inner, self._looker.roots)
        self._handles: list[Any] = []
        self._before_handles: list[Any] = []
        reader = tensors(fast)
        self._counter = step_counter(reader, partial(self._stepped, 0), partial(self._guard, self._loss), FULL)
        before, paused = partial(self._guard, self._before, 0), partial(self._guard, self._paused)
        self._in_place = StepsInPlace(reader, self._counter, self._guard, before, paused)
        self._sampling = False
        self._pending: tuple[int, dict[str, Any], bool] | None = None  # the last sampled step, its figures, whether in place
        self._turns = Turns(len(self._optimisers))
        self._measured = Figures()
        self._detail = True  # whether the step being sampled gets histograms too
        self._sampled = -1
        self._awaiting = False  # the loss of the last sampled step may still come
        self._calls_at_start = self._calls_before = 0
        self._scales = (1.0, 1.0)
        self._stats: dict[str, float] = {}
        self._judged: tuple[int, Report] | None = None
        self._alarmed = self._urgent = False  # a loss that was not finite has been met, and the checks have not run since
        self._eager = False  # a step has been seen; until then it may be one that Dynamo compiles
        self._compiled = False  # it does: modules and steps cannot be heard
        self._deaf = is_compiled(model)  # though not the steps: hooks on its modules would only have them compiled again
        self._traced = times_traced()
        self._bare = False  # the losses handed over have no graph
        self._unstepped = 0  # losses handed over since it was traced, and before a step was heard
        self._stepless = 0  # losses handed over before the first step
        self._earlier: Trace | None = None  # of the run that this one goes on with
        self._ranks: Ranks | None = None  # those that train together with this process
        self._begin_at(first_step)
        # Last: what cannot be watched must leave no server behind.
        self._live: Any = importlib.import_module(_LIVE).Live(type(model).__name__) if live else None

    def start(self) -> Self:
        """Begin to listen, until `close` or the end of the process. A watch that was started so on the same model is closed."""
        for other in [each for each in LISTENING if each.free and each is not self and each.watches(self._model)]:
            other.close()
        self.free = True
        LISTENING.add(self)
        if not self._handles:
            for place, optimiser in enumerate(self._optimisers):
                hook = self._in_place.hooks[1] if len(self._optimisers) == 1 else partial(self._stepped, place)
                self._handles.append(optimiser.register_step_post_hook(untraced(hook)))
            self._guard(self._note_trained)
            self._guard(self._join_ranks)
            self._guard(self._arm)
            if not self._deaf:
                self._entrances.listen()
        return self

    def close(self) -> None:
        """Take everything away; what was recorded stays."""
        listened = self in LISTENING
        LISTENING.discard(self)
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._guard(self._gather)
        self._disarm()
        self._entrances.close()
        self._looker.close()
        if self._live is not None:
            self._guard(self._live.close)
        if listened:
            self.gather()
            self._guard(self._finish_tracking)

    def __enter__(self) -> Self:
        self.start()
        self.free = False
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._ranks is not None:
            self._ranks.hurried = error is not None
        self.close()

    def loss(self, loss: Any) -> None:
        """Hand over the loss of a step, before or after the optimiser has made it: a number or a tensor.

        Cheap enough for every step. A loss with its graph also tells what it is made of and which classes the targets have.
        """
        self._counter.loss(loss)  # nearly all are only noted

    def dev_loss(self, loss: Any) -> None:
        """Hand over the loss on held-out data, whenever it is known."""
        self._guard(lambda: self._recorder.record_dev(self._counter.step, loss.item() if isinstance(loss, Tensor) else loss))
        self._guard(self._looker.evaluated)

    def step(self) -> None:
        """Say that a step has been made, where no torch optimiser makes it; call it before the gradients are cleared."""
        if self._optimisers:
            raise HealthError("step() was called on a watch that finds the steps by its optimizer; leave the call out")
        self._guard(self._own_step)

    def watches(self, model: nn.Module) -> bool:
        """Whether this is the model that is watched."""
        return self._model is unwrapped(model, compiled=True)

    @property
    def address(self) -> str:
        """Of the live page; "" without one."""
        return "" if self._live is None else str(self._live.address)

    @property
    def model(self) -> nn.Module:
        """The model that is watched, without what wraps it."""
        return self._model

    @property
    def rank(self) -> int:
        """Of this process among those that train together; 0 where it trains alone."""
        return 0 if self._ranks is None else self._ranks.rank

    def concerned_by(self, loss: Tensor) -> bool:
        """Whether a loss is made of the watched model's parameters."""
        return self._looker.concerns(loss)

    @property
    def steps(self) -> int:
        """Optimiser steps seen so far."""
        return self._counter.step

    def findings(self) -> tuple[Finding, ...]:
        """What is wrong as far as can be said now; empty before the first step. Training may go on."""
        with suppress(HealthError):
            return self.report().findings
        return ()

    @property
    def should_stop(self) -> bool:
        """Whether something as severe as `stop_on` was found: the loop may end itself."""
        return self._recorder.observers.should_stop

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to go on: the step and all that was recorded, as tensors, numbers and text."""
        state: dict[str, Any] = {"step": self._counter.step}
        with suppress(HealthError):
            state["trace"] = packed(self._own())
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the watch stood that gave `state`; call it before `start`.

        Raises HealthError for a state that is none, or if this watch has begun.
        """
        step = state.get("step") if isinstance(state, dict) else None
        if not isinstance(step, int) or not 0 <= step <= MOST_STEPS or self in LISTENING:
            found = "after start" if self in LISTENING else f"with a {type(state).__name__} that holds no step"
            raise HealthError(f"load_state_dict was called {found}; expected what state_dict gave, before start")
        self._earlier = unpacked(state["trace"]) if "trace" in state else None
        self._begin_at(step)

    def _begin_at(self, step: int) -> None:
        self._first = self._counter.step = self._counter.next = step
        if step:
            self._recorder.note_evidence(Evidence("resumed"))

    def gather(self) -> None:
        """Where several processes train, bring together what all have seen; to be called on every rank. `close` does so too.

        From then on `trace` and `report` on rank 0 are of all ranks. Nobody waits here: rank 0 does when it is asked for them.
        """
        if self._ranks is not None:
            self._guard(self._tell_ranks, self._ranks)

    def _join_ranks(self) -> None:
        self._ranks = self._ranks or Ranks.of(self._model)
        if self.rank:
            self._recorder.observers.on_sample.clear()  # rank 0 alone tells trackers
        if self._ranks is not None:
            for each in shards(self._model):
                self._recorder.note_evidence(each)

    def _finish_tracking(self) -> None:
        """Hand the report to a tracker that wants it; experiments are for who asks for them."""
        if self._tracking is not None and self._tracking.finishes and not self.rank:
            from lettrine.health.checks import examine  # noqa: PLC0415  only who has a tracker needs the checks now

            self._tracking.finish(self.report() if self._task is None else examine(self.trace()))

    def _tell_ranks(self, ranks: Ranks) -> None:
        own = None
        if ranks.rank:
            with suppress(HealthError):  # it has seen nothing
                own = self._own()
        ranks.tell(own)
        self._judged = None

    def trace(self) -> Trace:
        """Everything recorded so far, before a resume too; on rank 0 of several, after `gather` or `close`, that of all ranks.

        Raises HealthError if no step was sampled.
        """
        own = self._own()
        return own if self._ranks is None else self._ranks.united(own)

    def _own(self) -> Trace:
        """What this process has seen."""
        self._guard(self._gather)
        self._flush()
        self._in_place.hand_over(self._recorder)
        self._losses.note(self._counter.losses())
        self._losses.drain()
        self._looker.finish()
        self._recorder.facts = self._facts()
        trace = self._recorder.trace() if self._earlier is None else joined(self._earlier, self._recorder.trace())
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
        from lettrine.health.combining import suggesting  # noqa: PLC0415  watching needs none

        if self._task is None or self._handles:
            return suggesting(watched)
        from lettrine.torch.checkup import checkup  # noqa: PLC0415  only who asks for experiments pays for them

        if self._tried_once is None:
            if isinstance(self._task, str):
                self._tried_once = checkup(task=self._task, watched=watched)
            else:
                optimiser = self._optimisers[0] if self._optimisers else None
                self._tried_once = checkup(self._model, *self._task, optimiser, watched=watched)
        return self._tried_once

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
                before = self._in_place.hooks[0] if len(self._optimisers) == 1 else partial(self._guard, self._before, place)
                hook = after_closure(before)
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
        if self._deaf:
            return
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

    def _step_is_compiled(self, loss: Any) -> None:
        self._compiled = True
        self._disarm()
        self._losses.add(self._first + 1, loss)
        self._counter.step = self._first + 2
        self._arm()

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
            self._inform()
            in_place = self._in_place.opened
            self._pending, self._awaiting = (
                (self._counter.step, self._figures_in_place() if in_place else self._figures(), in_place),
                True,
            )
            self._recorder.noted(self._counter.step)
            self._counter.next = self._schedule.after(self._counter.step)
            if self._eager and times_traced() > self._traced:
                self._deaf = self._deaf or self._modules.calls == self._calls_at_start
                self._traced = times_traced()
            if roots := self._entrances.found():
                self._modules.enter(roots)
                self._looker.enter(roots)
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
        """The same of a in_place step, whose other figures follow together with those of others."""
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
        usual = len(self._optimisers) == 1 and self._scales == (1.0, 1.0) and not self._parameters.gathered
        return usual and self._parameters.grouped()

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
        else:
            self._take_in(loss)

    def _take_in(self, loss: Any) -> None:
        if self._counter.step == self._first:
            self._count_stepless()
        if not self._eager and self._optimisers and times_traced() > self._traced:
            self._unstepped += 1
            if self._unstepped == 2:  # two losses and no step that could be heard
                self._step_is_compiled(loss)
                return
        self._in_place.stop()
        self._gather()
        self._losses.note(self._counter.losses())
        if self._sampling and self._modules.calls != self._calls_at_start:
            self._counter.late = 0  # the model has been called since the last step: this is the loss of the step to come
        elif self._sampling:  # of modules that are compiled nothing is heard: then as it was at the first step
            self._counter.late = 0 if self._deaf and self._stepless else 1
        step = max(0, self._counter.step - self._counter.late)
        if self._awaiting and self._pending is not None and step > self._pending[0]:
            self._take_loss()
            self._inform()
        if (self._sampling and not self._counter.late) or self._awaiting:
            self._losses.look(loss)
        self._bare = not isinstance(loss, Tensor) or loss.grad_fn is None
        self._looker.handed(step, loss)
        if not self._losses.add(step, loss) and not self._sampling:
            self._look_at_once()

    def _met(self, loss: Tensor) -> None:
        """`backward` is called on a loss: where losses are handed over as numbers, this one tells what they are made of."""
        self._losses.look(loss)

    def _look_at_once(self) -> None:
        """A loss was not finite: sample the step where the counter stands, the first time that happens."""
        if not self._alarmed:
            self._alarmed = self._urgent = True
            self._looker.again()
            self._counter.next = self._counter.step
            self._arm()

    def _inform(self) -> None:
        """All of a sampled step is known: show it, and run the checks if somebody wants to be told and it is time."""
        with suppress(HealthError):  # before the first sampled step there is nothing to show or to judge
            if self._live is not None:
                self._live.offer(self._own, {"step": self._counter.step})
            if self._recorder.observers.on_finding:
                self._recorder.observers.look(self._own, now=self._urgent)
                self._urgent = False

    def _count_stepless(self) -> None:
        """Say it early if the losses come and no step does."""
        self._stepless += 1
        if self._stepless == STEPLESS and self._counter.step == self._first:
            how = "optimizer that was given" if self._optimisers else "optimizer"
            advice = "give watch the optimizer that steps, or call watch.step() after each step"
            warnings.warn(f"lettrine saw {STEPLESS} losses and no step of an {how}: {advice}", RuntimeWarning, stacklevel=4)

    def _facts(self) -> Facts:
        known = replace(self._recorder.facts, source="torch", batch_size=self._modules.batch_size)
        facts = run_facts(self._losses.facts(known, self._classes), self._model, self._optimisers)
        compiled = "step" if self._compiled else "model" if self._deaf else ""
        notes = {"compiled": compiled} if compiled else {}
        notes |= {"functions": "not noted"} if self._looker.blind else {}
        return replace(facts, notes={**facts.notes, **notes})


@checked
def watch(
    model: nn.Module,
    optimizer: Optimizer | Wrapped | Iterable[Optimizer | Wrapped] | None = None,
    *,
    every: int | None = None,
    classes: int = 0,
    scaler: GradScaler | None = None,
    task: Task = None,
    on_finding: OnFinding | None = None,
    stop_on: str | None = None,
    first_step: int = 0,
    log_to: LogTo | None = None,
    fast: bool | None = None,
    live: bool = False,
) -> Watch:
    """Watch a model train.

    model: any module, the one that is called in training (or what DataParallel or DistributedDataParallel wraps).
    optimizer: the optimiser, or all of them; None if no torch optimiser makes the steps: then call `Watch.step`.
    every: 1 samples every step, n every n-th; None the default schedule, every step at first and then ever fewer.
    classes: how many the loss chooses between, where it cannot be seen from the loss itself.
    scaler: the GradScaler, if it is not the one that calls `optimizer.step`.
    task: (batches, loss_fn), or "train.py:make", as `health.checkup` takes them: after the watch has closed, `report` tries the
    task by experiment, confirms or withdraws what was suspected, and adds what it finds.

    on_finding: called with each finding while training goes on, when it first appears and when it becomes more severe. The checks
    run at sampled steps, for 2 % of the time at most; what they find is logged too, by the logger "lettrine.health".
    stop_on: "info", "warning" or "critical": from a finding as severe as that on, `Watch.should_stop` is True.
    first_step: the number of the first step, where a run goes on that was stopped; see also `Watch.load_state_dict`.

    log_to: called with a dict of at most 50 figures and the step, for each sampled step, some steps later; keys as
    `lettrine.health.scalars` has them. Those of `lettrine.integrations` (tensorboard, wandb, mlflow, trackio) take the report,
    too.

    fast: False measures by copies and in Python alone, several times slower, with the same figures; the environment variable
    LETTRINE_FAST=0 says so for all watches.

    live: True shows the training on a local page, at `Watch.address`, anew at each sampled step while somebody looks; needs the
    extra `live`. `every=20` makes it livelier than the default schedule.

    Observing changes nothing: weights with and without are bit-equal. An error inside the health code is kept for the
    report and never stops training.

    Of a model that is compiled parameters, gradients, steps and losses are seen, but no module is heard; the report says so.

    Raises HealthError for what cannot be watched, such as a scripted model.
    """
    if not 0 <= first_step <= MOST_STEPS:
        raise HealthError(
            f"first_step got {first_step}; expected the number of steps that were made before, from 0 to {MOST_STEPS:,}"
        )
    return Watch(model, optimizer, every, classes, scaler, task, on_finding, stop_on, first_step, log_to, fast, live)
