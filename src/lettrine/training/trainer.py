"""The training loop: steps in chunks, evaluations, checkpoints, and the health watch, on any engine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from lettrine.engine.base import Engine, Losses, TrainState, moment_kinds
from lettrine.errors import ConfigError
from lettrine.health.findings import Finding
from lettrine.inference.evaluation import calibrate_norms, mean_loss
from lettrine.model.config import MLPConfig
from lettrine.model.parameters import Parameters, copy_parameters
from lettrine.text.windows import Windows, installed_memory
from lettrine.training.batches import Batches, Rows
from lettrine.training.checkpoint import Checkpoint
from lettrine.training.interrupt import Requests
from lettrine.training.schedule import learning_rates
from lettrine.training.settings import Settings
from lettrine.training.start import starting_parameters
from lettrine.training.watch import EngineWatch

CHUNK_SECONDS: Final = 0.05  # steps are asked of the engine in chunks this long, so that Ctrl-C is answered at once
CHECKPOINT_SECONDS: Final = 5.0
SMOOTHING: Final = 0.05  # share of a chunk's mean loss in the loss shown
LOOK_SECONDS: Final = 2.0  # between two health checks of a training under way


@dataclass(frozen=True)
class Progress:
    """Where training stands.

    loss: smoothed training loss; dev: last development loss. findings: what the health check found since the last report.
    """

    step: int
    steps: int
    loss: float
    dev: float
    steps_per_second: float
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    status: "finished", "interrupted" or "diverged". signal: number of the signal that interrupted it, else 0.
    """

    status: str
    checkpoint: Checkpoint
    signal: int = 0


