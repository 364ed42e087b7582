"""Optuna: `with TrialHealth(trial, model, optimizer) as check:` around the training loop of an objective.

    def objective(trial):
        ...
        with TrialHealth(trial, model, optimizer) as check:
            for x, y in batches:
                ...
                optimizer.step()
                check.prune_if_sick()
        return held_out_loss

The trial gets the number of critical findings as the constraint "critical", which Optuna's samplers and `study.best_trial`
respect, and the figures of the last sampled step as user attributes.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

import optuna

from lettrine.integrations.trials import CRITICAL, WatchedTrial


class TrialHealth(WatchedTrial):
    """Adds the health of a training to its trial. Takes the trial, then the arguments of `WatchedTrial`."""

    def __init__(self, trial: optuna.trial.BaseTrial, model: Any, optimizer: Any, **options: Any) -> None:
        super().__init__(model, optimizer, **options)
        self._trial = trial

    def prune_if_sick(self) -> None:
        """Raise `optuna.TrialPruned` if something as severe as `stop_on` was found so far."""
        if self.is_sick:
            raise optuna.TrialPruned("the health check found something critical; see the trial's user attributes")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        super().__exit__(kind, error, trace)
        if self.report is None:
            return
        for name, value in self.figures().items():
            self._trial.set_user_attr(name, value)
        self._trial.set_user_attr("health/findings", [finding.id for finding in self.report.findings])
        self._trial.set_constraint(CRITICAL, self.figures()[f"health/{CRITICAL}"])
