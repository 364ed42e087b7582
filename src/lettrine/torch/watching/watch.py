"""The watch that `health.watch` returns, as the user sees it. The other files of this folder do the work."""

from __future__ import annotations

import atexit
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from lettrine.errors import HealthError
from lettrine.health.findings import Finding, Report
from lettrine.health.observers import OnFinding
from lettrine.health.recorder import Recorder
from lettrine.health.schedule import Schedule
from lettrine.health.trace import Trace
from lettrine.health.tracking import LogTo
from lettrine.torch.capture.catalogue import WRAPPERS, unwrapped
from lettrine.torch.capture.compiled import Visible, outside
from lettrine.torch.capture.guard import Guard
from lettrine.torch.capture.optimisers import Wrapped, optimisers_of
from lettrine.torch.capture.scripting import step_aside
from lettrine.torch.fast.switch import tensors
from lettrine.torch.graph import readers as _readers  # noqa: F401  the import registers the readers of looks
from lettrine.torch.graph.losses.scales import is_mean
from lettrine.torch.watching.audience import Audience
from lettrine.torch.watching.losses import HandedLosses
from lettrine.torch.watching.probes import Probes
from lettrine.torch.watching.record import Record
from lettrine.torch.watching.reporting import Reporting, Task
from lettrine.torch.watching.steps import Steps

LISTENING: Final[WeakSet[Watch]] = WeakSet()
"""Watches that have begun and are not closed. A model that is trained for another purpose must not be recorded by them."""


@atexit.register
def close_all() -> None:
    """Close the watches that were started and never closed."""
    for each in list(LISTENING):
        each.close()


def being_watched(model: nn.Module) -> bool:
    """Whether a watch observes this model now."""
    return any(watch.watches(model) for watch in LISTENING)


