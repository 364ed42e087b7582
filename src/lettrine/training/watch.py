"""The health watch on the language model's own engines, as the torch watch is for a torch module.

On a sampled step the reference engine computes forward and backward pass of the batch with the current weights. Then the
engine takes its usual step, and the weights are compared. Nothing is added to any engine, and the step is the same as without
the watch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lettrine.activations import ACTIVATIONS
from lettrine.engine.base import Doubles, Engine, Integers, Optimiser, TrainState
from lettrine.engine.reference import Observation, observe
from lettrine.errors import HealthError, RunDamagedError
from lettrine.health import measure
from lettrine.health.archive import trace_from_arrays, trace_to_arrays
from lettrine.health.checks import examine
from lettrine.health.duplicates import duplicates
from lettrine.health.findings import Finding, Report
from lettrine.health.joining import joined
from lettrine.health.recorder import Recorder
from lettrine.health.schedule import Schedule
from lettrine.health.trace import Facts, ModuleInfo, ParameterInfo, Trace
from lettrine.model.config import MLPConfig
from lettrine.model.parameters import parameter_shapes
from lettrine.text.stored_windows import Examples
from lettrine.training.settings import Settings

# A sampled step takes as long as 40 steps of a small network: from step 10,000 on, fewer than one in a thousand.
SPREAD: Final = 0.1
MOST_ERRORS: Final = 8  # errors of the health check itself that are kept
TITLE: Final = "Health of this training"


class EngineWatch:
    """Watches one training on any engine.

    every: sampled steps, see `health.recorder.Schedule`. last: a step that is always sampled, such as a run's last one.
    earlier: the trace of the part trained before a resume. seed: of the dropout masks.
    """

    def __init__(
        self,
        config: MLPConfig,
        optimiser: Optimiser,
        facts: Facts,
        *,
        every: int = 0,
        last: int | None = None,
        start: int = 0,
        earlier: Trace | None = None,
        seed: int = 0,
    ) -> None:
        self._config, self._optimiser, self._last, self._seed = config, optimiser, last, seed
        self.recorder = Recorder(Schedule(every, SPREAD), facts)
        self.recorder.add(*module_infos(config), *parameter_infos(config))
        self._earlier = earlier
        self._judged: tuple[int, Report] | None = None
        self._next = start if start == 0 else self.recorder.schedule.after(start - 1)

    def next_sampled(self, step: int) -> int:
        """The first step from `step` on that will be sampled."""
        due = max(self._next, step)
        return due if self._last is None or step > self._last else min(due, self._last)

    def step(
        self, engine: Engine, state: TrainState, windows: Examples, rows: NDArray[np.int64], learning_rate: float, threads: int
    ) -> Doubles:
        """Take one sampled step and return its loss, (1,). rows: of its batch, (1, B)."""
        step = state.step
        contexts, targets, rows = windows.batch(rows)
        seen = observe(self._config, state.parameters, contexts[rows[0]], targets[rows[0]], seed=self._seed, step=step)
        before = {name: state.parameters[name].copy() for name in parameter_shapes(self._config)}
        rates = np.array([learning_rate])
        losses = engine.train(
            self._config,
            self._optimiser,
            state,
            contexts,
            targets,
            rows,
            rates,
            threads=threads,
            seed=self._seed,
        )
        try:
            self._record(step, seen, before, state, learning_rate)
        except Exception as error:  # noqa: BLE001 - a defect of the health check is shown in its report and must not end a training
            if len(self.recorder.facts.errors) < MOST_ERRORS:
                self.recorder.note_error(f"{type(error).__name__}: {error}")
        self._next = self.recorder.schedule.after(step)
        return losses

    def losses(self, first: int, losses: Doubles) -> None:
        """Keep the losses of the steps from `first` on."""
        self.recorder.record_run(first, losses)

    def dev_loss(self, step: int, loss: float) -> None:
        """A development loss."""
        self.recorder.record_dev(step, loss)

    def trace(self) -> Trace:
        """Everything recorded, including the part before a resume."""
        trace = self.recorder.trace()
        return trace if self._earlier is None else joined(self._earlier, trace)

    def conclude(self, result: Mapping[str, float]) -> None:
        """Keep the results of the whole training, see `Facts.result`."""
        self.recorder.facts = replace(self.recorder.facts, result={**self.recorder.facts.result, **result})
        self._judged = None

    def examine(self) -> Report:
        """The report so far; computed anew only if something new was recorded."""
        if self._judged is None or self._judged[0] != self.recorder.version:
            self._judged = (self.recorder.version, examine(self.trace(), title=TITLE))
        return self._judged[1]

    def look(self) -> tuple[Finding, ...]:
        """Run the checks if it is time; returns the new findings."""
        return self.recorder.observers.look(self.trace)

    def changed(self, now: Settings) -> None:
        """The training continues with other settings."""
        self._optimiser, self._last = now.optimiser, now.steps - 1
        facts = self.recorder.facts
        self.recorder.facts = replace(facts, batch_size=now.batch, momentum=_momentum(now.optimiser))

    def archive(self) -> tuple[Mapping[str, NDArray[Any]], str]:
        """The trace as arrays and text, for a checkpoint."""
        arrays, values = trace_to_arrays(self.trace())
        return arrays, json.dumps(values, allow_nan=False)

    def _record(self, step: int, seen: Observation, before: Mapping[str, Any], state: TrainState, learning_rate: float) -> None:
        followed, search = self.recorder.detailed(step), self.recorder.searched(step)
        detail = followed or step == self._last
        activations = {info.name: info.activation for info in self.recorder.modules.values()}
        outputs = measure.outputs(
            [measure.OutputArrays(value, -1, activations[name]) for name, value in seen.outputs.items()], detail=detail
        )
        gradients = measure.gradients(list(seen.output_gradients.values()), detail=detail)
        parameters = measure.parameters(
            [
                measure.ParameterArrays(
                    value,
                    state.parameters[name],
                    seen.gradients[name],
                    learning_rate,
                    duplicate=duplicates(value) if search else float("nan"),
                )
                for name, value in before.items()
            ]
        )
        norms = {
            name: measure.norm(
                state.parameters[f"{name}.running_mean"],
                state.parameters[f"{name}.running_var"],
                mean,
                variance * (seen.outputs["embedding"].shape[0] / max(seen.outputs["embedding"].shape[0] - 1, 1)),
                self._config.norm_eps,
            )
            for name, (mean, variance) in seen.statistics.items()
        }
        squares = sum(float((gradient.astype(np.float64) ** 2).sum()) for gradient in seen.gradients.values())
        self.recorder.take(
            step,
            outputs=dict(zip(seen.outputs, outputs, strict=True)),
            gradients=dict(zip(seen.output_gradients, gradients, strict=True)),
            parameters=dict(zip(before, parameters, strict=True)),
            norms=norms,
            loss=seen.loss,
            learning_rate=learning_rate,
            gradient_norm=squares**0.5,
            training=1.0,
            **({"leftover_gradient": 0.0, "clipped": 0.0} if followed else {}),
        )


def facts_of(config: MLPConfig, optimiser: Optimiser, engine: Engine, batch: int, targets: Integers) -> Facts:
    """The facts about a training before it begins; chance is the loss of guessing by the characters' frequencies."""
    share = np.bincount(targets, minlength=config.vocabulary_size) / max(len(targets), 1)
    seen = share[share > 0.0]
    return Facts(
        source=engine.name,
        classes=config.vocabulary_size,
        batch_size=batch,
        loss_chain=("NllLoss", "LogSoftmax"),
        chance=float(-(seen * np.log(seen)).sum()),
        optimiser={"sgd": "SGD", "adamw": "AdamW"}[optimiser.kind],
        momentum=_momentum(optimiser),
        norm_momentum=config.norm_momentum if config.norm == "batch" or config.output_norm else float("nan"),
    )


