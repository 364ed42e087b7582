"""Targets that are all alike: a fault where the network answers them directly, for then one answer for all is enough.

Not where the output is made of answers, as the residual of a differential equation or the agreement of two views: there 0, or the
first place, is meant. Nor where another network judges them.
"""

from __future__ import annotations

from typing import Final

import torch

from lettrine.health.findings import Finding
from lettrine.torch.checkup.experiment import finding
from lettrine.torch.checkup.experiments.first_loss import loss_of, output_of
from lettrine.torch.checkup.task import Task
from lettrine.torch.graph.losses.heads import Head, head_of

SURE: Final = 30.0  # a logit whose loss is 0 but for rounding
SAME: Final = 1e-5  # relative change of the loss that may be rounding


def learnable(task: Task, target: float) -> bool:
    """Whether the loss depends on the targets, and can be satisfied by the same answer to everything."""
    return _minds(task) and _answers(task, target)


def one_target(target: float, count: int) -> Finding:
    """The finding."""
    return finding(
        "target-constant",
        "warning",
        (),
        f"All {count} targets are {target:g}.",
        "There is nothing to tell apart, but the loss falls all the same.",
        "Look at how the targets are read: a wrong column, a comparison that is always true, or data sorted by class.",
        value=target,
    )


def _minds(task: Task) -> bool:
    """Whether the loss depends on the targets at all: some losses only take them to fit an interface."""
    batch = task.batch()
    other = (*batch[:-1], torch.zeros_like(batch[-1]) if bool((batch[-1] != 0).any()) else torch.ones_like(batch[-1]))
    with task.boxed(), torch.no_grad():
        try:
            return float(task.loss(batch)) != float(task.loss(other))
        except Exception:  # noqa: BLE001  a loss that refuses other targets depends on them
            return True


def _answers(task: Task, target: float) -> bool:
    """Whether a last layer that is trained answers directly, and one answer for all satisfies the loss."""
    held = {id(each) for group in task.optimizer.param_groups for each in group["params"]} if task.optimizer else None
    names = {id(each): name for name, each in task.model.named_parameters() if each.requires_grad}
    names = {key: name for key, name in names.items() if held is None or key in held}
    with task.boxed():
        output = output_of(task)
        head = head_of(output, names) if output is not None else Head()
        if output is None or not head.place or head.operations or not task.batches[0][-1].is_floating_point():
            return bool(head.place)
        layer, losses = task.model.get_submodule(head.module), [float(loss_of(task, output))]
        for answer in (target, -SURE, SURE):
            handle = layer.register_forward_hook(lambda _, __, out, answer=answer: torch.full_like(out, answer))
            try:
                losses.append(task.same_loss())
            finally:
                handle.remove()
        return not min(losses[1:]) > SAME * losses[0]
