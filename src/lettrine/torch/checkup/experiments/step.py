"""The user's own training step: is what its optimiser gets the gradient of this step, all of it, at its true size?

A few of these steps are taken from the same start, each time with one thing changed: earlier gradients cleared by us, or the
scale of the GradScaler. A right step gives its optimiser the same gradients.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isfinite, nan
from typing import Any, Final

import torch
from torch import Tensor
from torch.amp import GradScaler

from lettrine.health.checks import Skip
from lettrine.health.findings import Finding
from lettrine.health.limits import CHECKUP_CALLS, CHECKUP_LEFT, CHECKUP_RESCALED
from lettrine.torch.capture.catalogue import clean_name
from lettrine.torch.checkup.between import Between, Sizes
from lettrine.torch.checkup.experiment import Result, experiment, finding, part
from lettrine.torch.checkup.reach import reach
from lettrine.torch.checkup.sandbox import seeded
from lettrine.torch.checkup.task import SEED, Task, takes_closure
from lettrine.torch.checkup.unused import Unused, dense

LOWER: Final = 2.0**-8  # times the scale of a GradScaler, for the second look
CALLS_AGAIN: Final = 3  # how often the calls are repeated, at most: cleared, repeated as they are, and at another scale
STEP_SOURCE: Final = "torch.optim: taking an optimization step"


@dataclass
class Heard:
    """What reached the optimiser. steps: its gradients at each of its steps. passes: gradients that a backward pass gave.
    lost: steps before which gradients were given and at which none was left. calls: of the user's step. unused: gradients that
    the optimiser never used. between: what became of them before it stepped.
    """

    between: Between

    steps: list[list[Tensor | None]] = field(default_factory=list)
    passes: int = 0
    lost: int = 0
    calls: int = 0
    unused: Unused = field(default_factory=Unused)


@experiment("step", "The training step", passes=2 * CALLS_AGAIN)
def step(task: Task) -> Result:
    """Take a few of the user's own training steps, and again with earlier gradients cleared, and with another scale.

    Measured: The gradients that the optimiser gets at its step. They are compared with those that the backward pass gave, with
    those it gets if all earlier gradients are cleared, and with those it gets at another scale of the GradScaler. Each change
    between the backward pass and the step is followed, as the clipping and division of a loss that was scaled by hand.
    Formula: difference = norm(gradients - gradients without earlier ones) / norm(gradients without earlier ones).
    """
    if task.own_step is None:
        raise Skip("not applicable", "no step was given")
    if task.optimizer is None or takes_closure(task.optimizer):
        raise Skip("not applicable", "its optimizer is not one that takes a gradient")
    plain = _taken(task)
    figures: dict[str, float] = {"calls": plain.calls, "steps": len(plain.steps), "gradients": plain.passes}
    said = f"In {plain.calls} calls of the step the optimiser stepped {len(plain.steps)} times."
    if not plain.steps:
        found = _idle(task, plain)
    else:
        found = _cleared(plain) if plain.lost == len(plain.steps) else plain.unused.finding(len(plain.steps))
    if found is None and len(plain.steps) > 1:
        left, again = (_apart(plain, each) for each in (_taken(task, clearing=True), _taken(task)))
        figures |= {"difference": left, "repeated": again}
        said += f" Without earlier gradients its gradients {_changed(left)}."
        found = _leftover(left) if left > max(CHECKUP_LEFT, 10 * again) else None
    if found is None and plain.steps and (rescaled := _rescaled(task, plain)):
        figures |= rescaled
        said += f" At a scale {1 / LOWER:g} times lower their norm is {rescaled['norm lower']:.3g} instead of "
        said += f"{rescaled['norm']:.3g}."
        found = _of_scale(rescaled)
    if found is None and plain.calls == len(plain.steps) and (early := plain.between.early_clip()):
        found = early.finding(plain.between.steps[0][0].norm, _true_norm(task))
    return Result(said, (found,) if found else (), figures)


def _taken(task: Task, *, clearing: bool = False, scale: float | None = None) -> Heard:
    """Call the user's step until its optimiser has stepped in two calls. clearing: set gradients to None after the first of them.
    scale: set the GradScalers to it.
    """
    with task.boxed(), _heard(task) as heard:
        task.model.train()
        for scaler in _scalers(task) if scale is not None else ():
            scaler.scale(torch.ones((), device=task.device))  # makes its scale, which it does when first used
            scaler.update(scale)
        for number in range(min(CHECKUP_CALLS, task.steps_in(1 / CALLS_AGAIN, CHECKUP_CALLS) or 1)):
            before = len(heard.steps)
            heard.unused.call = number
            seeded(SEED + number)
            assert task.own_step is not None  # noqa: S101  for the type checker: the caller has looked
            task.own_step(task.model, task.batch(number), task.optimizer)
            heard.calls += 1
            if before and len(heard.steps) > before:
                break
            if clearing and len(heard.steps) > before:
                for each in _held(task):
                    each.grad = None
    return heard


@contextmanager
def _heard(task: Task) -> Iterator[Heard]:
    """Listen to backward passes and to the optimiser."""
    between = Between([each for each in _held(task) if each.requires_grad])
    heard = Heard(between)
    pulled = [0]

    def given(parameter: Tensor) -> None:
        pulled[0] += parameter.grad is not None and bool(dense(parameter.grad).any())
        between.given(parameter)

    def before(*_: Any) -> None:
        now = [None if each.grad is None else dense(each.grad).clone() for each in _held(task)]
        heard.steps.append(now)
        heard.passes += pulled[0]
        heard.lost += pulled[0] > 0 and not any(each is not None and bool(each.any()) for each in now)
        pulled[0] = 0
        heard.unused.stepped(_held(task))
        between.stepping()

    assert task.optimizer is not None  # noqa: S101  for the type checker: the caller has looked
    wanted = [each for each in _held(task) if each.requires_grad]
    handles = [each.register_post_accumulate_grad_hook(given) for each in wanted]  # type: ignore[no-untyped-call]
    handles += [hook for each in wanted for hook in heard.unused.listen(each)]
    handles.append(task.optimizer.register_step_pre_hook(before))
    try:
        with between:
            yield heard
        heard.passes += pulled[0]
    finally:
        for handle in handles:
            handle.remove()


def _held(task: Task) -> list[Tensor]:
    return [each for group in task.optimizer.param_groups for each in group["params"]] if task.optimizer else []


def _scalers(task: Task) -> list[GradScaler]:
    """The GradScalers that the user's step uses."""
    return [each for each in reach(task.own_step).objects if isinstance(each, GradScaler) and each.is_enabled()]