def _momentum(optimiser: Optimiser) -> float:
    return optimiser.momentum if optimiser.kind == "sgd" else optimiser.beta1


def module_infos(config: MLPConfig) -> list[ModuleInfo]:
    """The modules of the torch twin, in the order of its forward pass, under the same names."""
    infos = [ModuleInfo("embedding", "Embedding", "embedding", "", config.embedding, "", 0)]

    def add(name: str, kind: str, role: str, units: int, fed_by: str, *, bias: bool = False, activation: str = "") -> str:
        infos.append(ModuleInfo(name, kind, role, activation, units, fed_by, len(infos), bias))
        return name

    if config.direct:
        add("direct", "Linear", "linear", config.vocabulary_size, "embedding")
    below = "embedding"
    for layer, width in enumerate(config.hidden):
        below = add(f"layers.{layer}", "Linear", "linear", width, below, bias=bool(config.hidden_bias))
        if config.norm == "batch":
            below = add(f"norms.{layer}", "BatchNorm1d", "norm", width, below, bias=True)
        kind = ACTIVATIONS[config.activation].torch
        below = add(f"activations.{layer}", kind, "activation", width, below, activation=config.activation)
        if config.dropout:
            below = add(f"dropouts.{layer}", "Dropout", "dropout", width, below)
    last = "linear" if config.output_norm else "output"
    output = add("output", "Linear", last, config.vocabulary_size, below, bias=config.output_bias)
    if config.output_norm:
        add("output_norm", "BatchNorm1d", "output", config.vocabulary_size, "" if config.direct else output, bias=True)
    return infos


def parameter_infos(config: MLPConfig) -> list[ParameterInfo]:
    """Every trained array; the optimiser moves them all."""
    return [ParameterInfo(name, name.rpartition(".")[0], shape, True, True) for name, shape in parameter_shapes(config).items()]


def trace_from_archive(archive: tuple[Mapping[str, NDArray[Any]], str]) -> Trace | None:
    """The trace that `EngineWatch.archive` stored, None if nothing was. Raises RunDamagedError if it cannot be read."""
    arrays, text = archive
    try:
        if not text:
            return None
        values = json.loads(text)
        if not isinstance(values, dict):
            raise HealthError(f"it holds a {type(values).__name__}; expected a JSON object")  # noqa: TRY301
        return trace_from_arrays(arrays, values)
    except (HealthError, ValueError, RecursionError) as error:
        raise RunDamagedError(f"the health trace cannot be read ({error}); the run is damaged, train again") from None
