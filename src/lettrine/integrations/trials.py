"""The common part of the watches for Optuna and Ray Tune: the figures of a training as plain numbers."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final, Self

from lettrine.health.findings import SEVERITIES, Report
from lettrine.health.scalars import ROOT
from lettrine.integrations.watching import Watching

CRITICAL: Final = "critical"


class WatchedTrial:
    """Watches the training of a trial: `with ... as check:` around the training loop.

    model, optimizer: as in `health.watch`. stop_on: after a finding of this severity or above, the training is sick.
    options: as in `Watching`; without them the report is neither printed nor saved.

    report: after the training; None if nothing was recorded.
    """

    def __init__(self, model: Any, optimizer: Any, *, stop_on: str = CRITICAL, **options: Any) -> None:
        self._latest: dict[str, float] = {}
        self._model, self._optimizer = model, optimizer
        self._watching = Watching(stop_on=stop_on, log_to=self._sampled, **{"show": False, "save": False, **options})

    def _sampled(self, figures: dict[str, float], step: int) -> None:
        self._latest = {**figures, f"{ROOT}/step": float(step)}

    @property
    def report(self) -> Report | None:
        """The verdict of the health check, after the training."""
        return self._watching.report

    @property
    def is_sick(self) -> bool:
        """Whether something as severe as `stop_on` was found."""
        return self._watching.should_stop

    def figures(self) -> dict[str, float]:
        """The main figures of the last sampled step, with the keys of `lettrine.health.scalars`, at most 50. After the training
        also the number of findings of each severity, such as health/critical.
        """
        found = {} if self.report is None else dict.fromkeys(SEVERITIES, 0.0)
        for finding in () if self.report is None else self.report.findings:
            found[finding.severity] += 1.0
        return {**self._latest, **{f"{ROOT}/{name}": count for name, count in found.items()}}

    def loss(self, loss: Any) -> None:
        """Give the watch the loss of a step, see `Watch.loss`."""
        if self._watching.watch is not None:
            self._watching.watch.loss(loss)

    def dev_loss(self, loss: Any) -> None:
        """Give the watch a loss on held-out data, see `Watch.dev_loss`."""
        if self._watching.watch is not None:
            self._watching.watch.dev_loss(loss)

    def __enter__(self) -> Self:
        self._watching.begin(self._model, self._optimizer)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._watching.end()
