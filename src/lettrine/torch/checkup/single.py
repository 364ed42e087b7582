"""A softmax along an axis of length 1: its output is always 1, so the layers before it get no gradient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from lettrine.health.findings import Finding
from lettrine.torch.capture.catalogue import named_modules
from lettrine.torch.checkup.experiment import finding
from lettrine.torch.checkup.lines import user_line
from lettrine.torch.checkup.task import Task

PASSES = 2


def softmax_of_one(task: Task, named: Mapping[int, str]) -> Finding | None:
    """Parameters whose gradient is 0 everywhere because of a softmax along an axis of length 1; None if there are none."""
    with _Single() as notes, _named(task.model, notes.inside):
        losses = [task.loss(task.batch(number)) for number in range(PASSES)]
    if not notes.seen or not all(loss.requires_grad for loss in losses):
        return None
    wanted = [each for each in task.model.parameters() if each.requires_grad and each.is_floating_point()]
    taught = [torch.autograd.grad(loss, wanted, allow_unused=True) for loss in losses]
    flat = [
        place for place in range(len(wanted)) if all(each[place] is not None and not bool(each[place].any()) for each in taught)
    ]
    names = tuple(named[id(wanted[place])] for place in flat if id(wanted[place]) in named)
    if not names:
        return None
    return finding(
        "softmax-axis",
        "warning",
        (*filter(None, [notes.module]), *names),
        f"The gradient of {names[0]} is 0 throughout: {notes.seen} takes a softmax along an axis of one entry, which gives 1 "
        "whatever it is given.",
        "What lies before it is not taught, and does not matter.",
        "Take the softmax along the axis of what is weighed for one example, such as the places; for one unit use a sigmoid.",
        source="torch.softmax: the values along dim sum to 1",
    )


@contextmanager
def _named(model: nn.Module, inside: list[str]) -> Iterator[None]:
    """Keep the names of the modules below the model that are running, the innermost last."""

    def left(*_: object) -> None:
        inside.pop()

    handles = []
    for name, each in named_modules(model):
        if name and each is not model:
            handles.append(each.register_forward_pre_hook(lambda *_, name=name: inside.append(name)))
            handles.append(each.register_forward_hook(left, always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Single(TorchFunctionMode):
    """Records the first softmax along an axis of length 1. seen: where it is, as text. module: the innermost one that takes it.
    inside: the names of the modules that are running.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen = self.module = ""
        self.inside: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if not self.seen and getattr(func, "__name__", "") in ("softmax", "log_softmax") and args and isinstance(args[0], Tensor):
            axis = given.get("dim", args[1] if len(args) > 1 else None)
            if isinstance(axis, int) and args[0].ndim and args[0].shape[axis] == 1 and args[0].requires_grad:
                self.module = self.inside[-1] if self.inside else ""
                self.seen = user_line() or self.module or "a module behind it"
        return func(*args, **given)
