"""Whether a task predicts its own input: the targets are the inputs, one place later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from lettrine.torch.checkup.call import Call, NotCalled
from lettrine.torch.checkup.task import Task
from lettrine.torch.checkup.values import leaves

IGNORED: Final = -100  # torch's default ignore_index
LEAST: Final = 4  # places along the axis
AGREE: Final = 0.9  # of the places; the rest may be padding
LOSS_AGREES: Final = 1e-3  # relative


@dataclass(frozen=True)
class Shift:
    """path: of the predicted input. axis: along which it is shifted."""

    path: str
    axis: int


def shift_of(task: Task, call: Call, batch: Any) -> Shift | None:
    """The input that the targets are a shift of; None if there is none."""
    given = [(path, each) for path, each in leaves(call.given) if each.ndim >= 2]
    whole = [each for _, each in leaves(batch) if each.ndim >= 2]
    for path, tensor in given:
        for axis in (1, 0):
            if tensor.shape[axis] < LEAST:
                continue
            if any(_later(tensor, other, axis) for other in _targets(task, batch, whole)) or _cut(tensor, whole, axis):
                return Shift(path, axis)
    return _inner_shift(task, call, batch)


def time_axis(task: Task) -> int | None:
    """The axis along which the targets are shifted; None if they are not."""
    try:
        found = shift_of(task, task.inputs(task.batch()), task.batch())
    except NotCalled:
        return None
    return found.axis if found else None


def _targets(task: Task, batch: Any, whole: list[Tensor]) -> Iterator[Tensor]:
    if task.whole:
        yield from whole
    elif isinstance(batch[-1], Tensor) and batch[-1].ndim >= 2:
        yield batch[-1]


def _later(tensor: Tensor, target: Tensor, axis: int) -> bool:
    """Whether the target is the tensor one place later, and not the tensor itself."""
    if tensor.shape != target.shape or tensor.dtype != target.dtype or tensor is target:
        return False
    length = tensor.shape[axis]
    kept = target.narrow(axis, 0, length - 1) != IGNORED
    if not bool(kept.any()):
        return False
    shifted = target.narrow(axis, 0, length - 1) == tensor.narrow(axis, 1, length - 1)
    alike = tensor.narrow(axis, 0, length - 1) == tensor.narrow(axis, 1, length - 1)
    return float(shifted[kept].float().mean()) >= AGREE and float(alike.float().mean()) < AGREE


def _cut(tensor: Tensor, whole: list[Tensor], axis: int) -> bool:
    """Whether the input is a tensor of the batch without its last place: the rest can only be its target."""
    for other in whole:
        if other.ndim == tensor.ndim and other.dtype == tensor.dtype and other.shape[axis] == tensor.shape[axis] + 1:
            start = other.narrow(axis, 0, tensor.shape[axis])
            if start.shape == tensor.shape and torch.equal(start, tensor):
                return True
    return False


def _inner_shift(task: Task, call: Call, batch: Any) -> Shift | None:
    """Labels that equal the inputs and are shifted inside the loss. Proof: the loss equals the cross-entropy of the shifted
    pair.
    """
    labels = [each for _, each in leaves(batch) if each.ndim == 2 and each.dtype is torch.long]
    for path, tensor in leaves(call.given):
        if tensor.ndim != 2 or tensor.dtype is not torch.long or tensor.shape[1] < LEAST or "label" in path:
            continue
        same = [other for other in labels if other is not tensor and other.shape == tensor.shape and _agrees(other, tensor)]
        # The batch holds the input itself, so labels equal to it must be a second copy.
        if len(same) > 1 and _loss_is_shifted(task, call, batch, same[-1]):
            return Shift(path, 1)
    return None


def _agrees(labels: Tensor, tensor: Tensor) -> bool:
    kept = labels != IGNORED
    return bool(kept.any()) and bool((labels == tensor)[kept].all())


def _loss_is_shifted(task: Task, call: Call, batch: Any, labels: Tensor) -> bool:
    with task.boxed(), torch.no_grad():
        task.model.eval()
        loss = float(task.loss(batch))
        for _, logits in leaves(task.outputs(call)):
            classes = logits.ndim == 3 and logits.shape[:2] == labels.shape and int(labels.max()) < logits.shape[2]
            if logits.is_floating_point() and classes:
                shifted = functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
                if abs(float(shifted) - loss) <= LOSS_AGREES * abs(loss):
                    return True
    return False