class Watch:
    """A watch: use it with `with`, or call `start` and `close`.

    Several optimisers (alternating networks, one for embeddings and one for the rest) make one step together. It is over when
    each has stepped; after 16 steps of one, another that has not stepped is not waited for.
    With gradient accumulation, outputs and their gradients are those of all micro-batches together.
    A step that a GradScaler skips is not counted.
    If a model keeps its watch as an attribute, a copy of the model, or the model read from a file, has None there.
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
        minutes: float = 1.0,
    ) -> None:
        optimisers = optimisers_of(optimizer)
        self._model = unwrapped(model, hookless=True)
        self.free = False  # started without `with`
        recorder = Recorder(Schedule(every or 0))
        self._audience = Audience(recorder.observers, on_finding, stop_on, log_to)
        self._guard = Guard(recorder, self.close)
        self._probes = Probes.of(self._model, optimisers, recorder, self._guard, Visible(model))
        alone = self._model is model or not isinstance(model, WRAPPERS)
        reader = tensors(fast)
        self._steps = Steps(self._probes, recorder, self._guard, reader, scaler, self._inform, self._take_loss, alone=alone)
        self._losses = HandedLosses(self._probes, self._steps, self._inform, self._audience.alarm)
        self._record = Record(recorder, self._probes, self._steps, self._losses, self._guard, classes)
        self._reporting = Reporting(self._probes, task, minutes)
        self._record.begin_at(first_step)
        if live:  # last: if the model cannot be watched, no server must be left
            self._audience.open_page(type(model).__name__)

    def __reduce__(self) -> tuple[Any, ...]:
        """Hooks and threads cannot be copied or pickled, and a copy of the model is another model: it is not watched."""
        return type(None), ()

    @outside
    def start(self) -> Self:
        """Begin, until `close` or the end of the process. It closes a watch of the same model that was started like this."""
        for other in [each for each in LISTENING if each.free and each is not self and each.watches(self._model)]:
            other.close()
        self.free = True
        if self not in LISTENING:
            LISTENING.add(self)
            self._guard(step_aside)
            self._guard(self._record.note_trained)
            self._guard(self._record.join_ranks)
            self._guard(self._record.copies.listen)
            self._guard(self._record.loads.listen)
            if self.rank:
                self._audience.leave_to_rank_0()
            self._steps.listen()
        return self

    @outside
    def close(self) -> None:
        """Remove all hooks. What was recorded stays."""
        listened = self in LISTENING
        LISTENING.discard(self)
        if listened:
            self._guard(self._record.conclude)
        self._steps.close()
        self._record.copies.close()
        self._record.loads.close()
        self._guard(self._audience.close_page)
        if listened:
            self.gather()
            self._guard(self._audience.finish, self._report_for_trackers)

    @outside
    def __enter__(self) -> Self:
        self.start()
        self.free = False
        return self

    @outside
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            self._record.hurry()
        self.close()

    def loss(self, loss: Any) -> None:
        """Hand over the loss of a step, before or after the optimiser makes it: a number or a tensor.

        This is cheap enough for every step. A loss with its graph also tells how it was computed and the classes of the targets.
        """
        if torch.compiler.is_compiling():
            self._loss_in_compiled(loss)
        else:
            self._steps.counter.loss(loss)  # nearly all losses are only noted

    @outside
    def _loss_in_compiled(self, loss: Any) -> None:
        self._steps.counter.loss(loss)

    def _take_loss(self, loss: Any) -> None:
        """Take a loss that has to be more than noted."""
        self._losses.take(loss)

    def _inform(self, step: int) -> None:
        """A sampled step is complete."""
        self._audience.inform(step, self._record.own, self._record.loss_factor)

    @outside
    def dev_loss(self, loss: Any) -> None:
        """Hand over the loss on held-out data, at any time."""
        self._guard(self._take_dev_loss, loss)

    def _take_dev_loss(self, loss: Any) -> None:
        value = loss.item() if isinstance(loss, Tensor) else loss
        self._record.add_dev_loss(value)
        self._guard(self._probes.looker.evaluated, float(value))

    @outside
    def step(self) -> None:
        """Say that a step was made, if no torch optimiser makes it. Call it before the gradients are cleared."""
        if self._probes.optimisers:
            raise HealthError("step() was called on a watch that finds the steps by its optimizer; leave the call out")
        self._guard(self._steps.end_own)

    def examined(self) -> None:
        """Take one forward and backward pass, without a step, as the whole training."""
        self._steps.end_pass()

    def watches(self, model: nn.Module) -> bool:
        """Whether this is the model that is watched."""
        return self._model is unwrapped(model, hookless=True)

    @property
    def address(self) -> str:
        """The address of the live page; "" without one."""
        return self._audience.address

    def _repr_html_(self) -> str | None:
        return self._audience.frame

    @property
    def model(self) -> nn.Module:
        """The watched model, without wrappers."""
        return self._model

    @property
    def rank(self) -> int:
        """The rank of this process; 0 if it trains alone."""
        return self._record.rank

    def concerned_by(self, loss: Tensor) -> bool:
        """Whether a loss was computed from the watched model's parameters."""
        return self._probes.looker.belonging.of(loss)

    def adds_up(self, parts: int) -> bool:
        """Whether the gradients of so many whole losses are added up in a step, by the loss that was looked at last. If so, their
        mean is a loss in true units; else their sum is.
        """
        scale = self._probes.looker.scale
        return scale is not None and is_mean(*scale, parts)

    @property
    def steps(self) -> int:
        """The number of optimiser steps seen so far."""
        return self._steps.counter.step

    @outside
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong, as far as known now; empty before the first step. Training may go on."""
        with suppress(HealthError):
            return self.report().findings
        return ()

    @property
    def should_stop(self) -> bool:
        """Whether something as severe as `stop_on` was found, so that the loop may end. All ranks say so at the same step."""
        return self._audience.stops and self._record.agreed(wanted=self._audience.should_stop)

    def state_dict(self) -> dict[str, Any]:
        """The state that a resumed run needs: the step and all that was recorded, as tensors, numbers and text."""
        return self._record.state()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume where another watch was; `state` is from its `state_dict`. Call it before `start`.

        Raises HealthError for anything else, or if this watch has begun.
        """
        if self in LISTENING:
            raise HealthError("load_state_dict was called after start; expected what state_dict gave, before start")
        self._record.load(state)

    @outside
    def gather(self) -> None:
        """If several processes train, join their traces; call it on every rank. `close` does this, too.

        From then on `trace` and `report` on rank 0 are of all ranks. Nobody waits here: rank 0 waits when it is asked for them.
        """
        self._guard(self._record.gather)

    @outside
    def trace(self) -> Trace:
        """Everything recorded so far, also before a resume. On rank 0 of several, after `gather` or `close`, that of all ranks.

        Raises HealthError if no step was sampled.
        """
        return self._record.trace()

    @outside
    def report(self) -> Report:
        """Judge what was recorded so far. Training may go on. The checks run again only if something new was recorded.

        If a task was given and the watch is closed, `health.checkup` makes its experiments now, which takes time. The report then
        has both. Raises HealthError if no step was sampled.
        """
        return self._reporting.of(self.trace(), self._record.version, over=self not in LISTENING)

    def _report_for_trackers(self) -> Report:
        return self._reporting.for_trackers(self.trace(), self._record.version)
