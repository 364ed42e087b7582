"""One batch norm used in several places: do their statistics agree?

It has one running mean and one running variance for all places. If the places differ, eval mode is right for none. Siamese
networks, which share all weights, give the same statistics everywhere and get no finding. The harm is measured: after some
training, the loss with the mean statistics of all places is compared with the loss with each place's own, both from the same
batches.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from typing import Any, Final

import torch
from torch import Tensor, nn

from lettrine.health.checks import Skip
from lettrine.health.limits import CHECKUP_NORM_STEPS, NORM_GAP, NORM_VARIANCE, TRIAL_SHARE
from lettrine.torch.checkup.experiment import Result, experiment, finding
from lettrine.torch.checkup.experiments.randomness import norms_of
from lettrine.torch.checkup.task import Task
from lettrine.torch.devices import double

BATCHES: Final = 4  # batches whose losses are compared; all must agree


@experiment("shared-norm", "Shared batch norms", passes=CHECKUP_NORM_STEPS, trains=True)
def shared_norm(task: Task) -> Result:
    """Train a little, then compare the statistics of each call, and the loss with shared and with separate statistics.

    Measured: The statistics of each call of a batch norm that is called several times, and the loss in eval mode after
        {CHECKUP_NORM_STEPS} steps: with each call's own statistics, and with their mean.
    Formula: lost = (loss with the mean statistics - loss with each call's own) / loss with each call's own.
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
    figures = {"start": start, "shared": len(shared), "apart": len(apart)}
    said = f"{len(shared)} batch norms are called several times"
    if not apart:
        return Result(f"{said}, with much the same statistics.", figures=figures, where=tuple(shared))
    own, together = _losses(task, [(name, each) for name, each in norms if name in apart])
    figures |= {"own": sum(own) / len(own), "together": sum(together) / len(together)}
    said += (
        f"; after {CHECKUP_NORM_STEPS} steps the loss with each place's own statistics is {figures['own']:.3g}, with those of "
    )
    said += f"all together {figures['together']:.3g}."
    harmed = all(not isfinite(b) or b > a + TRIAL_SHARE * abs(a) for a, b in zip(own, together, strict=True))
    if not harmed:
        return Result(said, figures=figures, where=tuple(shared))
    name, (gap, ratio) = next(iter(apart.items()))
    found = finding(
        "shared-norm",
        "critical" if not figures["together"] < start else "warning",
        tuple(apart),
        f"{name} is used in several places whose inputs differ ({gap:.2g} standard deviations in the mean, {ratio:.2g} times in "
        f"the variance). After {CHECKUP_NORM_STEPS} steps the loss is {figures['own']:.3g} with each place's own statistics, and "
        f"{figures['together']:.3g} with the shared statistics of all places, as in eval mode.",
        "Its one running mean and variance fit none of the places, so the network behaves differently in eval mode.",
        "Give each place a batch norm of its own.",
        value=figures["together"],
        limit=(1 + TRIAL_SHARE) * figures["own"],
        source="Ioffe & Szegedy 2015, Batch normalization: inference with population statistics",
    )
    return Result(said, (found,), figures, where=tuple(apart))


def _losses(task: Task, norms: list[tuple[str, nn.Module]]) -> tuple[list[float], list[float]]:
    """Losses of some batches in eval mode: with the statistics of each call, and with their mean over calls."""
    numbers = range(min(BATCHES, len(task.batches)))
    gathered = [_calls(task, norms, number) for number in numbers]
    own: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for name, _ in norms:
        calls = [each[name] for each in gathered]
        own[name] = [
            (torch.stack([mean for mean, _ in call]).mean(0), torch.stack([variance for _, variance in call]).mean(0))
            for call in zip(*calls, strict=False)
        ]
    together: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for name, each in own.items():
        mean = torch.stack([mean for mean, _ in each]).mean(0)
        variance = torch.stack([variance for _, variance in each]).mean(0)
        together[name] = [(mean, variance)] * len(each)
    task.model.eval()
    losses = []
    for statistics in (own, together):
        with _normalising(task, norms, statistics):
            losses.append([task.same_loss(number) for number in numbers])
    return losses[0], losses[1]


@contextmanager
def _normalising(
    task: Task, norms: list[tuple[str, nn.Module]], statistics: dict[str, list[tuple[Tensor, Tensor]]]
) -> Iterator[None]:
    """Batch norms that use given statistics, one for each call in a pass."""
    place: dict[str, int] = {}

    def normalising(name: str) -> Any:
        def hook(module: Any, args: tuple[Any, ...], _: Any) -> Tensor:
            x, number = args[0], place.get(name, 0)
            place[name] = number + 1
            mean, variance = statistics[name][min(number, len(statistics[name]) - 1)]
            return nn.functional.batch_norm(x, mean.to(x), variance.to(x), module.weight, module.bias, eps=module.eps)

        return hook

    handles = [each.register_forward_hook(normalising(name)) for name, each in norms]
    handles.append(task.model.register_forward_pre_hook(lambda *_: place.clear()))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _calls(task: Task, norms: list[tuple[str, nn.Module]], number: int = 0) -> dict[str, list[tuple[Tensor, Tensor]]]:
    """Mean and variance of a channel, for each call of each batch norm in one training pass."""
    found: dict[str, list[tuple[Tensor, Tensor]]] = defaultdict(list)

    def noting(name: str) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...]) -> None:
            rows = double(args[0].detach().transpose(0, 1).flatten(1))  # (C, B·…)
            found[name].append((rows.mean(1), rows.var(1, unbiased=False)))

        return hook

    handles = [each.register_forward_pre_hook(noting(name)) for name, each in norms]
    try:
        with torch.no_grad():
            task.loss(task.batch(number))
    finally:
        for handle in handles:
            handle.remove()
    return found


def _differ(calls: list[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """Largest gap between the means, in standard deviations, and largest ratio of variances, each combined over channels."""
    gap = ratio = 0.0
    first_mean, first_variance = calls[0]
    for mean, variance in calls[1:]:
        spread = (0.5 * (variance + first_variance)).sqrt() + 1e-12
        gap = max(gap, float(((mean - first_mean) / spread).square().mean().sqrt()))
        logs = ((variance + 1e-12) / (first_variance + 1e-12)).log()
        ratio = max(ratio, float(logs.abs().mean().exp()))
    return gap, ratio
