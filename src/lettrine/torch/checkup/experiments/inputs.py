"""Do the answers depend on the inputs? After a few steps (then parts that begin at 0 are active) examples swap their inputs."""

from __future__ import annotations

from dataclasses import replace
from math import nan
from typing import Final

import torch
from torch import Tensor

from lettrine.health.checks import Skip
from lettrine.health.findings import Finding
from lettrine.health.limits import CHECKUP_MATTERS
from lettrine.torch.capture.catalogue import kind_of
from lettrine.torch.checkup.call import Call, NotCalled
from lettrine.torch.checkup.experiment import Result, experiment, finding, part
from lettrine.torch.checkup.layout import examples_along
from lettrine.torch.checkup.one_row import one_row
from lettrine.torch.checkup.remedies import LOWER, rate_times
from lettrine.torch.checkup.spread import Called, change, record_calls
from lettrine.torch.checkup.task import Task
from lettrine.torch.checkup.values import leaves, mapped

KEPT: Final = 0.01  # change of the answers that depend on the inputs
STEPS: Final = 10  # two gates in a row that begin at 0 need a few steps to open


@experiment("inputs", "Inputs matter", passes=STEPS + 6, trains=True)
def inputs(task: Task) -> Result:
    """Swap the inputs between examples, all of them and one tensor at a time. An input of a single row is kept the same in all
    batches.

    Measured: How much the answers change when examples swap their inputs, all together and one tensor at a time, after ten steps.
    Formula: change = largest abs(after - before) / size of the answers.
    """
    try:
        call = task.inputs(task.batch())
    except NotCalled:
        raise Skip("not applicable", "the loss function does not call the model itself, so its inputs are not known") from None
    rows = examples_along(call, 0)
    traded = [path for path, each in leaves(call.given) if _differs(each, rows)]
    if rows < 2 and (single := one_row(task)) is not None:
        return Result(single.message, (single,))
    if rows < 2 or not traded:
        raise Skip("not applicable", "the inputs have no axis of examples, or all examples are alike")
    with task.boxed():
        found = _swapped(task, call, traded, rows)
    if not found.findings or found.findings[0].id != "unused-input" or found.figures["all"] > CHECKUP_MATTERS:
        return found
    lower = _lower_rate(task, call, traded)
    return _wiped_out(found, task, lower) if lower else found


def _swapped(task: Task, call: Call, traded: list[str], rows: int) -> Result:
    """The result after some steps at the task's own rate."""
    _train(task)
    plain = _answers(task, call)
    if not plain:
        raise Skip("not applicable", "the model returns no floating-point tensor")
    if not all(bool(each.isfinite().all()) for each in plain):
        raise Skip("not run", f"after {STEPS} steps the answers are not finite")
    whole = _effect(task, call, plain, traded)
    each = {path: _effect(task, call, plain, [path]) for path in traded} if len(traded) > 1 else {traded[0]: whole}
    figures = {"all": whole, **{f"input {path}": value for path, value in each.items()}}
    if whole <= CHECKUP_MATTERS:
        found = _lost(_where_lost(task, call, rows), whole)
        return Result(found.message, (found,), figures, where=found.where)
    unused = tuple(
        path for path, value in each.items() if value <= CHECKUP_MATTERS and not is_flags(dict(leaves(call.given))[path])
    )
    said = f"When examples swap their inputs, the answers change by {part(whole)}."
    if not unused:
        return Result(said, figures=figures)
    found = finding(
        "unused-input",
        "warning",
        unused,
        f"The answers do not depend on the input {unused[0]}: examples may swap it, and nothing changes.",
        "The network cannot learn from it.",
        f"Look where {unused[0]} goes in forward(): it is dropped, overwritten or multiplied by 0.",
        value=each[unused[0]],
        limit=CHECKUP_MATTERS,
        source="Karpathy 2019, A recipe for training neural networks: an input-independent baseline",
    )
    return Result(said, (found,), figures, where=unused)


def _train(task: Task) -> None:
    optimizer = task.fallback_optimizer()
    task.model.train()
    for number in range(STEPS):
        task.step(number, optimizer)


