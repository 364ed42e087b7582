"""Compares the first loss with a reference that needs no network: the best answer that is the same for every example.

That answer is found numerically: one constant is fitted to the loss, without the network. So this works for any loss: it gives ln
K for K equally frequent classes, the entropy of the targets for other frequencies, and their variance for squared errors. Shapes
are tested in the same way: if it does not matter to the loss which target belongs to which output, it compares every output with
every target.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from functools import partial
from math import inf, isfinite, nan, prod
from typing import Any

import torch
from torch import Tensor

from lettrine.health.findings import Finding
from lettrine.health.limits import CHECKUP_START
from lettrine.torch.checkup.breaking import broken_batch
from lettrine.torch.checkup.broken import broken_by, broken_later
from lettrine.torch.checkup.call import NotCalled
from lettrine.torch.checkup.direction import wrong_direction
from lettrine.torch.checkup.experiment import Result, experiment, finding
from lettrine.torch.checkup.labels import LABELS, REFUSED
from lettrine.torch.checkup.ranges import no_floor, out_of_reach
from lettrine.torch.checkup.refused import REFUSES
from lettrine.torch.checkup.task import Task

MOST_CONSTANTS = 4096  # values of the constant answer
TRIES = 60  # evaluations of the loss, in at most
TIME = 0.1  # share of the remaining time
ROUNDED = 1e-3  # a sum of shares is 1 within this, in 16 bits too


@experiment("first-loss", "First loss", passes=3)
def first_loss(task: Task) -> Result:
    """Compare the first loss with the best constant answer, and outputs with targets.

    Measured: The first loss, beside the loss of the best answer that is the same for every example. That answer is found by
        fitting a constant to the loss with the network left out. Shapes and ranges of outputs and targets are compared.
    Formula: ratio = first loss / loss of the best constant answer.
    """
    if task.known.get(REFUSED):
        found = task.known[LABELS]
        return Result(found.message, (found,))
    task.model.train()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        loss = task.loss(task.batch())
    value = float(loss.detach())
    if not isfinite(value):
        found = broken_by(task)
        task.known["broken"] = True
        return Result(found.message, (found,), {"loss": value}, where=found.where)
    later = broken_later(task) or broken_batch(task)
    output = output_of(task)
    reference = constant_loss(task, output)
    # The reference of a single batch may be too low: it is 0 for a batch of one class.
    several = constant_loss(task, output, spread(task)) if isfinite(reference) and len(task.batches) > 1 else reference
    task.known |= {"loss": value, "reference": reference, "reference_of_several": several}
    figures = {"loss": value, "reference": reference, "reference_of_several": several}
    findings = [
        each
        for each in (
            task.known.get(LABELS),
            task.known.get(REFUSES),
            _broadcast(task, output) or _stretched(warned),
            *out_of_reach(task, output),
            no_floor(task, loss, output),
            wrong_direction(task, output),
            later,
        )
        if each is not None
    ]
    said = f"The first loss is {value:.4g}"
    said += f"; the best answer that is the same for every example has {reference:.4g}." if isfinite(reference) else "."
    if several > 0 and value > CHECKUP_START * several and not findings:
        findings.append(
            finding(
                "initial-loss",
                "info",
                (),
                f"The loss starts at {value:.4g}; the best constant answer has {several:.4g}.",
                "The first steps are spent on undoing the initialisation.",
                "Make the last layer's initial weights smaller, or scale inputs or targets, whichever is large.",
                value=value,
                limit=CHECKUP_START * several,
                source="Karpathy 2019, A recipe for training neural networks: verify loss at init",
            )
        )
    words = {} if output is None else {"output": _shape(output)}
    if not task.whole and isinstance(task.batches[0][-1], Tensor):
        words["target"] = _shape(task.batches[0][-1])
    return Result(said, tuple(findings), figures, words)


def output_of(task: Task, number: int = 0) -> Tensor | None:
    """The model's output for a batch, if it is one floating-point tensor."""
    try:
        output = task.outputs(task.inputs(task.batch(number)))
    except NotCalled:
        return None
    return output if isinstance(output, Tensor) and output.is_floating_point() else None


def loss_of(task: Task, output: Tensor, number: int = 0) -> Tensor:
    """The loss of a batch with the model's output replaced."""
    if not task.whole:
        result: Tensor = task.loss_fn(output, task.batch(number)[-1])
        return result
    handle = task.model.register_forward_hook(lambda *_: output)
    try:
        return task.loss(task.batch(number))
    finally:
        handle.remove()


