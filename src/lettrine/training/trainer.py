"""The training loop: steps in chunks, evaluations, checkpoints, and the health watch, on any engine."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from lettrine.arguments import checked
from lettrine.engine.base import Doubles, Engine, TrainState
from lettrine.errors import ConfigError
from lettrine.inference.evaluation import mean_loss, precise_norms
from lettrine.model.config import MLPConfig
from lettrine.model.parameters import Parameters, copy_parameters
from lettrine.text.stored_windows import Examples
from lettrine.text.windows import Windows
from lettrine.training.batches import Rows
from lettrine.training.changes import CHANGEABLE, Change
from lettrine.training.checkpoint import Checkpoint
from lettrine.training.dev_losses import DevLosses
from lettrine.training.interrupt import Requests
from lettrine.training.memory import check_memory
from lettrine.training.mixing import COUNTED, simple_losses
from lettrine.training.progress import Ending, Progress
from lettrine.training.settings import Settings
from lettrine.training.start import starting_parameters
from lettrine.training.timetable import Timetable
from lettrine.training.watch import EngineWatch

CHUNK_SECONDS: Final = 0.1  # the engine takes steps in chunks of this time, so that Ctrl-C has a quick effect
CHECKPOINT_SECONDS: Final = 5.0
SMOOTHING: Final = 0.05  # share of a chunk's mean loss in the loss shown
PAUSE_SECONDS: Final = 0.02  # between two checks whether a paused training may continue


class Trainer:
    """One training: built fresh or from a checkpoint, trained step by step or to the end, and saved on the way.

    settings: as `Settings.resolved` gives them. parameters, batches: initial weights and rows of each batch, instead of those
    from the settings' scheme and seed. save: called with a checkpoint every few seconds and at the end. log: called with the
    new settings before a change is made. on_progress: called with the progress after each chunk of steps.

    `run` trains to the end; `advance` takes some steps and returns. Between two steps `change` makes a change; the settings
    keep it, so that the training can be resumed or repeated bit for bit.
    """

    def __init__(
        self,
        config: MLPConfig,
        settings: Settings,
        engine: Engine,
        train: Examples,
        dev: Windows,
        *,
        checkpoint: Checkpoint | None = None,
        parameters: Parameters | None = None,
        batches: Rows | None = None,
        watch: EngineWatch | None = None,
        save: Callable[[Checkpoint], None] = lambda _: None,
        log: Callable[[Settings], None] = lambda _: None,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self.config, self.engine = config, engine
        self.train_windows, self.dev_windows, self.watch = train.frozen(), dev.frozen(), watch
        self._save, self._log, self._on_progress = save, log, on_progress
        self._timetable = Timetable(settings, len(train), batches, 0 if checkpoint is None else checkpoint.changes)
        self._simple: Mapping[str, float] | None = None
        self._saved = -math.inf  # the first checkpoint is written at once, so that a disk that refuses is known early
        self._most, self._smooth = 1, math.nan  # steps of the next chunk; the loss shown
        self.diverged = False
        if checkpoint is None:
            if parameters is None:
                parameters = starting_parameters(config, settings, train)
            self.state = TrainState.fresh(config, parameters, self.now.optimiser)
            self._dev = DevLosses(copy_parameters(parameters))
            self._seconds = [0.0, 0.0]
            self._losses: list[Doubles] = []
        else:
            self.state = TrainState(checkpoint.parameters, checkpoint.moments, checkpoint.step)
            self._dev = DevLosses(checkpoint.best, checkpoint.best_step, checkpoint.best_dev)
            self._dev.losses = list(zip(checkpoint.dev_steps.tolist(), checkpoint.dev_losses.tolist(), strict=True))
            self._seconds = list(checkpoint.seconds)
            self._losses = [checkpoint.losses]
        self._make_changes()

    def simple(self) -> Mapping[str, float]:
        """Losses of simple models on the held-out words, in nats, by name."""
        if self._simple is None:
            self._simple = simple_losses(self.config, self.train_windows.head(COUNTED), self.dev_windows)
        return self._simple

    @property
    def settings(self) -> Settings:
        """The settings with all changes, in the order in which they were made."""
        return self._timetable.settings

    @property
    def now(self) -> Settings:
        """The settings that hold at this step."""
        return self._timetable.now

    @property
    def step(self) -> int:
        """Optimiser steps taken."""
        return self.state.step

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return self.now.steps

    @property
    def losses(self) -> Doubles:
        """The training loss of every step so far, (S,)."""
        if len(self._losses) != 1:
            self._losses = [np.concatenate([np.empty(0), *self._losses])]
        return self._losses[0]

    @property
    def ended(self) -> bool:
        """Whether the training is over: all steps are taken and evaluated, it stopped early, or its loss is not finite."""
        return self.diverged or (not self._due() and (self.step >= self.steps or self.stopped_early))

    @property
    def stopped_early(self) -> bool:
        """Whether the held-out loss has not improved for `patience` evaluations, and has risen since its best."""
        return self._dev.has_risen(self.now.patience or 0)

    def run(self, requests: Requests) -> Ending:
        """Train to the end, or until `requests` holds a signal or the loss stops being finite."""
        with self._limits():
            status = self._loop(requests)
        checkpoint = self.checkpoint()
        self._save(checkpoint)
        return Ending(status, checkpoint, requests.signal)

    @checked
    def advance(self, steps: int = 1) -> Progress:
        """Take up to `steps` steps, fewer if the training ends earlier.

        Raises ConfigError for less than one step, or a training that has ended.
        """
        if steps < 1:
            raise ConfigError(f"advance got {steps} steps; expected at least 1")
        if self.ended:
            how = "the loss stopped being finite" if self.diverged else f"all {self.steps:,} steps are taken"
            raise ConfigError(f"advance got a training that has ended: {how}; give it more steps by change, or train another")
        until = self.step + steps
        with self._limits():
            while True:
                progress = self._chunk(Requests(), until)
                if self.step >= until or self.ended:
                    return progress

    @checked
    def change(
        self,
        *,
        learning_rate: float | None = None,
        schedule: str | None = None,
        steps: int | None = None,
        batch: int | None = None,
        eval_every: int | None = None,
        momentum: float | None = None,
        weight_decay: float | None = None,
        l2: Mapping[str, float] | None = None,
        scale: Mapping[str, float] | None = None,
    ) -> None:
        """Change something from the next step on.

        learning_rate: the new peak; the schedule continues below it. steps: of the whole training. scale: factors by which
        parameters are multiplied, by name. The others are fields of `Settings` and `Optimiser`.
        Raises ConfigError for a name that cannot be changed, or a value outside its range; then nothing is changed.
        """
        given = (learning_rate, schedule, steps, batch, eval_every, momentum, weight_decay, l2, scale)
        values = {name: value for name, value in zip(CHANGEABLE, given, strict=True) if value is not None}
        change = Change(self.step, values)
        settings = replace(self.settings, changes=(*self.settings.changes, change))
        now = settings.after(len(settings.changes))
        if "batch" in values and self._timetable.given:
            raise ConfigError("change got batch; this training was given its batches, whose size cannot be changed")
        for name in change.scaled:
            if name not in self.state.parameters:
                raise ConfigError(f"scale got {name!r}; expected among {', '.join(self.state.parameters)}")
        check_memory(self.config, now)
        self._log(settings)
        self._timetable.settings = settings
        self._make_changes()

    def _make_changes(self) -> None:
        """Make the changes that are due here."""
        for change in self._timetable.due(self.step):
            for name, factor in change.scaled.items():
                self.state.parameters[name] *= self.state.parameters[name].dtype.type(factor)
            # If the new settings need a moment that did not exist before, it begins at zero, as every moment does.
            fresh = TrainState.fresh(self.config, self.state.parameters, self.now.optimiser).moments
            self.state.moments = {name: self.state.moments.get(name, value) for name, value in fresh.items()}
            if self.watch is not None:
                self.watch.changed(self.now)

    @contextlib.contextmanager
    def _limits(self) -> Iterator[None]:
        # A loss that is not finite ends the training with our own error, so numpy's warnings are not needed.
        with threadpool_limits(self.settings.threads), np.errstate(all="ignore"):
            yield

    def kept(self) -> Parameters:
        """The weights to use: best or last, and batch norm's precise statistics if asked for."""
        parameters = self._dev.best if self.settings.keep == "best" else self.state.parameters
        if not self.settings.precise_norm:
            return parameters
        return precise_norms(self.config, parameters, self.train_windows.head(COUNTED).contexts)

    def checkpoint(self) -> Checkpoint:
        """Everything that is needed to continue from here."""
        return Checkpoint(
            self.state.step,
            self.state.parameters,
            self.state.moments,
            self._dev.best,
            self._dev.best_step,
            self._dev.best_loss,
            self.losses,
            np.array([step for step, _ in self._dev.losses], np.int64),
            np.array([loss for _, loss in self._dev.losses], np.float64),
            (self._seconds[0], self._seconds[1]),
            ({}, "") if self.watch is None else self.watch.archive(),
            self._timetable.made,
        )

    def _loop(self, requests: Requests) -> str:
        self._evaluate(requests)
        while not self.ended:
            if requests.signal:
                return "interrupted"
            requests.make_changes(self.change)
            if requests.paused:
                time.sleep(PAUSE_SECONDS)
            else:
                self._chunk(requests, self.steps)
        return "diverged" if self.diverged else "finished"

    def _chunk(self, requests: Requests, until: int) -> Progress:
        """Take some steps, and do what is due after them: evaluation, checkpoint, health check, and the report of progress."""
        began, step = time.perf_counter(), self.step
        self._evaluate(requests)
        start = time.perf_counter()
        losses = self._train(step, min(until, step + self._most))
        elapsed = time.perf_counter() - start
        taken = self.step - step
        self._losses.append(losses[:taken])
        if self.watch is not None:
            self.watch.losses(step, losses)
        self._seconds[0] += elapsed
        self.diverged = taken < len(losses)
        if not self.diverged:
            # Grow slowly: the first step of a process, and a sampled step that is taken alone, are slower than usual steps.
            if taken > 1 or self._most == 1:
                self._most = max(1, min(2 * self._most, int(CHUNK_SECONDS * taken / max(elapsed, 1e-9))))
            mean = float(losses.mean())
            self._smooth = mean if math.isnan(self._smooth) else self._smooth + SMOOTHING * (mean - self._smooth)
            self._make_changes()
            self._evaluate(requests)
        self._seconds[1] += time.perf_counter() - began
        if time.perf_counter() - self._saved > CHECKPOINT_SECONDS and not self.diverged:
            self._save(self.checkpoint())
            self._saved = time.perf_counter()
        findings = () if self.watch is None or self.diverged else self.watch.look()
        speed = self.step / self._seconds[0] if self._seconds[0] else 0.0
        trace = None if self.watch is None else self.watch.trace
        progress = Progress(self.step, self.steps, self._smooth, self._dev.last, speed, findings, trace, self.simple)
        if not self.diverged:
            self._on_progress(progress)
        return progress

    def _train(self, step: int, stop: int) -> Doubles:
        """Number of steps from `step` on: up to `stop`, the next evaluation or change, or the next sampled step after this
        one.
        """
        batches, rates = self._timetable.batches, self._timetable.rates
        stop = min(stop, self._timetable.until(step))
        looked_at = np.empty(0)
        if self.watch is not None:
            if self.watch.next_sampled(step) == step:
                rows, rate = batches.rows(step, step + 1), float(rates[step])
                looked_at = self.watch.step(self.engine, self.state, self.train_windows, rows, rate, self.now.threads)
                step += 1
            stop = min(stop, self.watch.next_sampled(step))
            if len(looked_at) and (stop <= step or self.state.step < step):  # no step is left
                return looked_at
        contexts, targets, rows = self.train_windows.batch(batches.rows(step, stop))
        losses = self.engine.train(
            self.config,
            self.now.optimiser,
            self.state,
            contexts,
            targets,
            rows,
            rates[step : step + len(rows)],
            threads=self.now.threads,
            seed=self.now.seed,
        )
        return np.concatenate([looked_at, losses])

    def _due(self) -> bool:
        """Whether the development loss is due at this step and not yet measured."""
        here = self.step
        return (here % self.now.eval_every == 0 or here == self.steps) and self._dev.last_step < here

    def _evaluate(self, requests: Requests) -> None:
        """Measure the development loss if it is due; if a signal interrupts this, the resumed run measures it."""
        if not self._due():
            return
        loss = self.loss_of(self.dev_windows, self.state.parameters, requests)
        if requests.signal:
            return
        self._dev.add(self.step, loss, self.state.parameters)
        if self.watch is not None:
            self.watch.dev_loss(self.step, loss)

    def loss_of(self, windows: Windows, parameters: Parameters, requests: Requests | None = None) -> float:
        """Mean loss of a split in eval mode, in nats; NaN if a signal comes before it is known."""
        stopped = (lambda: False) if requests is None else (lambda: requests.signal)
        return mean_loss(self.engine, self.config, parameters, windows, self.settings.threads, stopped)