class Trainer:
    """One training: built fresh or from a checkpoint, run until it ends, saved as it goes.

    settings: as `Settings.resolved` gives them. parameters, batches: weights to start from and rows of each batch, in place of
    those that the settings' scheme and seed give. save: called with a checkpoint every few seconds and at the end.
    report: called with the progress after each chunk.
    """

    def __init__(
        self,
        config: MLPConfig,
        settings: Settings,
        engine: Engine,
        train: Windows,
        dev: Windows,
        *,
        checkpoint: Checkpoint | None = None,
        parameters: Parameters | None = None,
        batches: Rows | None = None,
        watch: EngineWatch | None = None,
        save: Callable[[Checkpoint], None] = lambda _: None,
        report: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self.config, self.settings, self.engine = config, settings, engine
        self.train_windows, self.dev_windows, self.watch = train.frozen(), dev.frozen(), watch
        self._save, self._report = save, report
        self.steps, self._eval_every = settings.steps, settings.eval_every
        self._rates = learning_rates(settings.schedule, settings.peak, self.steps)
        self._told: set[str] = set()
        self._batches = batches or Batches(settings.seed, len(train.targets), settings.batch)
        if checkpoint is None:
            if parameters is None:
                parameters = starting_parameters(config, settings, train)
            self.state = TrainState.fresh(config, parameters, settings.optimiser)
            self._best, self._best_step, self._best_dev = copy_parameters(parameters), 0, math.inf
            self._seconds = [0.0, 0.0]
            self._losses = np.empty(self.steps)
            self._dev: list[tuple[int, float]] = []
        else:
            self.state = TrainState(checkpoint.parameters, checkpoint.moments, checkpoint.step)
            self._best, self._best_step, self._best_dev = checkpoint.best, checkpoint.best_step, checkpoint.best_dev
            self._seconds = list(checkpoint.seconds)
            self._losses = np.concatenate([checkpoint.losses, np.empty(self.steps - checkpoint.step)])
            self._dev = list(zip(checkpoint.dev_steps.tolist(), checkpoint.dev_losses.tolist(), strict=True))

    def run(self, requests: Requests) -> Outcome:
        """Train to the end, or until `requests` holds a signal or the loss stops being finite."""
        # A loss that is not finite ends the training with an error of our own; numpy need not warn on the way there.
        with threadpool_limits(self.settings.threads), np.errstate(all="ignore"):
            status = self._loop(requests)
        checkpoint = self.checkpoint()
        self._save(checkpoint)
        return Outcome(status, checkpoint, requests.signal)

    def kept(self) -> Parameters:
        """The weights to use: best or last, and batch norm's statistics calibrated if asked for."""
        parameters = self._best if self.settings.keep == "best" else self.state.parameters
        return calibrate_norms(self.config, parameters, self.train_windows.contexts) if self.settings.calibrate else parameters

    def checkpoint(self) -> Checkpoint:
        """All that is needed to go on from here."""
        steps, losses = zip(*self._dev, strict=True) if self._dev else ((), ())
        return Checkpoint(
            self.state.step,
            self.state.parameters,
            self.state.moments,
            self._best,
            self._best_step,
            self._best_dev,
            self._losses[: self.state.step],
            np.array(steps, np.int64),
            np.array(losses, np.float64),
            (self._seconds[0], self._seconds[1]),
            ({}, "") if self.watch is None else self.watch.archive(),
        )

    def _loop(self, requests: Requests) -> str:
        began = looked = time.perf_counter()
        saved = -math.inf  # the first checkpoint is written at once, so that a disk that refuses is known early
        chunk, smooth = 1, math.nan
        earlier = self._seconds[1]
        self._evaluate(requests)
        while (step := self.state.step) < self.steps or self._due():
            if requests.signal:
                return "interrupted"
            start = time.perf_counter()
            losses = self._chunk(step, chunk)
            elapsed = time.perf_counter() - start
            taken = self.state.step - step
            self._losses[step : self.state.step] = losses[:taken]
            if self.watch is not None:
                self.watch.losses(step, losses)
            self._seconds[0] += elapsed
            if taken < len(losses):
                return "diverged"
            # Grow slowly: the first step of a process is slow and must not be taken for the usual speed.
            chunk = max(1, min(2 * chunk, int(CHUNK_SECONDS * taken / max(elapsed, 1e-9))))
            mean = float(losses.mean())
            smooth = mean if math.isnan(smooth) else smooth + SMOOTHING * (mean - smooth)
            self._evaluate(requests)
            now = time.perf_counter()
            self._seconds[1] = earlier + now - began
            if now - saved > CHECKPOINT_SECONDS:
                self._save(self.checkpoint())
                saved = time.perf_counter()
            findings: tuple[Finding, ...] = ()
            if now - looked > LOOK_SECONDS:
                findings, looked = self._new_findings(), time.perf_counter()
            speed = self.state.step / self._seconds[0] if self._seconds[0] else 0.0
            self._report(Progress(self.state.step, self.steps, smooth, self._dev[-1][1], speed, findings))
        return "finished"

    def _chunk(self, step: int, chunk: int) -> Losses:
        """Some steps from `step` on: up to the next evaluation, the next sampled step, or `chunk`."""
        stop = min(step + chunk, self.steps, step - step % self._eval_every + self._eval_every)
        if self.watch is not None:
            sampled = self.watch.next_sampled(step)
            if sampled == step:
                rows = self._batches.rows(step, step + 1)
                loss = self.watch.step(
                    self.engine, self.state, self.train_windows, rows[0], float(self._rates[step]), self.settings.threads
                )
                return np.array([loss])
            stop = min(stop, sampled)
        rows = self._batches.rows(step, stop)
        rates = self._rates[step : step + len(rows)]
        return self.engine.train(
            self.config,
            self.settings.optimiser,
            self.state,
            self.train_windows.contexts,
            self.train_windows.targets,
            rows,
            rates,
            threads=self.settings.threads,
            seed=self.settings.seed,
        )

    def _new_findings(self) -> tuple[Finding, ...]:
        """What the health check finds now and had not found before."""
        if self.watch is None:
            return ()
        fresh = tuple(finding for finding in self.watch.examine().findings if finding.id not in self._told)
        self._told |= {finding.id for finding in fresh}
        return fresh

    def _due(self) -> bool:
        """Whether the development loss is to be measured here and has not been."""
        here = self.state.step
        return (here % self._eval_every == 0 or here == self.steps) and (not self._dev or self._dev[-1][0] < here)

    def _evaluate(self, requests: Requests) -> None:
        """Measure the development loss where it is due; left to whoever goes on if a signal comes on the way."""
        if not self._due():
            return
        loss = self.loss_of(self.dev_windows, self.state.parameters, requests)
        if requests.signal:
            return
        self._dev.append((self.state.step, loss))
        if self.watch is not None:
            self.watch.dev_loss(self.state.step, loss)
        if loss < self._best_dev:
            self._best, self._best_step, self._best_dev = copy_parameters(self.state.parameters), self.state.step, loss

    def loss_of(self, windows: Windows, parameters: Parameters, requests: Requests | None = None) -> float:
        """Mean loss of a split in eval mode, in nats; NaN if a signal comes before it is known."""
        stopped = (lambda: False) if requests is None else (lambda: requests.signal)
        return mean_loss(self.engine, self.config, parameters, windows.contexts, windows.targets, self.settings.threads, stopped)


def check_memory(config: MLPConfig, settings: Settings) -> None:
    """Raise ConfigError if this machine cannot hold even the least that training needs; nothing has been taken yet.

    Weights, the best so far, gradients and the optimiser's memory; one batch; loss and learning rate of each step.
    """
    copies = 3 + len(moment_kinds(settings.optimiser))
    one_example = config.context * config.embedding + sum(config.hidden) + config.vocabulary_size
    needed = 4 * (copies * config.parameter_count() + settings.batch * one_example) + 16 * settings.steps
    if needed > installed_memory():
        raise ConfigError(
            f"a network of {config.parameter_count():,} parameters, a batch of {settings.batch:,} and {settings.steps:,} steps "
            f"take {needed / 1e9:,.0f} GB or more, and this machine has less; lower hidden, embedding, context, batch or steps"
        )