def spread(task: Task) -> tuple[int, ...]:
    """A few batches, evenly spread."""
    count = len(task.batches)
    return tuple(sorted({0, count // 3, (2 * count) // 3, count - 1}))


def constant_loss(task: Task, output: Tensor | None, numbers: tuple[int, ...] = (0,)) -> float:
    """The loss of the best constant answer to the first batch, or to several; NaN if the loss does not take a constant."""
    if output is None or output.ndim < 1 or output.shape[0] < 2:
        return nan
    shapes = [output.shape]
    for number in numbers[1:]:
        other = output_of(task, number)
        if other is None or other.shape[1:] != output.shape[1:]:
            return constant_loss(task, output)
        shapes.append(other.shape)
    for kind in _kinds(output):
        found = _best_constant(task, output, shapes, numbers, kind)
        if isfinite(found):
            return found
    return nan


def _best_constant(
    task: Task, output: Tensor, shapes: list[torch.Size], numbers: tuple[int, ...], kind: Callable[[Tensor], Tensor]
) -> float:
    """The lowest loss of a constant of this kind; NaN if the loss does not take it."""
    best, last = inf, task.left() * (1 - TIME)
    with task.boxed():
        for form in _constants(output):
            constant = torch.zeros(form, dtype=output.dtype, device=output.device, requires_grad=True)
            search = torch.optim.LBFGS([constant], lr=1.0, max_iter=TRIES, line_search_fn="strong_wolfe")
            reached = [inf]

            def closure(constant: Tensor = constant, search: Any = search, reached: list[float] = reached) -> Tensor:
                if task.left() < last:
                    raise _Late
                search.zero_grad()
                losses = [
                    loss_of(task, kind(constant.expand(shape).clone()), number)
                    for number, shape in zip(numbers, shapes, strict=True)
                ]
                loss = torch.stack(losses).mean()
                if not loss.requires_grad:
                    raise _Unrelated
                loss.backward()  # type: ignore[no-untyped-call]
                if isfinite(float(loss.detach())):
                    reached[0] = min(reached[0], float(loss.detach()))
                return loss

            try:
                search.step(closure)  # type: ignore[no-untyped-call]
            except Exception:  # noqa: BLE001  a loss that does not take a constant has no such reference
                return nan
            best = min(best, reached[0])
    return best if isfinite(best) else nan


def _kinds(output: Tensor) -> tuple[Callable[[Tensor], Tensor], ...]:
    """What makes any numbers an answer of the kind that the network gives: shares, their logarithms, probabilities, or numbers.

    Without it the constant would be an answer that no such network can give: of a loss that takes logarithms of shares there is
    none that is the best.
    """
    values = output.detach().double()
    for axis in range(1, min(values.ndim, 3)):
        if values.shape[axis] > 1 and bool((values.logsumexp(axis).abs() < ROUNDED).all()):
            return (partial(torch.log_softmax, dim=axis),)
        if values.shape[axis] > 1 and bool((values >= 0).all()) and bool(((values.sum(axis) - 1).abs() < ROUNDED).all()):
            return (partial(torch.softmax, dim=axis),)
    inside = bool((values >= 0).all()) and bool((values <= 1).all())
    return (torch.clone, torch.sigmoid) if inside else (torch.clone,)


class _Late(Exception):  # noqa: N818
    """The loss is so slow that the search would take too long."""


class _Unrelated(Exception):  # noqa: N818
    """The loss does not depend on the model's output."""


def _constants(output: Tensor) -> list[tuple[int, ...]]:
    """Shapes of a constant answer: one for all examples, one for all places too."""
    whole = (1, *output.shape[1:])
    if output.ndim <= 2:
        return [whole] if prod(whole) <= MOST_CONSTANTS else []
    per_class: list[tuple[int, ...]] = [(1, output.shape[1], *(1 for _ in output.shape[2:]))]
    return [*per_class, (1, 1, output.shape[2])] if output.ndim == 3 else per_class


def _broadcast(task: Task, output: Tensor | None) -> Finding | None:
    """Whether a loss of as many outputs as targets does not depend on which belongs to which."""
    target = None if task.whole else task.batch()[-1]
    if output is None or not isinstance(target, Tensor) or output.shape == target.shape or not target.is_floating_point():
        return None
    if output.numel() != target.numel() or target.numel() < 3 or bool((target == target[:1]).all()):
        return None
    with torch.no_grad():
        generator = torch.Generator(device=output.device).manual_seed(1)
        drawn = torch.randn(output.shape, generator=generator, device=output.device, dtype=output.dtype)
        try:
            plain, other = (float(task.loss_fn(drawn, each).detach()) for each in (target, target.roll(1, 0)))
        except Exception:  # noqa: BLE001
            return None
    if not isfinite(plain) or abs(plain - other) > 1e-5 * abs(plain):
        return None
    return finding(
        "broadcast",
        "critical",
        (),
        f"The outputs have the shape {_shape(output)} and the targets {_shape(target)}: the loss compares each output with every "
        "target, and stays the same when the targets are given to other examples.",
        "The best such a network can do is the mean of all targets.",
        f"Bring both to one shape: output.squeeze(-1) or target.reshape({_shape(output)}).",
        value=abs(plain - other),
        source="torch.nn.MSELoss: target of the same shape as the input",
    )


def _stretched(warned: list[warnings.WarningMessage]) -> Finding | None:
    """A warning of torch itself that a loss gets tensors of two shapes; fewer answers than targets can only learn their mean."""
    for each in warned:
        sizes = re.findall(r"torch\.Size\(\[([\d, ]*)\]\)", str(each.message))
        if "target size" not in str(each.message) or len(sizes) < 2:
            continue
        target, output = ([int(length) for length in size.split(",") if length.strip()] for size in sizes[:2])
        if prod(output) < prod(target):
            return finding(
                "broadcast",
                "warning",
                (),
                f"The loss compares answers of the shape {tuple(output)} with targets of the shape {tuple(target)}, by "
                "broadcasting the answers: each is compared with several targets.",
                "The best such a network can do is the mean of those targets.",
                "Bring both to one shape: give the network an output for each target, or sum the targets over the axis that the "
                "network has no outputs for.",
                value=prod(output),
                limit=prod(target),
                source="torch.nn.MSELoss: target of the same shape as the input",
            )
    return None


def _shape(tensor: Tensor) -> str:
    return f"({', '.join(map(str, tensor.shape))}{',' if tensor.ndim == 1 else ''})"


def guessing_loss(task: Task) -> float:
    """The loss of the best constant answer over several batches, as far as it is known; NaN if not."""
    if "reference_of_several" not in task.known:
        task.known["reference_of_several"] = constant_loss(task, output_of(task), spread(task))
    return float(task.known["reference_of_several"])
