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

from collections.abc import Iterable
from functools import partial
from types import TracebackType
from typing import Any, Final, Self
from weakref import WeakSet

from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from lettrine.arguments import checked
from lettrine.errors import HealthError
from lettrine.health.findings import Report
from lettrine.health.trace import Trace
from lettrine.torch.capture.catalogue import unwrapped
from lettrine.torch.capture.compiled import untraced
from lettrine.torch.capture.parameters import Wrapped
from lettrine.torch.graph import readers as _readers  # noqa: F401  the readers of looks make themselves known
from lettrine.torch.listening import Listening, Task

LISTENING: Final[WeakSet[Watch]] = WeakSet()
"""Watches that have begun and are not closed: what trains a model for another purpose must not be recorded by them."""


def being_watched(model: nn.Module) -> bool:
    """Whether a watch listens to this model now."""
    return any(watch.watches(model) for watch in LISTENING)


class Watch(Listening):
    """What `watch` returns: use it with `with`, or call `start` and `close`.

    Several optimisers (alternating networks, one for embeddings and one for the rest) make one step together: it is over when
    each has stepped; one that has not stepped for 16 steps of another is not waited for.
    With gradient accumulation the outputs and their gradients are those of the micro-batches together.
    A step that a GradScaler skips is not counted.
    """

    def start(self) -> Self:
        """Begin to listen."""
        LISTENING.add(self)
        if not self._handles:
            for place, optimiser in enumerate(self._optimisers):
                hook = self._in_place.hooks[1] if len(self._optimisers) == 1 else partial(self._stepped, place)
                self._handles.append(optimiser.register_step_post_hook(untraced(hook)))
            self._guard(self._note_trained)
            self._guard(self._arm)
        return self

    def close(self) -> None:
        """Take everything away; what was recorded stays."""
        LISTENING.discard(self)
        super().close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
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
        return self._model is unwrapped(model)

    @property
    def steps(self) -> int:
        """Optimiser steps seen so far."""
        return self._counter.step

    def trace(self) -> Trace:
        """Everything recorded so far.

        Raises HealthError if no step was sampled.
        """
        self._guard(self._gather)
        self._flush()
        self._in_place.hand_over(self._recorder)
        self._losses.note(self._counter.losses())
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


@checked
def watch(
    model: nn.Module,
    optimizer: Optimizer | Wrapped | Iterable[Optimizer | Wrapped] | None = None,
    *,
    every: int | None = None,
    classes: int = 0,
    scaler: GradScaler | None = None,
    task: Task = None,
    fast: bool | None = None,
) -> Watch:
    """Watch a model train.

    model: any module, the one that is called in training (or what DataParallel or DistributedDataParallel wraps).
    optimizer: the optimiser, or all of them; None if no torch optimiser makes the steps: then call `Watch.step`.
    every: 1 samples every step, n every n-th; None the default schedule, every step at first and then ever fewer.
    classes: how many the loss chooses between, where it cannot be seen from the loss itself.
    scaler: the GradScaler, if it is not the one that calls `optimizer.step`.
    task: (batches, loss_fn), or "train.py:make", as `health.checkup` takes them: after the watch has closed, `report` tries the
    task by experiment, confirms or withdraws what was suspected, and adds what it finds.

    fast: False measures by copies and in Python alone, several times slower, with the same figures; the environment variable
    LETTRINE_FAST=0 says so for all watches.

    Observing changes nothing: weights with and without are bit-equal. An error inside the health code is kept for the
    report and never stops training.

    Raises HealthError for what cannot be watched, such as a compiled model.
    """
    return Watch(model, optimizer, every, classes, scaler, task, fast)
