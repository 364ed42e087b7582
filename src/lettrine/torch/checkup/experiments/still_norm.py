"""Running statistics that are not updated: after steps in training mode a batch norm's mean is unchanged, and it is wrong.

With momentum=0 or next to 0, or if code resets the statistics, eval mode normalises by the layer's initial values.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn

from lettrine.health.checks import Skip
from lettrine.health.limits import CHECKUP_NORM_RUN, NORM_GAP, NORM_VARIANCE
from lettrine.torch.checkup.experiment import Result, experiment, finding
from lettrine.torch.checkup.experiments.randomness import norms_of
from lettrine.torch.checkup.task import Task
from lettrine.torch.devices import double

STEPS: Final = 3


@experiment("norm-statistics", "Running statistics", passes=STEPS, trains=True)
def norm_statistics(task: Task) -> Result:
    """Train a few steps, and compare the running statistics of each batch norm with those of its inputs.

    Measured: Running mean and variance of each batch norm before and after {STEPS} steps, and mean and variance of a batch.
    Formula: gap = |running mean - batch mean| / batch std, root mean square over channels.
    """
    task.model.train()
    norms: list[tuple[str, Any]] = [(name, each) for name, each in norms_of(task.model) if each.training]
    if not norms:
        raise Skip("not applicable", "no batch norm with running statistics in training mode")
    before = {name: (each.running_mean.clone(), each.running_var.clone()) for name, each in norms}
    batch: dict[str, tuple[Tensor, Tensor]] = {}

    def noting(name: str) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...]) -> None:
            rows = double(args[0].detach().transpose(0, 1).flatten(1))  # (C, B·…)
            batch[name] = rows.mean(1), rows.std(1)

        return hook

    handles = [each.register_forward_pre_hook(noting(name)) for name, each in norms]
    try:
        optimizer = task.fallback_optimizer()
        for number in range(STEPS):
            task.step(number, optimizer)
    finally:
        for handle in handles:
            handle.remove()
    slow = {name for name, each in norms if each.momentum is not None and 0 < each.momentum * CHECKUP_NORM_RUN < 1}
    still = [name for name, each in norms if name in batch and (name in slow or torch.equal(before[name][0], each.running_mean))]
    gaps = {name: _gap(*before[name], *batch[name]) for name in still}
    wrong = tuple(name for name, (gap, ratio) in gaps.items() if gap > NORM_GAP or ratio > NORM_VARIANCE)
    figures = {"norms": len(norms), "still": len(still), "gap": max((gap for gap, _ in gaps.values()), default=0.0)}
    said = f"After {STEPS} steps {len(norms) - len(still)} of {len(norms)} batch norms have updated their statistics."
    if not wrong:
        return Result(said, figures=figures)
    gap, ratio = gaps[wrong[0]]
    found = finding(
        "norm-statistics",
        "warning",
        wrong,
        f"{wrong[0]} normalises by its batch while it trains, and its running statistics "
        f"{'follow too slowly for any usual run' if wrong[0] in slow else 'stay as they were'}: they are off by "
        f"{gap:.2g} standard deviations in the mean, {ratio:.2g} times in the variance.",
        "In eval mode it subtracts a mean that was never measured, so the network behaves differently there.",
        f"Give {wrong[0]} a momentum above 0, such as torch's 0.1; the momentum of Keras is 1 minus torch's.",
        value=gap,
        limit=NORM_GAP,
        source="torch.nn.BatchNorm2d: running statistics are (1 - momentum) · old + momentum · new",
    )
    return Result(said, (found,), figures, where=wrong)


def _gap(running: Tensor, variance: Tensor, mean: Tensor, std: Tensor) -> tuple[float, float]:
    """Gap between running and batch mean, in standard deviations, and ratio of the variances, each combined over channels."""
    gap = ((double(running) - mean) / (std + 1e-12)).square().mean().sqrt()
    return float(gap), float(((double(variance) + 1e-12) / (std.square() + 1e-12)).log().abs().mean().exp())
