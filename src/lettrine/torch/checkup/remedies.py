"""What can be changed about a training by program, for trials: each is a context in which the task is trained with the remedy.

`TRIED` says which remedy goes with which finding, for findings that were not tried where they were made: those of a watch, and
those that are certain without a trial. The sandbox around a training puts everything back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

import torch
from torch.optim import Optimizer

from lettrine.health.findings import Finding
from lettrine.torch.checkup.task import Task, takes_closure
from lettrine.torch.checkup.trials import Remedy

WARM: Final = 0.5  # of the steps of a trial, over which the rate is raised
NORM: Final = 1.0  # to which gradients are clipped
LOWER: Final = 0.1  # times the rate
HIGHER: Final = 10.0
SAFE_EPS: Final = 10.0  # times the smallest normal number


@dataclass(frozen=True)
class Attempt:
    """said: the remedy in a few words. instead: what the training without it does, where that is not what the task does."""

    said: str
    remedy: Remedy
    instead: Remedy | None = None


@contextmanager
def rate_times(task: Task, factor: float) -> Iterator[None]:
    """All rates multiplied."""
    for group in _groups(task):
        group["lr"] = float(group["lr"]) * factor
    yield


@contextmanager
def rate_at_peak(task: Task) -> Iterator[None]:
    """The rate that the schedule began with, kept."""
    for group in _groups(task):
        group["lr"] = float(group.get("initial_lr", group["lr"]))
    yield


@contextmanager
def warmed(task: Task, steps: int) -> Iterator[None]:
    """The rate raised from nothing over some steps."""
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
    """The gradient's norm clipped before each step."""

    def before(optimizer: Optimizer, *_: Any) -> None:
        torch.nn.utils.clip_grad_norm_([each for group in optimizer.param_groups for each in group["params"]], norm)

    with _before_each_step(task, before):
        yield


@contextmanager
def without_decay(task: Task) -> Iterator[None]:
    """No weight decay."""
    for group in _groups(task):
        group["weight_decay"] = 0.0
    yield


@contextmanager
def eps_that_holds(task: Task) -> Iterator[None]:
    """An eps that the parameters' own type can hold."""
    for group in _groups(task):
        least = max(torch.finfo(each.dtype).smallest_normal for each in group["params"])
        group["eps"] = max(float(group.get("eps", 0.0)), SAFE_EPS * least)
    yield


def _groups(task: Task) -> list[dict[str, Any]]:
    return task.optimizer.param_groups if task.optimizer else []


@contextmanager
def _before_each_step(task: Task, before: Callable[..., None]) -> Iterator[None]:
    assert task.optimizer is not None  # noqa: S101  for the type checker: `attempt_for` has looked
    handle = task.optimizer.register_step_pre_hook(before)
    try:
        yield
    finally:
        handle.remove()


def _lower(_: Finding) -> Attempt:
    return Attempt(f"a rate {1 / LOWER:g} times lower", lambda task: rate_times(task, LOWER))


def _higher(_: Finding) -> Attempt:
    return Attempt(f"a rate {HIGHER:g} times higher", lambda task: rate_times(task, HIGHER))


def _peak(_: Finding) -> Attempt:
    return Attempt("the schedule's first rate, kept", rate_at_peak)


def _no_decay(_: Finding) -> Attempt:
    return Attempt("no weight decay", without_decay)


def _eps(_: Finding) -> Attempt:
    return Attempt("an eps that is not 0 in the parameters' type", eps_that_holds)


def _clip_later(finding: Finding) -> Attempt | None:
    """The finding knows both norms: the one that was meant, and what was left of it after unscaling."""
    meant, left = finding.limit, finding.value
    if not (isfinite(meant) and isfinite(left) and 0 < left < meant):
        return None
    return Attempt(f"clipping at {meant:g} after unscaling", lambda task: clipped(task, meant), lambda task: clipped(task, left))


TRIED: Final[dict[str, Callable[[Finding], Attempt | None]]] = {
    "learning-rate-too-high": _lower,
    "divergence": _lower,
    "update-too-large": _lower,
    "oscillation": _lower,
    "update-too-small": _higher,
    "learning-rate-too-low": _higher,
    "schedule-to-zero": _peak,
    "weight-decay": _no_decay,
    "eps-underflow": _eps,
    "clip-before-unscale": _clip_later,
}
"""By kind of finding."""


def attempt_for(finding: Finding, task: Task) -> Attempt | None:
    """What to try for a finding; None where nothing can be tried by program."""
    if task.optimizer is None or takes_closure(task.optimizer):
        return None
    make = TRIED.get(finding.id)
    return make(finding) if make else None
