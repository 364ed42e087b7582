"""`health.watch`: see how any module trains, from inside its own training loop, and change nothing.

    with health.watch(model, optimizer) as watch:
        for x, y in loader:
            loss = criterion(model(x), y)
            loss.backward(); optimizer.step(); optimizer.zero_grad()
            watch.loss(loss)
    print(watch.report())

How it works is in `torch.watching`.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from lettrine.arguments import checked
from lettrine.errors import HealthError
from lettrine.health.observers import OnFinding
from lettrine.health.tracking import LogTo
from lettrine.torch.capture.optimisers import Wrapped
from lettrine.torch.watching.record import MOST_STEPS
from lettrine.torch.watching.reporting import Task
from lettrine.torch.watching.watch import Watch


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
