"""Batches that the model refuses in training mode although it takes others: the last of a loader may hold a single example, of
which a batch norm can take no statistics. Experiments go on without them.
"""

from __future__ import annotations

from typing import Any, Final

from lettrine.torch.checkup.experiment import finding
from lettrine.torch.checkup.loading import place_of
from lettrine.torch.checkup.task import Task
from lettrine.torch.checkup.values import leaves

REFUSES: Final = "refuses"  # among what a task knows: the finding


def without_refused(task: Task) -> None:
    """Leave batches out that are smaller than the first one and raise an error, and keep the finding."""
    usual = _size(task.batches[0])
    smaller = [number for number, batch in enumerate(task.batches) if _size(batch) < usual]
    errors = {number: error for number in smaller if (error := _error(task, number)) is not None}
    if not errors:
        return
    number, error = next(iter(errors.items()))
    size = _size(task.batches[number])
    said = f"{type(error).__name__}: {error}{place_of(error)}"
    task.known[REFUSES] = finding(
        "batch-size",
        "info",
        (),
        f"In training mode the model refuses {len(errors)} of {len(task.batches)} batches, with {size} "
        f"example{'s' if size != 1 else ''} instead of {usual}: {' '.join(said.split())}. The experiments go on without.",
        "A training ends with this error when it comes to such a batch.",
        "Leave the rest of the examples out: DataLoader(…, drop_last=True); or choose a batch size that leaves more of them.",
        value=size,
        limit=usual,
        source="torch.utils.data.DataLoader: drop_last",
    )
    task.batches[:] = [batch for place, batch in enumerate(task.batches) if place not in errors]


def _size(batch: Any) -> int:
    return next((int(each.shape[0]) for _, each in leaves(batch) if each.ndim), 0)


def _error(task: Task, number: int) -> Exception | None:
    with task.boxed():
        task.model.train()
        try:
            task.loss(task.batch(number))
        except Exception as error:  # noqa: BLE001  whatever the user's code raises
            return error
    return None
