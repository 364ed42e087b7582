"""Changes that a program can make to a training, for trials. Each is a context in which the task is trained with the remedy.

`TRIED` tells which remedies to try for a finding that was not tried when it was made: a finding of a watch, or one that is
certain without a trial. The sandbox around a training restores everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from math import cos, isfinite, pi
from typing import Any, Final

import torch
from torch.optim import Optimizer

from lettrine.errors import LettrineError
from lettrine.health.findings import Finding
from lettrine.torch.calibrate import calibrate
from lettrine.torch.checkup.call import NotCalled
from lettrine.torch.checkup.task import Task, takes_closure
from lettrine.torch.checkup.trials import Remedy

WARM: Final = 0.5  # share of a trial's steps over which the rate rises
NORM: Final = 1.0  # to which gradients are clipped
LOWER: Final = (0.3, 0.1)  # times the rate
HIGHER: Final = 10.0
SAFE_EPS: Final = 10.0  # times the smallest normal number


@dataclass(frozen=True)
class Attempt:
    """One remedy. said: in a few words. make: applies it for a training of that many steps. instead: what the training without
    the remedy does, if it differs from the task.
    """

    said: str
    make: Callable[[int], Remedy]
    instead: Remedy | None = None


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


def _times(factor: float) -> Attempt:
    said = f"{factor:g} times higher" if factor > 1 else f"{1 / factor:.3g} times lower"
    return Attempt(f"a rate {said}", lambda _: lambda task: rate_times(task, factor))


def _falls(name: str, shape: Callable[[float], float]) -> Attempt:
    return Attempt(f"a rate that falls to 0 along {name} over the run", lambda steps: lambda task: falling(task, steps, shape))


def _lower(_: Finding) -> list[Attempt]:
    return [*(_times(factor) for factor in LOWER), *FALLS]


def _higher(_: Finding) -> list[Attempt]:
    return [_times(HIGHER)]


def _schedule(_: Finding) -> list[Attempt]:
    return [Attempt("the schedule's first rate, kept", lambda _: rate_at_peak), *FALLS]


def _no_decay(_: Finding) -> list[Attempt]:
    return [Attempt("no weight decay", lambda _: without_decay)]


def _eps(_: Finding) -> list[Attempt]:
    return [Attempt("an eps that is not 0 in the parameters' type", lambda _: eps_that_holds)]


def _clip_later(finding: Finding) -> list[Attempt]:
    """Clip after unscaling. The finding knows both norms: the intended one, and the one that remained after unscaling."""
    meant, left = finding.limit, finding.value
    if not (isfinite(meant) and isfinite(left) and 0 < left < meant):
        return []
    said = f"clipping at {meant:g} after unscaling"
    return [Attempt(said, lambda _: lambda task: clipped(task, meant), lambda task: clipped(task, left))]


def _other_start(_: Finding) -> list[Attempt]:
    return [
        Attempt("weights that keep the std of each layer's outputs at 1", lambda _: calibrated),
        Attempt("weights drawn anew by the modules themselves", lambda _: redrawn),
        *(_times(factor) for factor in LOWER),
    ]


def _clear(_: Finding) -> list[Attempt]:
    return [Attempt("gradients cleared before each step", lambda _: lambda _: nullcontext(), kept)]


def _unscale(finding: Finding) -> list[Attempt]:
    """Divide by the scale of the GradScaler. The finding knows both norms."""
    factor = finding.value / finding.limit
    return [Attempt("gradients at their true size", lambda _: lambda _: nullcontext(), lambda task: scaled(task, factor))]


FALLS: Final = (_falls("a line", linear), _falls("half a cosine", half_cosine))
TRIED: Final[dict[str, Callable[[Finding], list[Attempt]]]] = {
    "learning-rate-too-high": _lower,
    "divergence": _lower,
    "update-too-large": _lower,
    "oscillation": _lower,
    "update-too-small": _higher,
    "learning-rate-too-low": _higher,
    "schedule-to-zero": _schedule,
    "weight-decay": _no_decay,
    "eps-underflow": _eps,
    "clip-before-unscale": _clip_later,
    "missing-zero-grad": _clear,
    "scaled-gradients": _unscale,
    "dead-units": _other_start,
    "saturation": _other_start,
    "activation-scale": _other_start,
    "gradient-scale": _other_start,
}
"""The remedies to try, by kind of finding."""


def attempts_for(finding: Finding, task: Task) -> list[Attempt]:
    """The remedies to try for a finding; empty if a program cannot try any."""
    if task.optimizer is None or takes_closure(task.optimizer):
        return []
    make = TRIED.get(finding.id)
    return [each for each in make(finding) if _possible(each, task)] if make else []


def _possible(attempt: Attempt, task: Task) -> bool:
    """Whether the remedy can be applied: weights cannot be scaled in every network, and those of a trained one stay."""
    made = attempt.make(1)
    if made not in (calibrated, redrawn):
        return True
    trained = task.optimizer is not None and bool(task.optimizer.state)
    if trained or (task.whole and made is calibrated):
        return False
    try:
        with task.boxed():
            before = [each.detach().clone() for each in task.model.parameters()]
            with made(task):
                return any(not torch.equal(*both) for both in zip(before, task.model.parameters(), strict=True))
    except (LettrineError, NotCalled):
        return False