def _norm(gradients: list[Tensor | None]) -> float:
    return sum(map(Sizes.of, gradients), Sizes()).norm


def _true_norm(task: Task) -> float:
    """The norm of the gradient of the first batch's loss; 0 if there is none."""
    with task.boxed():
        task.model.train()
        for each in _held(task):
            each.grad = None
        loss = task.loss(task.batch())
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
        return _norm([each.grad for each in _held(task)])


def _apart(one: Heard, other: Heard) -> float:
    """How far the gradients of the last step differ, as a share of the other's; 0 if there is nothing to compare."""
    if len(one.steps) != len(other.steps):
        return 0.0
    zipped = list(zip(one.steps[-1], other.steps[-1], strict=True))
    size = _norm(other.steps[-1])
    if not size or not size < float("inf"):
        return 0.0
    differences = [
        (a if a is not None else torch.zeros_like(b)) - (b if b is not None else torch.zeros_like(a))  # type: ignore[arg-type]
        for a, b in zipped
        if a is not None or b is not None
    ]
    return _norm(list(differences)) / size


def _rescaled(task: Task, plain: Heard) -> dict[str, float]:
    """The norm of the gradients at the first step, at the scale it had and at a lower one; empty without a GradScaler."""
    assert task.optimizer is not None  # noqa: S101  for the type checker: the caller has looked
    scalers = _scalers(task)
    if not scalers or getattr(task.optimizer, "_step_supports_amp_scaling", False):
        return {}
    scale = scalers[0].get_scale()
    heard = _taken(task, scale=scale * LOWER)
    norms = _norm(plain.steps[0]), _norm(heard.steps[0]) if heard.steps else 0.0
    if not all(0 < each < float("inf") for each in norms) or heard.calls != plain.calls:
        return {}
    cut = sum(map(Sizes.of, plain.steps[0]), Sizes()).cut
    return {"scale": scale, "norm": norms[0], "norm lower": norms[1], "largest": cut or nan}


