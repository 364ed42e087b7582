"""`health.checkup`: settle by experiment what watching cannot. Afterwards everything is restored bit by bit.

    report = health.checkup(model, batches, loss_fn, optimizer)
    report = health.checkup(task="train.py:make")

`task` tells how a task is used, `sandbox` restores everything, `experiments/` holds one file per experiment, `runner` runs them
within the time limit, `verdict` orders their findings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import torch
from torch import nn

from lettrine.arguments import checked
from lettrine.errors import HealthError
from lettrine.health.findings import Report
from lettrine.torch.checkup import experiments
from lettrine.torch.checkup.experiment import EXPERIMENTS, Result, experiment, finding
from lettrine.torch.checkup.loading import function_of, made_by
from lettrine.torch.checkup.making import make_task
from lettrine.torch.checkup.runner import run
from lettrine.torch.checkup.task import Task

__all__ = ["EXPERIMENTS", "Result", "Task", "assert_healthy", "checkup", "experiment", "experiments", "finding"]
AUTOCAST: Final = (torch.bfloat16, torch.float16)


@checked
def checkup(
    model: nn.Module | None = None,
    batches: Iterable[Any] | None = None,
    loss_fn: Callable[..., Any] | None = None,
    optimizer: Any = None,
    step: Callable[..., Any] | None = None,
    *,
    task: str = "",
    minutes: float = 1.0,
    only: Iterable[str] | None = None,
    autocast: torch.dtype | None = None,
    progress: bool = True,
    watched: Report | None = None,
) -> Report:
    """Try a training task by experiment and report what is wrong with it.

    model: as it is before or in the middle of training. batches: pairs (inputs, targets) for a loss_fn(outputs, targets), such
    as a DataLoader, or anything at all for a loss_fn(model, batch); up to 64 are drawn. An iterator is used up by that. Inputs
    are a tensor, a tuple of positional or a mapping of named arguments. optimizer: the one that will train it; without one,
    experiments that need one use Adam, and what concerns the optimiser is not run.
    step: your own training step, step(model, batch, optimizer), with its clipping, GradScaler and schedule: a few are tried.
    task: "train.py:make" instead of these five: a function that returns them.
    minutes: the time there is. The most telling experiments come first; what does not fit is "not run". only: ids of experiments,
    all by default. autocast: run forward passes under it with torch.bfloat16 or torch.float16. progress: a bar on standard
    error, at a terminal. watched: the report of a watch of this training, for one report of both: what it suspects is confirmed
    or withdrawn.

    It runs where the model is: one on CUDA is tried there. Pairs are brought to it; a loss_fn(model, batch) does that itself.
    Weights, buffers, gradients, the optimiser's memory and settings, modes, hooks and random generators are afterwards, bit by
    bit, what they were, also if an exception or Ctrl-C passes through.
    Raises HealthError for what cannot be examined: a compiled model, batches that give nothing, a loss of several values.
    """
    if task:
        if any(each is not None for each in (model, batches, loss_fn, optimizer, step)):
            raise HealthError(
                "checkup got a task and a model, batches, loss_fn, optimizer or step as well; give one or the other"
            )
        make = function_of(task)
        given = made_by(make, task)
    else:
        make = None
        given = {"model": model, "batches": batches, "loss_fn": loss_fn, "optimizer": optimizer, "step": step}
    if any(given[name] is None for name in ("model", "batches", "loss_fn")):
        raise HealthError("checkup got no task; give model, batches and loss_fn, or task='train.py:make'")
    if not minutes > 0:
        raise HealthError(f"minutes got {minutes:g}; expected a number above 0")
    if autocast not in (None, *AUTOCAST):
        raise HealthError(f"autocast got {autocast}; expected {' or '.join(map(str, AUTOCAST))}")
    return run(make_task(**given, minutes=minutes, autocast=autocast), only=only, progress=progress, watched=watched, make=make)


@checked
def assert_healthy(
    model: nn.Module | None = None,
    batches: Iterable[Any] | None = None,
    loss_fn: Callable[..., Any] | None = None,
    optimizer: Any = None,
    step: Callable[..., Any] | None = None,
    **options: Any,
) -> Report:
    """`checkup` for tests: raises AssertionError with one readable message if it finds more than remarks, else the report.

    All arguments are those of `checkup`. An experiment that broke fails too: what could not be looked at is not healthy.
    """
    report = checkup(model, batches, loss_fn, optimizer, step, **{"progress": False, **options})
    if not report.healthy:
        raise AssertionError(failure(report))
    return report


def failure(report: Report) -> str:
    """The faults found, a few lines for each finding."""
    lines = ["the check-up found faults:"]
    for each in report.findings:
        if each.severity != "info":
            where = f" ({', '.join(each.where)})" if each.where else ""
            lines += [f"  {each.severity} {each.id}{where}: {each.message}", f"    remedy: {each.remedy}"]
    lines += [f"  {each.check} broke: {each.reason}" for each in report.outcomes if each.status == "failed"]
    return "\n".join(lines)