def _lower_rate(task: Task, call: Call, traded: list[str]) -> float:
    """The factor on the rate with which the answers still depend on the inputs after the same steps; 0 if there is none, or if
    they did not depend on them before any step.
    """
    if task.optimizer is None or _effect(task, call, _answers(task, call), traded) <= CHECKUP_MATTERS:
        return 0.0
    for factor in LOWER:
        with task.boxed(), rate_times(task, factor):
            _train(task)
            if _effect(task, call, _answers(task, call), traded) > KEPT:
                return factor
    return 0.0


def _wiped_out(found: Result, task: Task, factor: float) -> Result:
    """The same answer for every example is the work of the steps: with a lower rate they are not the same."""
    rate = max((float(group["lr"]) for group in task.optimizer.param_groups), default=nan) if task.optimizer else nan
    message = (
        f"The learning rate {rate:g} wipes the inputs out: {STEPS} steps make the answers the same for every example, and at a "
        f"rate {1 / factor:.3g} times lower they do not."
    )
    remedy = "Lower the rate, or raise it from 0 over the first steps (torch.optim.lr_scheduler.LinearLR)."
    lost = replace(found.findings[0], id="learning-rate-too-high", message=message, remedy=remedy)
    return replace(found, said=message, findings=(lost,))


def _where_lost(task: Task, call: Call, rows: int) -> Called | None:
    """The innermost module whose inputs differ between examples but whose outputs do not; None if there is none."""

    def differ(tensors: tuple[Tensor, ...]) -> bool:
        kept = [each for each in tensors if each.ndim and each.shape[0] == rows]
        return any(change(each, each.roll(1, 0)) > CHECKUP_MATTERS for each in kept)

    with task.boxed(), torch.no_grad():
        task.model.train()
        _, calls = record_calls(task.model, lambda: task.outputs(call))
    return next((each for each in calls if differ(each.inputs) and not differ(each.outputs)), None)


def _lost(place: Called | None, value: float) -> Finding:
    """Every example gets the same answer: because all units give 0, or for another reason."""
    shut = place is not None and not any(bool((each != 0).any()) for each in place.outputs)
    at = f" It is {place.name} ({kind_of(place.module)}) that gives {'0 for' if shut else 'the same for'} all." if place else ""
    remedy = (
        "Look for units that are all dead, a saturated activation after the last layer, a softmax over one unit, or inputs "
        "that are lost on the way."
    )
    if shut:
        remedy = "Lower the rate, start the bias before it at 0 or above, or use softplus, leaky ReLU or no activation there."
    return finding(
        "dead-units" if shut else "unused-input",
        "warning",
        (place.name,) if place else (),
        f"The answers do not depend on the inputs: after {STEPS} steps every example gets the same answer.{at}",
        "The network can only learn the mean of the targets.",
        remedy,
        value=value,
        limit=CHECKUP_MATTERS,
        source="Karpathy 2019, A recipe for training neural networks: an input-independent baseline",
    )


def _answers(task: Task, call: Call) -> list[Tensor]:
    # In training mode: running statistics of a few steps may be far off, and those of the batch do not depend on its order.
    with task.boxed(), torch.no_grad():
        task.model.train()
        return [each.detach().clone() for _, each in leaves(task.outputs(call)) if each.is_floating_point()]


def _effect(task: Task, call: Call, plain: list[Tensor], paths: list[str]) -> float:
    """Change of the answers when each example gets some inputs of the next one."""

    def turn(path: str, tensor: Tensor) -> Tensor:
        return tensor.roll(1, 0) if path in paths else tensor

    turned = call.with_given({key: mapped(each, turn, key) for key, each in call.given.items()})
    return max((change(a, b) for a, b in zip(plain, _answers(task, turned), strict=False)), default=0.0)


def _differs(tensor: Tensor, rows: int) -> bool:
    """Whether it has one entry for each example, and they differ."""
    return tensor.ndim > 0 and tensor.shape[0] == rows and not torch.equal(tensor, tensor.roll(1, 0))


def is_flags(tensor: Tensor) -> bool:
    """Whether a tensor holds only 0 and 1: a mask or similar, which may have no effect."""
    return tensor.dtype is torch.bool or bool(((tensor == 0) | (tensor == 1)).all())
