"""One batch norm in several places: do the places agree on what it is to subtract?

Its running statistics are one mean and one variance for all of them. Where the places differ, eval mode is right for none. Twins
that share all weights give it the same statistics everywhere, and are spared. The consequence is measured: after some training
the loss in eval mode is held against the loss in training mode.
"""

from __future__ import annotations

from collections import defaultdict
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from lettrine.health.checks import Skip
from lettrine.health.limits import CHECKUP_NORM_LOSS, CHECKUP_NORM_STEPS, NORM_GAP, NORM_VARIANCE
from lettrine.torch.checkup.experiment import Result, experiment, finding
from lettrine.torch.checkup.experiments.randomness import norms_of
from lettrine.torch.checkup.task import Task


@experiment("shared-norm", "Shared batch norms", passes=CHECKUP_NORM_STEPS, trains=True)
def shared_norm(task: Task) -> Result:
    """Train a little, then compare the statistics of each call and the loss in both modes.

    Measured: The statistics of each call of a batch norm that is called several times, and the loss in training and in eval
        mode after {CHECKUP_NORM_STEPS} steps.
    Formula: lost = (eval loss - training loss) / (first loss - training loss).
    """
    norms = norms_of(task.model)
    if not norms:
        raise Skip("not applicable", "no batch norm with running statistics")
    task.model.train()
    shared = [name for name, calls in _calls(task, norms).items() if len(calls) > 1]
    if not shared:
        raise Skip("not applicable", "each batch norm is called once in a pass")
    optimizer = task.fallback_optimizer()
    start = task.step(0, optimizer)
    for number in range(1, CHECKUP_NORM_STEPS):
        task.step(number, optimizer)
    apart: dict[str, tuple[float, float]] = {}
    for name, calls in _calls(task, norms).items():
        if name in shared:
            gap, ratio = _differ(calls)
            if gap > NORM_GAP or ratio > NORM_VARIANCE:
                apart[name] = gap, ratio
    train_loss = task.same_loss()
    task.model.eval()
    eval_loss = task.same_loss()
    lost = (eval_loss - train_loss) / max(abs(start - train_loss), 1e-12)
    figures = {"start": start, "train_loss": train_loss, "eval_loss": eval_loss, "shared": len(shared), "apart": len(apart)}
    said = f"{len(shared)} batch norms are called several times; after {CHECKUP_NORM_STEPS} steps the loss in training mode is "
    said += f"{train_loss:.3g}, in eval mode {eval_loss:.3g}."
    bad = not isfinite(eval_loss) or (lost > CHECKUP_NORM_LOSS and eval_loss > train_loss)
    if not apart or not bad or not train_loss < start:
        return Result(said, figures=figures, where=tuple(shared))
    name, (gap, ratio) = next(iter(apart.items()))
    found = finding(
        "shared-norm",
        "critical" if not isfinite(eval_loss) or eval_loss > start else "warning",
        tuple(apart),
        f"{name} is used in several places whose inputs differ ({gap:.2g} standard deviations in the mean, {ratio:.2g} times in "
        f"the variance). After {CHECKUP_NORM_STEPS} steps the loss is {train_loss:.3g}, and {eval_loss:.3g} in eval mode.",
        "Its one running mean and variance fit none of the places, so that the network is another one in eval mode.",
        "Give each place a batch norm of its own.",
        value=eval_loss,
        limit=train_loss + CHECKUP_NORM_LOSS * abs(start - train_loss),
        source="Ioffe & Szegedy 2015, Batch normalization: inference with population statistics",
    )
    return Result(said, (found,), figures, where=tuple(apart))


def _calls(task: Task, norms: list[tuple[str, nn.Module]]) -> dict[str, list[tuple[Tensor, Tensor]]]:
    """Mean and variance of a channel, for each call of each batch norm in one training pass."""
    found: dict[str, list[tuple[Tensor, Tensor]]] = defaultdict(list)

    def noting(name: str) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...]) -> None:
            rows = args[0].detach().transpose(0, 1).flatten(1).double()  # (C, B·…)
            found[name].append((rows.mean(1), rows.var(1, unbiased=False)))

        return hook

    handles = [each.register_forward_pre_hook(noting(name)) for name, each in norms]
    try:
        with torch.no_grad():
            task.loss(task.batch())
    finally:
        for handle in handles:
            handle.remove()
    return found


def _differ(calls: list[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """Largest gap between the means, in standard deviations, and ratio of variances, each gathered over channels."""
    gap = ratio = 0.0
    first_mean, first_variance = calls[0]
    for mean, variance in calls[1:]:
        spread = (0.5 * (variance + first_variance)).sqrt() + 1e-12
        gap = max(gap, float(((mean - first_mean) / spread).square().mean().sqrt()))
        logs = ((variance + 1e-12) / (first_variance + 1e-12)).log()
        ratio = max(ratio, float(logs.abs().mean().exp()))
    return gap, ratio
