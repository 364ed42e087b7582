"""Labels that the network has no output for: a loss of classes fails there, on a GPU with the whole process."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor

from lettrine.health.findings import Finding
from lettrine.torch.checkup.experiment import finding
from lettrine.torch.checkup.task import Task
from lettrine.torch.checkup.values import moved

LABELS: Final = "labels"  # among what a task knows: the finding
REFUSED: Final = "refused"  # and whether it leaves no batch


def without_wrong_labels(task: Task) -> None:
    """Leave batches out whose labels the loss refuses, and keep the finding; if none is left, keep all and say so."""
    count = _classes(task)
    outside = [number for number in range(len(task.batches)) if count and _outside(task.batches[number][-1], count)]
    if not outside or not _fails(task, outside[0]):
        return
    values = torch.cat([batch[-1].flatten() for batch in task.batches])
    task.known[LABELS] = _finding(len(outside), len(task.batches), int(values.min()), int(values.max()), count)
    kept = [batch for number, batch in enumerate(task.batches) if number not in outside]
    task.known[REFUSED] = not kept
    task.batches[:] = kept or task.batches


def _classes(task: Task) -> int:
    """How many classes the outputs are for: the axis that the labels do not have; 0 if the targets are no labels."""
    target = task.batches[0][-1]
    if not isinstance(target, Tensor) or target.is_floating_point() or target.is_complex() or target.dtype is torch.bool:
        return 0
    try:
        with task.boxed(), torch.no_grad():
            output: Any = task.outputs(task.inputs(task.batch()))
    except Exception:  # noqa: BLE001  a model that cannot be called is told of where that is needed
        return 0
    if not isinstance(output, Tensor) or output.ndim < 2 or not output.is_floating_point():
        return 0
    if target.shape == output.shape[:-1]:
        return int(output.shape[-1])
    return int(output.shape[1]) if target.shape == output.shape[:1] + output.shape[2:] else 0


def _outside(target: Any, count: int) -> bool:
    return isinstance(target, Tensor) and target.numel() > 0 and bool(((target < 0) | (target >= count)).any())


def _fails(task: Task, number: int) -> bool:
    """Whether the loss refuses these labels: it may leave some out, such as ignore_index. Tried on the CPU: a GPU would not
    recover.
    """
    with task.boxed(), torch.no_grad():
        output: Any = task.outputs(task.inputs(task.batch(number)))
        here = torch.device("cpu")
        try:
            task.loss_fn(moved(output, here), moved(task.batch(number)[-1], here))
        except IndexError:
            return True
        except Exception:  # noqa: BLE001  another reason
            return False
    return False


def _finding(wrong: int, batches: int, low: int, high: int, count: int) -> Finding:
    if low == 1 and high == count:
        remedy = "Count the classes from 0: give the loss y - 1."
    elif high >= count:
        remedy = f"Give the last layer {high + 1} outputs, or look at how the labels are numbered."
    else:
        remedy = f"Give the loss ignore_index={low} if that stands for no label; else number the labels from 0."
    return finding(
        "target-range",
        "critical",
        (),
        f"{wrong} of {batches} batches hold labels that the network has no output for: labels go from {low} to {high}, and its "
        f"{count} outputs are for 0 to {count - 1}.",
        "The loss fails at such a batch; on a GPU it ends the process.",
        remedy,
        value=high if high >= count else low,
        limit=count - 1,
        source="torch.nn.CrossEntropyLoss: class indices in [0, C)",
    )
