"""A first loss that is not finite: finds the module, the operation and the line that caused it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from lettrine.health.findings import Finding
from lettrine.torch.capture.catalogue import kind_of
from lettrine.torch.checkup.call import NotCalled
from lettrine.torch.checkup.experiment import finding
from lettrine.torch.checkup.lines import user_line
from lettrine.torch.checkup.padded import Padded, padding_of
from lettrine.torch.checkup.spread import record_calls
from lettrine.torch.checkup.task import Task
from lettrine.torch.checkup.values import leaves

SOFT: Final = ("softmax", "log_softmax", "logsumexp")


@dataclass(frozen=True)
class Operation:
    """The first operation that gave NaN or infinity from finite inputs. A mask of -inf among the inputs is allowed.

    name: of the function. line: where the user's code calls it, "file.py:12", "" if not known. closed: for a softmax, the rows
    in which every place is masked; None for another operation.
    """

    name: str
    line: str
    closed: Tensor | None

    @property
    def said(self) -> str:
        """Name and line, for people."""
        return f"{self.name} ({self.line})" if self.line else self.name


def broken_by(task: Task, number: int = 0, when: str = "") -> Finding:
    """The cause of a loss that is not finite. when: said before the cause, "After 12 steps"; nothing for the first loss."""
    notes = _Numbers()
    with torch.no_grad(), notes:
        _, calls = record_calls(task.model, lambda: task.loss(task.batch(number)))
    first = notes.first
    which = "The first batch" if not number else f"Batch {number}, counted from 0,"
    inputs = all(bool(each.isfinite().all()) for _, each in leaves(task.batch(number)) if each.is_floating_point())
    place = next((each for each in calls if _finite(each.inputs) and not _finite(each.outputs)), None)
    values = next((name for name, each in task.model.named_parameters() if not bool(each.isfinite().all())), "")
    where = (values,) if values else (place.name,) if place else ()
    if any(not each.numel() for _, each in leaves(task.batch(number))):
        message, remedy = (
            f"{which} holds a tensor without any value, so the loss is a mean over nothing.",
            "Leave empty batches out.",
        )
    elif not inputs:
        message, remedy = (
            f"{which} holds values that are not finite.",
            "Clean the data: torch.isfinite(x).all() says where.",
        )
    elif values:
        message, remedy = f"{values} holds values that are not finite.", "Start again from weights that are finite."
    elif first is not None and first.closed is not None:
        return _closed(task, first, where, number)
    elif place:
        by = f" It begins at {first.said}." if first else ""
        message = f"{place.name} ({kind_of(place.module)}) is given finite numbers and returns others.{by}"
        remedy = f"Look inside {place.name} for a logarithm or root of 0, a division by 0, or numbers too large for their type."
    else:
        by = f" It begins at {first.said}." if first else ""
        message = f"The outputs are finite and the loss is not.{by}"
        remedy = "Look in the loss for a logarithm or root of 0, a division by 0, or a mean over nothing."
    if when:
        message = f"{when}: {message[0].lower()}{message[1:]}" if message.startswith("The ") else f"{when}: {message}"
    return finding("non-finite", "critical", where, message, "Every gradient after it is not finite either.", remedy)


def broken_later(task: Task) -> Finding | None:
    """Later batches that hold values that are not finite and make the loss so. They are left out of what follows."""
    broken = [
        number
        for number in range(1, len(task.batches))
        if not all(bool(each.isfinite().all()) for _, each in leaves(task.batches[number]) if each.is_floating_point())
        and not isfinite(task.same_loss(number))
    ]
    if not broken:
        return None
    count = len(task.batches)
    task.batches[:] = [batch for number, batch in enumerate(task.batches) if number not in broken]
    return finding(
        "non-finite",
        "critical",
        (),
        f"{len(broken)} of {count} batches hold values that are not finite, and make the loss so; counted from 0, the first is "
        f"batch {broken[0]}.",
        "One such step ruins all weights.",
        "Clean the data: torch.isfinite(x).all() says where. The other experiments left these batches out.",
        value=len(broken) / count,
    )


def _closed(task: Task, first: Operation, where: tuple[str, ...], number: int) -> Finding:
    """A softmax with every place masked: for padded queries if the mask is inverted, otherwise for whole examples."""
    assert first.closed is not None  # noqa: S101  for the type checker: asked by the caller
    try:
        padded = padding_of(task.inputs(task.batch(number)))
    except NotCalled:
        padded = None
    if padded is not None and _are_queries(first.closed, padded):
        message = f"{first.said} gets rows in which every place is masked: those of the padded places, so that it gives NaN."
        remedy = (
            "The mask lies on the queries. Mask the keys instead: mask[:, None, None, :] before heads, mask[:, None, :] without, "
            "not mask[:, :, None]."
        )
        return finding("padding", "critical", where, message, "Every gradient after it is not finite either.", remedy)
    message = f"{first.said} gets {int(first.closed.sum())} rows in which every place is masked, so that it gives NaN."
    remedy = "Leave a place of each row open, drop examples that are all padding, or see which way round the mask is."
    return finding("non-finite", "critical", where, message, "Every gradient after it is not finite either.", remedy)


def _are_queries(closed: Tensor, padded: Padded) -> bool:
    """Whether the fully masked rows (B, ..., T) are those of the padded places (B, T)."""
    rows, length = padded.pads.shape
    if closed.ndim < 2 or closed.shape[-1] != length or closed.shape[0] % rows:
        return False
    return bool((closed.reshape(rows, -1, length).all(1) == padded.pads.to(closed.device)).all())


class _Numbers(TorchFunctionMode):
    """Notes the first operation that breaks."""

    def __init__(self) -> None:
        super().__init__()
        self.first: Operation | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        output = func(*args, **given)
        if self.first is None:
            name = getattr(func, "__name__", "an operation").strip("_")
            if _breaks((args, given), output):
                self.first = Operation(name, user_line(), _closed_rows(func, name, args, given))
        return output


def _breaks(given: Any, output: Any) -> bool:
    """Whether NaN or infinity first appears here: from finite inputs, or NaN from inputs without NaN."""
    taken = [each for _, each in leaves(given) if each.is_floating_point()]
    gave = [each for _, each in leaves(output) if each.is_floating_point()]
    if not taken or any(bool(each.isnan().any()) for each in taken):
        return False
    if any(bool(each.isnan().any()) for each in gave):
        return True
    plain = _finite(tuple(taken)) and all(isfinite(each) for each in _numbers(given))
    return plain and not _finite(tuple(gave))


def _numbers(value: Any) -> Iterator[float]:
    """Plain numbers among arguments, such as the -inf of masked_fill."""
    if isinstance(value, float):
        yield value
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _numbers(each)
    elif isinstance(value, dict):
        yield from _numbers(list(value.values()))


def _closed_rows(func: Any, name: str, args: Any, given: Any) -> Tensor | None:
    """Rows of a softmax in which every place is -inf; None for another operation, or where there is none."""
    if func is functional.scaled_dot_product_attention:
        mask = given.get("attn_mask", args[3] if len(args) > 3 else None)
        if not isinstance(mask, Tensor):
            return None
        closed = (~mask).all(-1) if mask.dtype is torch.bool else mask.isneginf().all(-1)
    elif name in SOFT and args and isinstance(args[0], Tensor):
        axis = given.get("dim", args[1] if len(args) > 1 else -1)
        closed = args[0].isneginf().all(axis if isinstance(axis, int) else -1)
    else:
        return None
    return closed if bool(closed.any()) else None


def _finite(tensors: tuple[Tensor, ...]) -> bool:
    return all(bool(each.isfinite().all()) for each in tensors if each.is_floating_point())
