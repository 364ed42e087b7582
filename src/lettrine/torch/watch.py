"""`health.watch`: observe how any module trains, inside its own training loop, and change nothing.

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
from lettrine.torch.capture.compiled import outside
from lettrine.torch.capture.optimisers import Wrapped
from lettrine.torch.watching.record import MOST_STEPS
from lettrine.torch.watching.reporting import Task
from lettrine.torch.watching.watch import Watch


@outside
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
    minutes: float = 1.0,
) -> Watch:
    """Watch a model train.

    model: the module that is called in training (or the one that DataParallel or DistributedDataParallel wraps).
    optimizer: the optimiser, or all of them. None if no torch optimiser makes the steps: then call `Watch.step`.
    every: 1 samples every step, n every n-th. None is the default schedule: every step at first, then fewer and fewer.
    classes: the number of classes, if the loss itself does not show it.
    scaler: the GradScaler, if it is not the one that calls `optimizer.step`.
    task: (batches, loss_fn), or "train.py:make", as in `health.checkup`. After the watch has closed, `report` makes experiments
    with the task. They confirm or withdraw findings, and add new ones. minutes: the time for these.

    on_finding: called with each finding during the training, when it first appears and when it becomes more severe. The checks
    run at sampled steps and take at most 2 % of the time. The logger "lettrine.health" gets the findings, too.
    stop_on: "info", "warning" or "critical". `Watch.should_stop` is True after a finding of this severity or above.
    first_step: the number of the first step, if this training resumes another one; see also `Watch.load_state_dict`.

    log_to: called with a dict of at most 50 figures and the step, for each sampled step, some steps later. Keys are those of
    `lettrine.health.scalars`. The trackers of `lettrine.integrations` (tensorboard, wandb, mlflow, trackio) get the report, too.

    fast: False measures by copies and in Python alone, with the same figures, several times more slowly. The environment variable
    LETTRINE_FAST=0 does the same for all watches.

    live: True shows the training on a local page, at `Watch.address`. While somebody looks, each sampled step renews it. It needs
    the extra `live`. With `every=20` it changes more often than with the default schedule.

    Watching changes nothing: weights with and without it are equal bit for bit. An error inside the health code is kept for the
    report and never stops the training.

    Of a compiled model only parameters, gradients, steps and losses are seen, no modules; the report says so.

    Raises HealthError for a model that cannot be watched, such as a scripted one.
    """
    if not 0 <= first_step <= MOST_STEPS:
        raise HealthError(
            f"first_step got {first_step}; expected the number of steps that were made before, from 0 to {MOST_STEPS:,}"
        )
    if not minutes > 0:
        raise HealthError(f"minutes got {minutes:g}; expected a number above 0")
    return Watch(model, optimizer, every, classes, scaler, task, on_finding, stop_on, first_step, log_to, fast, live, minutes)
