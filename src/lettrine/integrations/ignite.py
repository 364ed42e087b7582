"""Ignite: `HealthCheck(model, optimizer).attach(trainer)`.

The loss is the trainer's output, or its "loss". The held-out loss is the `metric` of the `evaluator`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ignite.engine import Engine, Events

from lettrine.health.findings import Report
from lettrine.integrations.watching import Watching
from lettrine.torch.watching.watch import Watch


class HealthCheck:
    """Watches every run of its trainer. Takes the arguments of `Watching`; with stop_on="critical" it terminates the run.

    watch: of the present run, or of the last one. report: of the last run; it is printed, and saved if a `folder` is given.
    """

    def __init__(self, model: Any, optimizer: Any, **options: Any) -> None:
        self._model, self._optimizer = model, optimizer
        self._watching = Watching(**options)

    @property
    def watch(self) -> Watch | None:
        return self._watching.watch

    @property
    def report(self) -> Report | None:
        return self._watching.report

    def attach(self, trainer: Engine, evaluator: Engine | None = None, metric: str = "loss") -> HealthCheck:
        """Watch the model of this trainer. metric: of the evaluator, the held-out loss."""
        trainer.add_event_handler(Events.STARTED, self._begin)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._iterated)
        trainer.add_event_handler(Events.COMPLETED, self._end)
        trainer.add_event_handler(Events.EXCEPTION_RAISED, self._failed)
        if evaluator is not None:
            evaluator.add_event_handler(Events.COMPLETED, self._evaluated, metric)
        return self

    def _begin(self, trainer: Engine) -> None:
        self._watching.begin(self._model, self._optimizer, {"step": trainer.state.iteration})

    def _iterated(self, trainer: Engine) -> None:
        output = trainer.state.output
        loss = output.get("loss") if isinstance(output, Mapping) else output
        if self.watch is not None and loss is not None:
            self.watch.loss(loss)
        if self._watching.should_stop:
            trainer.terminate()

    def _evaluated(self, evaluator: Engine, metric: str) -> None:
        if self.watch is not None and self.report is None and metric in evaluator.state.metrics:
            self.watch.dev_loss(evaluator.state.metrics[metric])

    def _end(self, trainer: Engine) -> None:
        self._watching.end()

    def _failed(self, trainer: Engine, error: BaseException) -> None:
        self._watching.end()
        raise error  # Ignite leaves that to its handlers