def _changed(share: float) -> str:
    return f"differ by {part(share)}" if share else "are the same"


def _of_scale(seen: dict[str, float]) -> Finding | None:
    """The finding, if the optimiser's gradients depend on the scale."""
    norm, lower, scale, largest = seen["norm"], seen["norm lower"], seen["scale"], seen["largest"]
    if lower > CHECKUP_RESCALED * norm:
        each = isfinite(largest)
        left = largest if each else norm
        meant = float(f"{left * scale:.3g}")
        return finding(
            "clip-before-unscale",
            "warning",
            (),
            f"{'Each value of the gradients is' if each else 'The gradients are'} clipped at {meant:g} while they are still "
            f"{scale:g} times too large: the optimiser gets a norm of {norm:.3g}, "
            f"and at a scale {1 / LOWER:g} times lower one of {lower:.3g}.",
            "Clipping then acts at every step and makes all gradients too small by the factor of the scale.",
            f"Call scaler.unscale_(optimizer) before you clip {'each value ' if each else ''}at {meant:g}.",
            value=left,
            limit=meant,
            source="torch.amp: working with unscaled gradients",
        )
    if norm > CHECKUP_RESCALED * lower:
        return finding(
            "scaled-gradients",
            "warning",
            (),
            f"The optimiser gets gradients that are still {scale:g} times too large: at a scale {1 / LOWER:g} times lower their "
            f"norm is {lower:.3g} instead of {norm:.3g}.",
            "Each step follows the scale, which changes while training goes on.",
            "Call scaler.step(optimizer) instead of optimizer.step(): it divides by the scale before the step.",
            value=norm,
            limit=norm / scale,
            source="torch.amp: working with unscaled gradients",
        )
    return None


def _leftover(share: float) -> Finding:
    return finding(
        "missing-zero-grad",
        "critical",
        (),
        f"The gradients of earlier steps are still there: without them, the gradients that the optimiser gets differ by "
        f"{part(share)}.",
        "Each step then follows the sum of all gradients so far, which grows and is out of date.",
        "Call optimizer.zero_grad() once after each optimizer.step() (or before each backward pass of a new step).",
        value=share,
        limit=CHECKUP_LEFT,
        source="torch.optim: Optimizer.zero_grad",
    )


def _cleared(heard: Heard) -> Finding:
    return finding(
        "gradients-cleared",
        "critical",
        (),
        f"A backward pass was made before each of the {len(heard.steps)} optimizer steps, and no gradient was left when the "
        "optimizer stepped.",
        "What was computed for the examples of those passes is thrown away.",
        "Call zero_grad() before backward() or after step(), not between them.",
        value=heard.lost,
        limit=0.0,
        source="torch.optim: Optimizer.zero_grad",
    )


def _idle(task: Task, heard: Heard) -> Finding | None:
    """The finding, if the optimiser never stepped in so many calls."""
    if heard.calls < CHECKUP_CALLS:
        return None
    names = {id(each): clean_name(name) for name, each in task.model.named_parameters()}
    where = tuple(names[id(each)] for each in _held(task) if id(each) in names)
    if not heard.passes:
        message = f"In {heard.calls} calls of the step no backward pass gave the optimizer's parameters a gradient."
        return finding(
            "no-gradient",
            "critical",
            where,
            message,
            "Without a gradient nothing is learned.",
            "Call backward() on the loss in the step, on the tensor itself and not on a copy or a number made of it.",
            source=STEP_SOURCE,
        )
    message = f"In {heard.calls} calls of the step gradients were computed, and the optimizer never stepped."
    return finding(
        "never-moved",
        "critical",
        where,
        message,
        "Gradients are computed and never used, so these weights stay as they were at the start.",
        "Call optimizer.step() after backward(), on the optimizer that you hand over.",
        source=STEP_SOURCE,
    )
