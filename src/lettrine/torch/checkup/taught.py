"""What the loss asks of the model: its gradient with respect to the answers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lettrine.torch.checkup.task import Task
from lettrine.torch.checkup.values import leaves


def taught(task: Task) -> list[Tensor]:
    """The gradient of the first batch's loss with respect to each answer of the model; those without one are left out."""
    answers: list[Tensor] = []

    def note(_: nn.Module, __: Any, output: Any) -> None:
        answers.extend(each for _, each in leaves(output) if each.is_floating_point() and each.requires_grad)

    with task.boxed():
        task.model.train()
        handle = task.model.register_forward_hook(note)
        try:
            loss = task.loss(task.batch())
        finally:
            handle.remove()
        if not answers or not loss.requires_grad:
            return []
        gradients = torch.autograd.grad(loss, answers, allow_unused=True)
    return [each.detach() for each in gradients if each is not None]
