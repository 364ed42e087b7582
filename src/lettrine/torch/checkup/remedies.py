"""Changes that a program can make to a training, for trials. Each is a context in which the task is trained with the remedy.

`attempts` tells which of them are tried for which finding. The sandbox around a training restores everything.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import cos, pi
from typing import Any, Final

import torch
from torch import nn
from torch.optim import Optimizer

from lettrine.torch.calibrate import calibrate
from lettrine.torch.checkup.task import Task

WARM: Final = 0.5  # share of a trial's steps over which the rate rises
NORM: Final = 1.0  # to which gradients are clipped
LOWER: Final = (0.3, 0.1)  # times the rate
SAFE_EPS: Final = 10.0  # times the smallest normal number
SMALL_EPS: Final = 1e-8  # Kingma & Ba 2015, and torch's default


@contextmanager
def rate_times(task: Task, factor: float) -> Iterator[None]:
    """All rates multiplied."""
    for group in _groups(task):
        group["lr"] = float(group["lr"]) * factor
    yield


@contextmanager
def rate_at_peak(task: Task) -> Iterator[None]:
    """Keep the rate that the schedule began with."""
    for group in _groups(task):
        group["lr"] = float(group.get("initial_lr", group["lr"]))
    yield


@contextmanager
def falling(task: Task, steps: int, shape: Callable[[float], float]) -> Iterator[None]:
    """Lower the rate that the schedule began with to 0 over so many steps. shape: the remaining factor after a share of the
    steps.
    """
    rates = [float(group.get("initial_lr", group["lr"])) for group in _groups(task)]
    done = [0]

    def before(optimizer: Optimizer, *_: Any) -> None:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * shape(min(1.0, done[0] / steps))
        done[0] += 1

    with _before_each_step(task, before):
        yield


@contextmanager
def replayed(task: Task, steps: int, at: Sequence[float], shares: Sequence[float]) -> Iterator[None]:
    """A schedule that was seen, squeezed into so many steps: from each share of the run on, that share of its highest rate."""
    rates = [float(group.get("initial_lr", group["lr"])) for group in _groups(task)]
    done = [0]

    def before(optimizer: Optimizer, *_: Any) -> None:
        share = shares[max(0, bisect_right(at, done[0] / steps) - 1)]
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * share
        done[0] += 1

    with _before_each_step(task, before):
        yield


def linear(share: float) -> float:
    """A straight line from 1 to 0."""
    return 1.0 - share


def half_cosine(share: float) -> float:
    """Half a wave from 1 to 0: Loshchilov & Hutter 2017, SGDR."""
    return 0.5 + 0.5 * cos(pi * share)


@contextmanager
def warmed(task: Task, steps: int) -> Iterator[None]:
    """Raise the rate from 0 over the first steps."""
    rates = [float(group["lr"]) for group in _groups(task)]
    done = [0]

    def before(optimizer: Optimizer, *_: Any) -> None:
        done[0] += 1
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * min(1.0, done[0] / steps)

    with _before_each_step(task, before):
        yield


@contextmanager
def clipped(task: Task, norm: float) -> Iterator[None]:
    """Clip the norm of the gradient before each step."""

    def before(optimizer: Optimizer, *_: Any) -> None:
        torch.nn.utils.clip_grad_norm_([each for group in optimizer.param_groups for each in group["params"]], norm)

    with _before_each_step(task, before):
        yield


@contextmanager
def values_clipped(task: Task, most: float) -> Iterator[None]:
    """Clip each value of the gradient before each step."""

    def before(optimizer: Optimizer, *_: Any) -> None:
        torch.nn.utils.clip_grad_value_([each for group in optimizer.param_groups for each in group["params"]], most)

    with _before_each_step(task, before):
        yield


@contextmanager
def without_decay(task: Task) -> Iterator[None]:
    """Set weight decay to 0."""
    for group in _groups(task):
        group["weight_decay"] = 0.0
    yield


@contextmanager
def eps_that_holds(task: Task) -> Iterator[None]:
    """Use an eps that the parameters' own type can represent."""
    for group in _groups(task):
        least = max(torch.finfo(each.dtype).smallest_normal for each in group["params"])
        group["eps"] = max(float(group.get("eps", 0.0)), SAFE_EPS * least)
    yield


@contextmanager
def eps_of_the_paper(task: Task) -> Iterator[None]:
    """Use the eps that Adam was published with."""
    for group in _groups(task):
        group["eps"] = SMALL_EPS
    yield


@contextmanager
def norms_first(task: Task) -> Iterator[None]:
    """Put the norms of torch's transformer layers before their blocks."""
    layers = norms_last(task.model)
    for each in layers:
        each.norm_first = True  # type: ignore[assignment]  # a plain attribute of the layer
    try:
        yield
    finally:
        for each in layers:
            each.norm_first = False  # type: ignore[assignment]


def norms_last(model: nn.Module) -> list[nn.Module]:
    """The transformer layers of torch whose norms come after their blocks."""
    kinds = nn.TransformerEncoderLayer | nn.TransformerDecoderLayer
    return [each for each in model.modules() if isinstance(each, kinds) and not each.norm_first]


@contextmanager
def calibrated(task: Task) -> Iterator[None]:
    """Scale the weights so that the outputs of each layer have a std of 1 on a batch."""
    call = task.inputs(task.batch())
    given: Any = dict(call.kwargs) if call.kwargs else call.args
    calibrate(task.model, (given, task.batch()[-1]), task.loss_fn)
    yield


@contextmanager
def redrawn(task: Task) -> Iterator[None]:
    """Draw the weights anew, as the modules themselves do."""
    for module in task.model.modules():
        if callable(reset := getattr(module, "reset_parameters", None)):
            reset()
    yield


@contextmanager
def kept(task: Task) -> Iterator[None]:
    """Never clear a gradient: what the training does whose remedy is to clear them."""
    assert task.optimizer is not None  # noqa: S101  for the type checker: `attempts_for` has looked
    task.optimizer.zero_grad = lambda *_, **__: None  # type: ignore[method-assign]  # the sandbox takes it away again
    yield


@contextmanager
def scaled(task: Task, factor: float) -> Iterator[None]:
    """Multiply the gradients before each step."""

    def before(optimizer: Optimizer, *_: Any) -> None:
        for group in optimizer.param_groups:
            for each in group["params"]:
                if each.grad is not None:
                    each.grad.mul_(factor)

    with _before_each_step(task, before):
        yield


def _groups(task: Task) -> list[dict[str, Any]]:
    return task.optimizer.param_groups if task.optimizer else []


@contextmanager
def _before_each_step(task: Task, before: Callable[..., None]) -> Iterator[None]:
    assert task.optimizer is not None  # noqa: S101  for the type checker: `attempts_for` has looked
    handle = task.optimizer.register_step_pre_hook(before)
    try:
        yield
    finally:
        handle.remove()
