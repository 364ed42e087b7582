"""Layers of weights with nothing between them, read from what each module was given and gave."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from lettrine.torch.checkup.call import NotCalled
from lettrine.torch.checkup.spread import Called, record_calls
from lettrine.torch.checkup.task import Task
from lettrine.torch.private import BATCH_NORM, DROPOUT, POOLINGS

MATRICES: Final = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
STRAIGHT: Final = (
    nn.Identity,
    nn.Flatten,
    nn.Unflatten,
    BATCH_NORM,
    DROPOUT,
    POOLINGS[1],
)
"""What is one linear map with the layers beside it, in eval mode."""
ENDS: Final = (nn.Sigmoid, nn.Softmax, nn.LogSoftmax, nn.LogSigmoid)
"""What may stand at the end: the border between two answers stays a straight one."""


def linear_chain(task: Task) -> tuple[str, ...]:
    """The names of all layers, if the model is nothing but layers of weights, each of which gets what the one before gave; else
    empty. An embedding may stand in front, or anything else without weights.
    """
    with task.boxed(), torch.no_grad():
        task.model.eval()
        try:
            call = task.inputs(task.batch())
            output, calls = record_calls(task.model, lambda: task.outputs(call))
        except NotCalled:
            return ()
        except Exception:  # noqa: BLE001  a model that cannot be called in eval mode is not judged
            return ()
    if not isinstance(output, Tensor) or bool((output == output[:1]).all()):  # one answer to all: not the fault of the layers
        return ()
    names: list[str] = []
    wanted = output
    simple = [each for each in calls if not any(True for _ in each.module.children())]
    while (maker := _maker(simple, wanted)) is not None:
        if isinstance(maker.module, nn.Embedding | nn.EmbeddingBag):
            return _all_of(task, names)
        if not isinstance(maker.module, MATRICES + STRAIGHT) and (names or not isinstance(maker.module, ENDS)):
            return ()
        if isinstance(maker.module, MATRICES):
            names.insert(0, maker.name)
        simple = simple[: simple.index(maker)]
        wanted = maker.inputs[0]
    return _all_of(task, names)


def _maker(calls: list[Called], wanted: Tensor) -> Called | None:
    """The last call that gave these values, in whatever shape."""
    return next((each for each in reversed(calls) if each.inputs and each.outputs and _equal(each.outputs[0], wanted)), None)


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.numel() == other.numel() and torch.equal(one.flatten(), other.flatten())


def _all_of(task: Task, names: list[str]) -> tuple[str, ...]:
    """The names, if no other module holds a matrix."""
    held = [each for each in task.model.modules() if any(own.ndim > 1 for own in each.parameters(recurse=False))]
    others = [each for each in held if not isinstance(each, nn.Embedding | nn.EmbeddingBag)]
    return tuple(names) if len(others) == len(names) else ()
