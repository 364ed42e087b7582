"""Ray Tune: `with TuneHealth(model, optimizer) as check:` around the training loop of a trainable.

    def trainable(config):
        ...
        with TuneHealth(model, optimizer) as check:
            for epoch in range(10):
                ...
                check.report_metrics({"loss": held_out_loss})   # in place of tune.report
                if check.is_sick:
                    break
        check.report_metrics({"loss": held_out_loss})

Each report has the figures of the last sampled step beside the caller's own, so that a scheduler or a search can use them:
health/update_data and so on, and, after the training, health/critical.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray import tune

from lettrine.integrations.trials import WatchedTrial


class TuneHealth(WatchedTrial):
    """The health of a training under Ray Tune. Takes the arguments of `WatchedTrial`."""

    def report_metrics(self, metrics: Mapping[str, Any]) -> None:
        """`tune.report` with the figures of health beside the caller's own."""
        tune.report({**self.figures(), **metrics})
